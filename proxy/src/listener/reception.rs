//! From an accepted connection to what serves it: its first bytes, the filter chain that takes it, and TLS.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout};

use super::filters::{Refusal, count_first_bytes};
use super::{Server, Serving, http_inspector};
use crate::access_log::{ConnectionTermination, Downstream};
use crate::config::filter_chain::{Arrival, ClientOffer, FilterChains};
use crate::config::listener::Terminal;
use crate::config::listener_filter::{Fingerprinted, HttpInspection, HttpVersion, OnTimeout};
use crate::config::tls::{ServerContext, ServerTls};
use crate::net::Conn;
use crate::net::tls::{self, Fingerprints, FirstBytes, failure};
use crate::stats::{Counter, Held, Histogram, ListenerStats};
use crate::stream::ConnectionLog;

/// So long may a client take for its handshake, unless `transport_socket_connect_timeout` is set.
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
    pub(super) fn take(&self, conn: &mut Conn, log: &mut Option<Box<ConnectionLog>>) -> Option<Server> {
        let arrival = Arrival { ends: conn.ends(), hello: None, http: None };
        self.choose(arrival, conn, log).map(|taken| taken.server)
    }

    /// The filter chain that takes a connection; `None` if no chain does, and the connection is closed at once, as in Envoy.
    fn choose(&self, arrival: Arrival<'_>, conn: &mut Conn, log: &mut Option<Box<ConnectionLog>>) -> Option<Taken> {
        let taken = choose(&self.filter_chains, arrival, &self.stats);
        match (&taken, log) {
            (_, None) => {}
            (Some(taken), Some(_)) => conn.filter_chain.clone_from(&taken.name),
            (None, Some(log)) => log.note_no_chain(Downstream::of(0, conn)),
        }
        taken
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

    /// Is something read before a filter chain is chosen, or before its protocol begins?
    pub(super) fn reads_first(&self) -> bool {
        self.proxy_protocol.is_some() || self.filter_chains.reads_first()
    }

    /// Reads what comes before the protocol of a connection, and does the handshake if its chain wants one: the connection in
    /// clear text, and what serves it. `None` if it has ended, or no chain takes it.
    pub(super) async fn receive(
        &self,
        mut conn: Conn,
        log: &mut Option<Box<ConnectionLog>>,
    ) -> Option<(Conn, Server, Counted)> {
        let (First { tls: first, http }, unread) = self.read_first(&mut conn).await?;
        let fingerprints = self.fingerprints(&unread);
        let mut conn = conn.with_unread(unread);
        let hello = match &first {
            FirstBytes::Tls(hello) if self.filter_chains.inspection.tls => {
                conn.requested_server_name = hello.server_name.as_deref().map(Into::into);
                conn.fingerprints = fingerprints;
                Some(ClientOffer { alpn: &hello.alpn, server_name: hello.server_name.as_deref() })
            }
            FirstBytes::Plaintext | FirstBytes::Tls(_) | FirstBytes::Unknown => None,
        };
        let arrival = Arrival { ends: conn.ends(), hello, http };
        let Some(Taken { server, tls, handshake_max, .. }) = self.choose(arrival, &mut conn, log) else {
            conn.abort(); // as in Envoy: what the client has sent is not read
            return None;
        };
        let counted = self.count();
        let Some(tls) = tls else { return Some((conn, server, counted)) };
        match self.encrypt(conn, &tls.current(), handshake_max).await {
            Ok(conn) => Some((conn, server, counted)),
            Err(broken) => {
                note_failed_handshake(&server, &counted, broken, log.take());
                counted.end();
                None
            }
        }
    }

    /// Those of the client that has begun with these bytes.
    fn fingerprints(&self, first: &[u8]) -> Option<Box<Fingerprints>> {
        let wanted = self.filter_chains.inspection.fingerprints;
        (wanted != Fingerprinted::default()).then(|| Fingerprints::of(first, wanted).map(Box::new)).flatten()
    }

    /// What a connection begins with, and the bytes of it that have been read; `None` if it ends here.
    async fn read_first(&self, conn: &mut Conn) -> Option<(First, Bytes)> {
        let _waiting = self.stats.downstream_pre_cx_active.enter();
        let mut unread = BytesMut::new();
        let reading = self.run_filters(conn, &mut unread);
        let read = match self.filters.timeout {
            Some(limit) => timeout(limit, reading).await.unwrap_or(Err(Refusal::Slow)),
            None => reading.await,
        };
        let refusal = match read {
            Ok(first) => return Some((first, unread.freeze())),
            Err(refusal) => refusal,
        };
        refusal.count(&self.stats);
        if refusal == Refusal::Slow && self.filters.on_timeout == OnTimeout::Continue {
            return Some((First { tls: FirstBytes::Unknown, http: None }, unread.freeze()));
        }
        tracing::debug!(peer = %conn.peer, ?refusal, "a connection is closed before it has a filter chain");
        if !unread.is_empty() {
            conn.abort_on_drop(); // as in Envoy, which has not read it
        }
        None
    }

    /// # Cancellation
    /// Dropped, it has read nothing that is not in `unread`.
    async fn run_filters(&self, conn: &mut Conn, unread: &mut BytesMut) -> Result<First, Refusal> {
        if let Some(filter) = &self.proxy_protocol {
            filter.read(conn, unread).await?;
        }
        let inspection = self.filter_chains.inspection;
        let mut http = None;
        if let (Some(HttpInspection::First), Some(stats)) = (inspection.http, &self.inspectors.http) {
            http = http_inspector::read(conn, unread, stats).await?;
        }
        if !inspection.tls {
            return Ok(First { tls: FirstBytes::Unknown, http });
        }
        let tls = FirstBytes::read(conn, unread).await?;
        if let Some(stats) = &self.inspectors.tls {
            count_first_bytes(stats, &tls);
        }
        if let (Some(HttpInspection::AfterTls), Some(stats)) = (inspection.http, &self.inspectors.http)
            && tls == FirstBytes::Plaintext
        {
            http = http_inspector::read(conn, unread, stats).await?;
        }
        Ok(First { tls, http })
    }

    /// Does the handshake of TLS.
    async fn encrypt(&self, conn: Conn, with: &ServerContext, limit: Duration) -> Result<Conn, Broken> {
        match tls::accept(conn, with, limit, &*self.key_logs).await {
            Ok(conn) => {
                if let Some((stats, session)) = self.tls_stats.as_ref().zip(conn.tls.as_ref()) {
                    stats.count(session.with_client());
                    session.staple.into_iter().for_each(|staple| stats.count_staple(staple));
                }
                Ok(conn)
            }
            Err(failed) => {
                let (peer, error) = (&failed.peer, &failed.error);
                let is_slow = failure::is_slow(error);
                if is_slow {
                    self.stats.downstream_cx_transport_socket_connect_timeout.inc();
                    tracing::debug!(%peer, "a connection is closed: its TLS handshake takes too long");
                } else {
                    tracing::debug!(%peer, %error, "a TLS handshake failed");
                }
                if let Some(stats) = &self.tls_stats {
                    stats.count_failure(failure::kind(error));
                    failed.session.staple.into_iter().for_each(|staple| stats.count_staple(staple));
                }
                let why = is_slow.then_some(ConnectionTermination::SlowHandshake);
                Err(Broken { downstream: Rc::new(Downstream::of_failed(0, *failed)), why })
            }
        }
    }
}

