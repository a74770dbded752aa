//! Route configurations, as written.

use serde::Deserialize;

use super::cluster::RoutingPriority;
use super::filter::{CorsPolicy, HeaderMutationRule, HeaderValueOption, HttpFilter, TypedPerFilterConfig};
use super::matchers::{HeaderMatcher, RegexMatchAndSubstitute};
use super::metadata::Metadata;
use super::policies::{HashPolicy, HedgePolicy, InternalRedirectPolicy, RetryPolicy};
use super::proxy_protocol::ProxyProtocolConfig;
use super::rate_limit::RateLimit;
use super::route_match::RouteMatch;
use super::tracing::{Decorator, RouteTracing};
use super::{DataSource, RuntimeFractionalPercent};
use crate::config::constraints::{HeaderName, HeaderText, NonEmpty, OneLine};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.config.route.v3.RouteConfiguration`
#[derive(Debug, Deserialize)]
pub(crate) struct RouteConfiguration {
    #[serde(default)]
    pub(crate) request_mirror_policies: Vec<At<RequestMirrorPolicy>>,
    #[serde(default)]
    pub(crate) ignore_path_parameters_in_path_matching: bool,
    #[serde(default)]
    pub(crate) ignore_port_in_host_matching: bool,
    #[serde(default)]
    pub(crate) internal_only_headers: Vec<HeaderName>,
    #[serde(default)]
    pub(crate) most_specific_header_mutations_wins: bool,
    #[expect(dead_code, reason = "names a resource for RDS")]
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) request_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) request_headers_to_remove: Vec<At<HeaderName>>,
    #[serde(default)]
    pub(crate) response_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) response_headers_to_remove: Vec<At<HeaderName>>,
    #[serde(default)]
    pub(crate) typed_per_filter_config: TypedPerFilterConfig,
    pub(crate) validate_clusters: Option<bool>,
    #[serde(default)]
    pub(crate) virtual_hosts: Vec<At<VirtualHost>>,
}

/// `envoy.config.route.v3.VirtualHost`
#[derive(Debug, Deserialize)]
pub(crate) struct VirtualHost {
    pub(crate) name: NonEmpty,
    pub(crate) cors: Option<Box<CorsPolicy>>,
    pub(crate) domains: At<Vec<At<OneLine>>>,
    pub(crate) hedge_policy: Option<HedgePolicy>,
    pub(crate) include_attempt_count_in_response: Option<bool>,
    #[serde(default)]
    pub(crate) include_is_timeout_retry_header: bool,
    pub(crate) include_request_attempt_count: Option<bool>,
    pub(crate) per_request_buffer_limit_bytes: Option<u32>,
    #[serde(default)]
    pub(crate) rate_limits: Vec<At<RateLimit>>,
    pub(crate) request_body_buffer_limit: Option<At<u32>>,
    #[serde(default)]
    pub(crate) request_mirror_policies: Vec<At<RequestMirrorPolicy>>,
    #[serde(default)]
    pub(crate) request_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) request_headers_to_remove: Vec<At<HeaderName>>,
    pub(crate) require_tls: Option<TlsRequirementType>,
    #[serde(default)]
    pub(crate) response_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) response_headers_to_remove: Vec<At<HeaderName>>,
    pub(crate) retry_policy: Option<RetryPolicy>,
    #[serde(default)]
    pub(crate) routes: Vec<At<Route>>,
    #[serde(default)]
    pub(crate) typed_per_filter_config: TypedPerFilterConfig,
    #[serde(default)]
    pub(crate) virtual_clusters: Vec<At<VirtualCluster>>,
}

/// `envoy.config.route.v3.VirtualCluster`
#[derive(Debug, Deserialize)]
pub(crate) struct VirtualCluster {
    #[serde(default)]
    pub(crate) headers: Vec<At<HeaderMatcher>>,
    pub(crate) name: NonEmpty,
}

/// `envoy.config.route.v3.Route`
#[derive(Debug, Deserialize)]
pub(crate) struct Route {
    #[serde(default)]
    pub(crate) name: String,
    pub(crate) r#match: At<RouteMatch>,
    pub(crate) decorator: Option<Decorator>,
    pub(crate) metadata: Option<At<Metadata>>,
    pub(crate) direct_response: Option<At<DirectResponseAction>>,
    pub(crate) non_forwarding_action: Option<NonForwardingAction>,
    pub(crate) per_request_buffer_limit_bytes: Option<u32>,
    pub(crate) redirect: Option<At<RedirectAction>>,
    pub(crate) request_body_buffer_limit: Option<At<u32>>,
    #[serde(default)]
    pub(crate) request_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) request_headers_to_remove: Vec<At<HeaderName>>,
    #[serde(default)]
    pub(crate) response_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) response_headers_to_remove: Vec<At<HeaderName>>,
    pub(crate) route: Option<At<RouteAction>>,
    #[serde(default)]
    pub(crate) stat_prefix: String,
    pub(crate) tracing: Option<RouteTracing>,
    #[serde(default)]
    pub(crate) typed_per_filter_config: TypedPerFilterConfig,
}

/// `envoy.config.route.v3.NonForwardingAction`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct NonForwardingAction {}

/// `envoy.config.core.v3.TypedExtensionConfig` of a path rewrite
#[derive(Debug, Deserialize)]
pub(crate) struct PathRewritePolicy {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: PathRewriter,
}

/// The path rewriters there are.
#[derive(Debug, Deserialize)]
pub(crate) enum PathRewriter {
    #[serde(rename = "type.googleapis.com/envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig")]
    UriTemplate(UriTemplateRewriteConfig),
}

/// `envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct UriTemplateRewriteConfig {
    pub(crate) path_template_rewrite: At<NonEmpty>,
}

