//! HTTP/2 connections of a pool: each is lent to as many streams as its server allows.
//!
//! One task drives a connection for as long as the pool lists it. What takes it off the list, once no stream is left,
//! ends the task, and the task's end closes the socket: a client that has nothing more to send closes with FIN alone.

use std::cell::{Cell, RefCell, RefMut};
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::budget::{ActiveRequest, ClosedBy, ConnectionRecord};
use super::{Lease, Pool, Wanted};
use crate::cluster::Failure;
use crate::codec::{ExchangeError, ResetReason, http2};
use crate::config::Difference;
use crate::config::cluster::UpstreamProtocol;
use crate::config::listener::{Http2Options, Keepalive};
use crate::net::{Conn, Random};
use crate::probe;

/// An HTTP/2 connection.
pub(super) struct Multiplexed {
    connection: RefCell<http2::ClientConnection>,
    /// Streams under way.
    streams: Cell<usize>,
    /// Streams so far.
    requests: Rc<Cell<u32>>,
    idle_since: Cell<Instant>,
    /// It was there before the next request.
    has_waited: Cell<bool>,
    opened: Instant,
    lending: Cell<Lending>,
    /// Notified when the pool lists it no more and no stream is left.
    finished: Notify,
    /// Notified when a PING should find out whether the server is still there.
    verify: Notify,
}

/// Is a connection lent to further streams?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lending {
    /// As far as its server allows.
    Open,
    /// No more: a look at the socket has shown that the server closed it.
    FoundClosed,
    /// No more: it is too old, has carried enough, or the endpoint was drained.
    Retired,
}

/// A stream lent to a request. Dropped, it makes room on its connection, and last of all the request ends.
pub struct Stream {
    slot: Slot,
    is_reused: bool,
    request: ActiveRequest,
}

/// The room of one stream on a connection.
struct Slot {
    multiplexed: Rc<Multiplexed>,
    pool: Rc<Pool>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.pool.end_stream(&self.multiplexed);
    }
}

impl Stream {
    /// The connection's handle.
    #[must_use]
    pub fn connection(&self) -> RefMut<'_, http2::ClientConnection> {
        self.slot.multiplexed.connection.borrow_mut()
    }

    /// Has the connection carried a stream before this one, or waited for its first?
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// The request is over: its room on the connection goes to the next one.
    pub(super) fn release(self) {
        let Self { slot, request, .. } = self;
        let pool = Rc::clone(&slot.pool);
        drop(request); // the request ends before the next one may have its room
        drop(slot);
        pool.settle();
    }

    pub(super) fn count_reset(&self) {
        self.slot.pool.budget.shared.stats.upstream_rq_tx_reset.inc();
    }

    pub(super) fn close_broken(self, by: ExchangeError) {
        let stats = &self.slot.pool.budget.shared.stats;
        match by {
            // A request that loses its connection is counted with those that wait for one, as in Envoy.
            ExchangeError::Closed | ExchangeError::ConnectionReset => stats.upstream_rq_pending_failure_eject.inc(),
            ExchangeError::StreamReset(ResetReason::ConnectError | ResetReason::RefusedStream) => {}
            // Envoy resets such a stream itself.
            ExchangeError::Malformed(_) | ExchangeError::StreamReset(ResetReason::ProtocolError) => {
                stats.upstream_rq_tx_reset.inc()
            }
            ExchangeError::OverLimit(_)
            | ExchangeError::StreamReset(
                ResetReason::Cancel | ResetReason::InternalError | ResetReason::NoError | ResetReason::Other(_),
            ) => stats.upstream_rq_rx_reset.inc(),
        }
        self.release();
    }
}

impl Multiplexed {
    fn new(connection: http2::ClientConnection, opened: Instant, requests: Rc<Cell<u32>>) -> Self {
        Self {
            connection: RefCell::new(connection),
            streams: Cell::new(0),
            requests,
            idle_since: Cell::new(Instant::now()),
            has_waited: Cell::new(false),
            opened,
            lending: Cell::new(Lending::Open),
            finished: Notify::new(),
            verify: Notify::new(),
        }
    }

    /// It finishes what it has and is lent no more.
    fn retire(&self) {
        if self.lending.get() == Lending::Open {
            self.lending.set(Lending::Retired);
        }
    }

    fn is_available(&self) -> bool {
        self.lending.get() == Lending::Open && self.connection.borrow().is_available()
    }