/// A connection whose handshake has failed.
struct Broken {
    downstream: Rc<Downstream>,
    why: Option<ConnectionTermination>,
}

/// Counts it, and writes its lines: as in Envoy, a connection manager has none.
fn note_failed_handshake(server: &Server, counted: &Counted, broken: Broken, mut log: Option<Box<ConnectionLog>>) {
    let Broken { downstream, why } = broken;
    if let Some(log) = &mut log {
        log.note_failed(Rc::clone(&downstream), why);
    }
    match server {
        Terminal::Http(manager) => manager.count_failed_handshake(counted.begun.elapsed(), why),
        Terminal::Nothing => {}
        Terminal::Tcp(proxy) => proxy.note_failed_handshake(downstream, (counted.begun, why), log),
    }
}

/// What the first bytes of a connection tell.
struct First {
    tls: FirstBytes,
    http: Option<HttpVersion>,
}

/// What a connection gets that a filter chain has taken.
struct Taken {
    server: Server,
    /// The name of the chain.
    name: Option<Arc<str>>,
    tls: Option<Arc<ServerTls>>,
    /// So long may its handshake take.
    handshake_max: Duration,
}

/// The filter chain that takes a connection: what serves it, and what encrypts it.
fn choose(chains: &FilterChains<Server>, arrival: Arrival<'_>, stats: &ListenerStats) -> Option<Taken> {
    let taken = chains.choose(arrival).and_then(|chosen| {
        Some(Taken {
            server: chains.terminal(chosen)?.clone(),
            name: chains.name(chosen).cloned(),
            tls: chains.tls(chosen).cloned(),
            handshake_max: chains.handshake_timeout(chosen).unwrap_or(HANDSHAKE_MAX),
        })
    });
    if taken.is_none() {
        stats.no_filter_chain_match.inc();
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::listener_filter::Inspection;
    use crate::stats::Registry;

    #[test]
    fn a_connection_that_no_chain_takes_is_counted() {
        let stats = ListenerStats::new(&Registry::new(), "127.0.0.1:80");
        let chains = FilterChains {
            chains: Vec::new(),
            default: None,
            default_name: "".into(),
            default_tls: None,
            default_handshake_timeout: None,
            inspection: Inspection::default(),
        };
        let arrival = Arrival {
            ends: crate::config::filter_chain::Ends { local: None, peer: None, direct_peer: None },
            hello: None,
            http: None,
        };
        assert!(choose(&chains, arrival, &stats).is_none());
        assert_eq!(stats.no_filter_chain_match.value(), 1);
    }
}
