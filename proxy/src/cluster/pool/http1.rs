//! HTTP/1 connections of a pool: each is lent to one request at a time, and waits in between.
//!
//! The connection used last is lent first, so that surplus ones age and are closed. A connection that waits must be seen to
//! close while no request uses it, yet to put one aside must cost almost nothing: it happens once for each request. So each
//! connection carries a waker of its own, and to put it aside is one poll of the connection with that waker. Only when the peer
//! acts does the waker name the connection to the pool's reaper, which then looks at that one alone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::budget::{ActiveRequest, ClosedBy, ConnectionRecord};
use super::{Lease, Pool, Wanted};
use crate::cluster::Failure;
use crate::codec::{ExchangeError, http1};
use crate::config::Difference;
use crate::net::Conn;

/// An HTTP/1 connection and its record in the pool. The socket closes before the record of the connection ends.
pub(super) struct Connection {
    codec: http1::ClientConnection,
    record: ConnectionRecord,
    /// Requests it was given so far.
    requests: Rc<Cell<u32>>,
    /// It has been put aside: its peer may have closed it in the meantime.
    has_waited: bool,
    waker: IdleWaker,
}

impl Connection {
    /// What the next request finds: a connection that is unused, or any.
    fn offered(&self) -> Wanted {
        if self.requests.get() == 0 { Wanted::Unused } else { Wanted::Any }
    }

    /// Must the connection end with the request it has? Counts the reason.
    fn is_retired(&self) -> bool {
        let shared = &self.record.shared;
        if self.record.is_drained() {
            return true;
        }
        if shared.config.requests_per_connection_max.is_some_and(|max| self.requests.get() >= max.get()) {
            shared.stats.upstream_cx_max_requests.inc();
            return true;
        }
        let too_old = self.record.is_too_old();
        if too_old {
            shared.stats.upstream_cx_max_duration_reached.inc();
        }
        too_old
    }

    /// Has the peer closed, or sent bytes that belong to no request? If neither, its waker is registered.
    fn poll_end(&mut self) -> Poll<http1::IdleEnd> {
        self.codec.poll_idle(&mut Context::from_waker(&self.waker.waker))
    }

    /// Closes a connection that ended while it was idle.
    fn close_idle(mut self: Box<Self>, end: http1::IdleEnd) {
        self.record.has_request = false;
        match end {
            http1::IdleEnd::Closed | http1::IdleEnd::Reset => self.record.closed_by = ClosedBy::Peer,
            http1::IdleEnd::StrayBytes => self.record.shared.stats.upstream_cx_protocol_error.inc(),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.codec.peer_wants_close() {
            self.record.shared.stats.upstream_cx_close_notify.inc();
        }
    }
}

/// Connections that wait for a request, the one used last at the end.
#[derive(Default)]
pub(super) struct IdleConnections(RefCell<Vec<Idle>>);

struct Idle {
    connection: Box<Connection>,
    since: Instant,
}

impl IdleConnections {
    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// Closes the one used longest ago. False if there is none.
    pub(super) fn close_oldest(&self) -> bool {
        let oldest = {
            let mut idle = self.0.borrow_mut();
            (!idle.is_empty()).then(|| idle.remove(0))
        };
        oldest.is_some()
    }

    pub(super) fn close_all(&self) {
        let idle = self.0.take();
        drop(idle);
    }

    /// The one used last.
    fn pop(&self) -> Option<Box<Connection>> {
        self.0.borrow_mut().pop().map(|idle| idle.connection)
    }

    fn push(&self, connection: Box<Connection>, since: Instant) {
        self.0.borrow_mut().push(Idle { connection, since });
    }

