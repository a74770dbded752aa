//! Where the proxies and the apps of a draft are: whose address is whose, and which programs share one.

use std::fmt::{self, Write};
use std::net::IpAddr;

use finwait::config::cluster::Discovery;
use finwait::config::{Address, Cluster, Config, Listener};

use super::passthrough::passed_on;
use super::{Hop, Names, hints, quoted, word};

/// The first address of endpoints that no file has: those of clusters whose endpoints come from elsewhere.
const MADE_UP: [u8; 4] = [10, 200, 0, 1];

/// The addresses of a host, or whose it shares.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    ip: Option<IpAddr>,
    aliases: Vec<String>,
    pod: Option<String>,
}

/// An app behind a cluster.
pub(super) struct App {
    name: String,
    place: Place,
    port: u16,
    is_http2: bool,
    /// The names of its certificate, if it speaks TLS.
    tls: Option<Vec<String>>,
    /// Lines that are not in force: what to try.
    hints: Vec<String>,
}

impl App {
    /// Its name, if there is a link between it and its proxy: none within a pod.
    pub(super) fn name_on_a_link(&self) -> Option<&str> {
        self.place.pod.is_none().then_some(self.name.as_str())
    }
}

/// All machines but those of the clients.
pub(super) struct Machines {
    proxies: Vec<Place>,
    apps: Vec<App>,
    /// Which listeners some proxy connects to: proxy and port.
    joined: Vec<(usize, u16)>,
}

/// An endpoint, as a file has it.
struct Endpoint<'c> {
    proxy: usize,
    cluster: &'c Cluster,
    address: String,
    port: u16,
}

impl Machines {
    /// Finds a machine for each proxy and each endpoint. Clusters without endpoints get one, by a change to their file.
    pub(super) fn find(hops: &mut [Hop], names: &mut Names) -> Self {
        let mut made_up = 0;
        let mut endpoints: Vec<(usize, String, u16, usize)> = Vec::new();
        for (nth, hop) in hops.iter_mut().enumerate() {
            for (number, cluster) in hop.config.clusters.iter().enumerate() {
                let of_cluster = addresses(cluster);
                if of_cluster.is_empty() && matches!(&cluster.discovery, Discovery::Static(list) if list.is_empty()) {
                    let ip = made_up_address(made_up);
                    made_up += 1;
                    let path = format!("static_resources.clusters[{number}].load_assignment");
                    hop.patches.push((path, load_assignment(&cluster.name, &ip)));
                    endpoints.push((nth, ip, 80, number));
                }
                endpoints.extend(of_cluster.into_iter().map(|(address, port)| (nth, address, port, number)));
            }
        }
        let mut machines = Self {
            proxies: hops.iter().map(|hop| own_place(&hop.config)).collect(),
            apps: Vec::new(),
            joined: Vec::new(),
        };
        machines.keep_addresses_apart();
        for (proxy, address, port, number) in endpoints {
            if let Some(cluster) = hops.get(proxy).and_then(|hop| hop.config.clusters.get(number)) {
                machines.place(&Endpoint { proxy, cluster, address, port }, hops, names);
            }
        }
        machines
    }

    pub(super) fn of_proxy(&self, nth: usize) -> &Place {
        const NOWHERE: &Place = &Place { ip: None, aliases: Vec::new(), pod: None };
        self.proxies.get(nth).unwrap_or(NOWHERE)
    }

    pub(super) fn apps(&self) -> &[App] {
        &self.apps
    }

    /// Whether a proxy connects to this listener.
    pub(super) fn is_joined(&self, proxy: usize, port: u16) -> bool {
        self.joined.contains(&(proxy, port))
    }

    /// Two files may name the same address for their listeners: the second proxy keeps only what is its own.
    fn keep_addresses_apart(&mut self) {
        let mut taken: Vec<IpAddr> = Vec::new();
        for place in &mut self.proxies {
            match place.ip {
                Some(ip) if taken.contains(&ip) => place.ip = None,
                Some(ip) => taken.push(ip),
                None => {}
            }
        }
    }

    /// The name of the host that owns the addresses of a proxy.
    pub(super) fn machine_of(&self, proxy: usize, hops: &[Hop]) -> String {
        let own = hops.get(proxy).map(|hop| hop.name.clone()).unwrap_or_default();
        self.of_proxy(proxy).pod.clone().unwrap_or(own)
    }

