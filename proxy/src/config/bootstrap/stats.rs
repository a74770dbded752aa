//! `stats_config`, as written.

use serde::Deserialize;

use super::StringMatcher;
use crate::config::yaml::At;

/// `envoy.config.metrics.v3.StatsConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct StatsConfig {
    #[serde(default)]
    pub(crate) histogram_bucket_settings: Vec<At<HistogramBucketSettings>>,
    pub(crate) stats_matcher: Option<At<StatsMatcher>>,
    #[serde(default)]
    pub(crate) stats_tags: Vec<At<TagSpecifier>>,
    pub(crate) use_all_default_tags: Option<bool>,
}

/// `envoy.config.metrics.v3.StatsMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct StatsMatcher {
    pub(crate) exclusion_list: Option<At<ListStringMatcher>>,
    pub(crate) inclusion_list: Option<At<ListStringMatcher>>,
    pub(crate) reject_all: Option<bool>,
}

/// `envoy.type.matcher.v3.ListStringMatcher`
#[derive(Debug, Deserialize)]
pub(crate) struct ListStringMatcher {
    #[serde(default)]
    pub(crate) patterns: Vec<At<StringMatcher>>,
}

/// `envoy.config.metrics.v3.TagSpecifier`
#[derive(Debug, Deserialize)]
pub(crate) struct TagSpecifier {
    pub(crate) fixed_value: Option<String>,
    pub(crate) regex: Option<At<String>>,
    #[serde(default)]
    pub(crate) tag_name: String,
}

/// `envoy.config.metrics.v3.HistogramBucketSettings`
#[derive(Debug, Deserialize)]
pub(crate) struct HistogramBucketSettings {
    pub(crate) bins: Option<At<u32>>,
    #[serde(default)]
    pub(crate) buckets: Vec<f64>,
    pub(crate) r#match: At<StringMatcher>,
}
