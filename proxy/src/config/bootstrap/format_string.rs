//! Formats of lines, as written: of access logs, of bodies of responses, of what filters and PROXY headers say.

use serde::Deserialize;

use super::DataSource;
use crate::config::yaml::{At, Tree};

/// `envoy.config.core.v3.SubstitutionFormatString`
#[derive(Debug, Deserialize)]
pub(crate) struct SubstitutionFormatString {
    pub(crate) content_type: Option<At<String>>,
    pub(crate) json_format: Option<At<Tree>>,
    #[expect(dead_code, reason = "keys are always sorted, as they are in Envoy with either value")]
    pub(crate) json_format_options: Option<JsonFormatOptions>,
    #[serde(default)]
    pub(crate) omit_empty_values: bool,
    pub(crate) text_format: Option<At<String>>,
    pub(crate) text_format_source: Option<At<DataSource>>,
}

/// `envoy.config.core.v3.JsonFormatOptions`
#[derive(Debug, Deserialize)]
pub(crate) struct JsonFormatOptions {
    #[expect(dead_code, reason = "keys are always sorted, as they are in Envoy with either value")]
    pub(crate) sort_properties: Option<bool>,
}
