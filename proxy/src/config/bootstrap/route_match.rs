//! Which requests a route takes, as written.

use serde::Deserialize;

use super::matchers::{HeaderMatcher, MetadataMatcher, RegexMatcher};
use super::{RuntimeFractionalPercent, StringMatcher};
use crate::config::constraints::NonEmpty;
use crate::config::yaml::At;

/// `envoy.config.route.v3.RouteMatch`
#[derive(Debug, Deserialize)]
pub(crate) struct RouteMatch {
    pub(crate) case_sensitive: Option<bool>,
    pub(crate) connect_matcher: Option<ConnectMatcher>,
    #[serde(default)]
    pub(crate) cookies: Vec<At<CookieMatcher>>,
    #[serde(default)]
    pub(crate) dynamic_metadata: Vec<At<MetadataMatcher>>,
    #[serde(default)]
    pub(crate) filter_state: Vec<At<FilterStateMatcher>>,
    pub(crate) grpc: Option<GrpcRouteMatchOptions>,
    #[serde(default)]
    pub(crate) headers: Vec<At<HeaderMatcher>>,
    pub(crate) path: Option<String>,
    pub(crate) path_match_policy: Option<PathMatchPolicy>,
    pub(crate) path_separated_prefix: Option<At<String>>,
    pub(crate) prefix: Option<String>,
    #[serde(default)]
    pub(crate) query_parameters: Vec<At<QueryParameterMatcher>>,
    pub(crate) runtime_fraction: Option<RuntimeFractionalPercent>,
    pub(crate) safe_regex: Option<RegexMatcher>,
    pub(crate) tls_context: Option<TlsContextMatchOptions>,
}

/// `envoy.config.route.v3.CookieMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct CookieMatcher {
    #[serde(default)]
    pub(crate) invert_match: bool,
    pub(crate) name: NonEmpty,
    pub(crate) string_match: At<StringMatcher>,
}

/// `envoy.type.matcher.v3.FilterStateMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct FilterStateMatcher {
    pub(crate) address_match: Option<serde::de::IgnoredAny>,
    pub(crate) key: NonEmpty,
    pub(crate) string_match: Option<At<StringMatcher>>,
}

/// `envoy.config.route.v3.RouteMatch.TlsContextMatchOptions`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct TlsContextMatchOptions {
    pub(crate) presented: Option<bool>,
    pub(crate) validated: Option<bool>,
}

/// `envoy.config.route.v3.QueryParameterMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct QueryParameterMatcher {
    pub(crate) name: NonEmpty,
    pub(crate) present_match: Option<bool>,
    pub(crate) string_match: Option<At<StringMatcher>>,
}

/// `envoy.config.core.v3.TypedExtensionConfig` of a path match
#[derive(Debug, Deserialize)]
pub(crate) struct PathMatchPolicy {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: PathMatcher,
}

/// The path matchers there are.
#[derive(Debug, Deserialize)]
pub(crate) enum PathMatcher {
    #[serde(rename = "type.googleapis.com/envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig")]
    UriTemplate(UriTemplateMatchConfig),
}

/// `envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct UriTemplateMatchConfig {
    pub(crate) path_template: At<NonEmpty>,
}

/// `envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions`
#[derive(Debug, Deserialize)]
pub(crate) struct GrpcRouteMatchOptions {}

/// `envoy.config.route.v3.RouteMatch.ConnectMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct ConnectMatcher {}
