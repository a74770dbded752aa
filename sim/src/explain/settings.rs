//! The settings of a host, and where they are written.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use finwait::codec::{Headers, RequestHead};
use finwait::config::cluster::{Discovery, Priority};
use finwait::config::filter_chain::{Arrival, Chosen, ClientOffer, Ends};
use finwait::config::listener::{ConnectionManager, Listener};
use finwait::config::listener_filter::Inspection;
use finwait::config::route::{Action, Destination, Forward, NamedCluster};
use finwait::config::runtime::LayerValues;
use finwait::config::{Config, Places};
use finwait::listener::http_version;
use finwait::net::Random;
use finwait::net::tls::ClientHello;
use finwait::router::{Chance, RuntimeKeys};
use http::{HeaderName, HeaderValue, Method, Version};
use serde_json::Value;

use super::proposal::FILE_OF_ENDPOINTS;
use super::traffic::{Exchange, Protocol};
use crate::proxy;
use crate::scenario::{ProxyConfig, Reloaded, ReloadedFrom, Role, Scenario, plain};
use crate::trace::conversation::Conversation;
use crate::trace::wire;

/// Chance of which nothing is known but whether something depends on it.
struct Drawn(Cell<bool>);

impl Random for Drawn {
    fn next_u64(&self) -> u64 {
        self.0.set(true);
        0
    }
}

/// A setting, as an explanation names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// On which host.
    pub host: String,
    /// Its name, with the names around it where it needs them.
    pub name: String,
    /// Its value, in words; none if the setting is something that is not there.
    pub value: Option<String>,
    /// The file in which the setting stands.
    pub file: String,
    /// Its line there, or that of what it would belong to; none if neither is written.
    pub line: Option<usize>,
    /// Whether it is written there.
    pub is_written: bool,
    /// The steps to it in the configuration; none if it is not set there.
    pub(super) steps: Path,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, name, value, file, line, is_written, .. } = self;
        write!(f, "{host}'s {name}")?;
        if let Some(value) = value {
            write!(f, ", {value}")?;
        }
        let place = line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"));
        match (is_written, value) {
            (true, _) => write!(f, " ({place})"),
            (false, Some(_)) => write!(f, " (the default; set it under {place})"),
            (false, None) => write!(f, " (not set; add it under {place})"),
        }
    }
}

impl Setting {
    /// Whether it ends a stream after a time, whatever moves on it.
    pub(super) fn is_longest_life(&self) -> bool {
        self.name.ends_with("max_stream_duration")
    }
}

/// The settings of one host.
pub(super) struct HostSettings<'a> {
    scenario: &'a Scenario,
    host: &'a str,
    file: &'a str,
    /// What the host read, or the scenario if it reads nothing.
    places: Option<Places>,
    /// The same before it was patched, with the lines that its author wrote.
    unpatched: Option<Places>,
    config: Option<Config>,
    /// What it did not begin with.
    reloaded: Option<Changed<'a>>,
}

/// A configuration that came while the host ran.
struct Changed<'a> {
    reloaded: &'a Reloaded,
    first: Value,
    now: Value,
}

/// A path into a configuration.
pub(super) type Path = Vec<String>;

/// The key of a cluster's HTTP options.
pub(super) const HTTP_OPTIONS: &str = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

/// Where the HTTP options of the cluster at `path` stand.
pub(super) fn http_options(path: Path) -> Path {
    path.into_iter().chain(["typed_extension_protocol_options", HTTP_OPTIONS].map(str::to_owned)).collect()
}

/// Where a request was led, with the path of its connection manager and of its route.
pub(super) struct Routed<'a> {
    /// The connection manager.
    pub(super) options: &'a ConnectionManager,
    pub(super) manager: Path,
    pub(super) route: Option<(Path, &'a Action)>,
}

