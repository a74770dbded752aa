//! What the process is: state, version, listeners, configuration.

use http::StatusCode;
use serde_json::{Value, json};

use super::clusters::address_json;
use super::{AdminResponse, AdminState, Query, TEXT, put};
use crate::stats::ServerState;

const VERSION: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

pub(super) fn ready(_: &Query, state: &AdminState) -> AdminResponse {
    let current = state.server.current();
    let status = if current == ServerState::Live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    AdminResponse { status, ..AdminResponse::new(TEXT, format!("{}\n", word(current))) }
}

fn word(state: ServerState) -> &'static str {
    match state {
        ServerState::Initializing => "INITIALIZING",
        ServerState::Live => "LIVE",
        ServerState::Draining => "DRAINING",
    }
}

pub(super) fn server_info(_: &Query, state: &AdminState) -> AdminResponse {
    let uptime = format!("{}s", state.started.elapsed().as_secs());
    let node = &state.config.dump["node"];
    AdminResponse::json(&json!({
        "version": VERSION,
        "state": word(state.server.current()),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "command_line_options": {
            "config_path": state.config_path,
            "concurrency": state.server.concurrency.value(),
        },
        "left": {
            "connections": sum(state, ".downstream_cx_active"),
            "requests": sum(state, ".downstream_rq_active"),
            "tunnels": sum(state, ".downstream_cx_upgrades_active"),
        },
        "node": {
            "id": node["id"].as_str().unwrap_or_default(),
            "cluster": node["cluster"].as_str().unwrap_or_default(),
            "user_agent_name": env!("CARGO_PKG_NAME"),
        },
    }))
}

/// What connection managers have open: what a drain waits for.
fn sum(state: &AdminState, gauge: &str) -> u64 {
    let numbers = state.registry.snapshot().numbers;
    let of_managers = numbers.iter().filter(|number| number.name.starts_with("http.") && number.name.ends_with(gauge));
    of_managers.map(|number| number.value).sum()
}

pub(super) fn listeners(query: &Query, state: &AdminState) -> AdminResponse {
    if query.value("format") == Some("json") {
        let statuses =
            state.listeners.iter().map(|bound| json!({ "name": bound.name, "local_address": address_json(&bound.at) }));
        return AdminResponse::json(&json!({ "listener_statuses": statuses.collect::<Vec<_>>() }));
    }
    let mut out = String::new();
    for bound in &state.listeners {
        put(&mut out, format_args!("{}::{}\n", bound.name, bound.at));
    }
    AdminResponse::new(TEXT, out)
}

/// The file as it was read, and once more cut into the parts that tools look for.
pub(super) fn config_dump(_: &Query, state: &AdminState) -> AdminResponse {
    let bootstrap = &state.config.dump;
    let resources = &bootstrap["static_resources"];
    let clusters = elements(&resources["clusters"]).map(|cluster| json!({ "cluster": cluster }));
    let listeners = elements(&resources["listeners"]).map(|listener| json!({ "listener": listener }));
    let chains = elements(&resources["listeners"]).flat_map(|listener| elements(&listener["filter_chains"]));
    let filters = chains.flat_map(|chain| elements(&chain["filters"]));
    let routes = filters.map(|filter| &filter["typed_config"]["route_config"]).filter(|routes| !routes.is_null());
    AdminResponse::json(&json!({ "configs": [
        { "@type": dump_type("Bootstrap"), "bootstrap": bootstrap },
        { "@type": dump_type("Clusters"), "static_clusters": clusters.collect::<Vec<_>>() },
        { "@type": dump_type("Listeners"), "static_listeners": listeners.collect::<Vec<_>>() },
        {
            "@type": dump_type("Routes"),
            "static_route_configs": routes.map(|routes| json!({ "route_config": routes })).collect::<Vec<_>>(),
        },
    ] }))
}

fn dump_type(of: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{of}ConfigDump")
}

/// The elements of a list; none of anything else.
fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
