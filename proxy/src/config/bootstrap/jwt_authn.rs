//! The filter that verifies JSON Web Tokens, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ext_authz::HttpUri;
use super::policies::CoreRetryPolicy;
use super::route_match::RouteMatch;
use super::{DataSource, StringMatcher};
use crate::config::constraints::{HeaderName, NonEmpty};
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication`
#[derive(Debug, Deserialize)]
pub(crate) struct JwtAuthentication {
    #[serde(default)]
    pub(crate) bypass_cors_preflight: bool,
    pub(crate) filter_state_rules: Option<FilterStateRule>,
    #[serde(default)]
    pub(crate) providers: BTreeMap<String, At<JwtProvider>>,
    #[serde(default)]
    pub(crate) requirement_map: BTreeMap<String, At<JwtRequirement>>,
    #[serde(default)]
    pub(crate) rules: Vec<At<RequirementRule>>,
    #[serde(default)]
    pub(crate) stat_prefix: String,
    #[serde(default)]
    pub(crate) strip_failure_response: bool,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.FilterStateRule`
#[derive(Debug, Deserialize)]
pub(crate) struct FilterStateRule {
    pub(crate) name: NonEmpty,
    #[serde(default)]
    pub(crate) requires: BTreeMap<String, At<JwtRequirement>>,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtProvider`
#[derive(Debug, Deserialize)]
pub(crate) struct JwtProvider {
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    #[serde(default)]
    pub(crate) claim_to_headers: Vec<At<JwtClaimToHeader>>,
    #[serde(default)]
    pub(crate) clear_route_cache: bool,
    #[serde(default)]
    pub(crate) clock_skew_seconds: u32,
    pub(crate) failed_status_in_metadata: Option<String>,
    #[serde(default)]
    pub(crate) forward: bool,
    pub(crate) forward_payload_header: Option<At<HeaderName>>,
    #[serde(default)]
    pub(crate) from_cookies: Vec<NonEmpty>,
    #[serde(default)]
    pub(crate) from_headers: Vec<JwtHeader>,
    #[serde(default)]
    pub(crate) from_params: Vec<NonEmpty>,
    pub(crate) header_in_metadata: Option<String>,
    #[serde(default)]
    pub(crate) issuer: String,
    pub(crate) local_jwks: Option<At<DataSource>>,
    pub(crate) max_lifetime: Option<Seconds>,
    pub(crate) normalize_payload_in_metadata: Option<NormalizePayload>,
    #[serde(default)]
    pub(crate) pad_forward_payload_header: bool,
    pub(crate) payload_in_metadata: Option<String>,
    pub(crate) remote_jwks: Option<At<RemoteJwks>>,
    #[serde(default)]
    pub(crate) require_expiration: bool,
    pub(crate) subjects: Option<At<StringMatcher>>,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload`
#[derive(Debug, Deserialize)]
pub(crate) struct NormalizePayload {
    #[serde(default)]
    pub(crate) space_delimited_claims: Vec<String>,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks`
#[derive(Debug, Deserialize)]
pub(crate) struct RemoteJwks {
    pub(crate) cache_duration: Option<Seconds>,
    pub(crate) http_uri: At<HttpUri>,
    pub(crate) retry_policy: Option<At<CoreRetryPolicy>>,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtHeader`
#[derive(Debug, Deserialize)]
pub(crate) struct JwtHeader {
    pub(crate) name: At<HeaderName>,
    #[serde(default)]
    pub(crate) value_prefix: String,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader`
#[derive(Debug, Deserialize)]
pub(crate) struct JwtClaimToHeader {
    #[serde(default)]
    pub(crate) claim_name: String,
    #[serde(default)]
    pub(crate) claim_path: Vec<ClaimSegment>,
    pub(crate) header_name: At<HeaderName>,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader.PathSegment`
#[derive(Debug, Deserialize)]
pub(crate) struct ClaimSegment {
    pub(crate) key: NonEmpty,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.RequirementRule`
#[derive(Debug, Deserialize)]
pub(crate) struct RequirementRule {
    pub(crate) r#match: At<RouteMatch>,
    pub(crate) requirement_name: Option<At<NonEmpty>>,
    pub(crate) requires: Option<At<JwtRequirement>>,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement`
#[derive(Debug, Deserialize)]
pub(crate) struct JwtRequirement {
    pub(crate) allow_missing: Option<Nothing>,
    pub(crate) allow_missing_or_failed: Option<Nothing>,
    pub(crate) extract_only_without_validation: Option<Nothing>,
    pub(crate) provider_and_audiences: Option<ProviderWithAudiences>,
    pub(crate) provider_name: Option<At<String>>,
    pub(crate) requires_all: Option<At<JwtRequirementList>>,
    pub(crate) requires_any: Option<At<JwtRequirementList>>,
}

/// `google.protobuf.Empty`
#[derive(Debug, Deserialize)]
pub(crate) struct Nothing {}

/// `envoy.extensions.filters.http.jwt_authn.v3.ProviderWithAudiences`
#[derive(Debug, Deserialize)]
pub(crate) struct ProviderWithAudiences {
    #[serde(default)]
    pub(crate) audiences: Vec<String>,
    pub(crate) provider_name: At<String>,
}

/// `JwtRequirementOrList` and `JwtRequirementAndList` of `envoy.extensions.filters.http.jwt_authn.v3`, which have the same fields
#[derive(Debug, Deserialize)]
pub(crate) struct JwtRequirementList {
    #[serde(default)]
    pub(crate) requirements: Vec<At<JwtRequirement>>,
}

/// `envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct JwtPerRoute {
    pub(crate) disabled: Option<At<bool>>,
    pub(crate) requirement_name: Option<At<NonEmpty>>,
}
