//! Connections to one endpoint, for one worker and one priority.
//!
//! HTTP/1: a connection is lent to one request at a time. HTTP/2: a connection is lent to as many streams as the peer allows. A
//! request that finds nothing waits in the queue; a connection is opened for it, and whichever becomes free first serves the
//! queue. If opening one fails, every request in the queue fails: that is how Envoy does it, and retries are the router's.
//!
//! Nothing is opened or served inside a drop. What ends returns its budget and leaves a mark; [`Pool::settle`] acts on the mark:
//! at the end of each method that a request or a task of the pool calls, and from a task of the pool where a lease was dropped.

mod addresses;
mod budget;
mod http1;
mod http2;
#[cfg(test)]
mod model;
mod queue;
mod tcp;
mod unconnected;

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use http::Version;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use http1::Exclusive;
pub use http2::Stream;
pub use queue::Wanted;
pub use tcp::{TcpConnection, Tunnel};

use super::load::{ClusterLoad, Load, PoolLoad};
use super::{ClusterShared, Failure, Location, Origin};
use crate::codec::ExchangeError;
use crate::config::cluster::{Priority, UpstreamProtocol};
use crate::config::tls::Carries;
use crate::net::{ConnInfo, Outside};
use crate::permits::Permit;
use budget::{ActiveRequest, Budget, Connecting};
use http1::{IdleConnections, IdleEvents};
use http2::Multiplexed;
use queue::WaitQueue;

/// What a pool is made of.
pub struct PoolParts {
    /// The cluster of the endpoint.
    pub shared: Arc<ClusterShared>,
    /// The priority whose circuit breakers limit the pool.
    pub priority: Priority,
    /// The endpoint.
    pub location: Location,
    /// What its connections take from the client and the request that they are opened for.
    pub origin: Origin,
    /// What connections are opened through.
    pub outside: Outside,
    /// What the connections of the worker to the cluster carry.
    pub load: Rc<ClusterLoad>,
}

/// The connections of one endpoint, for one priority.
pub struct Pool {
    this: Weak<Self>,
    budget: Rc<Budget>,
    protocol: UpstreamProtocol,
    queue: WaitQueue<Lease>,
    /// HTTP/1.
    idle: IdleConnections,
    idle_events: Arc<IdleEvents>,
    /// Numbers HTTP/1 connections.
    next_id: Cell<u64>,
    /// HTTP/2 connections that may still be lent.
    multiplexed: RefCell<Vec<Rc<Multiplexed>>>,
    reaper: Cell<Reaper>,
    tasks: RefCell<JoinSet<()>>,
    /// Its part of what the connections of the worker to the cluster carry.
    load: PoolLoad,
}

/// The task that closes connections that are idle or old, and settles the pool where a lease was dropped.
#[derive(Clone, Copy)]
enum Reaper {
    /// There has been no connection yet.
    NotStarted,
    /// Sleeps until a peer acts, or until this instant.
    Until(Option<Instant>),
}

/// A connection, or a stream of one, to send one request on. Dropped without [`release`](Self::release), it closes what it
/// can: an HTTP/1 connection altogether; on HTTP/2 the stream has been reset by dropping its halves.
pub enum Lease {
    /// A whole connection.
    Http1(Exclusive),
    /// A stream of one.
    Http2(Stream),
    /// A connection of its own, without framing.
    Tcp(Box<Tunnel>),
}

impl Lease {
    /// The request is over: the connection may serve the next one, if it can.
    pub fn release(self) {
        match self {
            Self::Http1(exclusive) => exclusive.release(),
            Self::Http2(stream) => stream.release(),
            Self::Tcp(tunnel) => tunnel.release(),
        }
    }

    /// The proxy breaks the request off: an HTTP/2 stream is reset.
    pub fn count_reset(&self) {
        if let Self::Http2(stream) = self {
            stream.count_reset();
        }
    }

    /// The request failed because the peer ended the connection, or for another reason of the peer's.
    pub fn close_broken(self, by: ExchangeError) {
        match self {
            Self::Http1(exclusive) => exclusive.close_broken(by),
            Self::Http2(stream) => stream.close_broken(by),
            Self::Tcp(tunnel) => tunnel.close_broken(by),
        }
    }