    fn place(&mut self, endpoint: &Endpoint<'_>, hops: &[Hop], names: &mut Names) {
        let Endpoint { proxy, address, port, .. } = endpoint;
        let is_loopback = is_loopback(address);
        if let Some(other) = self.listener_of(endpoint, hops) {
            self.joined.push((other, *port));
            return self.join(other, endpoint, hops);
        }
        let machine = if is_loopback { Some(self.machine_of(*proxy, hops)) } else { self.owner(address, hops) };
        let is_it = |app: &&App| {
            let of = app.place.pod.as_ref().unwrap_or(&app.name);
            app.port == *port && machine.as_ref() == Some(of)
        };
        if self.apps.iter().any(|app| is_it(&app)) {
            return;
        }
        let (name, place) = match machine {
            Some(machine) => (names.take(&endpoint.cluster.name), Place { pod: Some(machine), ..Place::default() }),
            None => {
                let ip = address.parse().ok();
                let wanted = if ip.is_some() { &*endpoint.cluster.name } else { first_label(address) };
                let name = names.take(wanted);
                let aliases = if ip.is_some() || name == *address { Vec::new() } else { vec![address.clone()] };
                (name, Place { ip, aliases, pod: None })
            }
        };
        self.apps.push(App {
            name,
            place,
            port: *port,
            is_http2: endpoint.cluster.protocol.always_http2().is_some(),
            tls: names_of_certificate(endpoint, hops),
            hints: hints::of_app(hops, endpoint.cluster),
        });
    }

    /// The proxy of another file that listens where an endpoint is; its own, if it connects to itself.
    fn listener_of(&self, endpoint: &Endpoint<'_>, hops: &[Hop]) -> Option<usize> {
        let listens = |config: &Config| {
            let mut bindings = config.listeners.iter().flat_map(Listener::bindings);
            bindings.any(|binding| binding.at.port() == Some(endpoint.port))
        };
        let own = hops.get(endpoint.proxy).is_some_and(|hop| listens(&hop.config));
        if own && is_loopback(&endpoint.address) {
            return Some(endpoint.proxy);
        }
        let others = || hops.iter().enumerate().filter(|(nth, hop)| *nth != endpoint.proxy && listens(&hop.config));
        let address = &endpoint.address;
        let is_named = |nth: usize, hop: &Hop| {
            [address, first_label(address)].contains(&hop.name.as_str()) || self.of_proxy(nth).has(address)
        };
        // By the port alone: on one machine no two have the same; elsewhere files come in the order of a request.
        let is_next =
            |nth: usize| is_loopback(address) || nth > endpoint.proxy && !self.joined.contains(&(nth, endpoint.port));
        let named = others().find(|(nth, hop)| is_named(*nth, hop));
        let is_somewhere = self.owner(address, hops).is_some();
        named.or_else(|| others().find(|(nth, _)| !is_somewhere && is_next(*nth))).map(|(nth, _)| nth)
    }

    /// Gives the proxy `other` the address by which an endpoint calls it.
    fn join(&mut self, other: usize, endpoint: &Endpoint<'_>, hops: &[Hop]) {
        let Endpoint { proxy, address, .. } = endpoint;
        if other == *proxy {
            return;
        }
        if is_loopback(address) {
            let (own, machine) = (self.machine_of(other, hops), self.machine_of(*proxy, hops));
            let is_free = self.of_proxy(other).pod.is_none() && own != machine;
            let is_machine = self.proxies.iter().any(|place| place.pod.as_ref() == Some(&own));
            if let Some(place) = self.proxies.get_mut(other).filter(|_| is_free && !is_machine) {
                *place = Place { pod: Some(machine), ..Place::default() };
            }
            return;
        }
        let is_taken = self.owner(address, hops).is_some();
        let machine = self.machine_of(other, hops);
        let nth = hops.iter().position(|hop| hop.name == machine).unwrap_or(other);
        if let Some(place) = self.proxies.get_mut(nth).filter(|_| !is_taken) {
            match address.parse() {
                Ok(ip) if place.ip.is_none() => place.ip = Some(ip),
                _ => place.aliases.push(address.clone()),
            }
        }
    }

