//! Edits of a scenario by a machine: a configuration with one setting changed, or a host that behaves otherwise.

use serde_json::{Map, Value, json};

use crate::explain::settings::HTTP_OPTIONS;
use crate::scenario::{Intervention, ProxyConfig, Role, Scenario, Step, Time};

/// What is changed at one host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Edit {
    /// The host.
    pub(super) host: String,
    /// Where, and what becomes of it.
    pub(super) acts: Vec<(Vec<String>, Act)>,
    /// What it is, in a few words: `idle_timeout: 4s`.
    pub(super) words: String,
}

/// What becomes of a place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Act {
    /// The list there gets one more item.
    Push(Value),
    /// It goes away.
    Remove,
    /// It gets this value.
    Set(Value),
}

/// The steps of a path.
pub(super) fn at(steps: &[&str]) -> Vec<String> {
    steps.iter().map(|step| (*step).to_owned()).collect()
}

impl Edit {
    /// Makes the edit; an error says why that is not possible.
    pub(super) fn apply(&self, scenario: &mut Scenario) -> Result<(), &'static str> {
        let host = scenario.hosts.iter_mut().find(|host| host.name == self.host).ok_or("there is no such host")?;
        if let Role::Proxy(config) = &mut host.role {
            // The place may be in what the host begins with, in what a reload reads, or in both.
            let mut done = self.change(config);
            reloads(&mut scenario.script, &self.host, &mut |config| done = done.or(self.change(config)));
            return done;
        }
        self.acts.iter().try_for_each(|(steps, act)| behave(&mut host.role, steps, act))
    }

    /// Whether both change the same place.
    pub(super) fn is_at_the_place_of(&self, other: &Self) -> bool {
        let places = |edit: &Self| edit.acts.iter().map(|(steps, _)| steps.clone()).collect::<Vec<_>>();
        self.host == other.host && places(self) == places(other)
    }

    fn change(&self, config: &mut ProxyConfig) -> Result<(), &'static str> {
        let mut value: Value = serde_yaml::from_str(&config.text).map_err(|_| "the configuration is no YAML")?;
        for (steps, act) in &self.acts {
            carry_out(&mut value, steps, act)?;
        }
        config.text = value.to_string();
        Ok(())
    }
}

/// Acts as the configuration would have them.
pub(super) fn words(acts: &[(Vec<String>, Act)]) -> String {
    let word = |(steps, act): &(Vec<String>, Act)| {
        let name = steps.iter().rev().find(|step| step.parse::<usize>().is_err()).map_or("", String::as_str);
        match act {
            Act::Push(value) => format!("{name} with {}", flow(value)),
            Act::Remove => format!("without {name}"),
            Act::Set(value) => format!("{name}: {}", flow(value)),
        }
    };
    acts.iter().map(word).collect::<Vec<_>>().join(" and ")
}

/// Calls `change` with every configuration that the script gives a host.
fn reloads(
    script: &mut [serde_yaml::Spanned<crate::scenario::Cue>],
    host: &str,
    change: &mut dyn FnMut(&mut ProxyConfig),
) {
    for cue in script {
        match &mut cue.value.step {
            Step::Happen(Intervention::Reload(reload)) if reload.host == host => {
                reload.read.iter_mut().for_each(&mut *change)
            }
            Step::Background(script) => reloads(script, host, change),
            Step::Repeat(repeat) => reloads(&mut repeat.steps, host, change),
            Step::Barrier(_) | Step::Do { .. } | Step::Happen(_) | Step::Nothing | Step::Wait(_) => {}
        }
    }
}

/// Changes one behaviour of a host that is no proxy.
fn behave(role: &mut Role, steps: &[String], act: &Act) -> Result<(), &'static str> {
    let Act::Set(Value::String(value)) = act else { return Err("the host has no such setting") };
    let time: Time = serde_yaml::from_str(value).map_err(|_| "its value is no time")?;
    match (role, steps.last().map(String::as_str)) {
        (Role::Alb(alb), Some("idle_timeout")) => alb.idle_timeout = time,
        (Role::App(app), Some("idle_timeout")) => app.idle_timeout = Some(time),
        (Role::Client(client), Some("idle_timeout")) => client.idle_timeout = Some(time),
        _ => return Err("the host has no such setting"),
    }
    Ok(())
}

