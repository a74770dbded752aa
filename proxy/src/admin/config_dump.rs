//! `/config_dump`: the file as it was read, and once more cut into the parts that tools look for.

use std::time::SystemTime;

use http::StatusCode;
use regex::Regex;
use serde_json::{Value, json};

use super::mask::Mask;
use super::redaction::redacted;
use super::{AdminResponse, AdminState, Query, TEXT};
use crate::access_log::time::strftime;
use crate::config::Message;
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
    /// The name of the resource's message.
    message_name: &'static str,
    /// The same, with its fields.
    message: Message,
    /// The other fields beside the list. `version_info` is there if Envoy updates the resources as a whole.
    others: &'static [&'static str],
    items: fn(&Value) -> Vec<&Value>,
}

const LISTS: [List; 3] = [
    List {
        field: "static_clusters",
        dump: "Clusters",
        element: "StaticCluster",
        resource: "cluster",
        message_name: "envoy.config.cluster.v3.Cluster",
        message: Message::Cluster,
        others: &["version_info", "dynamic_active_clusters", "dynamic_warming_clusters"],
        items: |bootstrap| elements(&bootstrap["static_resources"]["clusters"]).collect(),
    },
    List {
        field: "static_listeners",
        dump: "Listeners",
        element: "StaticListener",
        resource: "listener",
        message_name: "envoy.config.listener.v3.Listener",
        message: Message::Listener,
        others: &["version_info", "dynamic_listeners"],
        items: |bootstrap| elements(&bootstrap["static_resources"]["listeners"]).collect(),
    },
    List {
        field: "static_route_configs",
        dump: "Routes",
        element: "StaticRouteConfig",
        resource: "route_config",
        message_name: "envoy.config.route.v3.RouteConfiguration",
        message: Message::RouteConfiguration,
        others: &["dynamic_route_configs"],
        items: route_tables,
    },
];

/// What a request asks to see.
struct Filter<'q> {
    /// The whole name of an element has to match, as in Envoy.
    names: Option<Regex>,
    mask: Option<Mask<'q>>,
}

pub(super) fn config_dump(query: &Query, state: &AdminState) -> AdminResponse {
    let pattern = query.value("name_regex").filter(|pattern| !pattern.is_empty());
    let names = match pattern.map(|pattern| Regex::new(&format!("^(?:{pattern})$"))).transpose() {
        Ok(names) => names,
        Err(error) => {
            return refused(StatusCode::BAD_REQUEST, format!("Error while parsing name_regex: {error}\n"));
        }
    };
    let filter = Filter { names, mask: query.value("mask").and_then(Mask::parse) };
    let snapshot = (state.in_force)().snapshot;
    match query.value("resource").filter(|resource| !resource.is_empty()) {
        None => everything(&snapshot, &filter),
        Some(resource) => one_list(resource, &snapshot, &filter),
    }
}

fn everything(snapshot: &Snapshot, filter: &Filter<'_>) -> AdminResponse {
    let bootstrap = redacted(&snapshot.config.dump);
    let updated = timestamp(snapshot.loaded_at);
    let mut configs = Vec::new();
    if filter.fits(&|path| match path {
        ["bootstrap", steps @ ..] => steps.is_empty() || Message::Bootstrap.has(steps),
        _ => path == ["last_updated"],
    }) {
        let dump = json!({ "@type": type_of("BootstrapConfigDump"), "bootstrap": bootstrap, "last_updated": updated });
        configs.push(filter.masked(dump));
    }
    // The sections without lists of ours stand where Envoy has them, behind the listeners and at the end.
    let empty = |dump: &str| json!({ "@type": type_of(dump) });
    for list in LISTS {
        if list.dump == "Routes" && filter.mask.is_none() {
            configs.push(empty("ScopedRoutesConfigDump"));
        }
        if filter.fits(&|path| matches!(path, [field] if *field == list.field || list.others.contains(field))) {
            configs.push(filter.masked(list.dump(snapshot, filter)));
        }
    }
    if filter.mask.is_none() {
        configs.push(empty("SecretsConfigDump"));
    }
    match &filter.mask {
        Some(mask) if configs.is_empty() => refused(
            StatusCode::BAD_REQUEST,
            format!(
                "FieldMask {mask} could not be successfully applied to any configs. One message of the dump has to have \
                 all of its paths, and no path leads through a list; behind ?resource=static_clusters and the other \
                 lists a mask applies to each element, as in &mask=cluster.name\n"
            ),
        ),
        Some(_) | None => AdminResponse::json(&json!({ "configs": configs })),
    }
}

