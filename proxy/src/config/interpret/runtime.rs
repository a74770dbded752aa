//! `layered_runtime`, whose values have no shape of their own: read from the tree itself.

use std::collections::BTreeMap;

use crate::config::error::{Cause, Name, Place};
use crate::config::problem::{Problem, unknown};
use crate::config::runtime::{LayerValues, Limited, RuntimeLayer, RuntimeValue, limited};
use crate::config::yaml::{Entry, Node, Notes, Value, snake_case};
use crate::config::{Difference, Differences, Listener};

use super::runtime_keys::{note_key, place};
use super::{ClusterNames, disk_layer, shown};

/// The layers of a bootstrap, from its tree. Without the field there are none; with an empty one there is a layer for
/// operators, as in Envoy.
pub(super) fn layers(tree: &Node, notes: &Notes) -> Result<Vec<RuntimeLayer>, Problem> {
    let Some(runtime) = tree.field("layered_runtime") else { return Ok(Vec::new()) };
    let path = "layered_runtime";
    let cluster = tree.field("node").and_then(|node| node.value.field("cluster"));
    let cluster = cluster.and_then(|name| if let Value::Text(name) = &name.value.value { Some(&**name) } else { None });
    let (mut layers, mut names): (Vec<RuntimeLayer>, Vec<String>) = Default::default();
    for entry in fields(&runtime.value, path)? {
        if entry.key != "layers" {
            return Err(Problem::at(&place(path, entry), unknown(Name::Field, &entry.key, &["layers"])));
        }
        let items = match &entry.value.value {
            Value::List(items) => items.as_slice(),
            Value::Null => &[],
            Value::Bool(_) | Value::Integer(_) | Value::Map(_) | Value::Text(_) => {
                return Err(Problem::invalid(&place(path, entry), "layers are a list"));
            }
        };
        for (index, item) in items.iter().enumerate().filter(|(_, item)| !item.is_left_out()) {
            let path = format!("{path}.layers[{index}]");
            let at = Place { path: path.clone(), at: Some(item.at) };
            let (name, values) = layer(item, &path, cluster, notes)?;
            if names.contains(&name) {
                return Err(Problem::invalid(&at, format!("Duplicate layer name: {name}")));
            }
            names.push(name.clone());
            let Some(values) = values else { continue };
            let is_admin = |values: &LayerValues| matches!(values, LayerValues::Admin);
            if is_admin(&values) && layers.iter().any(|earlier| is_admin(&earlier.values)) {
                return Err(Problem::invalid(&at, "at most one admin layer may be specified"));
            }
            layers.push(RuntimeLayer { name, values });
        }
    }
    if names.is_empty() {
        layers.push(RuntimeLayer { name: String::new(), values: LayerValues::Admin });
    }
    Ok(layers)
}

/// Those of our departures that are in force when the process starts; `otherwise` decides about what no layer names.
pub(super) fn differences(layers: &[RuntimeLayer], otherwise: Differences) -> Differences {
    let said = |key: &str| layers.iter().rev().find_map(|layer| layer.fixed(key)).and_then(RuntimeValue::as_flag);
    Difference::ALL.into_iter().fold(otherwise, |decided, difference| {
        said(difference.key()).map_or(decided, |is_on| decided.with(difference, is_on))
    })
}

/// Notes the limits of clusters and listeners that there are not. Only when these are known can it be said.
pub(super) fn note_unknown_owners(notes: &Notes, clusters: &ClusterNames<'_>, listeners: &[Listener]) {
    for key in notes.take_owned() {
        match limited(&key.value) {
            Some(Limited::Cluster(name)) if !clusters.has(name) => notes.note(
                &key.place,
                format!("has no effect: there is no cluster '{name}'; the clusters are {}", clusters.shown()),
            ),
            Some(Limited::Listener(name)) if !listeners.iter().any(|listener| listener.name == name) => {
                let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
                let what = format!("has no effect: there is no listener '{name}'; the listeners are {}", shown(&names));
                notes.note(&key.place, what);
            }
            Some(_) | None => {}
        }
    }
}

