//! Small changes to a configuration file: what makes a misconfiguration a two-line difference from a good file.
//!
//! A path names one place: `static_resources.clusters[0].name`. A key with dots in it stands in brackets and
//! quotes: `options["envoy.filters.http.router"]`. A path that starts with `..` is found wherever it occurs,
//! and must occur exactly once: `..upgrade_configs`. A null value removes what is there.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_yaml::Spanned;

use crate::scenario::Ordered;

/// Changes, in the order they are made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(transparent)]
pub struct Patch(pub Ordered<Spanned<Value>>);

impl Patch {
    /// Applies every change to `config`.
    ///
    /// # Errors
    /// The number of the change whose path names no place, or more than one, and what is wrong with it.
    pub fn apply(&self, config: &mut Value) -> Result<(), (usize, String)> {
        for (number, (path, value)) in self.0.iter().enumerate() {
            set(config, path, &value.value).map_err(|what| (number, format!("{path}: {what}")))?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Part {
    Key(String),
    Nth(usize),
}

fn set(config: &mut Value, path: &str, value: &Value) -> Result<(), String> {
    let (anywhere, path) = match path.strip_prefix("..") {
        Some(path) => (true, path),
        None => (false, path),
    };
    let mut parts = parse(path).ok_or("not a path such as a.b[0].c or ..a.b")?;
    let last = parts.pop().ok_or("an empty path")?;
    if !anywhere {
        let mut parent = config;
        for part in &parts {
            let known = known_keys(parent);
            parent = descend(parent, part).ok_or_else(|| format!("there is no {part} here: {known}"))?;
        }
        return change(parent, &last, value);
    }
    // The first part decides which places are meant; a value to be set may be new there, so without
    // anything in front of it the parent cannot be guessed.
    let mut found = Vec::new();
    let whole: Vec<Part> = parts.iter().cloned().chain([last.clone()]).collect();
    find(config, &whole, &mut Vec::new(), &mut found);
    if found.is_empty() && !parts.is_empty() {
        find(config, &parts, &mut Vec::new(), &mut found);
    } else {
        for place in &mut found {
            place.pop();
        }
    }
    match found.as_slice() {
        [] => Err("the configuration has no such field".into()),
        [place] => change(place.iter().try_fold(config, descend).ok_or("the field no longer exists")?, &last, value),
        places => Err(format!("{} fields match: write more of the path, as in `..route.timeout`", places.len())),
    }
}

/// What a path could go on with, for messages.
fn known_keys(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
            format!("it has {}", keys.join(", "))
        }
        Value::Array(items) => format!("it has {} items, counted from 0", items.len()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => "it has no parts".into(),
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "`{key}`"),
            Self::Nth(nth) => write!(f, "`[{nth}]`"),
        }
    }
}

/// The steps of a path, for [`Places`](finwait::config::Places).
pub(crate) fn steps(path: &str) -> Option<Vec<String>> {
    let step = |part| match part {
        Part::Key(key) => key,
        Part::Nth(nth) => nth.to_string(),
    };
    Some(parse(path)?.into_iter().map(step).collect())
}

fn parse(path: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    let mut rest = path;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (key, after) = quoted.split_once("\"]")?;
            parts.push(Part::Key(key.into()));
            rest = after;
        } else if let Some(number) = rest.strip_prefix('[') {
            let (number, after) = number.split_once(']')?;
            parts.push(Part::Nth(number.parse().ok()?));
            rest = after;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (key, after) = rest.split_at_checked(end)?;
            parts.push(Part::Key((!key.is_empty()).then(|| key.into())?));
            rest = after;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    Some(parts)
}

fn descend<'a>(value: &'a mut Value, part: &Part) -> Option<&'a mut Value> {
    match part {
        Part::Key(key) => value.get_mut(key),
        Part::Nth(nth) => value.get_mut(nth),
    }
}

fn change(parent: &mut Value, part: &Part, to: &Value) -> Result<(), String> {
    match (part, parent) {
        (Part::Key(key), Value::Object(fields)) if to.is_null() => {
            fields.remove(key).map(drop).ok_or_else(|| format!("there is no `{key}` to remove"))
        }
        (Part::Key(key), Value::Object(fields)) => {
            fields.insert(key.clone(), to.clone());
            Ok(())
        }
        (Part::Nth(nth), Value::Array(items)) if *nth < items.len() => {
            match (to.is_null(), items.get_mut(*nth)) {
                (true, _) => drop(items.remove(*nth)),
                (false, Some(item)) => *item = to.clone(),
                (false, None) => return Err("no such item".into()),
            }
            Ok(())
        }
        _ => Err("no such place".into()),
    }
}

/// Collects the full paths of all places that end in `wanted`.
fn find(value: &Value, wanted: &[Part], here: &mut Vec<Part>, found: &mut Vec<Vec<Part>>) {
    let inside = wanted.iter().try_fold(value, |value, part| match part {
        Part::Key(key) => value.get(key),
        Part::Nth(nth) => value.get(nth),
    });
    if inside.is_some() {
        found.push(here.iter().chain(wanted).cloned().collect());
    }
    let children: Vec<(Part, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(key, value)| (Part::Key(key.clone()), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(nth, value)| (Part::Nth(nth), value)).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    };
    for (part, child) in children {
        here.push(part);
        find(child, wanted, here, found);
        here.pop();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths() {
        let cases = [
            ("a.b", json!({"a": {"b": 2}, "l": [{"deep": {"x": 1}}]})),
            ("..deep.x", json!({"a": {"b": 1}, "l": [{"deep": {"x": 2}}]})),
            ("..deep.new", json!({"a": {"b": 1}, "l": [{"deep": {"new": 2, "x": 1}}]})),
            ("l[0].deep", json!({"a": {"b": 1}, "l": [{"deep": 2}]})),
            (r#"a["dotted.key"]"#, json!({"a": {"b": 1, "dotted.key": 2}, "l": [{"deep": {"x": 1}}]})),
        ];
        for (path, expected) in cases {
            let mut config = json!({"a": {"b": 1}, "l": [{"deep": {"x": 1}}]});
            set(&mut config, path, &json!(2)).unwrap();
            assert_eq!(config, expected, "{path}");
        }
    }

    #[test]
    fn null_removes() {
        let mut config = json!({"a": {"b": 1}, "l": [1, 2]});
        set(&mut config, "..b", &Value::Null).unwrap();
        set(&mut config, "l[0]", &Value::Null).unwrap();
        assert_eq!(config, json!({"a": {}, "l": [2]}));
    }

    #[test]
    fn refusals() {
        let cases = [
            ("a.c.d", "there is no `c` here: it has x"),
            ("..x", "2 fields match: write more of the path, as in `..route.timeout`"),
            ("..none", "the configuration has no such field"),
            ("a..b", "not a path such as a.b[0].c or ..a.b"),
            ("l[9].a", "there is no `[9]` here: it has 0 items, counted from 0"),
        ];
        for (path, expected) in cases {
            let mut config = json!({"a": {"x": 1}, "b": {"x": 1}, "l": []});
            assert_eq!(set(&mut config, path, &json!(1)).unwrap_err(), expected, "{path}");
        }
        assert_eq!(set(&mut json!({"a": {}}), "a.b", &Value::Null).unwrap_err(), "there is no `b` to remove");
    }
}
