//! What the process is: state, version, listeners, configuration.

use http::StatusCode;
use serde_json::{Value, json};

use super::clusters::address_json;
use super::{AdminResponse, AdminState, Query, TEXT, put};
use crate::snapshot::InForce;
use crate::stats::ServerState;

/// The commit that this was built from; `unknown` where it was built outside a repository.
pub const COMMIT: &str = env!("FINWAIT_COMMIT");
/// Commit and version in one, in the order in which Envoy has them.
pub const VERSION: &str = concat!(env!("FINWAIT_COMMIT"), "/", env!("CARGO_PKG_VERSION"), "/", env!("CARGO_PKG_NAME"));

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

pub(super) fn server_info(query: &Query, state: &AdminState) -> AdminResponse {
    let uptime = format!("{}s", state.started.elapsed().as_secs());
    let mut node = (state.in_force)().snapshot.config.dump["node"].clone();
    if !node.is_object() {
        node = json!({});
    }
    for (field, default) in [("id", ""), ("cluster", ""), ("user_agent_name", env!("CARGO_PKG_NAME"))] {
        if node[field].is_null() {
            node[field] = default.into();
        }
    }
    if let Some(locality) = node.get_mut("locality").and_then(Value::as_object_mut) {
        for part in ["region", "zone", "sub_zone"] {
            locality.entry(part).or_insert("".into());
        }
    }
    let mut options = state.command_line.0.clone();
    options.insert("concurrency".into(), state.server.concurrency.value().into());
    let mut info = json!({
        "version": VERSION,
        "state": word(state.server.current()),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "hot_restart_version": "disabled",
        "hot_restart_initializing": false,
        "command_line_options": options,
        "node": node,
    });
    // On request only: readers of Envoy's message may refuse a field that it does not have.
    if query.has("left") {
        info["left"] = json!({
            "connections": sum(state, ".downstream_cx_active"),
            "requests": sum(state, ".downstream_rq_active"),
            "tunnels": sum(state, ".downstream_cx_upgrades_active"),
        });
    }
    AdminResponse::json(&info)
}

/// What connection managers have open: what a drain waits for.
fn sum(state: &AdminState, gauge: &str) -> u64 {
    let numbers = state.registry.snapshot().numbers;
    let of_managers = numbers.iter().filter(|number| number.name.starts_with("http.") && number.name.ends_with(gauge));
    of_managers.map(|number| number.value).sum()
}

pub(super) fn listeners(query: &Query, state: &AdminState) -> AdminResponse {
    let InForce { snapshot, addresses } = (state.in_force)();
    let names = snapshot.listeners.iter().map(|listener| &listener.config.name);
    let bound = names.filter_map(|name| Some((name, addresses.get(name)?)));
    if query.value("format") == Some("json") {
        let statuses = bound.filter_map(|(name, at)| {
            let (first, further) = at.split_first()?;
            let mut status = json!({ "name": name, "local_address": address_json(first) });
            if !further.is_empty() {
                status["additional_local_addresses"] = further.iter().map(address_json).collect();
            }
            Some(status)
        });
        return AdminResponse::json(&json!({ "listener_statuses": statuses.collect::<Vec<_>>() }));
    }
    let mut out = String::new();
    for (name, at) in bound.flat_map(|(name, at)| at.iter().map(move |at| (name, at))) {
        put(&mut out, format_args!("{name}::{at}\n"));
    }
    AdminResponse::new(TEXT, out)
}

/// In Envoy's form, which has no place to say where a number comes from: what it calls allocated and heap are here the
/// pages of [`Memory::anonymous`](crate::net::Memory::anonymous).
pub(super) fn memory(_: &Query, state: &AdminState) -> AdminResponse {
    let memory = (state.memory)();
    AdminResponse::json(&json!({
        "allocated": memory.anonymous.to_string(),
        "heap_size": memory.anonymous.to_string(),
        "pageheap_unmapped": "0",
        "pageheap_free": "0",
        "total_thread_cache": "0",
        "total_physical_bytes": memory.resident.to_string(),
    }))
}
