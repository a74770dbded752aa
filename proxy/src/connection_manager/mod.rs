//! Bytes become streams (requests); errors are counted in one place.
//!
//! A listener hands over a connection. [`ConnectionManager::serve`] finds out which protocol it uses and
//! runs it to its end: [`http1`] and [`http2`] own the connection, [`stream`](crate::stream) owns one request.

mod http1;
mod http2;
mod lifecycle;

use std::cell::Cell;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::{sleep, timeout};

use crate::access_log::{ConnectionTermination, Downstream, ResponseFlag};
use crate::config::listener::CodecType;
use crate::config::network_filter::state_entries;
use crate::config::route::RouteTable;
use crate::exchange::LazyTimer;
use crate::filter::set_on_connection;
use crate::gate::{Admission, CountsFin, Gates, Refusal, Refused};
use crate::net::Conn;
use crate::runtime::Runtime;
use crate::snapshot::Listener;
use crate::stats::CodecStats;
use crate::stream::{ConnectionLog, Service};
use lifecycle::Lifecycle;

/// What an HTTP/2 client sends first (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// First read of a connection: a typical request head fits. Bytes.
const FIRST_READ_BYTES: usize = 4096;
/// So long may a client that network filters have judged send nothing: Envoy's idle timeout of connections.
const FIRST_BYTE_WAIT_MAX: Duration = Duration::from_secs(3600);

/// Serves the connections of one listener, on one worker.
pub struct ConnectionManager {
    service: Service,
    /// What connections have to pass.
    gates: Gates,
    /// Keeps its stats listed.
    _listener: Arc<Listener>,
    codec_stats: Rc<CodecStats>,
    runtime: Arc<Runtime>,
    /// Numbers the worker's connections.
    connection_ids: Rc<Cell<u64>>,
}

/// Who ended a connection, and with what under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ConnectionEnd {
    Local,
    LocalWithRequest,
    Remote,
    /// We gave up what was under way, and the client closed before we did.
    RemoteWithLocalRequest,
    RemoteWithRequest,
}

enum Sniffed {
    Http1(BytesMut),
    Http2(BytesMut),
    /// The client went away.
    Closed,
    /// Its time was up before the first byte.
    Ended,
}

impl ConnectionManager {
    /// A manager for the listener's connections.
    pub(crate) fn new(
        service: Service,
        gates: Gates,
        listener: Arc<Listener>,
        codec_stats: Rc<CodecStats>,
        runtime: Arc<Runtime>,
        connection_ids: Rc<Cell<u64>>,
    ) -> Self {
        Self { service, gates, _listener: listener, codec_stats, runtime, connection_ids }
    }

    /// Has the next requests matched against other routes.
    pub fn set_routes(&self, routes: Arc<RouteTable>) {
        self.service.set_routes(routes);
    }

    /// Serves a connection to its end.
    ///
    /// # Cancellation
    /// Dropped, it cuts the connection and everything on it.
    pub(crate) async fn serve(self: Rc<Self>, mut conn: Conn, mut log: Option<Box<ConnectionLog>>) {
        self.service.stats.downstream_cx_total.inc();
        conn.count_bytes(&self.service.stats.bytes);
        let _active = self.service.stats.downstream_cx_active.enter();
        let begun = tokio::time::Instant::now();
        let id = self.connection_ids.replace(self.connection_ids.get() + 1);
        let mut downstream = Rc::new(Downstream::of(id, &mut conn));
        let entries = state_entries(&self.service.options.gates);
        set_on_connection(entries, &mut downstream, &*self.service.outside.clock);
        if let Some(log) = &mut log {
            log.serve(&mut conn, &downstream);
        }
        let _encrypted = conn.tls.is_some().then(|| {
            self.service.stats.downstream_cx_ssl_total.inc();
            self.service.stats.downstream_cx_ssl_active.enter()
        });
        let mut _admission = None;
        if !self.gates.is_empty() {
            match Box::pin(self.pass_gates(conn, &downstream, &mut log)).await {
                Some((passed, admission)) => (conn, _admission) = (passed, Some(admission)),
                None => return self.record_end(ConnectionEnd::Local),
            }
        }
        let mut lifecycle = Lifecycle::new(&self.service.options, &self.service.stats);
        let end = match self.sniff(&mut conn, &mut lifecycle).await {
            Sniffed::Closed => {
                self.service.outside.ends.turn().await;
                ConnectionEnd::Remote
            }
            Sniffed::Ended => ConnectionEnd::Local,
            // Boxed, so that neither protocol's connections are as large as the other's.
            Sniffed::Http1(read) => Box::pin(http1::serve(&self, conn, read, downstream, lifecycle)).await,
            Sniffed::Http2(read) => Box::pin(http2::serve(&self, conn, read, downstream, lifecycle)).await,
        };
        self.record_end(end);
        self.service.stats.downstream_cx_length_ms.record_ms(begun.elapsed());
    }

