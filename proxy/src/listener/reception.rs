//! From an accepted connection to what serves it: its first bytes, the filter chain that takes it, and TLS.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Server, Serving};
use crate::config::filter_chain::{Arrival, ClientOffer, Ends, FilterChains, Inspection};
use crate::config::listener::Terminal;
use crate::config::tls::{ServerContext, ServerTls};
use crate::net::Conn;
use crate::net::tls::{self, FirstBytes, failure};
use crate::stats::{Counter, HandshakeFailure, Held, Histogram, ListenerStats, TlsInspectorStats};

/// So long may a client take to begin TLS, and again for its handshake: Envoy's timeout of listener filters.
const HANDSHAKE_MAX: Duration = Duration::from_secs(15);

/// A connection that a filter chain has taken, in the listener's stats.
pub(super) struct Counted {
    begun: Instant,
    destroyed: Counter,
    length: Histogram,
    _active: [Held; 2],
}

impl Counted {
    /// It has ended by itself; one that is cut is dropped instead.
    pub(super) fn end(self) {
        self.destroyed.inc();
        self.length.record_ms(self.begun.elapsed());
    }
}

impl Serving {
    /// What serves a connection whose chain follows from its ends alone; `None` if no chain takes it.
    pub(super) fn take(&self, ends: Ends) -> Option<Server> {
        let (server, _) = choose(&self.filter_chains, Arrival { ends, hello: None }, &self.stats)?;
        Some(server)
    }

    /// Counts a connection that a chain has taken.
    pub(super) fn count(&self) -> Counted {
        let ListenerStats { downstream_cx_total, downstream_cx_active, .. } = &self.stats;
        downstream_cx_total.inc();
        Counted {
            begun: Instant::now(),
            destroyed: self.stats.downstream_cx_destroy.clone(),
            length: self.stats.downstream_cx_length_ms.clone(),
            _active: [downstream_cx_active.enter(), self.connections.enter()],
        }
    }

    /// Looks at the first bytes of a connection, and does the handshake if its chain wants one: the connection in clear text, and what
    /// serves it. `None` if it has ended, or no chain takes it.
    pub(super) async fn receive(&self, conn: Conn) -> Option<(Conn, Server, Counted)> {
        let peer = conn.peer.clone();
        let waiting = self.stats.downstream_pre_cx_active.enter();
        let Ok(read) = timeout(HANDSHAKE_MAX, FirstBytes::read(conn)).await else {
            tracing::debug!(%peer, "a connection is closed: its first message takes too long");
            return None;
        };
        let (first, mut conn) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::debug!(%peer, %error, "a connection ended before its first message was whole");
                let has_closed = error.kind() == ErrorKind::UnexpectedEof;
                let ListenerStats { downstream_listener_filter_remote_close: closed, .. } = &self.stats;
                if has_closed { closed } else { &self.stats.downstream_listener_filter_error }.inc();
                return None;
            }
        };
        drop(waiting);
        if let Some(stats) = &self.inspector {
            count_first_bytes(stats, &first);
            if let (FirstBytes::Tls(hello), Inspection::Configured) = (&first, self.filter_chains.inspection) {
                conn.requested_server_name = hello.server_name.as_deref().map(Into::into);
            }
        }
        let hello = match &first {
            FirstBytes::Closed => {
                self.stats.downstream_listener_filter_remote_close.inc();
                return None;
            }
            FirstBytes::Plaintext => None,
            FirstBytes::Tls(hello) => {
                Some(ClientOffer { alpn: &hello.alpn, server_name: hello.server_name.as_deref() })
            }
        };
        let arrival = Arrival { ends: conn.ends(), hello };
        let Some((server, tls)) = choose(&self.filter_chains, arrival, &self.stats) else {
            conn.abort(); // as in Envoy: what the client has sent is not read
            return None;
        };
        let counted = self.count();
        let encrypted = match tls {
            None => Some(conn),
            Some(_) if first == FirstBytes::Plaintext => {
                self.count_failure(HandshakeFailure::Protocol);
                None // as in Envoy: FIN, and no alert, which the client could not read
            }
            Some(tls) => self.encrypt(conn, &tls.current()).await,
        };
        match encrypted {
            Some(conn) => Some((conn, server, counted)),
            None => {
                count_failed_handshake(&server, &counted);
                counted.end();
                None
            }
        }
    }

    /// Does the handshake of TLS.
    async fn encrypt(&self, conn: Conn, with: &ServerContext) -> Option<Conn> {
        let peer = conn.peer.clone();
        let Ok(done) = timeout(HANDSHAKE_MAX, tls::accept(conn, with)).await else {
            tracing::debug!(%peer, "a connection is closed: its TLS handshake takes too long");
            return None;
        };
        match done {
            Ok(conn) => {
                if let Some(stats) = &self.tls_stats {
                    stats.handshake.inc();
                    if conn.tls.as_ref().is_some_and(|tls| !tls.has_peer_certificate) {
                        stats.no_certificate.inc();
                    }
                }
                Some(conn)
            }
            Err(error) => {
                self.count_failure(failure::kind(&error));
                tracing::debug!(%peer, %error, "a TLS handshake failed");
                None
            }
        }
    }

    fn count_failure(&self, failure: HandshakeFailure) {
        if let Some(stats) = &self.tls_stats {
            stats.count_failure(failure);
        }
    }
}

fn count_failed_handshake(server: &Server, counted: &Counted) {
    match server {
        Terminal::Http(manager) => manager.count_failed_handshake(counted.begun.elapsed()),
        Terminal::Nothing => {}
        Terminal::Tcp(proxy) => proxy.count_failed_handshake(),
    }
}

/// The filter chain that takes a connection: what serves it, and what encrypts it. `None` if no chain does, and the connection is closed at
/// once, as in Envoy.
fn choose(
    chains: &FilterChains<Server>,
    arrival: Arrival<'_>,
    stats: &ListenerStats,
) -> Option<(Server, Option<Arc<ServerTls>>)> {
    let chosen = chains.choose(arrival);
    let taken = chosen.and_then(|chosen| Some((chains.terminal(chosen)?.clone(), chains.tls(chosen).cloned())));
    if taken.is_none() {
        stats.no_filter_chain_match.inc();
    }
    taken
}

fn count_first_bytes(stats: &TlsInspectorStats, first: &FirstBytes) {
    match first {
        FirstBytes::Closed => {}
        FirstBytes::Plaintext => stats.tls_not_found.inc(),
        FirstBytes::Tls(hello) => {
            stats.tls_found.inc();
            if hello.alpn.is_empty() { &stats.alpn_not_found } else { &stats.alpn_found }.inc();
            if hello.server_name.is_none() { &stats.sni_not_found } else { &stats.sni_found }.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Registry;

    #[test]
    fn a_connection_that_no_chain_takes_is_counted() {
        let stats = ListenerStats::new(&Registry::new(), "127.0.0.1:80");
        let chains =
            FilterChains { chains: Vec::new(), default: None, default_tls: None, inspection: Inspection::None };
        let arrival = Arrival { ends: Ends { local: None, peer: None }, hello: None };
        assert!(choose(&chains, arrival, &stats).is_none());
        assert_eq!(stats.no_filter_chain_match.value(), 1);
    }
}
