//! The filter that has requests authorised by a service, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::grpc_service::CoreGrpcService;
use super::matchers::{MetadataMatcher, RegexMatcher};
use super::policies::CoreRetryPolicy;
use super::rate_limit::HttpStatus;
use super::stats::ListStringMatcher;
use super::{HeaderValue, RuntimeFractionalPercent};
use crate::config::constraints::{HeaderName, HeaderText, NonEmpty};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.extensions.filters.http.ext_authz.v3.ExtAuthz`
#[derive(Debug, Deserialize)]
pub(crate) struct ExtAuthz {
    pub(crate) allowed_headers: Option<At<ListStringMatcher>>,
    pub(crate) charge_cluster_response_stats: Option<bool>,
    #[serde(default)]
    pub(crate) clear_route_cache: bool,
    #[serde(default)]
    pub(crate) clear_route_cache_headers: Vec<At<HeaderName>>,
    pub(crate) decoder_header_mutation_rules: Option<HeaderMutationRules>,
    pub(crate) deny_at_disable: Option<RuntimeFeatureFlag>,
    pub(crate) disallowed_headers: Option<At<ListStringMatcher>>,
    pub(crate) enable_dynamic_metadata_ingestion: Option<bool>,
    #[serde(default)]
    pub(crate) encode_raw_headers: bool,
    #[serde(default)]
    pub(crate) failure_mode_allow: bool,
    #[serde(default)]
    pub(crate) failure_mode_allow_header_add: bool,
    pub(crate) filter_enabled: Option<RuntimeFractionalPercent>,
    pub(crate) filter_enabled_metadata: Option<At<MetadataMatcher>>,
    pub(crate) grpc_service: Option<At<CoreGrpcService>>,
    pub(crate) http_service: Option<At<HttpService>>,
    #[serde(default)]
    pub(crate) include_peer_certificate: bool,
    #[serde(default)]
    pub(crate) include_tls_session: bool,
    #[serde(default)]
    pub(crate) max_denied_response_body_bytes: u32,
    #[serde(default)]
    pub(crate) metadata_context_namespaces: Vec<String>,
    #[serde(default)]
    pub(crate) route_metadata_context_namespaces: Vec<String>,
    #[serde(default)]
    pub(crate) shadow_mode: bool,
    #[serde(default)]
    pub(crate) stat_prefix: String,
    pub(crate) status_on_error: Option<HttpStatus>,
    #[expect(dead_code, reason = "there is one version of the API; having read it is the check")]
    pub(crate) transport_api_version: Option<ApiVersion>,
    #[serde(default)]
    pub(crate) validate_mutations: bool,
    pub(crate) with_request_body: Option<At<BufferSettings>>,
}

/// `envoy.config.common.mutation_rules.v3.HeaderMutationRules`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderMutationRules {
    pub(crate) allow_all_routing: Option<bool>,
    pub(crate) allow_envoy: Option<bool>,
    pub(crate) allow_expression: Option<RegexMatcher>,
    pub(crate) disallow_all: Option<bool>,
    pub(crate) disallow_expression: Option<RegexMatcher>,
    pub(crate) disallow_is_error: Option<bool>,
    pub(crate) disallow_system: Option<bool>,
}

/// `envoy.config.core.v3.ApiVersion`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum ApiVersion {
    #[serde(rename = "AUTO")]
    Auto,
    #[serde(rename = "V3")]
    V3,
}

/// `envoy.config.core.v3.RuntimeFeatureFlag`
#[derive(Debug, Deserialize)]
pub(crate) struct RuntimeFeatureFlag {
    pub(crate) default_value: bool,
    #[serde(default)]
    pub(crate) runtime_key: String,
}

/// `envoy.extensions.filters.http.ext_authz.v3.BufferSettings`
#[derive(Debug, Deserialize)]
pub(crate) struct BufferSettings {
    #[serde(default)]
    pub(crate) allow_partial_message: bool,
    pub(crate) max_request_bytes: At<u32>,
    #[serde(default)]
    pub(crate) pack_as_bytes: bool,
}

/// `envoy.extensions.filters.http.ext_authz.v3.HttpService`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpService {
    pub(crate) authorization_request: Option<AuthorizationRequest>,
    pub(crate) authorization_response: Option<AuthorizationResponse>,
    pub(crate) path_override: Option<At<HeaderText>>,
    pub(crate) path_prefix: Option<At<HeaderText>>,
    pub(crate) retry_policy: Option<At<CoreRetryPolicy>>,
    pub(crate) server_uri: At<HttpUri>,
}

/// `envoy.config.core.v3.HttpUri`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpUri {
    pub(crate) cluster: NonEmpty,
    pub(crate) timeout: Seconds,
    pub(crate) uri: At<NonEmpty>,
}

/// `envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest`
#[derive(Debug, Deserialize)]
pub(crate) struct AuthorizationRequest {
    pub(crate) allowed_headers: Option<At<ListStringMatcher>>,
    #[serde(default)]
    pub(crate) headers_to_add: Vec<At<HeaderValue>>,
}

/// `envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse`
#[derive(Debug, Deserialize)]
pub(crate) struct AuthorizationResponse {
    pub(crate) allowed_client_headers: Option<At<ListStringMatcher>>,
    pub(crate) allowed_client_headers_on_success: Option<At<ListStringMatcher>>,
    pub(crate) allowed_upstream_headers: Option<At<ListStringMatcher>>,
    pub(crate) allowed_upstream_headers_to_append: Option<At<ListStringMatcher>>,
    pub(crate) dynamic_metadata_from_headers: Option<At<ListStringMatcher>>,
}

/// `envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute`
#[derive(Debug, Deserialize)]
pub(crate) struct ExtAuthzPerRoute {
    pub(crate) check_settings: Option<CheckSettings>,
    pub(crate) disabled: Option<At<bool>>,
}

/// `envoy.extensions.filters.http.ext_authz.v3.CheckSettings`
#[derive(Debug, Deserialize)]
pub(crate) struct CheckSettings {
    #[serde(default)]
    pub(crate) context_extensions: BTreeMap<String, String>,
    pub(crate) disable_request_body_buffering: Option<At<bool>>,
    pub(crate) grpc_service: Option<At<CoreGrpcService>>,
    pub(crate) http_service: Option<At<HttpService>>,
    pub(crate) with_request_body: Option<At<BufferSettings>>,
}