fn one_list(resource: &str, snapshot: &Snapshot, filter: &Filter<'_>) -> AdminResponse {
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
    let mut items: Vec<Value> = list.items(snapshot, filter).collect();
    let is_field = |path: &[&str]| match path {
        // The resource is an Any: a mask names fields of what is in it.
        [first, steps @ ..] if *first == list.resource => list.message.has(steps),
        _ => path == ["last_updated"],
    };
    if let Some(wrong) = filter.mask.as_ref().and_then(|mask| mask.first_but(is_field)).filter(|_| !items.is_empty()) {
        return refused(
            StatusCode::BAD_REQUEST,
            format!(
                "FieldMask could not be successfully used: {wrong:?} is no field of an element of {resource}. Paths are \
                 last_updated and {}.FIELD, where FIELD is one of {}, and none leads through a list\n",
                list.resource, list.message_name
            ),
        );
    }
    items.iter_mut().for_each(|item| {
        item["@type"] = name.as_str().into();
        *item = filter.masked(item.take());
    });
    AdminResponse::json(&if items.is_empty() { json!({}) } else { json!({ "configs": items }) })
}

impl Filter<'_> {
    /// Is every path of the mask one that `is_field`?
    fn fits(&self, is_field: &dyn Fn(&[&str]) -> bool) -> bool {
        self.mask.as_ref().is_none_or(|mask| mask.first_but(is_field).is_none())
    }

    /// What the mask leaves.
    fn masked(&self, message: Value) -> Value {
        match &self.mask {
            Some(mask) => mask.of(&message),
            None => message,
        }
    }
}

impl List {
    fn dump(&self, snapshot: &Snapshot, filter: &Filter<'_>) -> Value {
        let items: Vec<Value> = self.items(snapshot, filter).collect();
        let mut dump = json!({ "@type": type_of(&format!("{}ConfigDump", self.dump)), self.field: items });
        if self.others.contains(&"version_info") {
            dump["version_info"] = snapshot.version.to_string().into();
        }
        dump
    }

    fn items(&self, snapshot: &Snapshot, filter: &Filter<'_>) -> impl Iterator<Item = Value> {
        let updated = timestamp(snapshot.loaded_at);
        let names = filter.names.as_ref();
        let matches =
            |item: &&Value| names.is_none_or(|names| names.is_match(item["name"].as_str().unwrap_or_default()));
        let chosen: Vec<&Value> = (self.items)(&snapshot.config.dump).into_iter().filter(matches).collect();
        chosen.into_iter().map(move |item| {
            let mut resource = redacted(item);
            if resource.is_object() {
                resource["@type"] = format!("type.googleapis.com/{}", self.message_name).into();
            }
            json!({ self.resource: resource, "last_updated": updated })
        })
    }
}

fn route_tables(bootstrap: &Value) -> Vec<&Value> {
    let listeners = elements(&bootstrap["static_resources"]["listeners"]);
    let chains = listeners.flat_map(|listener| {
        elements(&listener["filter_chains"]).chain(std::iter::once(&listener["default_filter_chain"]))
    });
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
    formatted("%Y-%m-%dT%H:%M:%S.%3fZ", at)
}

/// The same without fractions.
pub(super) fn timestamp_to_seconds(at: SystemTime) -> String {
    formatted("%Y-%m-%dT%H:%M:%SZ", at)
}

fn formatted(format: &str, at: SystemTime) -> String {
    let mut text = Vec::new();
    strftime(format, at, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
