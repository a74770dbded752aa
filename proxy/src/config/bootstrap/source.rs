//! Where secrets come from, as written.

use serde::Deserialize;

use crate::config::constraints::NonEmpty;
use crate::config::yaml::At;

/// `envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig`
#[derive(Debug, Deserialize)]
pub(crate) struct SdsSecretConfig {
    pub(crate) name: At<NonEmpty>,
    pub(crate) sds_config: Option<At<ConfigSource>>,
}

/// `envoy.config.core.v3.ConfigSource`
#[derive(Debug, Deserialize)]
pub(crate) struct ConfigSource {
    pub(crate) path: Option<At<NonEmpty>>,
    pub(crate) path_config_source: Option<At<PathConfigSource>>,
}

/// `envoy.config.core.v3.PathConfigSource`
#[derive(Debug, Deserialize)]
pub(crate) struct PathConfigSource {
    pub(crate) path: At<NonEmpty>,
    #[expect(dead_code, reason = "the file itself is watched, through every link that leads to it")]
    pub(crate) watched_directory: Option<WatchedDirectory>,
}

/// `envoy.config.core.v3.WatchedDirectory`
#[derive(Debug, Deserialize)]
pub(crate) struct WatchedDirectory {
    #[expect(dead_code, reason = "the files are watched, wherever they are")]
    pub(crate) path: NonEmpty,
}
