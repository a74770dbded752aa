//! Metadata of clusters, endpoints, localities and routes, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::yaml::{At, Tree};

/// `envoy.config.core.v3.Metadata`
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    #[serde(default)]
    pub(crate) filter_metadata: BTreeMap<String, At<Tree>>,
}