    /// Takes out those that ended.
    fn take_ended(&self, events: &IdleEvents) -> Vec<(Box<Connection>, http1::IdleEnd)> {
        let mut idle = self.0.borrow_mut();
        let mut ended = Vec::new();
        for id in events.take() {
            // Not among them: it is lent out again, and its user will see for itself.
            let Some(at) = idle.iter().position(|one| one.connection.waker.id == id) else { continue };
            let Some(one) = idle.get_mut(at) else { continue };
            if let Poll::Ready(end) = one.connection.poll_end() {
                ended.push((idle.remove(at).connection, end));
            }
        }
        ended
    }
}

/// Which idle connections something happened at.
#[derive(Default)]
pub(super) struct IdleEvents {
    ids: Mutex<Vec<u64>>,
    reaper: Notify,
}

impl IdleEvents {
    /// Ready when something happened, or [`Self::wake_reaper`] was called.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub(super) async fn changed(&self) {
        self.reaper.notified().await;
    }

    /// Makes the reaper look at its deadlines again.
    pub(super) fn wake_reaper(&self) {
        self.reaper.notify_one();
    }

    fn take(&self) -> Vec<u64> {
        std::mem::take(&mut *self.ids.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Names one connection to the reaper. Made once for each connection.
struct IdleWaker {
    id: u64,
    waker: Waker,
}

struct IdleEvent {
    id: u64,
    to: Arc<IdleEvents>,
}

impl IdleWaker {
    fn new(id: u64, to: &Arc<IdleEvents>) -> Self {
        Self { id, waker: Waker::from(Arc::new(IdleEvent { id, to: Arc::clone(to) })) }
    }
}

impl Wake for IdleEvent {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.to.ids.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        self.to.reaper.notify_one();
    }
}

/// An HTTP/1 connection lent to a request. Dropped, it is closed, and last of all the request ends.
pub struct Exclusive {
    connection: Box<Connection>,
    pool: Rc<Pool>,
    request: ActiveRequest,
}

impl Exclusive {
    /// The codec of the connection, to send and receive with.
    pub fn connection(&mut self) -> &mut http1::ClientConnection {
        &mut self.connection.codec
    }

    /// The connection, to look at.
    #[must_use]
    pub fn connection_ref(&self) -> &http1::ClientConnection {
        &self.connection.codec
    }

    /// Has the connection carried a request before this one, or waited for its first? Then its server may have closed it in the
    /// meantime.
    #[must_use]
    pub fn is_reused(&self) -> bool {
        self.connection.has_waited || self.connection.requests.get() > 1
    }

    /// The request failed: closes the connection.
    pub(super) fn close_broken(self, by: ExchangeError) {
        let Self { mut connection, pool, request } = self;
        // A message may be malformed for having been cut short.
        if matches!(by, ExchangeError::Closed | ExchangeError::ConnectionReset) || connection.codec.peer_has_ended() {
            connection.record.closed_by = ClosedBy::Peer;
        }
        if matches!(by, ExchangeError::Malformed(_)) {
            pool.budget.shared.stats.upstream_cx_protocol_error.inc();
        }
        drop(request);
        drop(connection);
        pool.settle();
    }

    /// The request is over: the connection serves the next one, or closes.
    pub(super) fn release(self) {
        let Self { mut connection, pool, request } = self;
        drop(request); // the request ends before the next one may have the connection
        if connection.codec.is_reusable() && !connection.is_retired() {
            pool.offer(connection);
            return pool.settle();
        }
        if connection.codec.has_stray_bytes() {
            pool.budget.shared.stats.upstream_cx_protocol_error.inc();
        }
        let wants_close = connection.codec.peer_wants_close();
        if connection.codec.peer_has_ended() {
            connection.record.closed_by = ClosedBy::Peer; // which may be how a response ends
        }
        let by_peer = connection.record.closed_by == ClosedBy::Peer;
        connection.record.has_request = !connection.codec.is_reusable() && !by_peer && !wants_close;
        drop(connection);
        pool.settle();
    }
}

impl Pool {
    /// Takes a connection that has just been established.
    pub(super) fn add_http1(&self, conn: Conn, mut record: ConnectionRecord) {
        let options = http1::ClientOptions {
            head_bytes_max: http1::RESPONSE_HEAD_BYTES_MAX,
            headers_max: http1::RESPONSE_FIELDS_MAX,
            case: self.budget.shared.config.name_case,
            trailers: self.budget.shared.config.trailers,
            write_buffer_bytes_max: self.budget.shared.config.buffer_bytes_max,
        };
        let codec = http1::ClientConnection::new(conn, options);
        let waker = IdleWaker::new(self.next_id.replace(self.next_id.get() + 1), &self.idle_events);
        let requests = record.requests();
        self.offer(Box::new(Connection { codec, record, requests, has_waited: false, waker }));
        self.settle();
    }

    /// An idle connection, if one is fit for use.
    pub(super) fn take_idle(&self) -> Option<Result<Lease, Failure>> {
        while let Some(mut connection) = self.idle.pop() {
            match self.stale(&mut connection) {
                None => {
                    let lease = self.lease_http1(connection);
                    self.preconnect();
                    return Some(lease);
                }
                Some(end) => connection.close_idle(end),
            }
        }
        None
    }

    /// Why a connection must not be used again, by the state of its socket at this moment.
    fn stale(&self, connection: &mut Connection) -> Option<http1::IdleEnd> {
        let shared = &self.budget.shared;
        if !shared.runtime.differences().has(Difference::LookBeforeReuse) {
            return None;
        }
        let end = connection.codec.peek();
        if end.is_some() {
            shared.stats.upstream_cx_reuse_stale.inc();
        }
        end
    }

    fn lease_http1(&self, mut connection: Box<Connection>) -> Result<Lease, Failure> {
        let (pool, request) = match self.pool_and_request() {
            Ok(both) => both,
            Err(failure) => {
                self.put_aside(connection);
                return Err(failure);
            }
        };
        connection.record.has_request = true;
        connection.requests.set(connection.requests.get().saturating_add(1));
        Ok(Lease::Http1(Exclusive { connection, pool, request }))
    }

    /// A free connection goes to the first request in the queue that can use it, else it is put aside. Marks what is to be
    /// settled.
    fn offer(&self, mut connection: Box<Connection>) {
        let offered = connection.offered();
        if offered == Wanted::Any
            && !self.queue.is_empty()
            && let Some(end) = self.stale(&mut connection)
        {
            return connection.close_idle(end);
        }
        match self.queue.pop_for(offered) {
            Some(request) => {
                request.serve(self.lease_http1(connection));
                if offered == Wanted::Any {
                    self.budget.mark_changed(); // those left may be worth another connection
                }
            }
            None => self.put_aside(connection),
        }
        // The connection may have been opened for a request that wants an unused one, and gone to another.
        if self.queue.wants_unused() {
            self.budget.mark_changed();
        }
    }

    /// Puts a connection aside until the next request, unless the peer has ended it already: a FIN that came with the
    /// response is seen here, before another request can be given this connection.
    fn put_aside(&self, mut connection: Box<Connection>) {
        connection.record.has_request = false;
        if let Poll::Ready(end) = connection.poll_end() {
            return connection.close_idle(end);
        }
        connection.has_waited = true;
        let now = Instant::now();
        let due = self.budget.deadline(connection.record.opened, Some(now));
        self.idle.push(connection, now);
        self.wake_reaper_at(due);
    }

    /// Closes idle connections that ended or whose deadline has passed; returns the next deadline.
    pub(super) fn sweep_http1(&self, now: Instant) -> Option<Instant> {
        for (connection, end) in self.idle.take_ended(&self.idle_events) {
            connection.close_idle(end);
        }
        let deadline = |idle: &Idle| self.budget.deadline(idle.connection.record.opened, Some(idle.since));
        let is_expired = |idle: &Idle| deadline(idle).is_some_and(|due| due <= now);
        let expired: Vec<Idle> = self.idle.0.borrow_mut().extract_if(.., |idle| is_expired(idle)).collect();
        for idle in &expired {
            self.budget.count_expired(idle.connection.record.opened, now);
        }
        drop(expired);
        self.idle.0.borrow().iter().filter_map(deadline).min()
    }
}
