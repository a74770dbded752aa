//! A byte stream arrives: the accept loop, and one task for each connection.

mod filters;
mod http_inspector;
mod limits;
mod reception;

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::config;
use crate::config::filter_chain::FilterChains;
use crate::config::listener::Terminal;
use crate::config::listener_filter::{Destination, ListenerFilters};
use crate::connection_manager::ConnectionManager;
use crate::drain::ListenerDrain;
use crate::net::accept::Acceptor;
use crate::net::{Address, Conn, ListenOptions, Logs};
use crate::stats::{Gauge, HandshakeStats, ListenerStats};
use crate::stream::{ConnectionLog, ListenerLogs};
use crate::tcp_proxy::TcpProxy;
pub use filters::{Inspectors, ProxyProtocolFilter};
pub use http_inspector::http_version;
pub use limits::{ConnectionLimits, ConnectionPermit, ListenerLimits, Overflow};

/// A bound socket that accepts; a listener has one for each of its addresses.
pub struct Listener {
    acceptor: Acceptor,
    serving: Rc<Serving>,
    replaced: mpsc::UnboundedReceiver<Rc<Serving>>,
    /// Of the socket: it stops accepting. The connections have the drain of what serves them.
    drain: ListenerDrain,
}

/// What serves a connection.
pub type Server = Terminal<Rc<ConnectionManager>, Rc<TcpProxy>>;

/// What new connections of a listener get, until the configuration changes.
pub struct Serving {
    /// What serves a connection, by the filter chain that takes it.
    pub filter_chains: FilterChains<Server>,
    /// How many connections may be open at once.
    pub limits: ListenerLimits,
    /// `listener.<address>.`
    pub stats: ListenerStats,
    /// `listener.<address>.ssl.`, if a chain encrypts its connections.
    pub tls_stats: Option<HandshakeStats>,
    /// When the client has to have sent what its filter chain is chosen by.
    pub filters: ListenerFilters,
    /// Reads PROXY headers, if connections begin with one.
    pub proxy_protocol: Option<ProxyProtocolFilter>,
    /// Of those that look at the first bytes of connections.
    pub inspectors: Inspectors,
    /// `server.total_connections`
    pub connections: Gauge,
    /// Where each of its connections has a line, if it has logs.
    pub(crate) logs: Option<Rc<ListenerLogs>>,
    /// Where the secrets of its connections are written, if they are.
    pub key_logs: Rc<dyn Logs>,
    /// Of the connections that were accepted with these options; the next options have one of their own.
    pub drain: ListenerDrain,
}

/// Changes a socket of a listener while it runs.
pub struct ListenerControl {
    at: Address,
    serving: Rc<Serving>,
    replace: mpsc::UnboundedSender<Rc<Serving>>,
    drain: ListenerDrain,
}

impl ListenerControl {
    /// The address that the socket is bound to, with the port that the system has chosen.
    #[must_use]
    pub fn at(&self) -> &Address {
        &self.at
    }

    /// Has requests that come from now on matched against the routes of `config`, which differs from what is served in
    /// nothing else.
    pub fn set_routes(&self, config: &config::Listener) {
        let managers = self.serving.filter_chains.terminals().filter_map(Terminal::http);
        for (manager, options) in managers.zip(config.managers()) {
            manager.set_routes(Arc::clone(&options.routes));
        }
    }

    /// Serves new connections in another way; those that are there drain.
    #[must_use]
    pub fn serving(mut self, serving: Rc<Serving>) -> Self {
        let before = std::mem::replace(&mut self.serving, Rc::clone(&serving));
        // A listener that an operator has closed accepts no more: there is nothing to be served.
        drop(self.replace.send(serving));
        before.drain.remove();
        self
    }

    /// Closes the socket and drains the connections.
    pub fn remove(self) {
        self.drain.remove();
        self.serving.drain.remove();
    }
}

/// A closing listener accepts no more connections than this: beyond a full backlog, a waiting connection came after the drain had begun.
const BACKLOG_MAX: u32 = ListenOptions::BACKLOG;

/// How long a TCP handshake that has begun may take once no SYN gets a SYN-ACK any more: several round trips to a load balancer in
/// the same region. A SYN that is dropped in this time is sent again after a second, so the time is short.
const LAST_HANDSHAKE_MAX: Duration = Duration::from_millis(10);

impl Listener {
    /// A listener that has not accepted yet, and what changes it. `drain` is that of the socket.
    #[must_use]
    pub fn new(acceptor: Acceptor, serving: Rc<Serving>, drain: ListenerDrain) -> (Self, ListenerControl) {
        let (replace, replaced) = mpsc::unbounded_channel();
        let (at, of_control) = (acceptor.local().clone(), Rc::clone(&serving));
        let control = ListenerControl { at, serving: of_control, replace, drain: drain.clone() };
        (Self { acceptor, serving, replaced, drain }, control)
    }

