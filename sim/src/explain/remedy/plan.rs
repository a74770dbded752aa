//! From what a setting is to become to the edit of one host, with the value that the configuration would have.

use std::time::Duration;

use serde_json::{Value, json};

use super::edit::{self, Act, Edit, at};
use crate::explain::proposal::{FILE_OF_ENDPOINTS, Proposal};
use crate::explain::settings::{Setting, filter_at, find, time};
use crate::scenario::{Role, Scenario};

/// More than any run of a scenario needs.
const UNLIMITED: u32 = 100_000;

/// How many times longer a wait becomes where it is not known how long it has to be.
const LONGER: u32 = 4;

/// Places of a configuration, and what becomes of each.
type Acts = Vec<(Vec<String>, Act)>;

impl Proposal {
    /// The edit that carries it out; an error says why it cannot be tried.
    pub(super) fn edit(&self, setting: &Setting, scenario: &Scenario) -> Result<Edit, &'static str> {
        let steps = &setting.steps;
        if steps.is_empty() {
            return Err("it is set by what the client sends");
        }
        let to = |value| vec![(steps.clone(), Act::Set(value))];
        let (acts, words) = match self {
            Self::Advice | Self::Upgrade => return Err("no setting is about it"),
            Self::Untried(why) => return Err(why),
            Self::AnotherApp if setting.name == FILE_OF_ENDPOINTS => {
                return Err("the endpoints come from a file of their own");
            }
            Self::AnotherApp => {
                let (host, endpoints) = another_app(setting, scenario)?;
                (to(endpoints), Some(format!("endpoint {host}")))
            }
            Self::FirstCluster => {
                let (acts, words) = first_cluster(setting, &config(setting, scenario)?)?;
                (acts, Some(words))
            }
            Self::Longer(needed) => {
                let current = || setting.value.as_deref().and_then(time).map(|time| time * LONGER);
                let longer = needed.map(longer_than).or_else(current).ok_or("its value is not known")?;
                (to(duration(longer)), None)
            }
            Self::Push(yaml) => (vec![(steps.clone(), Act::Push(parse(yaml)?))], None),
            Self::Remove => (vec![(steps.clone(), Act::Remove)], None),
            Self::Runtime(keys) => runtime(keys),
            Self::Set(yaml) => (to(parse(yaml)?), None),
            Self::Shorter(than) => (to(duration(shorter_than(*than))), None),
            Self::Unlimited => (to(unlimited()), Some(format!("every threshold {UNLIMITED}"))),
            Self::Word(word) => {
                let now = config(setting, scenario)?;
                let words = find(&now, steps).and_then(Value::as_str).map_or_else(String::new, |it| format!("{it},"));
                (to(Value::String(words + word)), None)
            }
            Self::WithoutFilter(kind) => {
                let name = kind.split('.').next().unwrap_or(kind);
                (
                    without_filter(kind, setting, &config(setting, scenario)?)?,
                    Some(format!("without the filter {name}")),
                )
            }
        };
        let words = words.unwrap_or_else(|| edit::words(&acts));
        Ok(Edit { host: setting.host.clone(), acts, words })
    }
}

fn parse(yaml: &str) -> Result<Value, &'static str> {
    serde_yaml::from_str(yaml).map_err(|_| "its value is no YAML")
}

/// The configuration of the proxy that a setting is of.
fn config(setting: &Setting, scenario: &Scenario) -> Result<Value, &'static str> {
    let role = scenario.hosts.iter().find(|host| host.name == setting.host).map(|host| &host.role);
    let Some(Role::Proxy(config)) = role else { return Err("the host is no proxy") };
    serde_yaml::from_str(&config.text).map_err(|_| "the configuration is no YAML")
}

/// A second more, in whole seconds.
fn longer_than(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0) + 1)
}

/// A second less, or half of it.
fn shorter_than(time: Duration) -> Duration {
    time.checked_sub(Duration::from_secs(1)).filter(|left| *left >= Duration::from_secs(1)).unwrap_or(time / 2)
}

/// A time as JSON of a configuration has it.
fn duration(time: Duration) -> Value {
    Value::String(format!("{}s", time.as_secs_f64()))
}

