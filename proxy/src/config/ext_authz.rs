//! `envoy.filters.http.ext_authz`, typed: which requests a service has to authorise, and what becomes of them.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, StatusCode};

use super::fraction::Fraction;
use super::matching::Sense;
use super::metadata::{MetadataPath, ValueMatch};
use super::mutation::Edits;
use super::mutation_rules::MutationRules;
use super::service::{GrpcService, Service};
use super::string_match::StringMatch;

/// The filter, as it is for the requests of one route.
#[derive(Clone, Debug)]
pub struct ExtAuthz {
    /// The service that decides.
    pub service: AuthorisationService,
    /// `filter_enabled`: the share of requests that are to be authorised.
    pub enabled: Fraction,
    /// `filter_enabled_metadata`: and only those whose metadata has this.
    pub enabled_metadata: Option<(MetadataPath, ValueMatch, Sense)>,
    /// `deny_at_disable`: of the others this share is refused.
    pub denied_at_disable: Fraction,
    /// `allowed_headers`: what the service gets to see. `None` is everything over gRPC, and over HTTP `authorization` alone, which
    /// goes there anyway.
    pub allowed: Option<Vec<StringMatch>>,
    /// `disallowed_headers`: but not these.
    pub disallowed: Vec<StringMatch>,
    /// `with_request_body`: how much of the body the service gets.
    pub body: Option<CheckedBody>,
    /// What becomes of a request when the service has not decided.
    pub on_error: OnError,
    /// `status_on_error`: of the response to a request that is refused though no service has denied it.
    pub status_on_error: StatusCode,
    /// `max_denied_response_body_bytes`: a longer body of a denial is cut.
    pub denied_bytes_max: Option<NonZeroU32>,
    /// `clear_route_cache`: a request that the service has changed looks for its route anew.
    pub clears_route: bool,
    /// `charge_cluster_response_stats`: a denial counts as a response of the route's cluster.
    pub charges_cluster: bool,
    /// `stat_prefix`
    pub stat_prefix: String,
    /// `validate_mutations`: a parameter that needs escapes makes the response invalid. Names and values that no message can have
    /// always do.
    pub validates_mutations: bool,
    /// What a service that speaks gRPC gets besides.
    pub attributes: Arc<CheckAttributes>,
    /// `decoder_header_mutation_rules`: which headers of the request the service may change.
    pub rules: Option<Arc<MutationRules>>,
    /// `enable_dynamic_metadata_ingestion`: what the service leaves as metadata is kept.
    pub keeps_metadata: bool,
    /// `shadow_mode`: what the service decides is counted, and every request goes on.
    pub is_shadow: bool,
    /// `clear_route_cache_headers`: the route is looked for anew only if one of these has changed, or the query; empty is any change.
    pub clearing: Vec<HeaderName>,
}

/// What decides.
#[derive(Clone, Debug)]
pub enum AuthorisationService {
    /// `grpc_service`
    Grpc(Arc<GrpcService>),
    /// `http_service`
    Http(Arc<HttpAuthorisation>),
}

/// What a service that speaks gRPC gets besides method, target and addresses.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct CheckAttributes {
    /// `pack_as_bytes` of the filter.
    pub body: Body,
    /// `context_extensions` of all levels.
    pub extensions: BTreeMap<String, String>,
    /// `include_peer_certificate`
    pub has_certificate: bool,
    /// `include_tls_session`
    pub has_tls_session: bool,
    /// `encode_raw_headers`
    pub headers: HeaderForm,
    /// `metadata_context_namespaces`
    pub metadata_namespaces: Vec<String>,
    /// `route_metadata_context_namespaces`
    pub route_namespaces: Vec<String>,
}

/// The field in which a service gets a body.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Body {
    /// `raw_body`
    Bytes,
    /// `body`
    #[default]
    Text,
}

/// How a service gets headers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HeaderForm {
    /// `headers`: those of one name joined.
    #[default]
    Joined,
    /// `header_map`: each as it came.
    Raw,
}

/// `with_request_body`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CheckedBody {
    /// `max_request_bytes`
    pub bytes_max: NonZeroU32,
    /// `allow_partial_message`
    pub larger: LargerBody,
}

/// What becomes of a request whose body is larger than the service may get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LargerBody {
    /// The service gets the beginning.
    Cut,
    /// It is refused.
    Refused,
}

/// `failure_mode_allow`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnError {
    /// The request goes on.
    Allow,
    /// The request goes on, and says so (`failure_mode_allow_header_add`).
    AllowMarked,
    /// The request is refused.
    Deny,
}

/// The path of what is sent to a service that speaks HTTP.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CheckPath {
    /// `path_override`
    Own(HeaderValue),
    /// That of the request, behind `path_prefix`, which may be empty.
    Prefixed(Option<HeaderValue>),
}

/// `http_service`
#[derive(Clone, Debug)]
pub struct HttpAuthorisation {
    /// Where it is, and how long it may take.
    pub to: Arc<Service>,
    /// The path of what is sent to it.
    pub path: CheckPath,
    /// `headers_to_add`: set in what the service gets.
    pub edits: Edits,
    /// `allowed_upstream_headers`: of a response that allows a request, these are set in the request.
    pub upstream: Vec<StringMatch>,
    /// `allowed_upstream_headers_to_append`: these are added to it.
    pub upstream_appended: Vec<StringMatch>,
    /// `allowed_client_headers`: of a response that denies a request, these are sent to the client; `None` is all but the host.
    pub client: Option<Vec<StringMatch>>,
    /// `allowed_client_headers_on_success`: of one that allows it, these are added to the response.
    pub client_on_success: Vec<StringMatch>,
    /// `dynamic_metadata_from_headers`: these are left for logs and other filters.
    pub metadata: Vec<StringMatch>,
}
