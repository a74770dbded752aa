//! Connections to one endpoint, for one worker.
//!
//! HTTP/1: a connection is lent to one request at a time; the one used last is lent first, so that surplus
//! ones age and go. HTTP/2: a connection is lent to as many streams as the peer allows. A request that finds
//! nothing waits in line; a connection is opened for it, and whichever becomes free first serves the line.
//! If opening one fails, everybody in line fails: that is how Envoy does it, and retries are the router's.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::breaker::Permit;
use super::idle::{Name, Parked, Signals};
use super::{Failure, Shared};
use crate::codec::{Broken, ResetReason, http1, http2};
use crate::config::cluster::UpstreamProtocol;
use crate::net::{Address, Conn, ConnectOptions, Outside};
use crate::stats::{EndpointStats, Held};

/// Largest response head. Bytes; Envoy's default.
const RESPONSE_HEAD_BYTES_MAX: usize = 80 * 1024;
/// Most header fields in a response; Envoy's default.
const RESPONSE_HEADERS_MAX: usize = 100;

/// The connections of one endpoint.
pub struct Pool {
    this: Weak<Self>,
    shared: Arc<Shared>,
    counts: Arc<EndpointStats>,
    address: Address,
    outside: Outside,
    idle: RefCell<Vec<Parked<Account>>>,
    multiplexed: RefCell<Vec<Rc<Multiplexed>>>,
    line: RefCell<VecDeque<Waiting>>,
    connecting: Cell<usize>,
    open: Cell<usize>,
    lent: Cell<u32>,
    next_id: Cell<u64>,
    signals: Arc<Signals>,
    keeper: Cell<Keeper>,
    tasks: RefCell<JoinSet<()>>,
}

/// The task that watches over idle connections.
#[derive(Clone, Copy)]
enum Keeper {
    /// No connection has been idle yet.
    NotStarted,
    /// Sleeps until a peer acts; knows of no deadline and must be nudged to learn of one.
    Listening,
    /// Sleeps until a peer acts or an idle connection's time is up.
    Timed,
}

struct Waiting {
    served: oneshot::Sender<Result<Lease, Failure>>,
    _permit: Permit,
    _counted: [Held; 2],
}

/// Leave to send one request. Dropped without [`give_back`](Self::give_back), it closes what it can: an
/// HTTP/1 connection altogether; on HTTP/2 the stream has been reset by dropping its halves.
pub enum Lease {
    /// A whole connection.
    Http1(Box<Exclusive>),
    /// A stream of one.
    Http2(Stream),
}

/// An HTTP/1 connection lent out.
pub struct Exclusive {
    /// `None` only between `give_back` and drop.
    connection: Option<(http1::ClientConnection, Account)>,
    pool: Rc<Pool>,
    _request: Request,
}

/// A stream of an HTTP/2 connection.
pub struct Stream {
    multiplexed: Rc<Multiplexed>,
    pool: Rc<Pool>,
    _request: Request,
}

struct Multiplexed {
    connection: RefCell<http2::ClientConnection>,
    account: RefCell<Option<Account>>,
    streams: Cell<usize>,
    idle_since: Cell<Instant>,
}

/// What a connection holds for as long as it exists; records its end.
struct Account {
    pool: Weak<Pool>,
    shared: Arc<Shared>,
    opened: Instant,
    /// The peer closed it.
    by_peer: bool,
    /// A request was under way.
    busy: bool,
    /// From its first time in the pool on.
    name: Option<Name>,
    _permit: Permit,
    _active: Held,
    _endpoint_active: Held,
}