/// Thresholds of both priorities that are beyond reach.
fn unlimited() -> Value {
    let of = |priority: &str| {
        json!({
            "priority": priority, "max_connections": UNLIMITED, "max_pending_requests": UNLIMITED,
            "max_requests": UNLIMITED, "max_retries": UNLIMITED,
        })
    };
    json!([of("DEFAULT"), of("HIGH")])
}

/// Keys of the runtime, in a layer over all others.
fn runtime(keys: &[(String, u32)]) -> (Acts, Option<String>) {
    let values: serde_json::Map<_, _> = keys.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    let layer = json!({ "name": "tried", "static_layer": values });
    let words: Vec<String> = keys.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    (vec![(at(&["layered_runtime", "layers"]), Act::Push(layer))], Some(words.join(", ")))
}

/// An app of the scenario to which the setting does not lead, and endpoints that are it.
fn another_app(setting: &Setting, scenario: &Scenario) -> Result<(String, Value), &'static str> {
    let now = config(setting, scenario)?;
    let here = find(&now, &setting.steps).map(Value::to_string).unwrap_or_default();
    let other = scenario.hosts.iter().find_map(|host| match &host.role {
        Role::App(app) if !here.contains(&format!("\"{}\"", host.name)) => Some((host, app.port)),
        Role::App(_) | Role::Alb(_) | Role::Client(_) | Role::Proxy(_) => None,
    });
    let (host, port) = other.ok_or("the scenario has no other app")?;
    let address = host.ip.map(|ip| ip.to_string()).ok_or("the other app has no address of its own in the scenario")?;
    let socket = json!({ "socket_address": { "address": address, "port_value": port } });
    Ok((format!("{}:{port}", host.name), json!([{ "lb_endpoints": [{ "endpoint": { "address": socket } }] }])))
}

/// Leads the request to the first cluster of the configuration.
fn first_cluster(setting: &Setting, config: &Value) -> Result<(Acts, String), &'static str> {
    let name =
        config.pointer("/static_resources/clusters/0/name").and_then(Value::as_str).ok_or("it has no cluster")?;
    let steps = &setting.steps;
    let to = json!({ "cluster": name });
    let led = format!("route: {{ cluster: {name} }}");
    if steps.last().is_some_and(|it| it == "virtual_hosts") {
        let route = json!({ "match": { "prefix": "/" }, "route": to });
        let hosts = find(config, steps).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let takes_all = |it: &Value| it["domains"].as_array().is_some_and(|all| all.contains(&json!("*")));
        let (place, item) = match hosts.iter().position(takes_all) {
            Some(nth) => ([steps.clone(), at(&[&nth.to_string(), "routes"])].concat(), route),
            None => (steps.clone(), json!({ "name": "tried", "domains": ["*"], "routes": [route] })),
        };
        return Ok((vec![(place, Act::Push(item))], format!("a last route for every request, {led}")));
    }
    // The setting is a part of the route's action, and the action gives way to another.
    let nth = steps.iter().rposition(|step| step == "routes").ok_or("it is no part of a route")?;
    let route = steps.get(..nth + 2).ok_or("it is no part of a route")?;
    let has = |action: &&&str| find(config, &[route, &at(&[action])].concat()).is_some();
    let now = ["direct_response", "redirect", "non_forwarding_action", "route"].iter().filter(has);
    let removed = now.map(|action| ([route, &at(&[action])].concat(), Act::Remove));
    let set = ([route, &at(&["route"])].concat(), Act::Set(to));
    Ok((removed.chain([set]).collect(), led))
}

/// Removes the first filter of this kind from the list that the setting is.
fn without_filter(kind: &str, setting: &Setting, config: &Value) -> Result<Acts, &'static str> {
    let nth = filter_at(config, &setting.steps, kind).ok_or("the filter is not in the file")?;
    Ok(vec![([setting.steps.clone(), at(&[&nth.to_string()])].concat(), Act::Remove)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_changed_by_a_whole_second_where_that_is_possible() {
        let secs = Duration::from_secs_f64;
        for (time, longer, shorter) in [(5.0, 6.0, 4.0), (1.5, 3.0, 0.75), (0.2, 2.0, 0.1)] {
            assert_eq!((longer_than(secs(time)), shorter_than(secs(time))), (secs(longer), secs(shorter)), "{time}");
        }
        assert_eq!(duration(secs(0.25)), json!("0.25s"));
    }
}
