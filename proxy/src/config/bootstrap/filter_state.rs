//! What filters leave as filter state, as written.

use serde::Deserialize;

use super::format_string::SubstitutionFormatString;
use crate::config::constraints::NonEmpty;
use crate::config::yaml::At;

/// `envoy.extensions.filters.http.set_filter_state.v3.Config`
#[derive(Debug, Deserialize)]
pub(crate) struct HttpSetFilterState {
    #[serde(default)]
    pub(crate) clear_route_cache: bool,
    #[serde(default)]
    pub(crate) on_request_headers: Vec<At<FilterStateValue>>,
}

/// `envoy.extensions.filters.network.set_filter_state.v3.Config`
#[derive(Debug, Deserialize)]
pub(crate) struct NetworkSetFilterState {
    #[serde(default)]
    pub(crate) on_new_connection: Vec<At<FilterStateValue>>,
}

/// `envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue`
#[derive(Debug, Deserialize)]
pub(crate) struct FilterStateValue {
    pub(crate) factory_key: Option<At<String>>,
    pub(crate) format_string: At<SubstitutionFormatString>,
    pub(crate) object_key: At<NonEmpty>,
    pub(crate) shared_with_upstream: Option<SharedWithUpstream>,
    #[serde(default)]
    pub(crate) skip_if_empty: bool,
}

/// `envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue.SharedWithUpstream`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum SharedWithUpstream {
    #[serde(rename = "NONE")]
    None,
    #[serde(rename = "ONCE")]
    Once,
    #[serde(rename = "TRANSITIVE")]
    Transitive,
}
