//! `envoy.filters.http.lua`, typed.

use std::sync::Arc;

use super::metadata::Struct;

/// `envoy.filters.http.lua`: a script sees requests and responses, and may change them.
#[derive(Clone, Debug)]
pub struct Lua {
    /// The script of the route: its own, one of `source_codes`, or `default_source_code`.
    pub script: Arc<Script>,
    /// `stat_prefix`
    pub stat_prefix: String,
    /// `clear_route_cache`: a request whose headers the script has changed is routed again.
    pub clears_route: bool,
    /// What the `metadata` of the route has under the name of the filter, or of its type.
    pub metadata: Struct,
    /// `filter_context` of the route.
    pub context: Struct,
}

/// A script that can be loaded: it was, while the configuration was read.
#[derive(Debug, Eq, PartialEq)]
pub struct Script {
    /// Its text.
    pub code: String,
    /// Has it a function for requests?
    pub sees_requests: bool,
    /// Has it a function for responses?
    pub sees_responses: bool,
}