/// The name of a layer, and its values, unless their directory is missing.
fn layer(
    item: &Node,
    path: &str,
    cluster: Option<&str>,
    notes: &Notes,
) -> Result<(String, Option<LayerValues>), Problem> {
    let at = Place { path: path.to_owned(), at: Some(item.at) };
    let (mut name, mut values) = (String::new(), None);
    for entry in fields(item, path)? {
        match (&*snake_case(&entry.key), &entry.value.value) {
            ("name", Value::Text(text)) => name.clone_from(text),
            (_, Value::Null) => {}
            ("admin_layer" | "disk_layer" | "static_layer", _) if values.is_some() => {
                let what = "a layer is either a static_layer, a disk_layer or an admin_layer";
                return Err(Problem::invalid(&place(path, entry), what));
            }
            ("admin_layer", _) => values = Some(Some(LayerValues::Admin)),
            ("static_layer", _) => {
                let mut found = BTreeMap::new();
                flatten(&entry.value, "", &format!("{path}.static_layer"), notes, &mut found)?;
                values = Some(Some(LayerValues::Static(found)));
            }
            ("disk_layer", _) => {
                values = Some(disk_layer::values(entry, path, cluster, notes)?.map(LayerValues::Static));
            }
            ("rtds_layer", _) => {
                let reason =
                    "there is no control plane; write the values in a static_layer, or in files of a disk_layer";
                return Err(Problem::at(&place(path, entry), Cause::Unsupported { name: Name::Field, reason }));
            }
            (key, _) => {
                let known = ["name", "admin_layer", "disk_layer", "static_layer"];
                return Err(Problem::at(&place(path, entry), unknown(Name::Field, key, &known)));
            }
        }
    }
    match (name.is_empty(), values) {
        (false, Some(values)) => Ok((name, values)),
        (true, _) => Err(Problem::invalid(&at, "a layer has a name")),
        (false, None) => Err(Problem::invalid(&at, "a layer has a static_layer, a disk_layer or an admin_layer")),
    }
}

/// Nested mappings and keys with dots are the same.
fn flatten(
    node: &Node,
    prefix: &str,
    path: &str,
    notes: &Notes,
    found: &mut BTreeMap<String, RuntimeValue>,
) -> Result<(), Problem> {
    for entry in fields(node, path)? {
        let key = if prefix.is_empty() { entry.key.clone() } else { format!("{prefix}.{}", entry.key) };
        let value = match (&entry.value.value, fraction(&entry.value)) {
            (_, Some(fraction)) => fraction,
            (Value::Map(_), None) => {
                flatten(&entry.value, &key, &format!("{path}.{}", entry.key), notes, found)?;
                continue;
            }
            (Value::Bool(is_on), _) => RuntimeValue::Flag(*is_on),
            (Value::Integer(number), _) => RuntimeValue::parse(&number.to_string()),
            (Value::Text(text), _) => RuntimeValue::parse(text),
            (Value::List(_) | Value::Null, _) => {
                return Err(Problem::invalid(&place(path, entry), "a runtime value is a number, a flag or a text"));
            }
        };
        value.check(&key).map_err(|error| Problem::invalid(&place(path, entry), error.to_string()))?;
        note_key(notes, &place(path, entry), &key);
        found.insert(key, value);
    }
    Ok(())
}

/// A mapping of exactly a numerator and a denominator is one value.
fn fraction(node: &Node) -> Option<RuntimeValue> {
    let numerator = match node.field("numerator").map(|entry| &entry.value.value) {
        Some(Value::Integer(number)) => u32::try_from(*number).ok()?,
        _ => return None,
    };
    let denominator = match node.field("denominator").map(|entry| &entry.value.value) {
        None => 100,
        Some(Value::Text(text)) => match text.to_ascii_uppercase().as_str() {
            "HUNDRED" => 100,
            "TEN_THOUSAND" => 10_000,
            "MILLION" => 1_000_000,
            _ => return None,
        },
        Some(_) => return None,
    };
    Some(RuntimeValue::Fraction { numerator, denominator })
}

fn fields<'n>(node: &'n Node, path: &str) -> Result<&'n [Entry], Problem> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(&[]),
        Value::Bool(_) | Value::Integer(_) | Value::List(_) | Value::Text(_) => {
            let at = Place { path: path.to_owned(), at: Some(node.at) };
            Err(Problem::at(&at, Cause::WrongType { expected: "a mapping".into(), found: node.value.describe() }))
        }
    }
}
