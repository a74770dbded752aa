//! `envoy.filters.http.cors`, typed: which pages of other origins may read the responses of a route (Fetch Standard, "CORS
//! protocol").

use http::HeaderValue;

use super::fraction::Fraction;
use super::string_match::StringMatch;

/// The policy of a route, with what the levels above it say where the route says nothing.
#[derive(Clone, Debug)]
pub struct Cors {
    /// Whose pages may.
    pub origins: Origins,
    /// `access-control-allow-methods` of a preflight's response.
    pub methods: Option<Allowed>,
    /// `access-control-allow-headers` of a preflight's response.
    pub headers: Option<Allowed>,
    /// `access-control-expose-headers` of every response.
    pub exposed: Option<HeaderValue>,
    /// `access-control-max-age` of a preflight's response.
    pub max_age: Option<HeaderValue>,
    /// `allow_credentials`
    pub credentials: bool,
    /// `allow_private_network_access`
    pub private_network: bool,
    /// `forward_not_matching_preflights`
    pub unmatched_preflights: UnmatchedPreflights,
    /// `filter_enabled`: of how many requests the policy is enforced.
    pub enforced: Fraction,
    /// `shadow_enabled`: of how many of the others the origin is counted.
    pub counted: Fraction,
}

/// Which origins a policy allows.
#[derive(Clone, Debug)]
pub enum Origins {
    /// `*`: every origin is allowed.
    Any,
    /// Those that one of these takes.
    Matching(Vec<StringMatch>),
}

impl Origins {
    /// Is this origin allowed?
    #[must_use]
    pub fn allow(&self, origin: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Matching(matches) => matches.iter().any(|wanted| wanted.takes(origin.as_bytes())),
        }
    }
}

/// What a preflight may announce.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Allowed {
    /// `*`: whatever it announces.
    Any,
    /// These; the value of the response header.
    List(HeaderValue),
}

/// What happens to a preflight from an origin that is not allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnmatchedPreflights {
    /// It goes on to the upstream.
    Forwarded,
    /// It gets the proxy's response, without `access-control-allow-origin`.
    Refused,
}