/// `envoy.config.route.v3.RedirectAction.RedirectResponseCode`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum RedirectResponseCode {
    #[serde(rename = "MOVED_PERMANENTLY")]
    MovedPermanently,
    #[serde(rename = "FOUND")]
    Found,
    #[serde(rename = "SEE_OTHER")]
    SeeOther,
    #[serde(rename = "TEMPORARY_REDIRECT")]
    TemporaryRedirect,
    #[serde(rename = "PERMANENT_REDIRECT")]
    PermanentRedirect,
}

/// `envoy.config.route.v3.VirtualHost.TlsRequirementType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum TlsRequirementType {
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "EXTERNAL_ONLY")]
    ExternalOnly,
    #[serde(rename = "ALL")]
    All,
}

/// `envoy.config.route.v3.RouteAction`
#[derive(Debug, Deserialize)]
pub(crate) struct RouteAction {
    #[serde(default)]
    pub(crate) append_x_forwarded_host: bool,
    #[serde(default)]
    pub(crate) auto_host_rewrite: bool,
    pub(crate) cluster: Option<At<String>>,
    pub(crate) cluster_header: Option<At<HeaderName>>,
    pub(crate) cluster_not_found_response_code: Option<ClusterNotFoundResponseCode>,
    pub(crate) cors: Option<Box<CorsPolicy>>,
    pub(crate) flush_timeout: Option<Seconds>,
    pub(crate) grpc_timeout_offset: Option<Seconds>,
    #[serde(default)]
    pub(crate) hash_policy: Vec<At<HashPolicy>>,
    pub(crate) hedge_policy: Option<HedgePolicy>,
    pub(crate) host_rewrite: Option<At<String>>,
    pub(crate) host_rewrite_header: Option<At<HeaderName>>,
    pub(crate) host_rewrite_literal: Option<At<String>>,
    pub(crate) host_rewrite_path_regex: Option<At<RegexMatchAndSubstitute>>,
    pub(crate) idle_timeout: Option<Seconds>,
    pub(crate) include_vh_rate_limits: Option<bool>,
    pub(crate) internal_redirect_policy: Option<At<InternalRedirectPolicy>>,
    pub(crate) max_grpc_timeout: Option<Seconds>,
    pub(crate) metadata_match: Option<At<Metadata>>,
    pub(crate) max_stream_duration: Option<MaxStreamDuration>,
    pub(crate) path_rewrite: Option<At<String>>,
    pub(crate) path_rewrite_policy: Option<PathRewritePolicy>,
    pub(crate) prefix_rewrite: Option<At<String>>,
    pub(crate) priority: Option<RoutingPriority>,
    #[serde(default)]
    pub(crate) rate_limits: Vec<At<RateLimit>>,
    pub(crate) regex_rewrite: Option<At<RegexMatchAndSubstitute>>,
    #[serde(default)]
    pub(crate) request_mirror_policies: Vec<At<RequestMirrorPolicy>>,
    pub(crate) retry_policy: Option<RetryPolicy>,
    pub(crate) timeout: Option<Seconds>,
    #[serde(default)]
    pub(crate) upgrade_configs: Vec<At<UpgradeConfig>>,
    pub(crate) weighted_clusters: Option<At<WeightedCluster>>,
}

