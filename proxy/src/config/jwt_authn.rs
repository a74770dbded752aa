//! `envoy.filters.http.jwt_authn`, typed: which requests need a JSON Web Token, and whose.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::jwks::Keys;
use super::matching::{Condition, PathMatch};
use super::service::Service;
use super::string_match::StringMatch;

/// The filter, as it is for the requests of one route.
#[derive(Clone, Debug)]
pub struct JwtAuthn {
    /// Who issues tokens, in the order of names.
    pub providers: Arc<[Provider]>,
    /// What requests need.
    pub requires: Requires,
    /// `requirement_map`
    pub named: BTreeMap<String, Arc<Requirement>>,
    /// `bypass_cors_preflight`: a preflight needs no token.
    pub bypasses_preflights: bool,
    /// `strip_failure_response`: a response does not say why.
    pub strips_failures: bool,
    /// `stat_prefix`
    pub stat_prefix: String,
}

/// What requests need.
#[derive(Clone, Debug)]
pub enum Requires {
    /// What the first rule says that takes a request, then what filters have left; otherwise it needs nothing.
    ByRules(Arc<[Rule]>, Option<Arc<ByState>>),
    /// The same for all: what the route says.
    Of(Arc<Requirement>),
}

/// `filter_state_rules`: what a request needs by a text that filters have left.
#[derive(Clone, Debug)]
pub struct ByState {
    /// The name of the text.
    pub key: String,
    /// What each text stands for; any other is nothing.
    pub requirements: BTreeMap<String, Arc<Requirement>>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which requests, by their path.
    pub path: PathMatch,
    /// And what else has to hold for them.
    pub conditions: Vec<Condition>,
    /// What they need.
    pub requirement: Arc<Requirement>,
}

/// What a request needs. Providers are named by their place in the list.
#[derive(Clone, Debug)]
pub enum Requirement {
    /// All of these.
    All(Vec<Self>),
    /// One of these, unless what they lack is forgiven.
    Any(Vec<Self>, Forgiven),
    /// `extract_only_without_validation`: nothing, and the application is told where a token is none that is valid.
    Marked,
    /// No token, or a valid one.
    Missing,
    /// Nothing: a valid token is used, and any other passed on.
    MissingOrFailed,
    /// Nothing.
    Nothing,
    /// A token of this provider, for one of these audiences; `None` are the provider's.
    Provider(usize, Option<Vec<String>>),
}

/// What a requirement goes without.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Forgiven {
    /// That there is no token.
    Missing,
    /// That, and a token that is not valid.
    MissingOrFailed,
    /// Nothing.
    Nothing,
}

/// Who issues tokens.
#[derive(Clone, Debug)]
pub struct Provider {
    /// `iss`; empty is any.
    pub issuer: String,
    /// `aud` has one of these; none is any.
    pub audiences: Vec<String>,
    /// `sub`
    pub subjects: Option<StringMatch>,
    /// `require_expiration`: a token has to have an end.
    pub requires_expiration: bool,
    /// `max_lifetime`: the end may be so far away.
    pub lifetime_max: Option<Duration>,
    /// `clock_skew_seconds`: so much may clocks differ.
    pub clock_skew: u64,
    /// Where the keys are.
    pub keys: KeySource,
    /// Where tokens are looked for.
    pub headers: Vec<(HeaderName, String)>,
    /// Among the parameters of the query.
    pub parameters: Vec<String>,
    /// Among cookies.
    pub cookies: Vec<String>,
    /// `forward`: the token is passed on.
    pub forwards: bool,
    /// `forward_payload_header`, and whether its value is padded.
    pub payload_header: Option<(HeaderName, bool)>,
    /// `claim_to_headers`: the path of each claim.
    pub claims: Vec<(HeaderName, Vec<String>)>,
    /// `payload_in_metadata`
    pub payload_in_metadata: Option<String>,
    /// `header_in_metadata`
    pub header_in_metadata: Option<String>,
    /// `failed_status_in_metadata`: why a token is not valid.
    pub failure_in_metadata: Option<String>,
    /// `space_delimited_claims`: lists in metadata.
    pub delimited_claims: Vec<String>,
    /// `clear_route_cache`: a request that gets headers looks for its route anew.
    pub clears_route: bool,
}

/// Where keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// In the configuration.
    Local(Arc<Keys>),
    /// At a service.
    Remote(Box<RemoteKeys>),
}

/// Keys that are fetched.
#[derive(Clone, Debug)]
pub struct RemoteKeys {
    /// Where they are fetched: one place has one set.
    pub place: String,
    /// Who has them.
    pub service: Arc<Service>,
    /// The host of the request.
    pub host: HeaderValue,
    /// Its path.
    pub path: HeaderValue,
    /// `cache_duration`: for so long they are kept.
    pub kept_for: Duration,
}
