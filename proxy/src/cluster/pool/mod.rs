//! Connections to one endpoint, for one worker and one priority.
//!
//! HTTP/1: a connection is lent to one request at a time; the one used last is lent first, so that surplus
//! ones age and go. HTTP/2: a connection is lent to as many streams as the peer allows. A request that finds
//! nothing waits in line; a connection is opened for it, and whichever becomes free first serves the line.
//! If opening one fails, everybody in line fails: that is how Envoy does it, and retries are the router's.

mod account;
mod idle;
mod lease;
mod multiplexed;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use lease::{Exclusive, Lease, Stream};

use super::breaker::{Breakers, Permit};
use super::{Failure, Shared};
use crate::codec::http1;
use crate::config::Difference;
use crate::config::cluster::{Priority, TcpKeepalive, UpstreamProtocol};
use crate::net::{self, Address, Conn, ConnectOptions, Outside};
use crate::stats::{EndpointStats, Held};
use account::{Account, Request};
use idle::{Parked, Signals};
use multiplexed::Multiplexed;

/// Largest response head. Bytes; Envoy's default.
const RESPONSE_HEAD_BYTES_MAX: usize = 80 * 1024;
/// Most header fields in a response; Envoy's default.
const RESPONSE_HEADERS_MAX: usize = 100;

/// The connections of one endpoint, for one priority.
pub struct Pool {
    this: Weak<Self>,
    shared: Arc<Shared>,
    priority: Priority,
    counts: Arc<EndpointStats>,
    address: Address,
    outside: Outside,
    idle: RefCell<Vec<Parked<Account>>>,
    multiplexed: RefCell<Vec<Rc<Multiplexed>>>,
    line: RefCell<VecDeque<Waiting>>,
    connecting: Cell<usize>,
    open: Cell<usize>,
    /// While there is a connection.
    counted: RefCell<Option<Permit>>,
    /// How often the pool was drained: a connection from before the last time is not used again.
    drains: Cell<u32>,
    lent: Cell<u32>,
    next_id: Cell<u64>,
    signals: Arc<Signals>,
    keeper: Cell<Keeper>,
    tasks: RefCell<JoinSet<()>>,
}

/// The task that watches over connections that wait or grow old.
#[derive(Clone, Copy)]
enum Keeper {
    /// No connection has been idle yet.
    NotStarted,
    /// Sleeps until a peer acts, or until this instant.
    Until(Option<Instant>),
}

/// Which connections will do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// Any that is free.
    Any,
    /// One that has carried nothing yet: whatever closed it cannot have been its age.
    Unused,
}

struct Waiting {
    wanted: Wanted,
    served: oneshot::Sender<Result<Lease, Failure>>,
    _permit: Permit,
    _counted: [Held; 2],
}

/// A place in the line, which is left by dropping it.
struct Place<'a> {
    pool: &'a Pool,
    turn: oneshot::Receiver<Result<Lease, Failure>>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turn.close();
        self.pool.line.borrow_mut().retain(|waiting| {
            let waits = !waiting.served.is_closed();
            if !waits {
                self.pool.shared.stats.upstream_rq_cancelled.inc();
            }
            waits
        });
    }
}