    /// The connection as logs name it.
    #[must_use]
    pub fn info(&self) -> ConnInfo {
        match self {
            Self::Http1(exclusive) => exclusive.connection_ref().info.clone(),
            Self::Http2(stream) => stream.connection().info.clone(),
            Self::Tcp(tunnel) => tunnel.connection().info.clone(),
        }
    }
}

impl Pool {
    /// No connections yet.
    #[must_use]
    pub fn new(parts: PoolParts) -> Rc<Self> {
        let queue = WaitQueue::new(parts.shared.stats.upstream_rq_cancelled.clone());
        let load = PoolLoad::new(Rc::clone(&parts.load));
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            protocol: parts.shared.config.protocol.of(parts.origin.version),
            budget: Budget::new(parts),
            queue,
            idle: IdleConnections::default(),
            idle_events: Arc::default(),
            next_id: Cell::new(0),
            multiplexed: RefCell::default(),
            reaper: Cell::new(Reaper::NotStarted),
            tasks: RefCell::default(),
            load,
        })
    }

    /// As this one, for connections of another origin.
    pub(super) fn of_origin(&self, origin: Origin) -> Rc<Self> {
        Self::new(PoolParts { origin, ..self.budget.parts() })
    }

    /// New connections go there from now on; those that are there serve on.
    pub(super) fn relocate(&self, location: Location) {
        self.budget.relocate(location);
    }

    /// What filters share with its connections is that of the first request, for as long as there is a connection.
    pub(super) fn share(&self, origin: &Origin) {
        if !self.is_in_use() {
            self.budget.share(origin);
        }
    }

    /// Has it connections, or requests that wait for one?
    pub(super) fn is_in_use(&self) -> bool {
        self.budget.is_open() || !self.queue.is_empty()
    }

    /// Are there requests on its connections, or such that wait for one?
    pub(super) fn has_requests(&self) -> bool {
        self.requests_active() > 0 || !self.queue.is_empty()
    }

    /// Requests under way at this endpoint, from this worker and of this priority.
    #[must_use]
    pub fn requests_active(&self) -> u32 {
        self.budget.requests()
    }

    /// A connection to send one request on. A request that waits for an unused one leaves the others to the rest of
    /// the queue.
    ///
    /// # Cancellation
    /// Safe to drop: a connection opened for the caller serves the next request in the queue or waits in the pool.
    ///
    /// # Errors
    /// The connect failed, or a circuit breaker is open.
    pub async fn checkout(&self, wanted: Wanted) -> Result<Lease, Failure> {
        if wanted == Wanted::Any {
            let ready = self.take_idle().or_else(|| self.take_stream());
            self.settle();
            if let Some(lease) = ready {
                return lease;
            }
        }
        if !self.budget.is_open() && !self.budget.breakers().permit_pool() {
            self.budget.shared.stats.upstream_cx_pool_overflow.inc();
            return Err(Failure::PoolOverflow);
        }
        let pending = self.budget.pending()?;
        let waiter = self.queue.push(wanted, pending);
        self.budget.mark_changed();
        self.settle();
        waiter.result().await
    }

    /// What a lease holds of the pool.
    fn pool_and_request(&self) -> Result<(Rc<Self>, ActiveRequest), Failure> {
        // The pool is alive: a method of it is running.
        let Some(pool) = self.this.upgrade() else { return Err(Failure::Terminated) };
        Ok((pool, self.budget.request()?))
    }

    /// Acts on what has changed since the last call: free streams go to the queue, and connections are opened for requests
    /// that still wait.
    fn settle(&self) {
        if self.budget.take_change() {
            self.serve_streams();
            self.open_connections();
            // What was closed on the way is taken into account.
            self.budget.take_change();
        }
        self.report_load();
    }

    /// Renews its part of what the cluster's connections carry, where that decides whether more are opened.
    fn report_load(&self) {
        if self.budget.shared.config.predictive_percent > 100 {
            self.load.set(self.load());
        }
    }

    fn load(&self) -> Load {
        let active = usize::try_from(self.budget.requests()).unwrap_or(usize::MAX);
        Load { waiting: self.queue.len(), active, free: self.free() }
    }

    /// Opens a connection for a request that is expected here, if those that there are have no room for it. False if nothing
    /// was opened, or something only past the limit.
    pub(super) fn expect_one(&self, percent: u32) -> bool {
        if !self.budget.counts.health.is_healthy() || !self.load().wants_more(percent) {
            return false;
        }
        let permit = self.budget.connection_permit();
        let is_within_limit = permit.is_some();
        match permit.or_else(|| self.budget.first_permit()) {
            Some(permit) => self.connect(permit),
            None => self.budget.shared.stats.upstream_cx_overflow.inc(),
        }
        self.report_load();
        is_within_limit
    }

    /// Opens as many connections as the queue needs and the limits allow.
    fn open_connections(&self) {
        while self.budget.connecting() < self.connections_wanted() {
            match self.budget.needed_connection_permit() {
                Some(permit) => self.connect(permit),
                // A request that waits while connections are idle can use none of those: one makes room.
                None if self.idle.close_oldest() => {}
                None => return self.budget.shared.stats.upstream_cx_overflow.inc(),
            }
        }
        self.preconnect();
    }

    /// Connects that the queue needs.
    fn connections_wanted(&self) -> usize {
        match self.protocol {
            // Of a connection that may become one of HTTP/1 no more is known yet, as in Envoy.
            UpstreamProtocol::Alpn(_) | UpstreamProtocol::Http1 => self.queue.len(),
            UpstreamProtocol::Http2(_) => self.queue.len().min(1), // one connection has room for the whole queue
        }
    }

    /// Opens connections for requests that have not come yet, as far as configured. An endpoint that may not be chosen
    /// does no extra work.
    fn preconnect(&self) {
        const AT_ONCE_MAX: usize = 3; // the largest ratio
        for _ in 0..AT_ONCE_MAX {
            if !self.wants_preconnect() {
                return;
            }
            let Some(permit) = self.budget.connection_permit() else {
                return self.budget.shared.stats.upstream_cx_overflow.inc();
            };
            self.connect(permit);
        }
    }

    /// Is it of interest when a connection gets room for another request?
    fn preconnects(&self) -> bool {
        let config = &self.budget.shared.config;
        config.preconnect_percent > 100 || config.predictive_percent > 100
    }

    fn wants_preconnect(&self) -> bool {
        let percent = usize::try_from(self.budget.shared.config.preconnect_percent).unwrap_or(usize::MAX);
        if percent <= 100 || !self.budget.counts.health.is_healthy() {
            return false;
        }
        let Load { waiting, active, free } = self.load();
        waiting.saturating_add(active).saturating_mul(percent) > free.saturating_add(active).saturating_mul(100)
    }

    /// Requests that the connections there are, or will be, could take in addition.
    fn free(&self) -> usize {
        let connecting = self.budget.connecting();
        match self.protocol {
            UpstreamProtocol::Http1 => connecting + self.idle.len(),
            UpstreamProtocol::Alpn(_) => connecting.saturating_add(self.idle.len()).saturating_add(self.free_streams()),
            UpstreamProtocol::Http2(options) => {
                let each = usize::try_from(options.max_concurrent_streams.get()).unwrap_or(usize::MAX);
                connecting.saturating_mul(each).saturating_add(self.free_streams())
            }
        }
    }

    /// Starts a task that opens a connection.
    fn connect(&self, permit: Permit) {
        let Some(pool) = self.this.upgrade() else { return };
        match self.protocol {
            UpstreamProtocol::Alpn(_) => {} // counted once it is known what it speaks
            UpstreamProtocol::Http1 => self.count_protocol(Version::HTTP_11),
            UpstreamProtocol::Http2(_) => self.count_protocol(Version::HTTP_2),
        }
        let connecting = self.budget.begin_connect(permit);
        self.wake_reaper_at(None);
        let mut tasks = self.tasks.borrow_mut();
        while tasks.try_join_next().is_some() {} // forget those that have ended
        tasks.spawn_local(pool.open_one(connecting));
    }

    fn count_protocol(&self, version: Version) {
        let shared = &self.budget.shared;
        if version == Version::HTTP_2 {
            shared.stats.upstream_cx_http2_total.inc();
            // As in Envoy, whose codec is made with the connection, whether or not that comes about.
            shared.codec_stats.http2().nghttp2_upstream_connections.inc();
        } else {
            shared.stats.upstream_cx_http1_total.inc();
            shared.codec_stats.http1();
        }
    }

    async fn open_one(self: Rc<Self>, connecting: Connecting) {
        match self.budget.connect(connecting, Carries::Http(self.protocol.alpn())).await {
            Ok((conn, record)) => match self.protocol {
                UpstreamProtocol::Alpn(options) if conn.has_agreed_upon_http2() => {
                    self.count_protocol(Version::HTTP_2);
                    self.drive_http2(conn, &options, record).await;
                }
                UpstreamProtocol::Alpn(_) => {
                    self.count_protocol(Version::HTTP_11);
                    self.add_http1(conn, record);
                }
                UpstreamProtocol::Http1 => self.add_http1(conn, record),
                UpstreamProtocol::Http2(options) => self.drive_http2(conn, &options, record).await,
            },
            Err((failure, record)) => {
                // Each waiting request logs the failure itself, with the id of its connection.
                if self.queue.is_empty() {
                    tracing::debug!(
                        cluster = &*self.budget.shared.config.name,
                        endpoint = %self.budget.location().address,
                        ?failure,
                        "a connect failed that no request waited for"
                    );
                }
                self.fail_queue(&failure);
                drop(record);
                self.settle();
            }
        }
    }

    fn fail_queue(&self, failure: &Failure) {
        let failed = self.queue.fail_all(failure);
        self.budget.shared.stats.upstream_rq_pending_failure_eject.add(u64::try_from(failed).unwrap_or(u64::MAX));
    }

    /// The endpoint is not to be used for now: idle connections close, busy ones take nothing more.
    pub fn drain(&self) {
        self.budget.drain();
        self.idle.close_all();
        self.retire_multiplexed();
        self.settle();
    }

    /// Makes sure that the reaper runs and looks again when `due` has come.
    fn wake_reaper_at(&self, due: Option<Instant>) {
        match self.reaper.get() {
            Reaper::NotStarted => {
                let reaper = reap(Weak::clone(&self.this), self.budget.wake(), Arc::clone(&self.idle_events));
                self.tasks.borrow_mut().spawn_local(reaper);
                self.reaper.set(Reaper::Until(due));
            }
            Reaper::Until(known) if due.is_some_and(|due| known.is_none_or(|known| due < known)) => {
                self.idle_events.wake_reaper();
            }
            Reaper::Until(_) => {}
        }
    }

    /// Closes what has ended or is out of time; returns when to look again.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let deadlines = [self.sweep_http1(now), self.sweep_http2(now)];
        let deadline = deadlines.into_iter().flatten().min();
        self.reaper.set(Reaper::Until(deadline));
        self.settle();
        deadline
    }
}

/// What the reaper does when it wakes.
enum Due {
    Settle,
    Sweep,
}

/// Watches over the connections of a pool for as long as it exists.
async fn reap(pool: Weak<Pool>, changed: Rc<Notify>, events: Arc<IdleEvents>) {
    let Some(mut deadline) = pool.upgrade().map(|pool| pool.sweep()) else { return };
    loop {
        let due = tokio::select! {
            // Events first: a connection that the peer closed is not one that timed out.
            biased;
            () = events.changed() => Due::Sweep,
            () = changed.notified() => Due::Settle,
            () = until(deadline) => Due::Sweep,
        };
        let Some(pool) = pool.upgrade() else { return };
        match due {
            Due::Settle => pool.settle(),
            Due::Sweep => deadline = pool.sweep(),
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