impl<'a> HostSettings<'a> {
    /// The settings of `host`; none if the scenario has no such host.
    pub(super) fn new(scenario: &'a Scenario, host: &'a str) -> Option<Self> {
        let role = &scenario.hosts.iter().find(|has| has.name == host)?.role;
        let Role::Proxy(given @ ProxyConfig { file, text, unpatched, reloaded, .. }) = role else {
            let (file, places) = (&scenario.file, Places::read(scenario.document.as_read()));
            return Some(Self { scenario, host, file, places, unpatched: None, config: None, reloaded: None });
        };
        let config = proxy::meaning(given);
        let unpatched = unpatched.as_deref().and_then(Places::read);
        let reloaded = reloaded.as_deref().map(|reloaded| Changed {
            reloaded,
            first: serde_yaml::from_str(&reloaded.first).unwrap_or_default(),
            now: serde_yaml::from_str(text).unwrap_or_default(),
        });
        Some(Self { scenario, host, file, places: Places::read(text), unpatched, config, reloaded })
    }

    /// The listener, the connection manager and the route that took a request.
    pub(super) fn led(&self, exchange: &Exchange, connection: &Conversation) -> Option<Routed<'_>> {
        let (manager, options) = self.chosen(connection)?;
        let table = &options.routes;
        let (keys, drawn) = (RuntimeKeys::default(), Drawn(Cell::new(false)));
        let route = finwait::router::route(table, &head(exchange), &Chance::new(&keys, &drawn)).and_then(|found| {
            let host_nth = table.virtual_hosts.iter().position(|has| std::ptr::eq(has, found.host))?;
            let route_nth = found.host.routes.iter().position(|has| std::ptr::eq(has, found.route))?;
            let steps = path(&format!("route_config virtual_hosts {host_nth} routes {route_nth}"));
            Some(([manager.clone(), steps].concat(), &found.route.action))
        });
        // What chance decided in the run is not recorded; a route with several clusters is the same whichever was drawn.
        let by_chance = drawn.0.get() && !matches!(route, Some((_, Action::Forward(_))));
        let route = route.filter(|_| !by_chance);
        Some(Routed { options, manager, route })
    }

    /// The connection manager that took a connection.
    pub(super) fn manager(&self, connection: &Conversation) -> Option<&ConnectionManager> {
        self.chosen(connection).map(|(_, manager)| manager)
    }

    /// The same with its path: that of the filter chain which takes a connection between these ends.
    fn chosen(&self, connection: &Conversation) -> Option<(Path, &ConnectionManager)> {
        let (nth, listener) = self.listener(connection.server_address)?;
        let hello = wire::client_hello(&connection.from_client.bytes);
        let chosen = listener.filter_chains.choose(arrival(connection, listener, hello.as_ref()))?;
        let chain = steps_to(chosen);
        let manager = listener.filter_chains.terminal(chosen)?.http()?;
        Some((path(&format!("static_resources listeners {nth} {chain} filters 0 typed_config")), manager))
    }

    /// What would take a connection that no filter chain of its listener takes; `None` if one does.
    pub(super) fn missing_filter_chain(&self, connection: &Conversation) -> Option<Setting> {
        let (nth, listener) = self.listener(connection.server_address)?;
        let hello = wire::client_hello(&connection.from_client.bytes);
        let is_taken = listener.filter_chains.choose(arrival(connection, listener, hello.as_ref())).is_some();
        let parent = path(&format!("static_resources listeners {nth}"));
        (!is_taken).then(|| self.setting(&parent, "default_filter_chain", None))
    }

    /// Where the filter chain stands that takes a connection.
    pub(super) fn chain(&self, connection: &Conversation) -> Option<Path> {
        let (nth, listener) = self.listener(connection.server_address)?;
        let hello = wire::client_hello(&connection.from_client.bytes);
        let chosen = listener.filter_chains.choose(arrival(connection, listener, hello.as_ref()))?;
        Some(path(&format!("static_resources listeners {nth} {}", steps_to(chosen))))
    }

    /// The listener at an address, and its position in the file.
    pub(super) fn listener(&self, at: SocketAddr) -> Option<(usize, &Listener)> {
        let listeners = &self.config.as_ref()?.listeners;
        let listens = |listener: &Listener| listener.bindings().any(|binding| binding.at.port() == Some(at.port()));
        listeners.iter().enumerate().find(|(_, listener)| listens(listener))
    }

    /// The number of the cluster that has an endpoint at an address.
    pub(super) fn cluster_with(&self, to: SocketAddr) -> Option<usize> {
        self.config.as_ref()?.clusters.iter().position(|cluster| match &cluster.discovery {
            Discovery::Static(endpoints) => endpoints.contains(&to.into()),
            Discovery::LogicalDns { target: (_, port), .. } => *port == to.port(),
            Discovery::Aggregate(_) | Discovery::Forward(_) | Discovery::Original(_) => false,
            Discovery::StrictDns { targets, .. } => targets.iter().any(|(_, port)| *port == to.port()),
        })
    }

    /// A cluster by its number.
    pub(super) fn cluster_by_number(&self, nth: usize) -> Option<&finwait::config::Cluster> {
        self.config.as_ref()?.clusters.get(nth)
    }

    /// A cluster and its path.
    pub(super) fn cluster(&self, forward: &Forward) -> Option<(Path, &finwait::config::Cluster)> {
        // Which cluster a header named, or which of several was chosen, does not follow from the configuration.
        let Destination::One(NamedCluster::Cluster(name)) = &forward.cluster else { return None };
        let clusters = &self.config.as_ref()?.clusters;
        let (nth, cluster) = clusters.iter().enumerate().find(|(_, cluster)| cluster.name == *name)?;
        Some((path(&format!("static_resources clusters {nth}")), cluster))
    }

    /// The setting at `parent` and `below`, which is dotted.
    pub(super) fn setting(&self, parent: &[String], below: &str, value: Option<String>) -> Setting {
        let is_elsewhere = below == "load_assignment.endpoints" && self.has_file_of_endpoints(parent);
        let below = if is_elsewhere { FILE_OF_ENDPOINTS } else { below };
        let steps: Path = parent.iter().cloned().chain(below.split('.').map(str::to_owned)).collect();
        let (file, line, is_written) = self.place(&steps);
        Setting { host: self.host.into(), name: below.to_owned(), value, file, line, is_written, steps }
    }

    /// Is it a cluster whose endpoints come from a file of their own?
    fn has_file_of_endpoints(&self, cluster: &[String]) -> bool {
        let Some(nth) = cluster.last().and_then(|nth| nth.parse().ok()) else { return false };
        self.cluster_by_number(nth).is_some_and(|cluster| cluster.assigned.is_some())
    }

    /// The runtime keys that the file sets in place of limits of a cluster, with their values; `None` if it sets none. What
    /// an operator has changed since is not in the file.
    pub(super) fn keys_of_limits(&self, cluster: &str, priority: Priority) -> Option<Setting> {
        let of_cluster = format!("circuit_breakers.{cluster}.{}.", priority.key());
        let mut keys = BTreeMap::new();
        for layer in &self.config.as_ref()?.runtime {
            let LayerValues::Static(values) = &layer.values else { continue };
            keys.extend(values.iter().filter(|(key, _)| key.starts_with(&of_cluster)));
        }
        let values: Vec<_> = keys.iter().map(|(key, value)| format!("{key} {value}")).collect();
        (!values.is_empty()).then(|| self.setting(&[], "layered_runtime", Some(values.join(", "))))
    }

    /// The options of the first HTTP filter of this kind of a connection manager, by the end of its type's name.
    pub(super) fn filter(&self, manager: &[String], kind: &str) -> Option<Path> {
        let filters = [manager, &["http_filters".to_owned()]].concat();
        let nth = filter_at(&self.text()?, &filters, kind)?;
        Some([manager.to_vec(), path(&format!("http_filters {nth} typed_config"))].concat())
    }

    /// The configuration of a proxy, as it was written.
    pub(super) fn text(&self) -> Option<Value> {
        serde_yaml::from_str(&self.given()?.text).ok()
    }

    /// What a proxy was given.
    pub(super) fn given(&self) -> Option<&'a ProxyConfig> {
        match &self.scenario.hosts.iter().find(|has| has.name == self.host)?.role {
            Role::Proxy(config) => Some(config),
            Role::Alb(_) | Role::App(_) | Role::Client(_) => None,
        }
    }

    /// Where `steps` stand, or as much of them as is there.
    fn place(&self, steps: &[String]) -> (String, Option<usize>, bool) {
        let (taken, line) = self.places.as_ref().map_or((0, 1), |places| deepest(places, steps));
        let is_written = taken == steps.len();
        match &self.reloaded {
            Some(Changed { reloaded, .. }) if reloaded.from == ReloadedFrom::File => {
                return (plain(self.file), Some(line), is_written);
            }
            Some(changed) if changed.differs_at(steps) => {
                return (plain(&self.scenario.file), Some(changed.reloaded.line), is_written);
            }
            Some(_) | None => {}
        }
        if let Some(line) = self.patched(steps) {
            return (plain(&self.scenario.file), Some(line), is_written);
        }
        let inline: Path =
            ["hosts", self.host, "inline"].iter().map(|step| (*step).to_owned()).chain(steps.to_vec()).collect();
        if self.file.ends_with(", inline") {
            let (_, line) =
                Places::read(self.scenario.document.as_read()).map_or((0, 1), |places| deepest(&places, &inline));
            return (plain(&self.scenario.file), Some(line), is_written);
        }
        let Some(unpatched) = &self.unpatched else { return (plain(self.file), Some(line), is_written) };
        let (taken, line) = deepest(unpatched, steps);
        match is_written && taken < steps.len() {
            // A variant of the scenario sets it.
            true => (plain(&self.scenario.file), None, true),
            false => (plain(self.file.trim_end_matches(", patched")), Some(line), is_written),
        }
    }

    /// The line of the scenario's patch that concerns `steps`.
    fn patched(&self, steps: &[String]) -> Option<usize> {
        let places = Places::read(self.scenario.document.as_read())?;
        let keys = places.keys(&["hosts", self.host, "patch"]);
        let mut lines: Vec<(usize, usize)> = Vec::new();
        for (key, _) in keys {
            let Some(below) = beyond(key, steps) else { continue };
            let parent = ["hosts", self.host, "patch", key].map(str::to_owned);
            lines.push(deepest(&places, &[parent.as_slice(), below].concat()));
        }
        lines.into_iter().max().map(|(_, line)| line)
    }
}

