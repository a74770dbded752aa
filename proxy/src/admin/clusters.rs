//! `/clusters`: limits and endpoints, as lines or as JSON.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{AdminResponse, AdminState, Query, TEXT, put};
use crate::cluster::EndpointTable;
use crate::config::Cluster;
use crate::config::cluster::Priority;
use crate::config::runtime::BreakerLimit;
use crate::net::{Address, InternalAddress};
use crate::runtime::Runtime;
use crate::stats::{EndpointFacts, EndpointStats, HealthFlag, Rate};

pub(super) fn clusters(query: &Query, state: &AdminState) -> AdminResponse {
    let snapshot = (state.in_force)().snapshot;
    // By their names, as in Envoy, and not in the order of the file.
    let mut clusters: Vec<_> = snapshot.clusters.iter().map(|cluster| (&cluster.config, &*cluster.endpoints)).collect();
    clusters.sort_by(|(one, _), (other, _)| one.name.cmp(&other.name));
    let clusters = clusters.into_iter();
    let runtime = &*state.runtime;
    if query.value("format") == Some("json") {
        let statuses: Vec<Value> = clusters.map(|(cluster, endpoints)| as_json(cluster, endpoints, runtime)).collect();
        return AdminResponse::json(&json!({ "cluster_statuses": statuses }));
    }
    let mut out = String::new();
    for (cluster, endpoints) in clusters {
        as_text(cluster, endpoints, runtime, &mut out);
    }
    AdminResponse::new(TEXT, out)
}

fn as_text(cluster: &Cluster, endpoints: &EndpointTable, runtime: &Runtime, out: &mut String) {
    let name = &cluster.name;
    put(out, format_args!("{name}::observability_name::{name}\n"));
    for priority in [Priority::Default, Priority::High] {
        for (limit, max) in maxima(cluster, priority, runtime) {
            put(out, format_args!("{name}::{}_priority::{limit}::{max}\n", priority.key()));
        }
    }
    put(out, format_args!("{name}::added_via_api::false\n"));
    if let Some(service) = service(cluster) {
        put(out, format_args!("{name}::eds_service_name::{service}\n"));
    }
    for (address, endpoint) in by_priority(cluster, endpoints) {
        for (fact, value) in facts(&endpoint) {
            put(out, format_args!("{name}::{address}::{fact}::{value}\n"));
        }
    }
}

/// What its assignment is called, if not as the cluster.
fn service(cluster: &Cluster) -> Option<&str> {
    cluster.assigned.as_ref().map(|assigned| &*assigned.service).filter(|service| !service.is_empty())
}

/// In the order of the priorities, and in the file's within one.
fn by_priority(cluster: &Cluster, endpoints: &EndpointTable) -> Vec<(Address, Arc<EndpointStats>)> {
    let mut endpoints = endpoints.snapshot();
    endpoints.retain(|(_, endpoint)| !cluster.has_let_go(endpoint.health.has_left()));
    endpoints.sort_by_cached_key(|(_, endpoint)| endpoint.facts().priority);
    endpoints
}

