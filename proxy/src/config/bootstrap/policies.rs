//! What routes do about responses of upstreams, and about their absence: retries, hedging and redirects, as written.

use serde::Deserialize;

use super::matchers::{HeaderMatcher, RegexMatchAndSubstitute};
use super::metadata::Metadata;
use crate::config::constraints::{AtLeastOne, HeaderName, NonEmpty, Positive};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.config.route.v3.InternalRedirectPolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct InternalRedirectPolicy {
    #[serde(default)]
    pub(crate) allow_cross_scheme_redirect: bool,
    pub(crate) max_internal_redirects: Option<u32>,
    #[serde(default)]
    pub(crate) predicates: Vec<InternalRedirectPredicate>,
    #[serde(default)]
    pub(crate) redirect_response_codes: Vec<u32>,
    #[serde(default)]
    pub(crate) response_headers_to_copy: Vec<At<HeaderName>>,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of a redirect's predicate
#[derive(Debug, Deserialize)]
pub(crate) struct InternalRedirectPredicate {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: RedirectPredicateConfig,
}

/// The predicates of redirects there are.
#[derive(Debug, Deserialize)]
pub(crate) enum RedirectPredicateConfig {
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig"
    )]
    AllowListedRoutes(AllowListedRoutesConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig")]
    PreviousRoutes(PreviousRoutesConfig),
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig"
    )]
    SafeCrossScheme(SafeCrossSchemeConfig),
}

/// `envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct AllowListedRoutesConfig {
    #[serde(default)]
    pub(crate) allowed_route_names: Vec<NonEmpty>,
}

/// `envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct PreviousRoutesConfig {}

/// `envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct SafeCrossSchemeConfig {}

/// `envoy.config.route.v3.RouteAction.HashPolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct HashPolicy {
    pub(crate) connection_properties: Option<HashedConnection>,
    pub(crate) cookie: Option<HashedCookie>,
    pub(crate) filter_state: Option<HashedFilterState>,
    pub(crate) header: Option<HashedHeader>,
    pub(crate) query_parameter: Option<HashedQueryParameter>,
    #[serde(default)]
    pub(crate) terminal: bool,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct HashedConnection {
    #[serde(default)]
    pub(crate) source_ip: bool,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.Cookie`
#[derive(Debug, Deserialize)]
pub(crate) struct HashedCookie {
    #[serde(default)]
    pub(crate) attributes: Vec<CookieAttribute>,
    pub(crate) name: NonEmpty,
    pub(crate) path: Option<String>,
    pub(crate) ttl: Option<Seconds>,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute`
#[derive(Debug, Deserialize)]
pub(crate) struct CookieAttribute {
    pub(crate) name: NonEmpty,
    #[serde(default)]
    pub(crate) value: String,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.FilterState`
#[derive(Debug, Deserialize)]
pub(crate) struct HashedFilterState {
    #[expect(dead_code, reason = "no object of filter state that can be hashed exists; having read it is the check")]
    pub(crate) key: NonEmpty,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.Header`
#[derive(Debug, Deserialize)]
pub(crate) struct HashedHeader {
    pub(crate) header_name: HeaderName,
    pub(crate) regex_rewrite: Option<RegexMatchAndSubstitute>,
}

/// `envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter`
#[derive(Debug, Deserialize)]
pub(crate) struct HashedQueryParameter {
    pub(crate) name: NonEmpty,
}

/// `envoy.config.route.v3.HedgePolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct HedgePolicy {
    #[serde(default)]
    pub(crate) hedge_on_per_try_timeout: bool,
    pub(crate) initial_requests: Option<At<AtLeastOne>>,
}

/// `envoy.config.route.v3.RetryPolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct RetryPolicy {
    pub(crate) host_selection_retry_max_attempts: Option<u32>,
    pub(crate) num_retries: Option<u32>,
    pub(crate) per_try_idle_timeout: Option<Seconds>,
    pub(crate) per_try_timeout: Option<Seconds>,
    pub(crate) rate_limited_retry_back_off: Option<At<RateLimitedRetryBackOff>>,
    #[serde(default)]
    pub(crate) retriable_headers: Vec<At<HeaderMatcher>>,
    #[serde(default)]
    pub(crate) retriable_request_headers: Vec<At<HeaderMatcher>>,
    #[serde(default)]
    pub(crate) retriable_status_codes: Vec<u16>,
    pub(crate) retry_back_off: Option<At<RetryBackOff>>,
    #[serde(default)]
    pub(crate) retry_host_predicate: Vec<RetryHostPredicate>,
    pub(crate) retry_on: Option<At<String>>,
    pub(crate) retry_priority: Option<RetryPriority>,
}

/// `envoy.config.route.v3.RetryPolicy.RetryHostPredicate`
#[derive(Debug, Deserialize)]
pub(crate) struct RetryHostPredicate {
    #[expect(dead_code, reason = "the type tells; having read it is the check")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: HostPredicate,
}

/// The host predicates there are.
#[derive(Debug, Deserialize)]
pub(crate) enum HostPredicate {
    #[serde(rename = "type.googleapis.com/envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate")]
    OmitCanaryHosts(OmitCanaryHostsPredicate),
    #[serde(rename = "type.googleapis.com/envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig")]
    OmitHostMetadata(OmitHostMetadataConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")]
    PreviousHosts(PreviousHostsPredicate),
}

/// `envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct OmitCanaryHostsPredicate {}

/// `envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct OmitHostMetadataConfig {
    pub(crate) metadata_match: Option<At<Metadata>>,
}

/// `envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct PreviousHostsPredicate {}

/// `envoy.config.route.v3.RetryPolicy.RetryPriority`
#[derive(Debug, Deserialize)]
pub(crate) struct RetryPriority {
    #[expect(dead_code, reason = "the type tells; having read it is the check")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: PriorityChoice,
}

/// The ways to choose the priority of a retry.
#[derive(Debug, Deserialize)]
pub(crate) enum PriorityChoice {
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
    )]
    PreviousPriorities(PreviousPrioritiesConfig),
}

/// `envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct PreviousPrioritiesConfig {
    pub(crate) update_frequency: AtLeastOne,
}

/// `envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitedRetryBackOff {
    pub(crate) max_interval: Option<Positive>,
    #[serde(default)]
    pub(crate) reset_headers: Vec<ResetHeader>,
}

/// `envoy.config.route.v3.RetryPolicy.ResetHeader`
#[derive(Debug, Deserialize)]
pub(crate) struct ResetHeader {
    pub(crate) format: Option<ResetHeaderFormat>,
    pub(crate) name: HeaderName,
}

/// `envoy.config.route.v3.RetryPolicy.ResetHeaderFormat`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ResetHeaderFormat {
    #[serde(rename = "SECONDS")]
    Seconds,
    #[serde(rename = "UNIX_TIMESTAMP")]
    UnixTimestamp,
}

/// `envoy.config.route.v3.RetryPolicy.RetryBackOff`
#[derive(Debug, Deserialize)]
pub(crate) struct RetryBackOff {
    pub(crate) base_interval: Positive,
    pub(crate) max_interval: Option<At<Seconds>>,
}

/// `envoy.config.core.v3.RetryPolicy`, which is that of the requests that filters make
#[derive(Debug, Deserialize)]
pub(crate) struct CoreRetryPolicy {
    pub(crate) num_retries: Option<u32>,
    pub(crate) retry_back_off: Option<At<RetryBackOff>>,
    pub(crate) retry_on: Option<At<String>>,
}