impl Changed<'_> {
    /// Does the host have another value there than it began with?
    fn differs_at(&self, steps: &[String]) -> bool {
        find(&self.first, steps) != find(&self.now, steps)
    }
}

/// The place in a configuration to which `steps` lead.
pub(super) fn find<'v>(config: &'v Value, steps: &[String]) -> Option<&'v Value> {
    steps.iter().try_fold(config, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::Object(_) | Value::String(_) => value.get(step),
    })
}

/// The place of the first filter of this kind in the list of filters at `list`, by the end of its type's name.
pub(super) fn filter_at(config: &Value, list: &[String], kind: &str) -> Option<usize> {
    let is_it =
        |it: &Value| it.pointer("/typed_config/@type").and_then(Value::as_str).is_some_and(|it| it.ends_with(kind));
    find(config, list)?.as_array()?.iter().position(is_it)
}

/// What is left of `steps` when a patch's path has led to the place that it means, if that is on their way.
fn beyond<'s>(patch: &str, steps: &'s [String]) -> Option<&'s [String]> {
    let (anywhere, patch) = patch.strip_prefix("..").map_or((false, patch), |patch| (true, patch));
    let mut parts: Vec<&str> = Vec::new();
    let mut rest = patch;
    while !rest.is_empty() {
        let quoted = rest.strip_prefix("[\"").and_then(|rest| rest.split_once("\"]"));
        let numbered = || rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (part, after) =
            quoted.or_else(numbered).unwrap_or_else(|| rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())));
        parts.push(part);
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    let starts = if anywhere { 0..steps.len() } else { 0..1 };
    starts.filter_map(|start| steps.get(start..)).find_map(|from| {
        let is_on_the_way = from.len() >= parts.len() && from.iter().zip(&parts).all(|(step, part)| step == part);
        from.get(parts.len()..).filter(|_| is_on_the_way)
    })
}

