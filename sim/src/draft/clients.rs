//! Clients of a draft: one for each way into a listener that no proxy of the draft connects to.

use std::fmt::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;

use finwait::config::Listener;
use finwait::config::filter_chain::TransportProtocol;
use finwait::config::listener::{CodecType, ConnectionManager, Terminal};
use finwait::config::matching::Domain;
use finwait::config::tcp_proxy::TcpProxy;

use super::machines::Machines;
use super::passthrough::server_name;
use super::requests::{Requested, of_manager};
use super::{Hop, Names, quoted, word};

/// Clients of one listener: one for each of its first filter chains.
const CHAINS_MAX: usize = 6;

/// A client, and what it is for.
pub(super) struct Client {
    pub(super) name: String,
    proxy: usize,
    listener: usize,
    chain: Chain,
    connect: String,
    pod: Option<String>,
    is_http2: bool,
    /// Whom it asks for, if it speaks TLS.
    server_name: Option<String>,
}

/// A filter chain, by its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Chain {
    Default,
    Listed(usize),
}

/// The clients of all listeners that are open to the outside; of all, if the proxies only connect to each other.
pub(super) fn find(hops: &[Hop], machines: &Machines, names: &mut Names) -> Vec<Client> {
    let of = |is_wanted: &dyn Fn(usize, u16) -> bool, names: &mut Names| {
        let mut clients = Vec::new();
        for (proxy, hop) in hops.iter().enumerate() {
            for (nth, listener) in hop.config.listeners.iter().enumerate() {
                let machine = machines.machine_of(proxy, hops);
                let sockets = listener.bindings().filter_map(|binding| binding.at.socket());
                let sockets = sockets.filter(|at| is_wanted(proxy, at.port()));
                for (at, chain) in sockets.flat_map(|at| chains(listener).into_iter().map(move |chain| (at, chain))) {
                    let connect =
                        if at.ip().is_loopback() { at.to_string() } else { format!("{machine}:{}", at.port()) };
                    let pod = at.ip().is_loopback().then(|| machine.clone());
                    clients.push(client((proxy, nth), listener, chain, connect, pod, names));
                }
            }
        }
        clients
    };
    let outer = of(&|proxy, port| port != 0 && !machines.is_joined(proxy, port), names);
    if outer.is_empty() { of(&|_, port| port != 0, names) } else { outer }
}

fn chains(listener: &Listener) -> Vec<Chain> {
    let listed = (0..listener.filter_chains.chains.len()).map(Chain::Listed);
    let default = listener.filter_chains.default.iter().map(|_| Chain::Default);
    listed.chain(default).take(CHAINS_MAX).collect()
}

fn client(
    (proxy, nth): (usize, usize),
    listener: &Listener,
    chain: Chain,
    connect: String,
    pod: Option<String>,
    names: &mut Names,
) -> Client {
    let (listed, is_tls) = match chain {
        Chain::Listed(nth) => {
            let listed = listener.filter_chains.chains.get(nth);
            (listed, listed.is_some_and(|it| it.tls.is_some() || it.matches.transport == TransportProtocol::Tls))
        }
        Chain::Default => (None, listener.filter_chains.default_tls.is_some()),
    };
    let wanted = listed.and_then(server_name);
    let is_tls = is_tls || wanted.is_some();
    let manager = terminal(listener, chain).and_then(Terminal::http);
    let codec = manager.map(|manager| manager.codec);
    let name = names.take("client");
    let of_route = || manager.and_then(|manager| first_domain(manager));
    let server_name = is_tls.then(|| wanted.or_else(of_route).unwrap_or_else(|| "example.com".into()));
    Client { name, proxy, listener: nth, chain, connect, pod, is_http2: codec == Some(CodecType::Http2), server_name }
}

/// The first domain of its routes that is a name.
fn first_domain(manager: &ConnectionManager) -> Option<String> {
    let domains = manager.routes.virtual_hosts.iter().flat_map(|host| &host.domains);
    domains.into_iter().find_map(|domain| match domain {
        Domain::Exact(name) => name.split(':').next().filter(|name| name.parse::<IpAddr>().is_err()).map(str::to_owned),
        Domain::Any | Domain::Prefix(_) | Domain::Suffix(_) => None,
    })
}

/// What a filter chain ends in.
type End = Terminal<Arc<ConnectionManager>, Arc<TcpProxy>>;

fn terminal(listener: &Listener, chain: Chain) -> Option<&End> {
    match chain {
        Chain::Default => listener.filter_chains.default.as_ref(),
        Chain::Listed(nth) => listener.filter_chains.chains.get(nth).map(|chain| &chain.terminal),
    }
}

impl Client {
    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "  {}:", word(&self.name))?;
        if let Some(pod) = &self.pod {
            writeln!(out, "    pod: {}", word(pod))?;
        }
        writeln!(out, "    client:")?;
        writeln!(out, "      connect: {}", quoted(&self.connect))?;
        if self.is_http2 {
            writeln!(out, "      protocol: http2")?;
        }
        match &self.server_name {
            None => Ok(()),
            Some(name) => writeln!(out, "      tls: {{ server_name: {}, trusted: any }}", quoted(name)),
        }
    }

    /// What it requests: something of each route, or of what is behind a TCP proxy.
    pub(super) fn requests(&self, hops: &[Hop]) -> Vec<Requested> {
        let listener = hops.get(self.proxy).and_then(|hop| hop.config.listeners.get(self.listener));
        match listener.and_then(|listener| terminal(listener, self.chain)) {
            Some(Terminal::Http(manager)) => of_manager(manager, self.is_http2),
            Some(Terminal::Tcp(_)) => vec![Requested::Step("GET /".into())],
            Some(Terminal::Nothing) | None => vec![Requested::None("a filter chain without an end".into())],
        }
    }

    /// The proxy that it connects to.
    pub(super) fn proxy(&self) -> usize {
        self.proxy
    }
}
