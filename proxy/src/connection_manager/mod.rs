//! Bytes become streams (requests); one place answers for errors.
//!
//! A listener hands over a connection. [`ConnectionManager::serve`] finds out which protocol it speaks and
//! runs it to its end: [`http1`] and [`http2`] own the connection, [`stream`] owns one request.

mod caller;
mod date;
mod decorate;
mod http1;
mod http2;
mod life;
mod local_reply;
mod stream;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{HeaderValue, StatusCode};
use tokio::io::{AsyncRead, ReadBuf};

use crate::access_log::{AccessLog, Downstream, LocalEnd, StreamInfo};
use crate::alarm::Alarm;
use crate::cluster::{Cluster, Clusters};
use crate::codec::RequestHead;
use crate::config;
use crate::config::listener::CodecType;
use crate::config::route::{Destination, RouteTable};
use crate::drain::ListenerDrain;
use crate::net::{Conn, Outside};
use crate::router;
use crate::runtime::Runtime;
use crate::snapshot::Listener;
use crate::stats::{Held, Http2Stats, HttpStats, ResponseStats};
use date::{DateCache, MillisCache};
use life::Life;

/// What an HTTP/2 client sends first (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// First read of a connection: a typical request head fits. Bytes.
const FIRST_READ_BYTES: usize = 4096;

/// Serves the connections of one listener, on one worker.
pub struct ConnectionManager {
    options: Arc<config::listener::ConnectionManager>,
    /// Keeps its stats listed.
    _listener: Arc<Listener>,
    routes: RefCell<Rc<Routes>>,
    buffer_bytes_max: usize,
    stats: Rc<HttpStats>,
    listener_responses: ResponseStats,
    http2_stats: Http2Stats,
    logs: Vec<AccessLog>,
    clusters: Rc<Clusters>,
    outside: Outside,
    drain: ListenerDrain,
    runtime: Arc<Runtime>,
    date: DateCache,
    /// The `server` header.
    server_header: decorate::Server,
    millis: MillisCache,
    /// The host of an HTTP/1.0 request that names none.
    default_host: Option<HeaderValue>,
    connection_ids: Rc<Cell<u64>>,
    tunnels_begun: Cell<u64>,
    /// An address of this host that others reach.
    own_address: Option<IpAddr>,
}

/// What a [`ConnectionManager`] is made of besides its options.
pub struct Parts {
    /// `http.<stat_prefix>.`
    pub stats: HttpStats,
    /// `listener.<address>.http.<stat_prefix>.`
    pub listener_responses: ResponseStats,
    /// `http2.`
    pub http2_stats: Http2Stats,
    /// Open access logs.
    pub logs: Vec<AccessLog>,
    /// The worker's clusters.
    pub clusters: Rc<Clusters>,
    /// The world.
    pub outside: Outside,
    /// When to finish.
    pub drain: ListenerDrain,
    /// What operators may change.
    pub runtime: Arc<Runtime>,
    /// Numbers the worker's connections.
    pub connection_ids: Rc<Cell<u64>>,
    /// The listener whose connections it serves.
    pub listener: Arc<Listener>,
}