/// Changes the place to which `steps` lead. Fields on the way that are not there are added.
fn carry_out(value: &mut Value, steps: &[String], act: &Act) -> Result<(), &'static str> {
    let Some((last, before)) = steps.split_last() else { return Err("it has no place") };
    let mut place = value;
    for step in before {
        place = descend(place, step)?;
    }
    match (place, act) {
        (Value::Array(items), Act::Remove) => {
            let nth: usize = last.parse().map_err(|_| "a list has no names")?;
            if nth >= items.len() {
                return Err("the list is shorter");
            }
            items.remove(nth);
        }
        (Value::Object(fields), act) => {
            let key = spelling(fields, last);
            match act {
                Act::Push(item) => match fields.entry(key).or_insert_with(|| json!([])) {
                    Value::Array(items) => items.push(item.clone()),
                    Value::Bool(_) | Value::Null | Value::Number(_) | Value::Object(_) | Value::String(_) => {
                        return Err("it is no list");
                    }
                },
                Act::Remove => drop(fields.remove(&key).ok_or("it is not there")?),
                Act::Set(to) => drop(fields.insert(key, to.clone())),
            }
        }
        (Value::Array(items), Act::Set(to)) => {
            let item = last.parse::<usize>().ok().and_then(|nth| items.get_mut(nth)).ok_or("the list is shorter")?;
            *item = to.clone();
        }
        _ => return Err("it has no such part"),
    }
    Ok(())
}

/// The part of a value with this name, which is added where it is not there.
fn descend<'v>(value: &'v mut Value, step: &str) -> Result<&'v mut Value, &'static str> {
    match value {
        Value::Array(items) => {
            step.parse::<usize>().ok().and_then(|nth| items.get_mut(nth)).ok_or("the list is shorter")
        }
        Value::Object(fields) => {
            if step == HTTP_OPTIONS && !fields.contains_key(step) {
                fields.insert(step.to_owned(), http_options());
            }
            let key = spelling(fields, step);
            Ok(fields.entry(key).or_insert_with(|| json!({})))
        }
        Value::Null => {
            *value = json!({});
            descend(value, step)
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => Err("it has no parts"),
    }
}

/// What a cluster without HTTP options means by that.
fn http_options() -> Value {
    json!({
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": { "http_protocol_options": {} },
    })
}

/// How the file spells a field: in snake case or in camel case (proto3's JSON has both).
fn spelling(fields: &Map<String, Value>, name: &str) -> String {
    let mut camel = String::new();
    for (nth, word) in name.split('_').enumerate() {
        let mut letters = word.chars();
        match letters.next() {
            Some(first) if nth > 0 => camel.extend(first.to_uppercase().chain(letters)),
            Some(first) => camel.extend([first].into_iter().chain(letters)),
            None => {}
        }
    }
    if !fields.contains_key(name) && fields.contains_key(&camel) { camel } else { name.to_owned() }
}

/// A value as YAML on one line.
pub(super) fn flow(value: &Value) -> String {
    let plain = |text: &str| {
        let is_plain = |it: char| it.is_ascii_alphanumeric() || "-_./%".contains(it);
        text.starts_with(|it: char| it.is_ascii_alphanumeric()) && text.chars().all(is_plain)
    };
    match value {
        Value::String(text) if plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) if fields.is_empty() => "{}".into(),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
        }
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_on_the_way_are_added_and_keep_their_spelling() {
        let mut config = json!({ "clusters": [{ "connectTimeout": "1s" }] });
        let set = |config: &mut Value, path: &str, to: Value| {
            carry_out(config, &at(&path.split(' ').collect::<Vec<_>>()), &Act::Set(to))
        };
        set(&mut config, "clusters 0 connect_timeout", json!("3s")).unwrap();
        set(&mut config, "clusters 0 a b", json!(1)).unwrap();
        assert_eq!(config, json!({ "clusters": [{ "connectTimeout": "3s", "a": { "b": 1 } }] }));
        assert!(set(&mut config, "clusters 1 a", json!(1)).is_err());
    }

    #[test]
    fn values_are_shown_on_one_line() {
        let value = json!({ "retry_on": "reset", "list": [1, "a b"], "none": {} });
        assert_eq!(flow(&value), r#"{ list: [1, "a b"], none: {}, retry_on: reset }"#);
    }
}