impl Pool {
    /// No connections yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, priority: Priority, address: Address, outside: Outside) -> Rc<Self> {
        let counts = shared.endpoints.of(&address);
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            shared,
            priority,
            counts,
            address,
            outside,
            idle: RefCell::default(),
            multiplexed: RefCell::default(),
            line: RefCell::default(),
            connecting: Cell::new(0),
            open: Cell::new(0),
            counted: RefCell::default(),
            drains: Cell::new(0),
            lent: Cell::new(0),
            next_id: Cell::new(0),
            signals: Arc::default(),
            keeper: Cell::new(Keeper::NotStarted),
            tasks: RefCell::default(),
        })
    }

    fn breakers(&self) -> &Breakers {
        self.shared.breakers.of(self.priority)
    }

    /// Requests under way at this endpoint, from this worker and of this priority.
    #[must_use]
    pub fn requests_active(&self) -> u32 {
        self.lent.get()
    }

    /// A connection to send one request on. A request that waits for an unused one leaves the others to the rest of
    /// the line.
    ///
    /// # Cancellation
    /// Safe to drop: a connection opened for the caller serves the next in line or waits in the pool.
    ///
    /// # Errors
    /// The connect failed, or a breaker is open.
    pub async fn checkout(&self, wanted: Wanted) -> Result<Lease, Failure> {
        if wanted == Wanted::Any
            && let Some(lease) = self.take_ready()
        {
            return lease;
        }
        let stats = &self.shared.stats;
        let Some(permit) = self.breakers().pending.permit() else {
            stats.upstream_rq_pending_overflow.inc();
            return Err(Failure::PendingOverflow);
        };
        stats.upstream_rq_pending_total.inc();
        let (served, turn) = oneshot::channel();
        let counted = [stats.upstream_rq_pending_active.enter(), self.counts.rq_pending_active.enter()];
        self.line.borrow_mut().push_back(Waiting { wanted, served, _permit: permit, _counted: counted });
        let mut place = Place { pool: self, turn };
        self.connect_for_the_line();
        // The sender lives in the line, which lives as long as the pool.
        (&mut place.turn).await.unwrap_or(Err(Failure::Terminated))
    }

    /// A connection that is there already.
    fn take_ready(&self) -> Option<Result<Lease, Failure>> {
        while let Some(mut parked) = self.take_idle() {
            match self.stale(&mut parked.connection) {
                None => {
                    let lease = self.lend(parked.connection, parked.with);
                    self.connect_ahead();
                    return Some(lease);
                }
                Some(end) => self.ended_idle(parked.connection, parked.with, end),
            }
        }
        self.take_stream()
    }

    /// The one used last.
    fn take_idle(&self) -> Option<Parked<Account>> {
        self.idle.borrow_mut().pop()
    }

    /// Why a used connection must not be used again, by what the system knows at this moment.
    fn stale(&self, connection: &mut http1::ClientConnection) -> Option<http1::IdleEnd> {
        if !self.shared.runtime.differences().has(Difference::LookBeforeReuse) {
            return None;
        }
        let end = connection.look();
        if end.is_some() {
            self.shared.stats.upstream_cx_reuse_stale.inc();
        }
        end
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
        account.requests = account.requests.saturating_add(1);
        let pool = Rc::clone(&request.pool);
        Ok(Lease::Http1(Box::new(Exclusive { connection: Some((connection, account)), pool, _request: request })))
    }

    fn begin_request(&self) -> Result<Request, Failure> {
        let stats = &self.shared.stats;
        // The pool is alive: somebody is calling it.
        let Some(pool) = self.this.upgrade() else { return Err(Failure::Terminated) };
        let Some(permit) = self.breakers().requests.permit() else {
            stats.upstream_rq_active_overflow.inc();
            return Err(Failure::Overflow);
        };
        stats.upstream_rq_total.inc();
        self.counts.rq_total.inc();
        self.lent.set(self.lent.get() + 1);
        let held = [stats.upstream_rq_active.enter(), self.counts.rq_active.enter()];
        Ok(Request { pool, _permit: permit, _held: held })
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
                return self.connect_ahead();
            }
            match self.connection_permit() {
                Some(permit) => self.connect(permit),
                None if self.trade_in_idle() => return, // whose end has led here again
                None => return self.shared.stats.upstream_cx_overflow.inc(),
            }
        }
    }

    /// Opens connections for requests that have not come yet, as far as configured. An endpoint that may not be chosen
    /// does no extra work.
    fn connect_ahead(&self) {
        const AT_ONCE_MAX: usize = 3; // the largest ratio
        for _ in 0..AT_ONCE_MAX {
            if !self.wants_to_connect_ahead() {
                return;
            }
            let Some(permit) = self.breakers().connections.permit() else {
                return self.shared.stats.upstream_cx_overflow.inc();
            };
            self.connect(permit);
        }
    }

    fn wants_to_connect_ahead(&self) -> bool {
        let percent = usize::try_from(self.shared.config.preconnect_percent).unwrap_or(usize::MAX);
        if percent <= 100 || !self.counts.health.is_good() {
            return false;
        }
        let active = usize::try_from(self.lent.get()).unwrap_or(usize::MAX);
        let (wanted, free) = (self.line.borrow().len() + active, self.free());
        wanted.saturating_mul(percent) > free.saturating_add(active).saturating_mul(100)
    }

    /// Requests that the connections there are, or will be, could take in addition.
    fn free(&self) -> usize {
        let connecting = self.connecting.get();
        match self.shared.config.protocol {
            UpstreamProtocol::Http1 => connecting + self.idle.borrow().len(),
            UpstreamProtocol::Http2(options) => {
                let each = usize::try_from(options.max_concurrent_streams.get()).unwrap_or(usize::MAX);
                connecting.saturating_mul(each).saturating_add(self.free_streams())
            }
        }
    }

    fn connection_permit(&self) -> Option<Permit> {
        let connections = &self.breakers().connections;
        // An endpoint without a single connection gets one in any case: without it the line would wait for ever.
        connections.permit().or_else(|| (self.open.get() == 0).then(|| connections.permit_past_limit()))
    }

    /// Who still waits while connections are idle wants none of those: one makes room, the one used longest ago.
    fn trade_in_idle(&self) -> bool {
        let oldest = {
            let mut idle = self.idle.borrow_mut();
            (!idle.is_empty()).then(|| idle.remove(0))
        };
        oldest.is_some()
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
            drains: self.drains.get(),
            requests: 0,
            by_peer: false,
            busy: false,
            name: None,
            permit: Some(permit),
            _held: [stats.upstream_cx_active.enter(), self.counts.cx_active.enter()],
        };
        self.counted.borrow_mut().get_or_insert_with(|| self.breakers().pools.permit_past_limit());
        self.open.set(self.open.get() + 1);
        self.connecting.set(self.connecting.get() + 1);
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {} // forget those that have ended
        tasks.spawn_local(pool.open_one(account));
    }

    async fn open_one(self: Rc<Self>, mut account: Account) {
        let limit = self.shared.config.connect_timeout;
        let keepalive = self.shared.config.tcp_keepalive;
        let keepalive =
            keepalive.map(|TcpKeepalive { probes, time, interval }| net::TcpKeepalive { probes, time, interval });
        let options = ConnectOptions { keepalive, ..ConnectOptions::default() };
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
        tracing::debug!(
            cluster = &*self.shared.config.name,
            endpoint = %self.address,
            waiting = self.line.borrow().len(),
            ?failure,
            "a connect failed"
        );
        account.by_peer = matches!(failure, Failure::Connect(_));
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
    fn serve_or_park(&self, mut connection: http1::ClientConnection, mut account: Account) {
        let offered = if account.requests == 0 { Wanted::Unused } else { Wanted::Any };
        if offered == Wanted::Any
            && !self.line.borrow().is_empty()
            && let Some(end) = self.stale(&mut connection)
        {
            account.busy = false;
            return self.ended_idle(connection, account, end);
        }
        let Some(waiting) = self.first_in_line(offered) else {
            self.park(connection, account);
            return self.connect_for_the_choosy();
        };
        let lease = self.lend(connection, account);
        // Whoever stopped waiting in this very moment drops the lease, which gives the connection back.
        drop(waiting.served.send(lease));
        match offered {
            Wanted::Any => self.connect_for_the_line(), // those left may be worth another connection
            Wanted::Unused => self.connect_for_the_choosy(),
        }
    }

    /// A connection that somebody else took may have been opened for a request that wants an unused one.
    fn connect_for_the_choosy(&self) {
        let somebody_is = self.line.borrow().iter().any(|waiting| waiting.wanted == Wanted::Unused);
        if somebody_is {
            self.connect_for_the_line();
        }
    }

    /// The first that takes what is offered.
    fn first_in_line(&self, offered: Wanted) -> Option<Waiting> {
        let mut line = self.line.borrow_mut();
        let at = line.iter().position(|waiting| offered == Wanted::Unused || waiting.wanted == Wanted::Any)?;
        line.remove(at)
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
            return self.ended_idle(parked.connection, parked.with, end);
        }
        let due = self.due(parked.with.opened, Some(parked.since));
        self.idle.borrow_mut().push(parked);
        self.watch(due);
    }

    fn ended_idle(&self, connection: http1::ClientConnection, mut account: Account, end: http1::IdleEnd) {
        drop(connection); // the socket first: the account's end may open another
        match end {
            http1::IdleEnd::Closed | http1::IdleEnd::Reset => account.by_peer = true,
            http1::IdleEnd::StrayBytes => self.shared.stats.upstream_cx_protocol_error.inc(),
        }
    }

    /// The endpoint is not to be used for now: idle connections close, busy ones take nothing more.
    pub fn drain(&self) {
        self.drains.set(self.drains.get().wrapping_add(1));
        let idle = std::mem::take(&mut *self.idle.borrow_mut());
        drop(idle);
        self.retire_multiplexed();
    }

    /// Makes sure that the keeper runs and looks again when `due` has come.
    fn watch(&self, due: Option<Instant>) {
        match self.keeper.get() {
            Keeper::NotStarted => {
                let keeper = keep(Weak::clone(&self.this), Arc::clone(&self.signals));
                self.tasks.borrow_mut().spawn_local(keeper);
                self.keeper.set(Keeper::Until(due));
            }
            Keeper::Until(known) if due.is_some_and(|due| known.is_none_or(|known| due < known)) => {
                self.signals.nudge();
            }
            Keeper::Until(_) => {}
        }
    }

    /// When a connection must be looked at again; `idle_since` if it is not in use.
    fn due(&self, opened: Instant, idle_since: Option<Instant>) -> Option<Instant> {
        let config = &self.shared.config;
        let idle = idle_since.zip(config.idle_timeout).map(|(since, limit)| since + limit);
        let age = config.connection_duration_max.map(|limit| opened + limit);
        idle.into_iter().chain(age).min()
    }

    /// Drops what has ended or is out of time; says when to look again.
    fn sweep(&self) -> Option<Instant> {
        let ended = self.signals.take_ended(&mut self.idle.borrow_mut());
        for (parked, end) in ended {
            self.ended_idle(parked.connection, parked.with, end);
        }
        let now = Instant::now();
        let (stay, expired) = std::mem::take(&mut *self.idle.borrow_mut()).into_iter().partition(|parked| {
            let due = self.due(parked.with.opened, Some(parked.since));
            due.is_none_or(|due| due > now)
        });
        *self.idle.borrow_mut() = stay;
        expired.iter().for_each(|parked| self.count_expired(parked.with.opened, now));
        drop::<Vec<_>>(expired);
        let streams = self.sweep_multiplexed(now);
        let idle = self.idle.borrow();
        let deadline = idle.iter().filter_map(|parked| self.due(parked.with.opened, Some(parked.since))).chain(streams);
        let deadline = deadline.min();
        self.keeper.set(Keeper::Until(deadline));
        deadline
    }

    fn count_expired(&self, opened: Instant, now: Instant) {
        let too_old = self.shared.config.connection_duration_max.is_some_and(|limit| opened + limit <= now);
        match too_old {
            true => self.shared.stats.upstream_cx_max_duration_reached.inc(),
            false => self.shared.stats.upstream_cx_idle_timeout.inc(),
        }
    }
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
