//! Trees of matchers (the unified matcher API) that decide as rules do, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{CidrRange, StringMatcher};
use crate::config::constraints::NonEmpty;
use crate::config::yaml::At;

/// `xds.type.matcher.v3.Matcher`
#[derive(Debug, Deserialize)]
pub(crate) struct UnifiedMatcher {
    pub(crate) matcher_list: Option<At<MatcherList>>,
    pub(crate) matcher_tree: Option<At<MatcherTree>>,
    pub(crate) on_no_match: Option<At<OnMatch>>,
}

/// `xds.type.matcher.v3.Matcher.OnMatch`
#[derive(Debug, Deserialize)]
pub(crate) struct OnMatch {
    pub(crate) action: Option<MatchedAction>,
    pub(crate) matcher: Option<Box<At<UnifiedMatcher>>>,
}

/// `xds.core.v3.TypedExtensionConfig` of an action
#[derive(Debug, Deserialize)]
pub(crate) struct MatchedAction {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: MatchedActionConfig,
}

/// The actions there are.
#[derive(Debug, Deserialize)]
pub(crate) enum MatchedActionConfig {
    #[serde(rename = "type.googleapis.com/envoy.config.rbac.v3.Action")]
    Rbac(MatchedRbacAction),
}

/// `envoy.config.rbac.v3.Action`
#[derive(Debug, Deserialize)]
pub(crate) struct MatchedRbacAction {
    pub(crate) action: Option<RbacAction>,
    pub(crate) name: NonEmpty,
}

/// `envoy.config.rbac.v3.RBAC.Action`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum RbacAction {
    #[serde(rename = "ALLOW")]
    Allow,
    #[serde(rename = "DENY")]
    Deny,
    #[serde(rename = "LOG")]
    Log,
}

/// `xds.type.matcher.v3.Matcher.MatcherList`
#[derive(Debug, Deserialize)]
pub(crate) struct MatcherList {
    pub(crate) matchers: Vec<FieldMatcher>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct FieldMatcher {
    pub(crate) on_match: At<OnMatch>,
    pub(crate) predicate: At<MatchPredicate>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate`
#[derive(Debug, Deserialize)]
pub(crate) struct MatchPredicate {
    pub(crate) and_matcher: Option<At<PredicateList>>,
    pub(crate) not_matcher: Option<Box<At<Self>>>,
    pub(crate) or_matcher: Option<At<PredicateList>>,
    pub(crate) single_predicate: Option<At<SinglePredicate>>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList`
#[derive(Debug, Deserialize)]
pub(crate) struct PredicateList {
    pub(crate) predicate: Vec<At<MatchPredicate>>,
}

/// `xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate`
#[derive(Debug, Deserialize)]
pub(crate) struct SinglePredicate {
    pub(crate) custom_match: Option<CustomMatch>,
    pub(crate) input: At<MatchInput>,
    pub(crate) value_match: Option<At<StringMatcher>>,
}

/// `xds.core.v3.TypedExtensionConfig` of a matcher
#[derive(Debug, Deserialize)]
pub(crate) struct CustomMatch {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: CustomMatchConfig,
}

/// The matchers there are beside those of texts.
#[derive(Debug, Deserialize)]
pub(crate) enum CustomMatchConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.input_matchers.ip.v3.Ip")]
    Ip(IpMatch),
}

/// `envoy.extensions.matching.input_matchers.ip.v3.Ip`
#[derive(Debug, Deserialize)]
pub(crate) struct IpMatch {
    pub(crate) cidr_ranges: Vec<At<CidrRange>>,
    #[expect(dead_code, reason = "its one stat counts texts that are no addresses, and the inputs are addresses")]
    pub(crate) stat_prefix: NonEmpty,
}

/// `xds.type.matcher.v3.Matcher.MatcherTree`
#[derive(Debug, Deserialize)]
pub(crate) struct MatcherTree {
    pub(crate) exact_match_map: Option<MatchMap>,
    pub(crate) input: At<MatchInput>,
    pub(crate) prefix_match_map: Option<MatchMap>,
}

/// `xds.type.matcher.v3.Matcher.MatcherTree.MatchMap`
#[derive(Debug, Deserialize)]
pub(crate) struct MatchMap {
    pub(crate) map: BTreeMap<String, At<OnMatch>>,
}

/// `xds.core.v3.TypedExtensionConfig` of an input
#[derive(Debug, Deserialize)]
pub(crate) struct MatchInput {
    #[expect(dead_code, reason = "free text; the type decides")]
    pub(crate) name: NonEmpty,
    pub(crate) typed_config: MatchInputConfig,
}

/// The inputs that Envoy's rbac filters take.
#[derive(Debug, Deserialize)]
pub(crate) enum MatchInputConfig {
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DestinationIPInput")]
    DestinationIp(InputWithoutOptions),
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DestinationPortInput")]
    DestinationPort(InputWithoutOptions),
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.DirectSourceIPInput")]
    DirectSourceIp(InputWithoutOptions),
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.ssl.v3.DnsSanInput")]
    DnsSan(InputWithoutOptions),
    #[serde(rename = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput")]
    RequestHeader(HttpRequestHeaderMatchInput),
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.ServerNameInput")]
    ServerName(InputWithoutOptions),
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourceIPInput")]
    SourceIp(InputWithoutOptions),
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourcePortInput")]
    SourcePort(InputWithoutOptions),
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.ssl.v3.SubjectInput")]
    Subject(InputWithoutOptions),
    #[serde(rename = "type.googleapis.com/envoy.extensions.matching.common_inputs.ssl.v3.UriSanInput")]
    UriSan(InputWithoutOptions),
}

/// `envoy.type.matcher.v3.HttpRequestHeaderMatchInput`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpRequestHeaderMatchInput {
    pub(crate) header_name: At<String>,
}

/// An input whose message has no fields.
#[derive(Debug, Deserialize)]
pub(crate) struct InputWithoutOptions {}
