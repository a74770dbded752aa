//! Network filters before the one that ends a chain, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::ext_authz::RuntimeFeatureFlag;
use super::matchers::{HeaderMatcher, MetadataMatcher};
use super::rate_limit::TokenBucket;
use super::route_match::{FilterStateMatcher, PathMatchPolicy};
use super::rule_tree::{RbacAction, UnifiedMatcher};
use super::tls::SubjectAltNameMatcher;
use super::{CidrRange, StringMatcher};
use crate::config::constraints::NonEmpty;
use crate::config::units::Seconds;
use crate::config::yaml::At;

/// `envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit`
#[derive(Debug, Deserialize)]
pub(crate) struct ConnectionLimit {
    pub(crate) delay: Option<Seconds>,
    pub(crate) max_connections: At<u32>,
    pub(crate) runtime_enabled: Option<RuntimeFeatureFlag>,
    pub(crate) stat_prefix: NonEmpty,
}

/// `envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit`
#[derive(Debug, Deserialize)]
pub(crate) struct NetworkRateLimit {
    pub(crate) runtime_enabled: Option<RuntimeFeatureFlag>,
    #[serde(default)]
    pub(crate) share_key: String,
    pub(crate) stat_prefix: NonEmpty,
    pub(crate) token_bucket: At<TokenBucket>,
}

/// `envoy.extensions.filters.network.rbac.v3.RBAC`
#[derive(Debug, Deserialize)]
pub(crate) struct NetworkRbac {
    pub(crate) delay_deny: Option<Seconds>,
    pub(crate) enforcement_type: Option<EnforcementType>,
    pub(crate) matcher: Option<Box<At<UnifiedMatcher>>>,
    pub(crate) rules: Option<Rbac>,
    pub(crate) shadow_matcher: Option<Box<At<UnifiedMatcher>>>,
    pub(crate) shadow_rules: Option<Rbac>,
    #[serde(default)]
    pub(crate) shadow_rules_stat_prefix: String,
    pub(crate) stat_prefix: NonEmpty,
}

/// `envoy.extensions.filters.network.rbac.v3.RBAC.EnforcementType`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum EnforcementType {
    #[serde(rename = "ONE_TIME_ON_FIRST_BYTE")]
    OneTimeOnFirstByte,
    #[serde(rename = "CONTINUOUS")]
    Continuous,
}

/// `envoy.config.rbac.v3.RBAC`
#[derive(Debug, Deserialize)]
pub(crate) struct Rbac {
    pub(crate) action: Option<RbacAction>,
    #[serde(default)]
    pub(crate) policies: BTreeMap<String, RbacPolicy>,
}

/// `envoy.config.rbac.v3.Policy`
#[derive(Debug, Deserialize)]
pub(crate) struct RbacPolicy {
    pub(crate) permissions: Vec<At<Permission>>,
    pub(crate) principals: Vec<At<Principal>>,
}

/// `envoy.config.rbac.v3.Permission`
#[derive(Debug, Deserialize)]
pub(crate) struct Permission {
    pub(crate) and_rules: Option<PermissionSet>,
    pub(crate) any: Option<bool>,
    pub(crate) destination_ip: Option<At<CidrRange>>,
    pub(crate) destination_port: Option<At<u32>>,
    pub(crate) destination_port_range: Option<At<Int32Range>>,
    pub(crate) header: Option<At<HeaderMatcher>>,
    pub(crate) metadata: Option<At<MetadataMatcher>>,
    pub(crate) not_rule: Option<Box<At<Self>>>,
    pub(crate) or_rules: Option<PermissionSet>,
    pub(crate) requested_server_name: Option<At<StringMatcher>>,
    pub(crate) sourced_metadata: Option<At<SourcedMetadata>>,
    pub(crate) uri_template: Option<At<PathMatchPolicy>>,
    pub(crate) url_path: Option<At<UrlPath>>,
}

/// `envoy.type.matcher.v3.PathMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct UrlPath {
    pub(crate) path: At<StringMatcher>,
}

/// `envoy.config.rbac.v3.Permission.Set`
#[derive(Debug, Deserialize)]
pub(crate) struct PermissionSet {
    pub(crate) rules: Vec<At<Permission>>,
}

/// `envoy.type.v3.Int32Range`
#[derive(Debug, Deserialize)]
pub(crate) struct Int32Range {
    #[serde(default)]
    pub(crate) end: u32,
    #[serde(default)]
    pub(crate) start: u32,
}

/// `envoy.config.rbac.v3.Principal`
#[derive(Debug, Deserialize)]
pub(crate) struct Principal {
    pub(crate) and_ids: Option<PrincipalSet>,
    pub(crate) any: Option<bool>,
    pub(crate) authenticated: Option<At<Authenticated>>,
    pub(crate) custom: Option<At<CustomPrincipal>>,
    pub(crate) direct_remote_ip: Option<At<CidrRange>>,
    pub(crate) filter_state: Option<At<FilterStateMatcher>>,
    pub(crate) header: Option<At<HeaderMatcher>>,
    pub(crate) metadata: Option<At<MetadataMatcher>>,
    pub(crate) not_id: Option<Box<At<Self>>>,
    pub(crate) or_ids: Option<PrincipalSet>,
    pub(crate) remote_ip: Option<At<CidrRange>>,
    pub(crate) sourced_metadata: Option<At<SourcedMetadata>>,
    pub(crate) source_ip: Option<At<CidrRange>>,
    pub(crate) url_path: Option<At<UrlPath>>,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of a principal
#[derive(Debug, Deserialize)]
pub(crate) struct CustomPrincipal {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: CustomPrincipalConfig,
}

/// The principals there are beside those of the message.
#[derive(Debug, Deserialize)]
pub(crate) enum CustomPrincipalConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config")]
    MutuallyAuthenticated(MutuallyAuthenticated),
}

/// `envoy.extensions.rbac.principals.mtls_authenticated.v3.Config`
#[derive(Debug, Deserialize)]
pub(crate) struct MutuallyAuthenticated {
    #[serde(default)]
    pub(crate) any_validated_client_certificate: bool,
    pub(crate) san_matcher: Option<At<SubjectAltNameMatcher>>,
}

/// `envoy.config.rbac.v3.SourcedMetadata`
#[derive(Debug, Deserialize)]
pub(crate) struct SourcedMetadata {
    pub(crate) metadata_matcher: At<MetadataMatcher>,
    pub(crate) metadata_source: Option<MetadataSource>,
}

/// `envoy.config.rbac.v3.MetadataSource`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum MetadataSource {
    #[serde(rename = "DYNAMIC")]
    Dynamic,
    #[serde(rename = "ROUTE")]
    Route,
}

/// `envoy.config.rbac.v3.Principal.Authenticated`
#[derive(Debug, Deserialize)]
pub(crate) struct Authenticated {
    pub(crate) principal_name: Option<At<StringMatcher>>,
}

/// `envoy.config.rbac.v3.Principal.Set`
#[derive(Debug, Deserialize)]
pub(crate) struct PrincipalSet {
    pub(crate) ids: Vec<At<Principal>>,
}