    /// The host that an address or a name belongs to.
    fn owner(&self, address: &str, hops: &[Hop]) -> Option<String> {
        let proxies = hops.iter().map(|hop| &hop.name).zip(&self.proxies);
        let apps = self.apps.iter().map(|app| (&app.name, &app.place));
        let found = proxies.chain(apps).find(|(name, place)| *name == address || place.has(address));
        found.map(|(name, place)| place.pod.as_ref().unwrap_or(name).clone())
    }
}

impl Place {
    fn has(&self, address: &str) -> bool {
        self.aliases.iter().any(|alias| alias == address) || self.ip.is_some_and(|ip| ip.to_string() == address)
    }

    /// The lines of a host that say where it is.
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if let Some(ip) = self.ip {
            writeln!(out, "    ip: {}", quoted(&ip.to_string()))?;
        }
        if !self.aliases.is_empty() {
            let aliases: Vec<_> = self.aliases.iter().map(|alias| quoted(alias)).collect();
            writeln!(out, "    aliases: [{}]", aliases.join(", "))?;
        }
        match &self.pod {
            Some(pod) => writeln!(out, "    pod: {}", word(pod)),
            None => Ok(()),
        }
    }
}

impl App {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "  {}:", word(&self.name))?;
        self.place.write(out)?;
        writeln!(out, "    app:")?;
        writeln!(out, "      port: {}", self.port)?;
        if self.is_http2 {
            writeln!(out, "      protocol: http2")?;
        }
        if let Some(names) = &self.tls {
            let names: Vec<_> = names.iter().map(|name| quoted(name)).collect();
            writeln!(out, "      tls: {{ certificate: {{ names: [{}] }} }}", names.join(", "))?;
        }
        for hint in &self.hints {
            writeln!(out, "      # {hint}")?;
        }
        Ok(())
    }
}

/// The names and addresses of a cluster's endpoints, with their ports.
fn addresses(cluster: &Cluster) -> Vec<(String, u16)> {
    match &cluster.discovery {
        Discovery::Static(list) => {
            list.iter().filter_map(Address::socket).map(|at| (at.ip().to_string(), at.port())).collect()
        }
        Discovery::StrictDns { targets, .. } => targets.clone(),
        Discovery::LogicalDns { target, .. } => vec![target.clone()],
        Discovery::Aggregate(_) | Discovery::Forward(_) | Discovery::Original(_) => Vec::new(),
    }
}

/// The address that the listeners of a file name.
fn own_place(config: &Config) -> Place {
    let own = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_loopback();
    Place {
        ip: config.listeners.iter().flat_map(Listener::bindings).filter_map(|it| it.at.ip()).find(own),
        ..Place::default()
    }
}

/// The names of the certificate that an endpoint shows, if it speaks TLS.
fn names_of_certificate(endpoint: &Endpoint<'_>, hops: &[Hop]) -> Option<Vec<String>> {
    let listeners = hops.get(endpoint.proxy).map(|hop| hop.config.listeners.as_slice()).unwrap_or_default();
    let passed = passed_on(listeners).into_iter().filter(|(name, _)| *name == endpoint.cluster.name);
    let passed: Vec<String> = passed.map(|(_, name)| name).collect();
    let is_tls = endpoint.cluster.sockets().any(|socket| socket.tls.is_some()) || !passed.is_empty();
    let mut names = vec![endpoint.address.clone()];
    let of_file = endpoint.cluster.hostnames.iter().flatten().filter_map(|name| name.to_str().ok().map(str::to_owned));
    let asked = endpoint.cluster.sockets().filter_map(|socket| socket.tls.as_ref()?.current().server_name());
    for name in of_file.chain(asked).chain(passed) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    is_tls.then_some(names)
}

pub(super) fn is_loopback(address: &str) -> bool {
    let ip: Option<IpAddr> = address.parse().ok();
    address == "localhost" || ip.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
}

fn first_label(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

fn made_up_address(nth: usize) -> String {
    let [a, b, c, d] = MADE_UP;
    format!("{a}.{b}.{c}.{}", usize::from(d) + nth)
}

fn load_assignment(cluster: &str, ip: &str) -> String {
    let address = serde_json::json!({ "socket_address": { "address": ip, "port_value": 80 } });
    let endpoints = serde_json::json!([{ "lb_endpoints": [{ "endpoint": { "address": address } }] }]);
    serde_json::json!({ "cluster_name": cluster, "endpoints": endpoints }).to_string()
}
