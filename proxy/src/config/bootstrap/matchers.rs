//! What headers and texts are matched by, as written.

use serde::Deserialize;

use super::StringMatcher;
use crate::config::constraints::{HeaderName, HeaderText, NonEmpty};
use crate::config::yaml::At;

/// `envoy.config.route.v3.HeaderMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct HeaderMatcher {
    pub(crate) contains_match: Option<NonEmpty>,
    pub(crate) exact_match: Option<String>,
    #[serde(default)]
    pub(crate) invert_match: bool,
    pub(crate) name: HeaderName,
    pub(crate) prefix_match: Option<NonEmpty>,
    pub(crate) present_match: Option<bool>,
    pub(crate) range_match: Option<NumberRange>,
    pub(crate) safe_regex_match: Option<RegexMatcher>,
    pub(crate) string_match: Option<At<StringMatcher>>,
    pub(crate) suffix_match: Option<NonEmpty>,
    #[serde(default)]
    pub(crate) treat_missing_header_as_empty: bool,
}

/// `envoy.type.v3.Int64Range`: the end is not in it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct NumberRange {
    #[serde(default)]
    pub(crate) end: i64,
    #[serde(default)]
    pub(crate) start: i64,
}

/// `envoy.type.matcher.v3.MetadataMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataMatcher {
    pub(crate) filter: NonEmpty,
    #[serde(default)]
    pub(crate) invert: bool,
    pub(crate) path: At<Vec<MetadataPathSegment>>,
    pub(crate) value: At<ValueMatcher>,
}

/// `envoy.type.matcher.v3.MetadataMatcher.PathSegment`
#[derive(Debug, Deserialize)]
pub(crate) struct MetadataPathSegment {
    pub(crate) key: NonEmpty,
}

/// `envoy.type.matcher.v3.ValueMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct ValueMatcher {
    pub(crate) bool_match: Option<bool>,
    pub(crate) double_match: Option<At<DoubleMatcher>>,
    pub(crate) list_match: Option<Box<ListMatcher>>,
    pub(crate) null_match: Option<NullMatch>,
    pub(crate) or_match: Option<At<OrMatcher>>,
    pub(crate) present_match: Option<bool>,
    pub(crate) string_match: Option<At<StringMatcher>>,
}

/// `envoy.type.matcher.v3.ValueMatcher.NullMatch`
#[derive(Debug, Deserialize)]
pub(crate) struct NullMatch {}

/// `envoy.type.matcher.v3.DoubleMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct DoubleMatcher {
    pub(crate) exact: Option<f64>,
    pub(crate) range: Option<DoubleRange>,
}

/// `envoy.type.v3.DoubleRange`: the end is not in it.
#[derive(Debug, Deserialize)]
pub(crate) struct DoubleRange {
    #[serde(default)]
    pub(crate) end: f64,
    #[serde(default)]
    pub(crate) start: f64,
}

/// `envoy.type.matcher.v3.ListMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct ListMatcher {
    pub(crate) one_of: At<ValueMatcher>,
}

/// `envoy.type.matcher.v3.OrMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct OrMatcher {
    #[serde(default)]
    pub(crate) value_matchers: Vec<At<ValueMatcher>>,
}

/// `envoy.type.matcher.v3.RegexMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct RegexMatcher {
    pub(crate) regex: At<NonEmpty>,
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`
#[derive(Debug, Deserialize)]
pub(crate) struct RegexMatchAndSubstitute {
    pub(crate) pattern: RegexMatcher,
    pub(crate) substitution: Option<At<HeaderText>>,
}
