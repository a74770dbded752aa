//! HTTP filters and what routes say of them, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Percent;
use super::compression::{Compressor, CompressorPerRoute, Decompressor};
use super::ext_authz::{ApiVersion, ExtAuthz, ExtAuthzPerRoute};
use super::fault::HttpFault;
use super::filter_state::HttpSetFilterState;
use super::forward_proxy::{ForwardProxyFilter, ForwardProxyPerRoute};
use super::grpc_service::CoreGrpcService;
use super::header_to_metadata::HeaderToMetadata;
use super::jwt_authn::{JwtAuthentication, JwtPerRoute};
use super::lua::{Lua, LuaPerRoute};
use super::matchers::HeaderMatcher;
use super::network_filter::Rbac;
use super::rate_limit::{
    HttpStatus, LocalRateLimitDescriptor, RateLimit, TokenBucket, VhRateLimitsOptions, XRateLimitHeadersRfcVersion,
};
use super::rule_tree::UnifiedMatcher;
use super::{DataSource, HeaderValue, RuntimeFractionalPercent, StringMatcher};
use crate::config::constraints::{AtLeastOne, HeaderName, HeaderText, NonEmpty};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Tree};

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpFilter {
    pub(crate) name: NonEmpty,
    pub(crate) disabled: Option<At<bool>>,
    pub(crate) typed_config: HttpFilterConfig,
}