/// `envoy.config.route.v3.RouteAction.RequestMirrorPolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct RequestMirrorPolicy {
    pub(crate) cluster: Option<At<String>>,
    pub(crate) cluster_header: Option<At<HeaderName>>,
    #[serde(default)]
    pub(crate) disable_shadow_host_suffix_append: bool,
    pub(crate) host_rewrite_literal: Option<At<String>>,
    #[serde(default)]
    pub(crate) request_headers_mutations: Vec<At<HeaderMutationRule>>,
    pub(crate) runtime_fraction: Option<RuntimeFractionalPercent>,
}

/// `envoy.config.route.v3.WeightedCluster`
#[derive(Debug, Deserialize)]
pub(crate) struct WeightedCluster {
    #[serde(default)]
    pub(crate) clusters: Vec<At<ClusterWeight>>,
    pub(crate) header_name: Option<HeaderName>,
    #[serde(default)]
    pub(crate) runtime_key_prefix: String,
}

/// `envoy.config.route.v3.WeightedCluster.ClusterWeight`
#[derive(Debug, Deserialize)]
pub(crate) struct ClusterWeight {
    pub(crate) cluster_header: Option<At<HeaderName>>,
    pub(crate) host_rewrite_literal: Option<At<String>>,
    pub(crate) metadata_match: Option<At<Metadata>>,
    pub(crate) name: Option<At<String>>,
    #[serde(default)]
    pub(crate) request_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) request_headers_to_remove: Vec<At<HeaderName>>,
    #[serde(default)]
    pub(crate) response_headers_to_add: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) response_headers_to_remove: Vec<At<HeaderName>>,
    #[serde(default)]
    pub(crate) typed_per_filter_config: TypedPerFilterConfig,
    pub(crate) weight: At<u32>,
}

/// `envoy.config.route.v3.RouteAction.MaxStreamDuration`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct MaxStreamDuration {
    pub(crate) grpc_timeout_header_max: Option<Seconds>,
    pub(crate) grpc_timeout_header_offset: Option<Seconds>,
    pub(crate) max_stream_duration: Option<Seconds>,
}

/// `envoy.config.route.v3.RouteAction.ClusterNotFoundResponseCode`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ClusterNotFoundResponseCode {
    #[serde(rename = "SERVICE_UNAVAILABLE")]
    ServiceUnavailable,
    #[serde(rename = "NOT_FOUND")]
    NotFound,
    #[serde(rename = "INTERNAL_SERVER_ERROR")]
    InternalServerError,
}

/// `HttpConnectionManager.UpgradeConfig`; with fewer fields also `RouteAction.UpgradeConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct UpgradeConfig {
    pub(crate) connect_config: Option<At<ConnectConfig>>,
    pub(crate) upgrade_type: At<OneLine>,
    pub(crate) enabled: Option<bool>,
    pub(crate) filters: Option<At<Vec<At<HttpFilter>>>>,
}

/// `RouteAction.UpgradeConfig.ConnectConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct ConnectConfig {
    #[serde(default)]
    pub(crate) allow_post: bool,
    pub(crate) proxy_protocol_config: Option<At<ProxyProtocolConfig>>,
}

/// `envoy.config.route.v3.DirectResponseAction`
#[derive(Debug, Deserialize)]
pub(crate) struct DirectResponseAction {
    pub(crate) status: At<u16>,
    pub(crate) body: Option<At<DataSource>>,
}

/// `envoy.config.route.v3.RedirectAction`
#[derive(Debug, Deserialize)]
pub(crate) struct RedirectAction {
    pub(crate) host_redirect: Option<HeaderText>,
    pub(crate) https_redirect: Option<bool>,
    pub(crate) path_redirect: Option<HeaderText>,
    pub(crate) port_redirect: Option<At<u32>>,
    pub(crate) prefix_rewrite: Option<HeaderText>,
    pub(crate) regex_rewrite: Option<RegexMatchAndSubstitute>,
    pub(crate) response_code: Option<RedirectResponseCode>,
    pub(crate) scheme_redirect: Option<At<HeaderText>>,
    #[serde(default)]
    pub(crate) strip_query: bool,
}
