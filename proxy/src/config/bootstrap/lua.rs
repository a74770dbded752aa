//! `envoy.filters.http.lua`, as written.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::DataSource;
use crate::config::constraints::NonEmpty;
use crate::config::yaml::{At, Tree};

/// `envoy.extensions.filters.http.lua.v3.Lua`
#[derive(Debug, Deserialize)]
pub(crate) struct Lua {
    pub(crate) clear_route_cache: Option<bool>,
    pub(crate) default_source_code: Option<At<DataSource>>,
    pub(crate) inline_code: Option<At<String>>,
    #[serde(default)]
    pub(crate) source_codes: BTreeMap<String, At<DataSource>>,
    #[serde(default)]
    pub(crate) stat_prefix: String,
}

/// `envoy.extensions.filters.http.lua.v3.LuaPerRoute`
#[derive(Debug, Deserialize)]
pub(crate) struct LuaPerRoute {
    pub(crate) disabled: Option<At<bool>>,
    pub(crate) filter_context: Option<At<Tree>>,
    pub(crate) name: Option<At<NonEmpty>>,
    pub(crate) source_code: Option<At<DataSource>>,
}