/// What a request holds while it has a connection.
struct Request {
    pool: Rc<Pool>,
    _permit: Permit,
    _active: Held,
    _endpoint_active: Held,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.pool.lent.set(self.pool.lent.get().saturating_sub(1));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let stats = &self.shared.stats;
        stats.upstream_cx_destroy.inc();
        let (by, by_busy) = match self.by_peer {
            true => (&stats.upstream_cx_destroy_remote, &stats.upstream_cx_destroy_remote_with_active_rq),
            false => (&stats.upstream_cx_destroy_local, &stats.upstream_cx_destroy_local_with_active_rq),
        };
        by.inc();
        if self.busy {
            stats.upstream_cx_destroy_with_active_rq.inc();
            by_busy.inc();
        }
        stats.upstream_cx_length_ms.record_ms(self.opened.elapsed());
        if let Some(pool) = self.pool.upgrade() {
            pool.open.set(pool.open.get().saturating_sub(1));
        }
    }
}

impl Pool {
    /// No connections yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, address: Address, outside: Outside) -> Rc<Self> {
        let counts = shared.endpoints.of(&address);
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            shared,
            counts,
            address,
            outside,
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            line: RefCell::default(),
            connecting: Cell::new(0),
            open: Cell::new(0),
            lent: Cell::new(0),
            next_id: Cell::new(0),
            signals: Arc::default(),
            keeper: Cell::new(Keeper::NotStarted),
            tasks: RefCell::default(),
        })
    }

    /// Requests under way at this endpoint, from this worker.
    #[must_use]
    pub fn requests_active(&self) -> u32 {
        self.lent.get()
    }

    /// An answer of this endpoint, by its status; `None` where there was none.
    pub fn count_answer(&self, status: Option<StatusCode>) {
        match status {
            Some(status) if !status.is_server_error() => self.counts.rq_success.inc(),
            Some(_) | None => self.counts.rq_error.inc(),
        }
    }

    /// A connection to send one request on.
    ///
    /// # Cancellation
    /// Safe to drop: a connection opened for the caller serves the next in line or waits in the pool.
    ///
    /// # Errors
    /// The connect failed, or a breaker is open.
    pub async fn checkout(&self) -> Result<Lease, Failure> {
        if let Some(lease) = self.take_ready() {
            return lease;
        }
        let stats = &self.shared.stats;
        let Some(permit) = self.shared.breakers.pending.permit() else {
            stats.upstream_rq_pending_overflow.inc();
            return Err(Failure::Overflow);
        };
        stats.upstream_rq_pending_total.inc();
        let (served, turn) = oneshot::channel();
        let counted = [stats.upstream_rq_pending_active.enter(), self.counts.rq_pending_active.enter()];
        let waiting = Waiting { served, _permit: permit, _counted: counted };
        self.line.borrow_mut().push_back(waiting);
        self.connect_for_the_line();
        // The sender lives in the line, which lives as long as the pool.
        turn.await.unwrap_or(Err(Failure::Terminated))
    }

    /// A connection that is there already.
    fn take_ready(&self) -> Option<Result<Lease, Failure>> {
        let parked = self.idle.borrow_mut().pop();
        if let Some(parked) = parked {
            return Some(self.lend(parked.connection, parked.with));
        }
        let multiplexed = self.multiplexed.borrow();
        let available = multiplexed.iter().find(|one| one.connection.borrow().is_available())?;
        Some(self.lend_stream(available))
    }

    fn lend(&self, connection: http1::ClientConnection, mut account: Account) -> Result<Lease, Failure> {
        let request = match self.begin_request() {
            Ok(request) => request,
            Err(overflow) => {
                self.park(connection, account);
                return Err(overflow);
            }
        };
        account.busy = true;
        let pool = Rc::clone(&request.pool);
        Ok(Lease::Http1(Box::new(Exclusive { connection: Some((connection, account)), pool, _request: request })))
    }

    fn lend_stream(&self, multiplexed: &Rc<Multiplexed>) -> Result<Lease, Failure> {
        let request = self.begin_request()?;
        multiplexed.streams.set(multiplexed.streams.get() + 1);
        let pool = Rc::clone(&request.pool);
        Ok(Lease::Http2(Stream { multiplexed: Rc::clone(multiplexed), pool, _request: request }))
    }

    fn begin_request(&self) -> Result<Request, Failure> {
        let stats = &self.shared.stats;
        // The pool is alive: somebody is calling it.
        let Some(pool) = self.this.upgrade() else { return Err(Failure::Terminated) };
        let Some(permit) = self.shared.breakers.requests.permit() else {
            stats.upstream_rq_active_overflow.inc();
            return Err(Failure::Overflow);
        };
        stats.upstream_rq_total.inc();
        self.counts.rq_total.inc();
        self.lent.set(self.lent.get() + 1);
        let (active, endpoint_active) = (stats.upstream_rq_active.enter(), self.counts.rq_active.enter());
        Ok(Request { pool, _permit: permit, _active: active, _endpoint_active: endpoint_active })
    }

    /// Opens as many connections as the line needs and the limits allow.
    fn connect_for_the_line(&self) {
        loop {
            let line = self.line.borrow().len();
            let wanted = match self.shared.config.protocol {
                UpstreamProtocol::Http1 => line,
                UpstreamProtocol::Http2(_) => line.min(1), // one connection has room for the whole line
            };
            if self.connecting.get() >= wanted {
                return;
            }
            let Some(permit) = self.connection_permit() else {
                self.shared.stats.upstream_cx_overflow.inc();
                return;
            };
            self.connect(permit);
        }
    }

    fn connection_permit(&self) -> Option<Permit> {
        let connections = &self.shared.breakers.connections;
        // An endpoint without a single connection gets one in any case: without it the line would wait for ever.
        connections.permit().or_else(|| (self.open.get() == 0).then(|| connections.permit_past_limit()))
    }

    fn connect(&self, permit: Permit) {
        let Some(pool) = self.this.upgrade() else { return };
        let stats = &self.shared.stats;
        stats.upstream_cx_total.inc();
        match self.shared.config.protocol {
            UpstreamProtocol::Http1 => stats.upstream_cx_http1_total.inc(),
            UpstreamProtocol::Http2(_) => stats.upstream_cx_http2_total.inc(),
        }
        self.counts.cx_total.inc();
        let account = Account {
            pool: Weak::clone(&self.this),
            shared: Arc::clone(&self.shared),
            opened: Instant::now(),
            by_peer: false,
            busy: false,
            name: None,
            _permit: permit,
            _active: stats.upstream_cx_active.enter(),
            _endpoint_active: self.counts.cx_active.enter(),
        };
        self.open.set(self.open.get() + 1);
        self.connecting.set(self.connecting.get() + 1);
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {} // forget those that have ended
        tasks.spawn_local(pool.open_one(account));
    }

    async fn open_one(self: Rc<Self>, mut account: Account) {
        let limit = self.shared.config.connect_timeout;
        let options = ConnectOptions::default();
        let opened = tokio::time::timeout(limit, self.outside.net.connect(&self.address, &options)).await;
        self.connecting.set(self.connecting.get().saturating_sub(1));
        let stats = &self.shared.stats;
        let failure = match opened {
            Ok(Ok(conn)) => {
                stats.upstream_cx_connect_ms.record_ms(account.opened.elapsed());
                return self.established(conn, account).await;
            }
            Ok(Err(error)) => Failure::Connect(in_words(&error)),
            Err(_elapsed) => {
                stats.upstream_cx_connect_timeout.inc();
                Failure::ConnectTimeout
            }
        };
        stats.upstream_cx_connect_fail.inc();
        self.counts.cx_connect_fail.inc();
        account.by_peer = matches!(failure, Failure::Connect(_));
        drop(account);
        self.fail_the_line(&failure);
    }

    fn fail_the_line(&self, failure: &Failure) {
        let line = std::mem::take(&mut *self.line.borrow_mut());
        for waiting in line {
            self.shared.stats.upstream_rq_pending_failure_eject.inc();
            // Whoever has stopped waiting needs no answer.
            drop(waiting.served.send(Err(failure.clone())));
        }
    }

    async fn established(self: Rc<Self>, conn: Conn, account: Account) {
        match self.shared.config.protocol {
            UpstreamProtocol::Http1 => {
                let options = http1::ClientOptions {
                    head_bytes_max: RESPONSE_HEAD_BYTES_MAX,
                    headers_max: RESPONSE_HEADERS_MAX,
                    write_buffer_bytes_max: self.shared.config.buffer_bytes_max,
                };
                self.serve_or_park(http1::ClientConnection::new(conn, options), account);
            }
            UpstreamProtocol::Http2(options) => self.drive_http2(conn, &options, account).await,
        }
    }

    /// A free connection goes to the first in line that still waits, else into the pool.
    fn serve_or_park(&self, connection: http1::ClientConnection, account: Account) {
        let Some(waiting) = self.first_in_line() else { return self.park(connection, account) };
        let lease = self.lend(connection, account);
        // Whoever stopped waiting in this very moment drops the lease, which gives the connection back.
        drop(waiting.served.send(lease));
    }

    fn first_in_line(&self) -> Option<Waiting> {
        let mut line = self.line.borrow_mut();
        while let Some(waiting) = line.pop_front() {
            if !waiting.served.is_closed() {
                return Some(waiting);
            }
            self.shared.stats.upstream_rq_cancelled.inc();
        }
        None
    }

    /// Puts a connection aside until the next request, unless the peer has ended it already: a FIN that came
    /// with the response is seen here, before anybody else can be given this connection.
    fn park(&self, connection: http1::ClientConnection, mut account: Account) {
        account.busy = false;
        let name = account.name.get_or_insert_with(|| {
            let id = self.next_id.replace(self.next_id.get() + 1);
            self.signals.name(id)
        });
        let mut parked = Signals::park(name.clone(), connection, account);
        if let Poll::Ready(end) = parked.poll_end() {
            return self.ended_idle(parked, end);
        }
        self.idle.borrow_mut().push(parked);
        self.watch();
    }

    fn ended_idle(&self, mut parked: Parked<Account>, end: http1::IdleEnd) {
        match end {
            http1::IdleEnd::Closed | http1::IdleEnd::Reset => parked.with.by_peer = true,
            http1::IdleEnd::StrayBytes => self.shared.stats.upstream_cx_protocol_error.inc(),
        }
    }

    /// Makes sure that the keeper runs and knows of a deadline, if there is one.
    fn watch(&self) {
        match self.keeper.get() {
            Keeper::NotStarted => {
                let keeper = keep(Weak::clone(&self.this), Arc::clone(&self.signals));
                self.tasks.borrow_mut().spawn_local(keeper);
                self.keeper.set(Keeper::Timed);
            }
            Keeper::Listening if self.shared.config.idle_timeout.is_some() => self.signals.nudge(),
            Keeper::Listening | Keeper::Timed => {}
        }
    }

    /// Drops what has ended or is out of time; says when to look again.
    fn sweep(&self) -> Option<Instant> {
        let ended = self.signals.take_ended(&mut self.idle.borrow_mut());
        for (parked, end) in ended {
            self.ended_idle(parked, end);
        }
        let limit = self.shared.config.idle_timeout;
        let deadline = limit.and_then(|limit| self.close_expired(limit));
        self.keeper.set(if deadline.is_some() { Keeper::Timed } else { Keeper::Listening });
        deadline
    }

    fn close_expired(&self, limit: Duration) -> Option<Instant> {
        let now = Instant::now();
        let stats = &self.shared.stats;
        let mut idle = self.idle.borrow_mut();
        // The one used longest ago is first.
        while idle.first().is_some_and(|oldest| oldest.since + limit <= now) {
            stats.upstream_cx_idle_timeout.inc();
            drop(idle.remove(0));
        }
        let mut multiplexed = self.multiplexed.borrow_mut();
        multiplexed.retain(|one| {
            let expired = one.streams.get() == 0 && one.idle_since.get() + limit <= now;
            if expired {
                stats.upstream_cx_idle_timeout.inc();
            }
            !expired
        });
        let http1 = idle.first().map(|oldest| oldest.since + limit);
        let http2 = multiplexed.iter().filter(|one| one.streams.get() == 0).map(|one| one.idle_since.get() + limit);
        http1.into_iter().chain(http2).min()
    }

    async fn drive_http2(
        self: Rc<Self>,
        conn: Conn,
        options: &crate::config::listener::Http2Options,
        account: Account,
    ) {
        let (connection, driver) =
            match http2::ClientConnection::handshake(conn, options, &self.shared.http2_stats).await {
                Ok(both) => both,
                Err(broken) => {
                    let mut account = account;
                    account.by_peer = true;
                    drop(account);
                    return self.fail_the_line(&Failure::from(broken));
                }
            };
        self.shared.http2_stats.nghttp2_upstream_connections.inc();
        let multiplexed = Rc::new(Multiplexed {
            connection: RefCell::new(connection),
            account: RefCell::new(Some(account)),
            streams: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
        });
        self.multiplexed.borrow_mut().push(Rc::clone(&multiplexed));
        self.serve_the_line(&multiplexed);
        self.watch();
        let weak = Rc::downgrade(&multiplexed);
        drop(multiplexed);
        let pool = Rc::downgrade(&self);
        drop(self);
        let end = close_when_drained(driver, &weak, &pool).await;
        let Some(multiplexed) = weak.upgrade() else { return };
        let mut account = multiplexed.account.borrow_mut().take();
        if let Some(account) = &mut account {
            account.by_peer = !matches!(end, http2::DriverEnd::Drained);
            account.busy = multiplexed.streams.get() > 0;
        }
        if let Some(pool) = pool.upgrade() {
            pool.forget(&multiplexed);
            pool.connect_for_the_line();
        }
    }

    fn serve_the_line(&self, multiplexed: &Rc<Multiplexed>) {
        while multiplexed.connection.borrow().is_available() {
            let Some(waiting) = self.first_in_line() else { return };
            drop(waiting.served.send(self.lend_stream(multiplexed)));
        }
        // More are waiting than this connection has room for.
        self.connect_for_the_line();
    }

    fn forget(&self, multiplexed: &Rc<Multiplexed>) {
        self.multiplexed.borrow_mut().retain(|one| !Rc::ptr_eq(one, multiplexed));
    }
}