/// How many of the steps there are, and the line where they end.
fn deepest(places: &Places, steps: &[String]) -> (usize, usize) {
    let at = |taken: usize| {
        let some: Vec<&str> = steps.iter().take(taken).map(String::as_str).collect();
        Some((taken, places.find(&some)?.line))
    };
    (0..=steps.len()).rev().find_map(at).unwrap_or((0, 1))
}

/// Where a filter chain stands in its listener.
fn steps_to(chain: Chosen) -> String {
    match chain {
        Chosen::Listed(nth) => format!("filter_chains {nth}"),
        Chosen::Default => "default_filter_chain".to_owned(),
    }
}

/// What a filter chain's match sees of a connection.
fn arrival<'h>(connection: &Conversation, listener: &Listener, hello: Option<&'h ClientHello>) -> Arrival<'h> {
    let peer = Some(connection.client_address);
    let ends = Ends { local: Some(connection.server_address), peer, direct_peer: peer };
    let Inspection { tls, http, .. } = listener.filter_chains.inspection;
    let offer = |hello: &'h ClientHello| ClientOffer { alpn: &hello.alpn, server_name: hello.server_name.as_deref() };
    let hello = hello.filter(|_| tls).map(offer);
    let http = http.filter(|_| hello.is_none()).and_then(|_| http_version(&connection.from_client.bytes));
    Arrival { ends, hello, http }
}

