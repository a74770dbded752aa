//! `/config_dump`: the file as it was read, and once more cut into the parts that tools look for.

use std::time::SystemTime;

use http::StatusCode;
use regex::Regex;
use serde_json::{Value, json};

use super::{AdminResponse, AdminState, Query, TEXT};
use crate::access_log::time::strftime;
use crate::snapshot::Snapshot;

/// Lists that Envoy's dumps have, and that are always empty where everything comes from one file.
const EMPTY: &[&str] = &[
    "dynamic_active_clusters",
    "dynamic_active_secrets",
    "dynamic_endpoint_configs",
    "dynamic_listeners",
    "dynamic_route_configs",
    "dynamic_scoped_route_configs",
    "dynamic_warming_clusters",
    "dynamic_warming_secrets",
    "inline_scoped_route_configs",
    "static_endpoint_configs",
    "static_secrets",
];

/// One of the lists.
struct List {
    /// The field that holds it.
    field: &'static str,
    /// The message that holds that field.
    dump: &'static str,
    /// The message of an element.
    element: &'static str,
    /// The field of an element that holds the resource.
    resource: &'static str,
    /// The message of the resource.
    message: &'static str,
    /// Whether that message says which version it is, as those do that Envoy updates as a whole.
    has_version: bool,
    items: fn(&Value) -> Vec<&Value>,
}

const LISTS: [List; 3] = [
    List {
        field: "static_clusters",
        dump: "Clusters",
        element: "StaticCluster",
        resource: "cluster",
        message: "envoy.config.cluster.v3.Cluster",
        has_version: true,
        items: |bootstrap| elements(&bootstrap["static_resources"]["clusters"]).collect(),
    },
    List {
        field: "static_listeners",
        dump: "Listeners",
        element: "StaticListener",
        resource: "listener",
        message: "envoy.config.listener.v3.Listener",
        has_version: true,
        items: |bootstrap| elements(&bootstrap["static_resources"]["listeners"]).collect(),
    },
    List {
        field: "static_route_configs",
        dump: "Routes",
        element: "StaticRouteConfig",
        resource: "route_config",
        message: "envoy.config.route.v3.RouteConfiguration",
        has_version: false,
        items: route_tables,
    },
];

pub(super) fn config_dump(query: &Query, state: &AdminState) -> AdminResponse {
    if query.has("mask") {
        return refused(StatusCode::BAD_REQUEST, "mask is not supported; use resource and name_regex\n".into());
    }
    // The whole name has to match, as in Envoy.
    let pattern = query.value("name_regex").filter(|pattern| !pattern.is_empty());
    let names = match pattern.map(|pattern| Regex::new(&format!("^(?:{pattern})$"))).transpose() {
        Ok(names) => names,
        Err(error) => {
            return refused(StatusCode::BAD_REQUEST, format!("Error while parsing name_regex: {error}\n"));
        }
    };
    let snapshot = (state.in_force)().snapshot;
    match query.value("resource").filter(|resource| !resource.is_empty()) {
        None => everything(&snapshot, names.as_ref()),
        Some(resource) => one_list(resource, &snapshot, names.as_ref()),
    }
}

fn everything(snapshot: &Snapshot, names: Option<&Regex>) -> AdminResponse {
    let bootstrap = &snapshot.config.dump;
    let updated = timestamp(snapshot.loaded_at);
    let first = json!({ "@type": type_of("BootstrapConfigDump"), "bootstrap": bootstrap, "last_updated": updated });
    let lists = LISTS.iter().map(|list| {
        let items: Vec<Value> = list.items(snapshot, names).collect();
        let mut dump = json!({ "@type": type_of(&format!("{}ConfigDump", list.dump)), list.field: items });
        if list.has_version {
            dump["version_info"] = snapshot.version.to_string().into();
        }
        dump
    });
    let configs: Vec<Value> = std::iter::once(first).chain(lists).collect();
    AdminResponse::json(&json!({ "configs": configs }))
}

fn one_list(resource: &str, snapshot: &Snapshot, names: Option<&Regex>) -> AdminResponse {
    let Some(list) = LISTS.iter().find(|list| list.field == resource) else {
        return match resource {
            empty if EMPTY.contains(&empty) => AdminResponse::json(&json!({})),
            single @ ("bootstrap" | "last_updated" | "version_info") => refused(
                StatusCode::BAD_REQUEST,
                format!("{single} is not a repeated field. Use ?mask={single} to get only this field"),
            ),
            other => refused(StatusCode::NOT_FOUND, format!("{other} not found in config dump")),
        };
    };
    let name = type_of(&format!("{}ConfigDump.{}", list.dump, list.element));
    let mut items: Vec<Value> = list.items(snapshot, names).collect();
    items.iter_mut().for_each(|item| item["@type"] = name.as_str().into());
    AdminResponse::json(&if items.is_empty() { json!({}) } else { json!({ "configs": items }) })
}

impl List {
    fn items(&self, snapshot: &Snapshot, names: Option<&Regex>) -> impl Iterator<Item = Value> {
        let updated = timestamp(snapshot.loaded_at);
        let matches =
            |item: &&Value| names.is_none_or(|names| names.is_match(item["name"].as_str().unwrap_or_default()));
        let chosen: Vec<&Value> = (self.items)(&snapshot.config.dump).into_iter().filter(matches).collect();
        chosen.into_iter().map(move |item| {
            let mut resource = item.clone();
            if resource.is_object() {
                resource["@type"] = format!("type.googleapis.com/{}", self.message).into();
            }
            json!({ self.resource: resource, "last_updated": updated })
        })
    }
}

fn route_tables(bootstrap: &Value) -> Vec<&Value> {
    let listeners = elements(&bootstrap["static_resources"]["listeners"]);
    let chains = listeners.flat_map(|listener| elements(&listener["filter_chains"]));
    let filters = chains.flat_map(|chain| elements(&chain["filters"]));
    filters.map(|filter| &filter["typed_config"]["route_config"]).filter(|routes| !routes.is_null()).collect()
}

fn refused(status: StatusCode, message: String) -> AdminResponse {
    AdminResponse { status, ..AdminResponse::new(TEXT, message) }
}

fn type_of(message: &str) -> String {
    format!("type.googleapis.com/envoy.admin.v3.{message}")
}

/// The elements of a list; none of anything else.
fn elements(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `2026-11-21T05:08:56.710Z`, as protobuf's JSON has a timestamp.
fn timestamp(at: SystemTime) -> String {
    let mut text = Vec::new();
    strftime("%Y-%m-%dT%H:%M:%S.%3fZ", at, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