/// The HTTP filters there are.
#[derive(Debug, Deserialize)]
pub(crate) enum HttpFilterConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuth")]
    BasicAuth(Box<BasicAuth>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer")]
    Buffer(Buffer),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor")]
    Compressor(Box<Compressor>),
    // Envoy takes the type of a route's policy for it as well, and nothing of what it says.
    #[serde(
        rename = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors",
        alias = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy"
    )]
    Cors(Empty),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.csrf.v3.CsrfPolicy")]
    Csrf(CsrfPolicy),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.decompressor.v3.Decompressor")]
    Decompressor(Box<Decompressor>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz")]
    ExtAuthz(Box<ExtAuthz>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault")]
    Fault(Box<HttpFault>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig")]
    ForwardProxy(Box<ForwardProxyFilter>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig")]
    GrpcStats(GrpcStatsConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.grpc_web.v3.GrpcWeb")]
    GrpcWeb(Empty),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation")]
    HeaderMutation(HeaderMutation),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config")]
    HeaderToMetadata(HeaderToMetadata),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.health_check.v3.HealthCheck")]
    HealthCheck(HealthCheckFilter),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication")]
    JwtAuthn(Box<JwtAuthentication>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit")]
    LocalRateLimit(Box<LocalRateLimit>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua")]
    Lua(Box<Lua>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit")]
    RateLimit(Box<HttpRateLimit>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC")]
    Rbac(HttpRbac),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router")]
    Router(Router),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config")]
    SetFilterState(HttpSetFilterState),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config")]
    SetMetadata(SetMetadata),
}

/// `envoy.extensions.filters.http.router.v3.Router`
#[derive(Debug, Deserialize)]
pub(crate) struct Router {
    pub(crate) dynamic_stats: Option<bool>,
    #[serde(default)]
    pub(crate) respect_expected_rq_timeout: bool,
    #[serde(default)]
    pub(crate) strict_check_headers: Vec<At<String>>,
    #[serde(default)]
    pub(crate) suppress_envoy_headers: bool,
    #[serde(default)]
    pub(crate) suppress_grpc_request_failure_code_stats: bool,
}

/// `envoy.extensions.filters.http.grpc_stats.v3.FilterConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct GrpcStatsConfig {
    #[serde(default)]
    pub(crate) emit_filter_state: bool,
    #[serde(default)]
    pub(crate) enable_upstream_stats: bool,
    pub(crate) individual_method_stats_allowlist: Option<At<GrpcMethodList>>,
    #[serde(default)]
    pub(crate) replace_dots_in_grpc_service_name: bool,
    pub(crate) stats_for_all_methods: Option<bool>,
}

/// `envoy.config.core.v3.GrpcMethodList`
#[derive(Debug, Deserialize)]
pub(crate) struct GrpcMethodList {
    #[serde(default)]
    pub(crate) services: Vec<GrpcService>,
}

/// `envoy.config.core.v3.GrpcMethodList.Service`
#[derive(Debug, Deserialize)]
pub(crate) struct GrpcService {
    pub(crate) method_names: Vec<String>,
    pub(crate) name: NonEmpty,
}

/// `envoy.extensions.filters.http.basic_auth.v3.BasicAuth`
#[derive(Debug, Deserialize)]
pub(crate) struct BasicAuth {
    #[serde(default)]
    pub(crate) allow_missing: bool,
    pub(crate) authentication_header: Option<At<String>>,
    #[serde(default)]
    pub(crate) emit_dynamic_metadata: bool,
    pub(crate) forward_username_header: Option<At<String>>,
    pub(crate) users: At<DataSource>,
}

/// `envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute`
#[derive(Debug, Deserialize)]
pub(crate) struct BasicAuthPerRoute {
    pub(crate) users: At<DataSource>,
}

/// `envoy.extensions.filters.http.buffer.v3.Buffer`
#[derive(Debug, Deserialize)]
pub(crate) struct Buffer {
    pub(crate) max_request_bytes: At<u32>,
}

/// `envoy.extensions.filters.http.set_metadata.v3.Config`
#[derive(Debug, Deserialize)]
pub(crate) struct SetMetadata {
    #[serde(default)]
    pub(crate) metadata: Vec<MetadataEntry>,
    pub(crate) metadata_namespace: Option<String>,
    pub(crate) value: Option<At<Tree>>,
}

/// `envoy.extensions.filters.http.set_metadata.v3.Metadata`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataEntry {
    #[serde(default)]
    pub(crate) allow_overwrite: bool,
    pub(crate) metadata_namespace: NonEmpty,
    pub(crate) value: Option<At<Tree>>,
}

/// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutation`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderMutation {
    pub(crate) most_specific_header_mutations_wins: Option<bool>,
    pub(crate) mutations: Option<Mutations>,
}

/// `envoy.extensions.filters.http.header_mutation.v3.Mutations`
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Mutations {
    #[serde(default)]
    pub(crate) query_parameter_mutations: Vec<At<KeyValueMutation>>,
    #[serde(default)]
    pub(crate) request_mutations: Vec<At<HeaderMutationRule>>,
    #[serde(default)]
    pub(crate) response_mutations: Vec<At<HeaderMutationRule>>,
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutation`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderMutationRule {
    pub(crate) append: Option<At<HeaderValueOption>>,
    pub(crate) remove: Option<At<HeaderName>>,
}

/// `envoy.config.core.v3.HeaderValueOption`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderValueOption {
    pub(crate) append: Option<At<bool>>,
    pub(crate) append_action: Option<AppendAction>,
    pub(crate) header: HeaderValue,
    #[serde(default)]
    pub(crate) keep_empty_value: bool,
}

/// `HeaderValueOption.HeaderAppendAction` and `KeyValueAppend.KeyValueAppendAction` of `envoy.config.core.v3`, which have the
/// same values
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum AppendAction {
    #[serde(rename = "APPEND_IF_EXISTS_OR_ADD")]
    AppendIfExistsOrAdd,
    #[serde(rename = "ADD_IF_ABSENT")]
    AddIfAbsent,
    #[serde(rename = "OVERWRITE_IF_EXISTS_OR_ADD")]
    OverwriteIfExistsOrAdd,
    #[serde(rename = "OVERWRITE_IF_EXISTS")]
    OverwriteIfExists,
}

/// `envoy.config.core.v3.KeyValueMutation`
#[derive(Debug, Deserialize)]
pub(crate) struct KeyValueMutation {
    pub(crate) append: Option<At<KeyValueAppend>>,
    pub(crate) remove: Option<At<String>>,
}

/// `envoy.config.core.v3.KeyValueAppend`
#[derive(Debug, Deserialize)]
pub(crate) struct KeyValueAppend {
    pub(crate) action: Option<AppendAction>,
    pub(crate) record: KeyValuePair,
}

/// `envoy.config.core.v3.KeyValuePair`, whose value Envoy takes only as text here
#[derive(Debug, Deserialize)]
pub(crate) struct KeyValuePair {
    pub(crate) key: NonEmpty,
    pub(crate) value: At<String>,
}

/// `typed_per_filter_config`, by the names of filters
pub(crate) type TypedPerFilterConfig = BTreeMap<String, At<PerFilterConfig>>;

/// What a route, or something above it, may say of a filter.
#[derive(Debug, Deserialize)]
pub(crate) enum PerFilterConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute")]
    BasicAuth(Box<BasicAuthPerRoute>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute")]
    Buffer(BufferPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.CompressorPerRoute")]
    Compressor(Box<CompressorPerRoute>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy")]
    Cors(Box<CorsPolicy>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.csrf.v3.CsrfPolicy")]
    Csrf(CsrfPolicy),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute")]
    ExtAuthz(Box<ExtAuthzPerRoute>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault")]
    Fault(Box<HttpFault>),
    #[serde(rename = "type.googleapis.com/envoy.config.route.v3.FilterConfig")]
    FilterConfig(FilterConfig),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig")]
    ForwardProxy(ForwardProxyPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute")]
    HeaderMutation(HeaderMutationPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config")]
    HeaderToMetadata(HeaderToMetadata),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig")]
    JwtAuthn(JwtPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit")]
    LocalRateLimit(Box<LocalRateLimit>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute")]
    Lua(Box<LuaPerRoute>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute")]
    RateLimit(RateLimitPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute")]
    Rbac(RbacPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config")]
    SetFilterState(HttpSetFilterState),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config")]
    SetMetadata(SetMetadata),
}

/// `envoy.config.route.v3.FilterConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct FilterConfig {
    pub(crate) config: Option<At<PerRouteConfig>>,
    #[serde(default)]
    pub(crate) disabled: bool,
}

/// The same configurations inside a [`FilterConfig`].
#[derive(Debug, Deserialize)]
pub(crate) enum PerRouteConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.basic_auth.v3.BasicAuthPerRoute")]
    BasicAuth(Box<BasicAuthPerRoute>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.BufferPerRoute")]
    Buffer(BufferPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.compressor.v3.CompressorPerRoute")]
    Compressor(Box<CompressorPerRoute>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy")]
    Cors(Box<CorsPolicy>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.csrf.v3.CsrfPolicy")]
    Csrf(CsrfPolicy),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute")]
    ExtAuthz(Box<ExtAuthzPerRoute>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault")]
    Fault(Box<HttpFault>),
    /// `{}` has no type: it configures nothing, and switches the filter on.
    #[serde(rename = "")]
    Empty(Empty),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.dynamic_forward_proxy.v3.PerRouteConfig")]
    ForwardProxy(ForwardProxyPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute")]
    HeaderMutation(HeaderMutationPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config")]
    HeaderToMetadata(HeaderToMetadata),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig")]
    JwtAuthn(JwtPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit")]
    LocalRateLimit(Box<LocalRateLimit>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.LuaPerRoute")]
    Lua(Box<LuaPerRoute>),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute")]
    RateLimit(RateLimitPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBACPerRoute")]
    Rbac(RbacPerRoute),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config")]
    SetFilterState(HttpSetFilterState),
    #[serde(rename = "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config")]
    SetMetadata(SetMetadata),
}

/// `envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit`
#[derive(Debug, Deserialize)]
pub(crate) struct LocalRateLimit {
    pub(crate) always_consume_default_token_bucket: Option<bool>,
    #[serde(default)]
    pub(crate) descriptors: Vec<At<LocalRateLimitDescriptor>>,
    pub(crate) enable_x_ratelimit_headers: Option<XRateLimitHeadersRfcVersion>,
    pub(crate) filter_enabled: Option<RuntimeFractionalPercent>,
    pub(crate) filter_enforced: Option<RuntimeFractionalPercent>,
    pub(crate) local_cluster_rate_limit: Option<At<Empty>>,
    #[serde(default)]
    pub(crate) local_rate_limit_per_downstream_connection: bool,
    pub(crate) max_dynamic_descriptors: Option<AtLeastOne>,
    #[serde(default)]
    pub(crate) rate_limited_as_resource_exhausted: bool,
    #[serde(default)]
    pub(crate) rate_limits: Vec<At<RateLimit>>,
    #[serde(default)]
    pub(crate) request_headers_to_add_when_not_enforced: Vec<At<HeaderValueOption>>,
    #[serde(default)]
    pub(crate) response_headers_to_add: Vec<At<HeaderValueOption>>,
    pub(crate) stage: Option<At<u32>>,
    pub(crate) stat_prefix: NonEmpty,
    pub(crate) status: Option<HttpStatus>,
    pub(crate) token_bucket: Option<At<TokenBucket>>,
    pub(crate) vh_rate_limits: Option<VhRateLimitsOptions>,
}

/// `envoy.extensions.filters.http.ratelimit.v3.RateLimit`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpRateLimit {
    #[serde(default)]
    pub(crate) disable_x_envoy_ratelimited_header: bool,
    pub(crate) domain: NonEmpty,
    #[serde(default)]
    pub(crate) enable_retry_after_header: bool,
    pub(crate) enable_x_ratelimit_headers: Option<XRateLimitHeadersRfcVersion>,
    #[serde(default)]
    pub(crate) failure_mode_deny: bool,
    pub(crate) failure_mode_deny_percent: Option<RuntimeFractionalPercent>,
    pub(crate) filter_enabled: Option<RuntimeFractionalPercent>,
    pub(crate) filter_enforced: Option<RuntimeFractionalPercent>,
    #[serde(default)]
    pub(crate) metadata_namespace: String,
    #[serde(default)]
    pub(crate) rate_limited_as_resource_exhausted: bool,
    pub(crate) rate_limited_status: Option<HttpStatus>,
    pub(crate) rate_limit_service: RateLimitServiceConfig,
    #[serde(default)]
    pub(crate) rate_limits: Vec<At<RateLimit>>,
    pub(crate) request_type: Option<At<String>>,
    #[serde(default)]
    pub(crate) response_headers_to_add: Vec<At<HeaderValueOption>>,
    pub(crate) stage: Option<At<u32>>,
    #[serde(default)]
    pub(crate) stat_prefix: String,
    pub(crate) status_on_error: Option<HttpStatus>,
    pub(crate) timeout: Option<Seconds>,
}

/// `envoy.config.ratelimit.v3.RateLimitServiceConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitServiceConfig {
    pub(crate) grpc_service: At<CoreGrpcService>,
    #[expect(dead_code, reason = "there is one version of the API; having read it is the check")]
    pub(crate) transport_api_version: Option<ApiVersion>,
}

/// `envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute`
#[derive(Debug, Deserialize)]
pub(crate) struct RateLimitPerRoute {
    #[serde(default)]
    pub(crate) domain: String,
    pub(crate) override_option: Option<At<RateLimitOverrideOption>>,
    #[serde(default)]
    pub(crate) rate_limits: Vec<At<RateLimit>>,
    pub(crate) vh_rate_limits: Option<VhRateLimitsOptions>,
}

/// `envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute.OverrideOptions`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum RateLimitOverrideOption {
    #[serde(rename = "DEFAULT")]
    Default,
    #[serde(rename = "OVERRIDE_POLICY")]
    Override,
    #[serde(rename = "INCLUDE_POLICY")]
    Include,
    #[serde(rename = "IGNORE_POLICY")]
    Ignore,
}

/// `envoy.extensions.filters.http.health_check.v3.HealthCheck`
#[derive(Debug, Deserialize)]
pub(crate) struct HealthCheckFilter {
    pub(crate) cache_time: Option<At<Seconds>>,
    #[serde(default)]
    pub(crate) cluster_min_healthy_percentages: BTreeMap<String, Percent>,
    #[serde(default)]
    pub(crate) headers: Vec<At<HeaderMatcher>>,
    pub(crate) pass_through_mode: bool,
}

/// `envoy.extensions.filters.http.rbac.v3.RBAC`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpRbac {
    pub(crate) matcher: Option<Box<At<UnifiedMatcher>>>,
    pub(crate) rules: Option<Rbac>,
    #[serde(default)]
    pub(crate) rules_stat_prefix: String,
    pub(crate) shadow_matcher: Option<Box<At<UnifiedMatcher>>>,
    pub(crate) shadow_rules: Option<Rbac>,
    #[serde(default)]
    pub(crate) shadow_rules_stat_prefix: String,
    #[serde(default)]
    pub(crate) track_per_rule_stats: bool,
}

/// `envoy.extensions.filters.http.rbac.v3.RBACPerRoute`
#[derive(Debug, Deserialize)]
pub(crate) struct RbacPerRoute {
    pub(crate) rbac: Option<HttpRbac>,
}

/// `envoy.extensions.filters.http.csrf.v3.CsrfPolicy`
#[derive(Debug, Deserialize)]
pub(crate) struct CsrfPolicy {
    #[serde(default)]
    pub(crate) additional_origins: Vec<At<StringMatcher>>,
    pub(crate) filter_enabled: RuntimeFractionalPercent,
    pub(crate) shadow_enabled: Option<RuntimeFractionalPercent>,
}

/// A message without fields.
#[derive(Debug, Deserialize)]
pub(crate) struct Empty {}

/// `envoy.extensions.filters.http.buffer.v3.BufferPerRoute`
#[derive(Debug, Deserialize)]
pub(crate) struct BufferPerRoute {
    pub(crate) buffer: Option<Buffer>,
    pub(crate) disabled: Option<At<bool>>,
}

/// `envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderMutationPerRoute {
    pub(crate) mutations: Option<Mutations>,
}

/// `envoy.extensions.filters.http.cors.v3.CorsPolicy`, which `envoy.config.route.v3.CorsPolicy` is field for field
#[derive(Debug, Deserialize)]
pub(crate) struct CorsPolicy {
    pub(crate) allow_credentials: Option<bool>,
    pub(crate) allow_headers: Option<HeaderText>,
    pub(crate) allow_methods: Option<HeaderText>,
    #[serde(default)]
    pub(crate) allow_origin_string_match: Vec<At<StringMatcher>>,
    pub(crate) allow_private_network_access: Option<bool>,
    pub(crate) expose_headers: Option<HeaderText>,
    pub(crate) filter_enabled: Option<RuntimeFractionalPercent>,
    pub(crate) forward_not_matching_preflights: Option<bool>,
    pub(crate) max_age: Option<HeaderText>,
    pub(crate) shadow_enabled: Option<RuntimeFractionalPercent>,
}