/// Drives a connection. One that got GOAWAY is closed as soon as no stream is left on it: nothing more can be
/// sent there, and the peer waits for our FIN.
async fn close_when_drained(
    driver: http2::Driver,
    multiplexed: &Weak<Multiplexed>,
    pool: &Weak<Pool>,
) -> http2::DriverEnd {
    let mut driver = std::pin::pin!(driver);
    std::future::poll_fn(|cx| {
        let polled = driver.as_mut().poll(cx);
        if polled.is_pending()
            && let (Some(multiplexed), Some(pool)) = (multiplexed.upgrade(), pool.upgrade())
            && multiplexed.streams.get() == 0
            && multiplexed.connection.borrow().goaway_received()
        {
            pool.shared.stats.upstream_cx_close_notify.inc();
            pool.forget(&multiplexed);
        }
        polled
    })
    .await
}

/// Watches over the idle connections of a pool for as long as it exists.
async fn keep(pool: Weak<Pool>, signals: Arc<Signals>) {
    loop {
        let Some(deadline) = pool.upgrade().map(|pool| pool.sweep()) else { return };
        tokio::select! {
            // Signals first: a connection that the peer closed is not one that timed out.
            biased;
            () = signals.changed() => {}
            () = until(deadline) => {}
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Exclusive {
    /// The connection. `None` cannot be seen from outside: only `give_back` and drop take it.
    pub fn connection(&mut self) -> Option<&mut http1::ClientConnection> {
        self.connection.as_mut().map(|(connection, _)| connection)
    }

    fn give_back(mut self) {
        let Some((connection, mut account)) = self.connection.take() else { return };
        if connection.is_reusable() {
            let pool = Rc::clone(&self.pool);
            drop(self); // the request ends before the next one may have the connection
            return pool.serve_or_park(connection, account);
        }
        if connection.peer_wants_close() {
            account.shared.stats.upstream_cx_close_notify.inc();
            account.busy = false;
        }
    }
}

impl Stream {
    /// The connection's handle.
    #[must_use]
    pub fn connection(&self) -> std::cell::RefMut<'_, http2::ClientConnection> {
        self.multiplexed.connection.borrow_mut()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let streams = self.multiplexed.streams.get().saturating_sub(1);
        self.multiplexed.streams.set(streams);
        self.multiplexed.idle_since.set(Instant::now());
        let connection = self.multiplexed.connection.borrow();
        if connection.goaway_received() && streams == 0 {
            drop(connection);
            self.pool.shared.stats.upstream_cx_close_notify.inc();
            return self.pool.forget(&self.multiplexed);
        }
        drop(connection);
        self.pool.serve_the_line(&self.multiplexed);
        self.pool.watch();
    }
}

impl Lease {
    /// The request is over: the connection may serve the next one, if it can.
    pub fn give_back(self) {
        match self {
            Self::Http1(exclusive) => exclusive.give_back(),
            Self::Http2(stream) => drop(stream),
        }
    }

    /// We break the request off: an HTTP/2 stream is reset.
    pub fn count_reset(&self) {
        if let Self::Http2(stream) = self {
            stream.pool.shared.stats.upstream_rq_tx_reset.inc();
        }
    }

    /// The request failed because the peer ended the connection, or for another reason of the peer's.
    pub fn broken(self, by: Broken) {
        if let (Self::Http2(stream), Broken::StreamReset(reason)) = (&self, by) {
            let stats = &stream.pool.shared.stats;
            match reason {
                ResetReason::ConnectError | ResetReason::RefusedStream => {}
                // Envoy resets such a stream itself.
                ResetReason::ProtocolError => stats.upstream_rq_tx_reset.inc(),
                ResetReason::Cancel | ResetReason::InternalError | ResetReason::NoError | ResetReason::Other(_) => {
                    stats.upstream_rq_rx_reset.inc();
                }
            }
        }
        if let Self::Http1(mut exclusive) = self
            && let Some((_, account)) = &mut exclusive.connection
        {
            account.by_peer = matches!(by, Broken::Closed | Broken::ConnectionReset);
            if matches!(by, Broken::Malformed(_)) {
                account.shared.stats.upstream_cx_protocol_error.inc();
            }
        }
    }

    /// Our end of the connection.
    #[must_use]
    pub fn local(&self) -> Option<Address> {
        match self {
            Self::Http1(exclusive) => exclusive.connection.as_ref().map(|(connection, _)| connection.local().clone()),
            Self::Http2(_) => None,
        }
    }
}

/// The system's reason as Envoy prints it: the words without the number.
fn in_words(error: &io::Error) -> String {
    const WORDS: [(io::ErrorKind, &str); 5] = [
        (io::ErrorKind::ConnectionRefused, "Connection refused"),
        (io::ErrorKind::ConnectionReset, "Connection reset by peer"),
        (io::ErrorKind::TimedOut, "Connection timed out"),
        (io::ErrorKind::HostUnreachable, "No route to host"),
        (io::ErrorKind::NetworkUnreachable, "Network is unreachable"),
    ];
    let known = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, words)| (*words).to_owned())
}