    /// Accepts until the listener is to close, then waits for the connections; cuts those that are left when their drain is over.
    pub async fn run(mut self) {
        let mut connections = JoinSet::new();
        let mut ending = JoinSet::new();
        let draining = self.drain.clone();
        let mut closing = pin!(draining.accepts_no_more());
        loop {
            tokio::select! {
                // The drain first, however many come; then what the next connection gets.
                biased;
                () = closing.as_mut() => break,
                Some(serving) = self.replaced.recv() => {
                    let before = std::mem::replace(&mut self.serving, serving);
                    ending.spawn_local(end(std::mem::take(&mut connections), before));
                }
                conn = self.acceptor.next() => self.begin(conn, &mut connections),
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
                Some(_) = ending.join_next(), if !ending.is_empty() => {}
            }
        }
        self.empty_backlog(&mut connections).await;
        drop(self.acceptor);
        ending.spawn_local(end(connections, self.serving));
        while ending.join_next().await.is_some() {}
    }

    /// Accepts the connections in the backlog: the system resets the backlog of a listener that closes, and with it
    /// requests that have been sent. The first response on each of these connections closes it.
    ///
    /// `shutdown` comes first. The system completes handshakes by itself, so whatever is accepted last, the next
    /// connection may be in the backlog before the socket is closed; under load about one close in fifteen met one.
    /// Nothing else prevents that: `shutdown` resets the backlog as `close` does, `listen` with a backlog of 0 still
    /// accepts one, and net.ipv4.tcp_migrate_req needs another socket of the same address and is off by default.
    async fn empty_backlog(&mut self, connections: &mut JoinSet<()>) {
        if self.acceptor.admit_no_more().is_ok() {
            let last_handshakes = async {
                loop {
                    let conn = self.acceptor.next().await;
                    self.begin(conn, connections);
                }
            };
            let Err(_) = tokio::time::timeout(LAST_HANDSHAKE_MAX, last_handshakes).await;
        }
        // The event loop learns of the connections that came since it last polled the socket.
        tokio::task::yield_now().await;
        for _ in 0..BACKLOG_MAX {
            tokio::select! {
                // A connection in the backlog is ready at once.
                biased;
                conn = self.acceptor.next() => self.begin(conn, connections),
                () = std::future::ready(()) => return,
            }
        }
    }

    /// Serves a connection, or closes it at once if as many are open as may be.
    fn begin(&self, mut conn: Conn, connections: &mut JoinSet<()>) {
        let Serving { limits, stats, .. } = &*self.serving;
        let permit = match limits.permit() {
            Ok(permit) => permit,
            Err(overflow) => {
                overflow.count(stats);
                tracing::debug!(
                    listener = %self.acceptor.local(), peer = %conn.peer, limit = ?overflow,
                    "a connection is closed at once: as many are open as may be"
                );
                return;
            }
        };
        if self.serving.filters.destination == Destination::Original {
            conn.restore_destination();
        }
        let mut log = self.serving.logs.as_ref().map(|logs| ConnectionLog::begin(logs, &conn));
        if self.serving.reads_first() {
            let serving = Rc::clone(&self.serving);
            connections.spawn_local(async move {
                // Boxed, so that a connection does not keep the room that its handshake needed.
                if let Some((conn, server, counted)) = Box::pin(serving.receive(conn, &mut log)).await {
                    match server {
                        Terminal::Http(manager) => Box::pin(manager.serve(conn, log)).await,
                        Terminal::Nothing => drop(conn),
                        Terminal::Tcp(proxy) => Box::pin(proxy.serve(conn, log)).await,
                    }
                    counted.end();
                }
                drop(permit);
            });
            return;
        }
        let Some(server) = self.serving.take(&mut conn, &mut log) else { return };
        let counted = self.serving.count();
        // Each calls its own, or a task would have room for both, and for one of them twice.
        match server {
            Terminal::Http(manager) => {
                connections.spawn_local(async move {
                    manager.serve(conn, log).await;
                    counted.end();
                    drop(permit);
                });
            }
            Terminal::Nothing => counted.end(),
            Terminal::Tcp(proxy) => {
                connections.spawn_local(async move {
                    proxy.serve(conn, log).await;
                    counted.end();
                    drop(permit);
                });
            }
        }
    }
}

/// Waits until the connections have ended, and cuts those that are left when their drain is over.
async fn end(mut connections: JoinSet<()>, serving: Rc<Serving>) {
    tokio::select! {
        // Connections that have all ended need no cut, even if the drain is over at the same time.
        biased;
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = serving.drain.is_over() => connections.shutdown().await,
    }
}