/// The route table in force. A request keeps that which was in force when it came; the pointer is the worker's own, so that
/// taking it costs no other worker anything.
struct Routes(Arc<RouteTable>);

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
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts {
            stats,
            listener_responses,
            http2_stats,
            logs,
            clusters,
            outside,
            drain,
            runtime,
            connection_ids,
            listener,
        } = parts;
        let options = Arc::clone(&listener.config.manager);
        let buffer_bytes_max = listener.config.buffer_bytes_max;
        let server_header = decorate::Server::new(&options.server);
        // Configuration refuses hosts that are no header value.
        let default_host = options.http1.default_host_for_http_10.as_deref();
        let default_host = default_host.and_then(|host| HeaderValue::from_str(host).ok());
        let own_address = outside.net.own_address();
        let routes = RefCell::new(Rc::new(Routes(Arc::clone(&options.routes))));
        Self {
            options,
            _listener: listener,
            routes,
            buffer_bytes_max,
            stats: Rc::new(stats),
            listener_responses,
            http2_stats,
            logs,
            clusters,
            outside,
            drain,
            runtime,
            date: DateCache::default(),
            server_header,
            millis: MillisCache::default(),
            default_host,
            own_address,
            tunnels_begun: Cell::new(0),
            connection_ids,
        }
    }

    /// Has the next requests matched against other routes.
    pub fn set_routes(&self, routes: Arc<RouteTable>) {
        self.routes.replace(Rc::new(Routes(routes)));
    }

    /// The routes for a request that comes now.
    fn routes(&self) -> Rc<Routes> {
        Rc::clone(&self.routes.borrow())
    }

    /// Serves a connection to its end.
    ///
    /// # Cancellation
    /// Dropped, it cuts the connection and everything on it.
    pub async fn serve(self: Rc<Self>, mut conn: Conn) {
        self.stats.downstream_cx_total.inc();
        let _active = self.stats.downstream_cx_active.enter();
        let begun = tokio::time::Instant::now();
        let id = self.connection_ids.replace(self.connection_ids.get() + 1);
        let downstream = Rc::new(Downstream::new(id, conn.local.clone(), conn.peer.clone()));
        let mut life = Life::new(&self.options, &self.stats);
        let end = match self.sniff(&mut conn, &mut life).await {
            Sniffed::Closed => ConnectionEnd::Remote,
            Sniffed::Ended => ConnectionEnd::Local,
            // Boxed, so that neither protocol's connections are as large as the other's.
            Sniffed::Http1(read) => Box::pin(http1::serve(&self, conn, read, downstream, life)).await,
            Sniffed::Http2(read) => Box::pin(http2::serve(&self, conn, read, downstream, life)).await,
        };
        self.record_end(end);
        self.stats.downstream_cx_length_ms.record_ms(begun.elapsed());
    }

    /// The cluster that a route refers to, if the worker has it.
    fn cluster(&self, wanted: &Destination, head: &RequestHead) -> Option<Rc<Cluster>> {
        match wanted {
            Destination::Cluster(name) => self.clusters.get(name),
            Destination::Header(header) => {
                let named = router::header(head, header)?;
                self.clusters.get(std::str::from_utf8(named).ok()?)
            }
        }
    }

    /// HTTP/2 shows itself by its preface; an idle client that sends nothing is closed in time.
    async fn sniff(&self, conn: &mut Conn, life: &mut Life) -> Sniffed {
        if self.options.codec == CodecType::Http1 {
            return Sniffed::Http1(BytesMut::new());
        }
        let mut read = BytesMut::new();
        let drain = self.drain.clone();
        let mut alarm = Alarm::default();
        loop {
            tokio::select! {
                // Bytes first: a request that has come is served, whatever else happens now.
                biased;
                got = poll_fn(|cx| poll_first(conn, &mut read, cx)) => match got {
                    Ok(0) | Err(_) => return Sniffed::Closed,
                    Ok(_) => {}
                },
                () = drain.begun(), if life.is_untold() => {
                    life.drain_with_server();
                    continue;
                }
                () = alarm.at(life.due()) => {
                    life.elapse();
                    if life.close().is_some() {
                        return Sniffed::Ended;
                    }
                    continue;
                }
            }
            let seen = read.len().min(PREFACE.len());
            let is_http2 = read.get(..seen) == PREFACE.get(..seen);
            match (self.options.codec, is_http2) {
                (CodecType::Auto, false) => return Sniffed::Http1(read),
                // Prior knowledge: what is no preface fails in the codec, with its own words.
                (CodecType::Http2, _) => return Sniffed::Http2(read),
                (CodecType::Auto, true) if read.len() >= PREFACE.len() => return Sniffed::Http2(read),
                (CodecType::Auto | CodecType::Http1, _) => {}
            }
        }
    }

    fn record_end(&self, end: ConnectionEnd) {
        let stats = &self.stats;
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

    /// A stream begins.
    fn begin_stream(&self, downstream: &Rc<Downstream>) -> Record<'_> {
        self.stats.downstream_rq_total.inc();
        let now = tokio::time::Instant::now();
        let info = StreamInfo::new(now, self.outside.clock.wall(), Rc::clone(downstream));
        Record { info, end: StreamEnd::Cut, manager: self, _active: self.stats.downstream_rq_active.enter() }
    }

    /// A response head is on its way.
    fn count_response(&self, status: StatusCode) {
        self.stats.responses.charge(status);
        self.listener_responses.charge(status);
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

/// A stream that will have exactly one line in every access log, written when this is dropped.
struct Record<'a> {
    info: StreamInfo,
    end: StreamEnd,
    manager: &'a ConnectionManager,
    _active: Held,
}

/// How a [`Record`] comes to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StreamEnd {
    /// Dropped with the task that served it: the drain is over.
    Cut,
    /// Its way is told.
    Told,
}

impl Record<'_> {
    /// The stream is over, and everything about it is known.
    fn end(mut self) {
        self.end = StreamEnd::Told;
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if self.end == StreamEnd::Cut {
            self.info.end_locally(LocalEnd::Drained);
        }
        self.info.finish(tokio::time::Instant::now());
        for log in &self.manager.logs {
            log.write(&self.info);
        }
    }
}