/// The limits in force.
fn maxima(cluster: &Cluster, priority: Priority, runtime: &Runtime) -> [(&'static str, u32); 4] {
    let limits = cluster.limits.of(priority);
    [
        ("max_connections", BreakerLimit::Connections, limits.connections_max),
        ("max_pending_requests", BreakerLimit::Pending, limits.pending_max),
        ("max_requests", BreakerLimit::Requests, limits.requests_max),
        ("max_retries", BreakerLimit::Retries, limits.retries_max),
    ]
    .map(|(name, limit, configured)| (name, runtime.count(&limit.of(&cluster.name, priority)).unwrap_or(configured)))
}

/// What is said of an endpoint, in Envoy's order. The rest of Envoy's list has one possible value here.
fn facts(endpoint: &EndpointStats) -> [(&'static str, String); 19] {
    let EndpointFacts { hostname, is_canary, weight, priority, locality: [region, zone, sub_zone] } = endpoint.facts();
    [
        ("cx_active", endpoint.cx_active.value().to_string()),
        ("cx_connect_fail", endpoint.cx_connect_fail.value().to_string()),
        ("cx_total", endpoint.cx_total.value().to_string()),
        ("rq_active", endpoint.rq_active.value().to_string()),
        ("rq_error", endpoint.rq_error.value().to_string()),
        ("rq_pending_active", endpoint.rq_pending_active.value().to_string()),
        ("rq_success", endpoint.rq_success.value().to_string()),
        ("rq_timeout", endpoint.rq_timeout.value().to_string()),
        ("rq_total", endpoint.rq_total.value().to_string()),
        ("hostname", hostname),
        ("health_flags", endpoint.health.in_words()),
        ("weight", weight.to_string()),
        ("region", region),
        ("zone", zone),
        ("sub_zone", sub_zone),
        ("canary", is_canary.to_string()),
        ("priority", priority.to_string()),
        ("success_rate", rate(endpoint, 0)),
        ("local_origin_success_rate", rate(endpoint, 1)),
    ]
}

/// The success rate of the last interval in percent; -1 is not known.
fn rate(endpoint: &EndpointStats, which: usize) -> String {
    match endpoint.health.rates.get(which).map_or(-1, Rate::shown) {
        unknown @ ..0 => unknown.to_string(),
        hundredths => (f64::from(hundredths) / 100.0).to_string(),
    }
}

fn as_json(cluster: &Cluster, endpoints: &EndpointTable, runtime: &Runtime) -> Value {
    let endpoints = by_priority(cluster, endpoints);
    let hosts: Vec<Value> = endpoints.iter().map(|(address, endpoint)| host_json(address, endpoint)).collect();
    let thresholds = [Priority::Default, Priority::High].map(|priority| thresholds(cluster, priority, runtime));
    let mut status = json!({
        "name": &*cluster.name,
        "observability_name": &*cluster.name,
        "circuit_breakers": { "thresholds": thresholds },
        "host_statuses": hosts,
    });
    if let Some(service) = service(cluster) {
        status["eds_service_name"] = service.into();
    }
    status
}

/// DEFAULT is left out, being the default.
fn thresholds(cluster: &Cluster, priority: Priority, runtime: &Runtime) -> Value {
    let name = (priority == Priority::High).then(|| ("priority", Value::from("HIGH")));
    let maxima = maxima(cluster, priority, runtime).map(|(name, max)| (name, Value::from(max)));
    name.into_iter().chain(maxima).map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()
}

fn host_json(address: &Address, endpoint: &EndpointStats) -> Value {
    let counters = [
        ("cx_connect_fail", &endpoint.cx_connect_fail),
        ("cx_total", &endpoint.cx_total),
        ("rq_error", &endpoint.rq_error),
        ("rq_success", &endpoint.rq_success),
        ("rq_timeout", &endpoint.rq_timeout),
        ("rq_total", &endpoint.rq_total),
    ];
    let gauges = [
        ("cx_active", &endpoint.cx_active),
        ("rq_active", &endpoint.rq_active),
        ("rq_pending_active", &endpoint.rq_pending_active),
    ];
    // 64-bit numbers are strings in protobuf's JSON, and 0 and COUNTER are left out, being its defaults.
    let number = |name: &str, value: u64| match value {
        0 => json!({ "name": name }),
        _ => json!({ "name": name, "value": value.to_string() }),
    };
    let counters = counters.iter().map(|(name, counter)| number(name, counter.value()));
    let gauges = gauges.iter().map(|(name, gauge)| {
        let mut gauge = number(name, gauge.value());
        gauge["type"] = "GAUGE".into();
        gauge
    });
    let health = health_json(endpoint);
    let EndpointFacts { hostname, weight, priority, locality, .. } = endpoint.facts();
    let locality = ["region", "zone", "sub_zone"].into_iter().zip(locality).filter(|(_, name)| !name.is_empty());
    let locality: Map<String, Value> = locality.map(|(key, name)| (key.to_owned(), name.into())).collect();
    let mut host = json!({
        "address": address_json(address),
        "stats": counters.chain(gauges).collect::<Vec<_>>(),
        "health_status": health,
        "weight": weight,
        "locality": locality,
    });
    if priority > 0 {
        host["priority"] = priority.into();
    }
    if !hostname.is_empty() {
        host["hostname"] = hostname.into();
    }
    host
}

/// What the file says of an endpoint's health, and what has been found.
fn health_json(endpoint: &EndpointStats) -> Value {
    let reported = [
        (HealthFlag::ReportedDegraded, "DEGRADED"),
        (HealthFlag::ReportedDraining, "DRAINING"),
        (HealthFlag::ReportedUnhealthy, "UNHEALTHY"),
    ];
    let reported =
        reported.into_iter().find(|(flag, _)| endpoint.health.has(*flag)).map_or("HEALTHY", |(_, name)| name);
    let mut health = json!({ "eds_health_status": reported });
    for (flag, name) in [
        (HealthFlag::FailedCheck, "failed_active_health_check"),
        (HealthFlag::Ejected, "failed_outlier_check"),
        (HealthFlag::Excluded, "excluded_via_immediate_hc_fail"),
        (HealthFlag::CheckTimedOut, "active_hc_timeout"),
        (HealthFlag::CheckDegraded, "failed_active_degraded_check"),
    ] {
        if endpoint.health.has(flag) {
            health[name] = true.into();
        }
    }
    health
}

/// An address in Envoy's shape.
pub(super) fn address_json(address: &Address) -> Value {
    match address {
        Address::Internal(InternalAddress { name, endpoint_id }) if endpoint_id.is_empty() => {
            json!({ "envoy_internal_address": { "server_listener_name": name } })
        }
        Address::Internal(InternalAddress { name, endpoint_id }) => {
            json!({ "envoy_internal_address": { "server_listener_name": name, "endpoint_id": endpoint_id } })
        }
        Address::Pipe(pipe) => json!({ "pipe": { "path": pipe.path } }),
        Address::Socket(at) => {
            json!({ "socket_address": { "address": at.ip().to_string(), "port_value": at.port() } })
        }
    }
}