    /// Is nothing left to do on it?
    fn is_spent(&self) -> bool {
        self.streams.get() == 0 && (self.lending.get() != Lending::Open || self.connection.borrow().goaway_received())
    }

    fn idle_since(&self) -> Option<Instant> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }

    /// Moves its bytes until it ends, or is needed no more.
    async fn drive(&self, mut driver: http2::Driver, keepalive: Option<Keepalive>, random: &dyn Random) -> End {
        let dead = probe::until_dead_with(driver.pinger(), keepalive, &self.verify, random);
        let mut driver = std::pin::pin!(driver);
        let driven = std::future::poll_fn(|cx| {
            let polled = driver.as_mut().poll(cx).map(End::Driver);
            match polled.is_pending() && self.is_spent() {
                true => Poll::Ready(End::Finished), // GOAWAY has come while nothing was under way
                false => polled,
            }
        });
        tokio::select! {
            // The driver first: the last frames of a stream are written before the socket closes.
            biased;
            end = driven => end,
            () = self.finished.notified() => End::Finished,
            () = dead => End::Dead,
        }
    }

    fn record_end(&self, end: End, record: &mut ConnectionRecord) {
        let with_streams = self.streams.get() > 0;
        if self.lending.get() == Lending::FoundClosed {
            record.closed_by = ClosedBy::Peer;
        }
        match end {
            End::Dead => record.has_request = with_streams,
            End::Finished | End::Driver(http2::DriverEnd::Drained | http2::DriverEnd::GoAway(_)) => {}
            End::Driver(http2::DriverEnd::ExchangeError(ExchangeError::Malformed(_))) => {
                record.shared.stats.upstream_cx_protocol_error.inc();
            }
            End::Driver(http2::DriverEnd::ExchangeError(_)) => {
                record.closed_by = ClosedBy::Peer;
                record.has_request = with_streams;
            }
        }
    }
}

/// Why a connection is not driven any more.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The server did not acknowledge a PING.
    Dead,
    /// The connection itself ended.
    Driver(http2::DriverEnd),
    /// The pool has removed it, or the server has sent GOAWAY; no stream is left.
    Finished,
}

impl Pool {
    /// A stream of a connection that is there already.
    pub(super) fn take_stream(&self) -> Option<Result<Lease, Failure>> {
        loop {
            let found = self.first_available()?;
            let shared = &self.budget.shared;
            let looks = shared.runtime.differences().has(Difference::LookBeforeReuse);
            if !looks || !found.connection.borrow().has_closed() {
                return Some(self.lease_stream(&found));
            }
            shared.stats.upstream_cx_reuse_stale.inc();
            found.lending.set(Lending::FoundClosed);
            self.forget(&found);
        }
    }

    fn first_available(&self) -> Option<Rc<Multiplexed>> {
        self.multiplexed.borrow().iter().find(|one| one.is_available()).map(Rc::clone)
    }

    fn lease_stream(&self, multiplexed: &Rc<Multiplexed>) -> Result<Lease, Failure> {
        let (pool, request) = self.pool_and_request()?;
        let config = &self.budget.shared.config;
        if let UpstreamProtocol::Alpn(options) | UpstreamProtocol::Http2(options) = &self.protocol
            && let Some(keepalive) = &options.keepalive
            && let (Some(limit), Some(since)) = (keepalive.after_idle, multiplexed.idle_since())
            && since.elapsed() >= limit
        {
            multiplexed.verify.notify_one();
        }
        multiplexed.streams.set(multiplexed.streams.get() + 1);
        let before = multiplexed.requests.replace(multiplexed.requests.get().saturating_add(1));
        if config.requests_per_connection_max.is_some_and(|limit| before + 1 >= limit.get()) {
            self.budget.shared.stats.upstream_cx_max_requests.inc();
            multiplexed.retire();
        }
        let slot = Slot { multiplexed: Rc::clone(multiplexed), pool };
        Ok(Lease::Http2(Stream { slot, is_reused: before > 0 || multiplexed.has_waited.get(), request }))
    }