/// Steps that are parted by spaces, since a key may have dots in it.
pub(super) fn path(steps: &str) -> Path {
    steps.split(' ').map(str::to_owned).collect()
}

/// A time as a configuration would have it.
pub(super) fn seconds(time: Duration) -> String {
    let millis = time.subsec_millis();
    match (time.as_secs(), millis) {
        (0, millis) => format!("{millis}ms"),
        (secs, 0) => format!("{secs}s"),
        (secs, millis) => format!("{secs}.{millis:03}s"),
    }
}

/// The time that [`seconds`] has written; none if it is no time, or none at all.
pub(super) fn time(words: &str) -> Option<Duration> {
    let (number, unit) = words.split_at(words.find(|it: char| it.is_ascii_alphabetic())?);
    let number: f64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "s" => number,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero())
}

/// The head as the router saw it, as far as it decides the route.
fn head(exchange: &Exchange) -> RequestHead {
    let value = |name: &str| exchange.field(name).and_then(|value| HeaderValue::from_str(value).ok());
    let upgrade = exchange.is_websocket() && exchange.protocol == Protocol::Http1;
    let mut headers = Headers::default();
    for (name, value) in &exchange.fields {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    }
    RequestHead {
        // Inside a proxy an extended CONNECT is the GET that it came from.
        method: if exchange.is_websocket() && !upgrade {
            Method::GET
        } else {
            exchange.method.parse().unwrap_or(Method::GET)
        },
        scheme: None,
        authority: value(":authority").or_else(|| value("host")),
        path: HeaderValue::from_str(&exchange.path).ok(),
        protocol: None,
        version: Version::HTTP_11,
        headers,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_setting_may_be_in_a_patch() {
        let steps = path("static_resources listeners 0 options envoy.router route timeout");
        for (patch, left) in [
            ("..route.timeout", Some(0)),
            ("..route", Some(1)),
            ("static_resources.listeners[0].options[\"envoy.router\"]", Some(2)),
            ("static_resources.listeners[1]", None),
            ("..idle_timeout", None),
            ("route.timeout", None),
        ] {
            assert_eq!(beyond(patch, &steps).map(<[String]>::len), left, "{patch}");
        }
    }

    #[test]
    fn times_read_like_configurations() {
        for (millis, expected) in [(250, "250ms"), (15_000, "15s"), (1_500, "1.500s"), (0, "0ms")] {
            let duration = Duration::from_millis(millis);
            assert_eq!(seconds(duration), expected);
            assert_eq!(time(expected), Some(duration).filter(|it| !it.is_zero()));
        }
    }
}
