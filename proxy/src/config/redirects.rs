//! Which redirects of upstreams are followed here instead of being passed on, typed.

use http::HeaderName;

/// `envoy.config.route.v3.InternalRedirectPolicy`
#[derive(Clone, Debug)]
pub struct InternalRedirects {
    /// How many of one request.
    pub redirects_max: u32,
    /// `redirect_response_codes`: the statuses that are redirects here.
    pub statuses: Vec<u16>,
    /// All of them must accept the new place.
    pub predicates: Vec<RedirectPredicate>,
    /// `allow_cross_scheme_redirect`: also from `http` to something else.
    pub cross_scheme: bool,
    /// `response_headers_to_copy`: the request has them from the response.
    pub copied: Vec<HeaderName>,
}

/// What is requested of the place that a redirect leads to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RedirectPredicate {
    /// Its route has one of these names.
    AllowListedRoutes(Vec<String>),
    /// The request has not gone from this route to that one before.
    PreviousRoutes,
    /// It is not reached over TLS, since the client came without.
    SafeCrossScheme,
}