    /// Counts a connection whose TLS handshake failed. As in Envoy it was one of this manager's, and the client ended it unless it
    /// took too long.
    pub(crate) fn count_failed_handshake(&self, lasted: Duration, why: Option<ConnectionTermination>) {
        let stats = &self.service.stats;
        stats.downstream_cx_total.inc();
        stats.downstream_cx_ssl_total.inc();
        self.record_end(if why.is_some() { ConnectionEnd::Local } else { ConnectionEnd::Remote });
        stats.downstream_cx_length_ms.record_ms(lasted);
    }

    /// Has the network filters judge a connection; `None` if they do not let it through, and it has been closed. Rules take effect
    /// with its first byte.
    async fn pass_gates(
        &self,
        mut conn: Conn,
        downstream: &Downstream,
        log: &mut Option<Box<ConnectionLog>>,
    ) -> Option<(Conn, Box<Admission>)> {
        let mut admission = self.gates.admit(downstream.ends(), downstream.requested_server_name.as_deref());
        if let Some(Refused { after, why }) = admission.refused {
            if why == Refusal::TooFast {
                log.iter_mut().for_each(|log| log.flag(ResponseFlag::URX));
            }
            sleep(after).await;
            return None;
        }
        if let Some(verdict) = admission.verdict.take() {
            let mut first = [0; FIRST_READ_BYTES];
            // An error comes again with the next read.
            let count = timeout(FIRST_BYTE_WAIT_MAX, conn.read(&mut first)).await.ok()?.unwrap_or(0);
            if count == 0 {
                return Some((conn, Box::new(admission))); // as in Envoy, a client that sends nothing is not judged
            }
            match verdict.enforce() {
                Ok(recount) => conn = conn.over(|io| recount.over(io, CountsFin::No)),
                Err(why) => {
                    let after = why.after;
                    if let Some(log) = log {
                        log.note_denied(why);
                    }
                    // A timer would take a turn where there is nothing to wait for.
                    if !after.is_zero() {
                        sleep(after).await;
                    }
                    return None;
                }
            }
            conn = conn.with_unread(Bytes::copy_from_slice(first.get(..count).unwrap_or_default()));
        }
        Some((conn, Box::new(admission)))
    }

    /// HTTP/2 shows itself by its preface; an idle client that sends nothing is closed in time.
    async fn sniff(&self, conn: &mut Conn, lifecycle: &mut Lifecycle) -> Sniffed {
        if self.service.options.codec == CodecType::Http1 {
            return Sniffed::Http1(BytesMut::new());
        }
        let mut read = BytesMut::new();
        let drain = self.service.drain.clone();
        let mut timer = LazyTimer::default();
        loop {
            tokio::select! {
                // Bytes first: a request that has come is served, whatever else happens now.
                biased;
                got = poll_fn(|cx| poll_first(conn, &mut read, cx)) => match got {
                    Ok(0) | Err(_) => return Sniffed::Closed,
                    Ok(_) => {}
                },
                () = drain.begun(), if lifecycle.is_unannounced() => {
                    lifecycle.drain_with_server();
                    continue;
                }
                () = timer.at(lifecycle.due()) => {
                    lifecycle.elapse();
                    if lifecycle.close().is_some() {
                        return Sniffed::Ended;
                    }
                    continue;
                }
            }
            let seen = read.len().min(PREFACE.len());
            let is_http2 = read.get(..seen) == PREFACE.get(..seen);
            match (self.service.options.codec, is_http2) {
                (CodecType::Auto, false) => return Sniffed::Http1(read),
                // Prior knowledge: what is no preface fails in the codec, with its own words.
                (CodecType::Http2, _) => return Sniffed::Http2(read),
                (CodecType::Auto, true) if read.len() >= PREFACE.len() => return Sniffed::Http2(read),
                (CodecType::Auto | CodecType::Http1, _) => {}
            }
        }
    }

    fn record_end(&self, end: ConnectionEnd) {
        let stats = &self.service.stats;
        stats.downstream_cx_destroy.inc();
        match end {
            ConnectionEnd::Local => stats.downstream_cx_destroy_local.inc(),
            ConnectionEnd::Remote => stats.downstream_cx_destroy_remote.inc(),
            ConnectionEnd::LocalWithRequest => {
                stats.downstream_cx_destroy_local.inc();
                stats.downstream_cx_destroy_active_rq.inc();
                stats.downstream_cx_destroy_local_active_rq.inc();
            }
            ConnectionEnd::RemoteWithLocalRequest => {
                stats.downstream_cx_destroy_remote.inc();
                stats.downstream_cx_destroy_active_rq.inc();
                stats.downstream_cx_destroy_local_active_rq.inc();
            }
            ConnectionEnd::RemoteWithRequest => {
                stats.downstream_cx_destroy_remote.inc();
                stats.downstream_cx_destroy_active_rq.inc();
                stats.downstream_cx_destroy_remote_active_rq.inc();
            }
        }
    }
}

/// Adds what has come to `read`; how much that was. A client that has sent nothing costs no buffer.
fn poll_first(conn: &mut Conn, read: &mut BytesMut, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
    let mut first = [MaybeUninit::uninit(); FIRST_READ_BYTES];
    let mut first = ReadBuf::uninit(&mut first);
    ready!(Pin::new(conn).poll_read(cx, &mut first))?;
    read.extend_from_slice(first.filled());
    Poll::Ready(Ok(first.filled().len()))
}