    /// Serves the connection that has just been established to its end.
    pub(super) async fn drive_http2(self: Rc<Self>, conn: Conn, options: &Http2Options, mut record: ConnectionRecord) {
        let shared = &self.budget.shared;
        let errors = http2::MessageErrorScope::with(shared.runtime.differences());
        let (connection, driver) =
            match http2::ClientConnection::handshake(conn, options, errors, shared.codec_stats.http2()).await {
                Ok(both) => both,
                Err(broken) => {
                    record.closed_by = ClosedBy::Peer;
                    self.fail_queue(&Failure::from(broken));
                    drop(record);
                    return self.settle();
                }
            };
        let multiplexed = Rc::new(Multiplexed::new(connection, record.opened, record.requests()));
        self.multiplexed.borrow_mut().push(Rc::clone(&multiplexed));
        self.serve_queue(&multiplexed, Wanted::Unused);
        multiplexed.has_waited.set(true);
        self.budget.mark_changed(); // more may wait than this connection has room for
        self.settle();
        self.wake_reaper_at(self.budget.deadline(record.opened, multiplexed.idle_since()));
        let (pool, random) = (Rc::downgrade(&self), Rc::clone(&self.budget.outside.random));
        drop(self);
        let end = multiplexed.drive(driver, options.keepalive, &*random).await;
        if matches!(end, End::Dead) {
            record.shared.codec_stats.http2().keepalive_timeout.inc();
        }
        if multiplexed.connection.borrow().goaway_received() {
            record.shared.stats.upstream_cx_close_notify.inc();
        }
        multiplexed.record_end(end, &mut record);
        let pool = pool.upgrade();
        if let Some(pool) = &pool {
            pool.forget(&multiplexed);
        }
        drop(record);
        if let Some(pool) = pool {
            pool.settle();
        }
    }

    /// Streams that the connections there are could take in addition.
    pub(super) fn free_streams(&self) -> usize {
        let multiplexed = self.multiplexed.borrow();
        multiplexed.iter().filter(|one| one.lending.get() == Lending::Open).fold(0, |free, one| {
            let connection = one.connection.borrow();
            free.saturating_add(connection.streams_max().saturating_sub(one.streams.get()))
        })
    }

    /// Gives room on the connections to requests that can use any.
    pub(super) fn serve_streams(&self) {
        while !self.queue.is_empty() {
            let Some(multiplexed) = self.first_available() else { return };
            if !self.serve_queue(&multiplexed, Wanted::Any) {
                return;
            }
        }
    }

    /// Gives the room on one connection to the queue. False if no request in it can use the connection.
    fn serve_queue(&self, multiplexed: &Rc<Multiplexed>, offered: Wanted) -> bool {
        while multiplexed.is_available() {
            let Some(request) = self.queue.pop_for(offered) else { return false };
            request.serve(self.lease_stream(multiplexed));
        }
        true
    }

    /// A stream has ended. Marks what is to be settled, and does no more: it is called by a drop.
    fn end_stream(&self, multiplexed: &Rc<Multiplexed>) {
        multiplexed.streams.set(multiplexed.streams.get().saturating_sub(1));
        multiplexed.idle_since.set(Instant::now());
        if multiplexed.is_spent() {
            return self.forget(multiplexed);
        }
        if !self.queue.is_empty() || self.preconnects() {
            self.budget.mark_changed();
        }
        self.wake_reaper_at(self.budget.deadline(multiplexed.opened, multiplexed.idle_since()));
    }

    pub(super) fn retire_multiplexed(&self) {
        self.multiplexed.borrow().iter().for_each(|one| one.retire());
        self.remove_spent();
    }

    /// Retires those that are out of time; returns when to look again.
    pub(super) fn sweep_http2(&self, now: Instant) -> Option<Instant> {
        let deadline = |one: &Multiplexed| self.budget.deadline(one.opened, one.idle_since());
        for one in self.multiplexed.borrow().iter().filter(|one| one.lending.get() == Lending::Open) {
            if deadline(one).is_some_and(|due| due <= now) {
                self.budget.count_expired(one.opened, now);
                one.retire();
            }
        }
        self.remove_spent();
        let multiplexed = self.multiplexed.borrow();
        let open = multiplexed.iter().filter(|one| one.lending.get() == Lending::Open);
        open.filter_map(|one| deadline(one)).min()
    }

    fn remove_spent(&self) {
        self.multiplexed.borrow_mut().retain(|one| {
            let spent = one.is_spent();
            if spent {
                one.finished.notify_one();
            }
            !spent
        });
    }

    /// Lends it no more. It is closed when its last stream ends, at once if it has none.
    fn forget(&self, multiplexed: &Rc<Multiplexed>) {
        self.multiplexed.borrow_mut().retain(|one| !Rc::ptr_eq(one, multiplexed));
        if multiplexed.streams.get() == 0 {
            multiplexed.finished.notify_one();
        }
    }
}
