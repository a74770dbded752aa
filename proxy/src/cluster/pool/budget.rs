//! What connections to one endpoint may take, and what they record.
//!
//! A [`Budget`] has the circuit breakers, the stats and what a connect needs, and nothing of HTTP. Everything that is taken from it
//! is a guard: dropped, it returns what it held and marks the budget as changed, and does nothing else. The owner of the budget
//! acts on the change later, outside of any drop.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use http::HeaderValue;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::unconnected::connect_failure;
use super::{PoolParts, addresses};
use crate::access_log::format::of_process;
use crate::access_log::{Downstream, StreamInfo, UpstreamMetadata};
use crate::cluster::breaker::Breakers;
use crate::cluster::encryption::encrypt;
use crate::cluster::origin::SharedState;
use crate::cluster::{ClusterLoad, ClusterShared, Failure, Location, Origin};
use crate::config::cluster::{Discovery, Priority, TcpKeepalive, UpstreamSocket};
use crate::config::tls::Carries;
use crate::net::{self, Conn, ConnectOptions, Outside, Passed};
use crate::permits::Permit;
use crate::stats::{EndpointStats, Held};

/// The connections and requests of one endpoint, for one worker and one priority.
pub(super) struct Budget {
    pub(super) shared: Arc<ClusterShared>,
    pub(super) counts: Arc<EndpointStats>,
    location: RefCell<Location>,
    origin: Origin,
    /// What filters share with its connections: that of the origin, or of one that differs in nothing else.
    state: RefCell<SharedState>,
    pub(super) outside: Outside,
    load: Rc<ClusterLoad>,
    priority: Priority,
    /// Connects under way.
    connecting: Cell<usize>,
    /// Connections, those being connected included.
    open: Cell<usize>,
    /// Held while there is a connection; feeds `cx_pool_open`.
    pool_permit: RefCell<Option<Permit>>,
    /// Requests that have a connection.
    requests: Cell<u32>,
    /// Counts the drains: a connection from before the last one is not used again.
    generation: Cell<u32>,
    /// Something ended since [`Self::take_change`] was called last.
    changed: Cell<bool>,
    /// Shared with the task that acts on changes, which must not keep the endpoint's stats alive.
    wake: Rc<Notify>,
    /// Notified when a connection has ended.
    ended: Notify,
}

impl Budget {
    pub(super) fn new(PoolParts { shared, priority, location, origin, outside, load }: PoolParts) -> Rc<Self> {
        let counts = shared.endpoints.of(&location.key());
        Rc::new(Self {
            state: RefCell::new(origin.state.clone()),
            shared,
            counts,
            location: RefCell::new(location),
            origin,
            outside,
            load,
            priority,
            connecting: Cell::new(0),
            open: Cell::new(0),
            pool_permit: RefCell::default(),
            requests: Cell::new(0),
            generation: Cell::new(0),
            changed: Cell::new(false),
            wake: Rc::default(),
            ended: Notify::new(),
        })
    }

    /// Where new connections go.
    pub(super) fn location(&self) -> Location {
        self.location.borrow().clone()
    }

    /// New connections go there from now on.
    pub(super) fn relocate(&self, location: Location) {
        self.location.replace(location);
    }

    pub(super) fn breakers(&self) -> &Breakers {
        self.shared.breakers.of(self.priority)
    }

    /// Those of a pool for the same endpoint and priority.
    pub(super) fn parts(&self) -> PoolParts {
        PoolParts {
            shared: Arc::clone(&self.shared),
            priority: self.priority,
            location: self.location(),
            origin: self.origin.clone(),
            outside: self.outside.clone(),
            load: Rc::clone(&self.load),
        }
    }

    /// Are there connections, be it that they are being opened?
    pub(super) fn is_open(&self) -> bool {
        self.open.get() > 0
    }

    pub(super) fn connecting(&self) -> usize {
        self.connecting.get()
    }

    pub(super) fn requests(&self) -> u32 {
        self.requests.get()
    }

    /// Marks that something changed which the owner should act on.
    pub(super) fn mark_changed(&self) {
        self.changed.set(true);
    }

    /// Has something changed? The caller acts on it.
    pub(super) fn take_change(&self) -> bool {
        self.changed.take()
    }

    /// Notified when a request was dropped and left a change that the owner has not acted on yet.
    pub(super) fn wake(&self) -> Rc<Notify> {
        Rc::clone(&self.wake)
    }

    /// Connections that are there serve out their requests and are then closed.
    pub(super) fn drain(&self) {
        self.generation.set(self.generation.get().wrapping_add(1));
    }

    /// A place among the requests that wait for a connection.
    pub(super) fn pending(&self) -> Result<Pending, Failure> {
        let stats = &self.shared.stats;
        let Some(permit) = self.breakers().pending.permit() else {
            stats.upstream_rq_pending_overflow.inc();
            return Err(Failure::PendingOverflow);
        };
        stats.upstream_rq_pending_total.inc();
        let held = [stats.upstream_rq_pending_active.enter(), self.counts.rq_pending_active.enter()];
        Ok(Pending { _permit: permit, _held: held })
    }

    /// A request gets its connection.
    pub(super) fn request(self: &Rc<Self>) -> Result<ActiveRequest, Failure> {
        let stats = &self.shared.stats;
        let Some(permit) = self.breakers().request_permit() else {
            stats.upstream_rq_active_overflow.inc();
            return Err(Failure::Overflow);
        };
        Ok(self.begin_request(permit))
    }

    /// As [`Self::request`], but the limit of requests does not refuse it, as in Envoy for connections that are not HTTP.
    pub(super) fn uncontested_request(self: &Rc<Self>) -> ActiveRequest {
        self.begin_request(self.breakers().requests.permit_past_limit())
    }

    fn begin_request(self: &Rc<Self>, permit: Permit) -> ActiveRequest {
        let stats = &self.shared.stats;
        stats.upstream_rq_total.inc();
        self.counts.rq_total.inc();
        self.requests.set(self.requests.get() + 1);
        let held = [stats.upstream_rq_active.enter(), self.counts.rq_active.enter()];
        ActiveRequest { budget: Rc::clone(self), _permit: permit, _held: held }
    }

    /// A permit to open a connection, unless too many are open, of the cluster or to the endpoint.
    pub(super) fn connection_permit(&self) -> Option<Permit> {
        let limit = self.shared.config.limits.of(self.priority).connections_per_endpoint_max;
        if limit.is_some_and(|limit| self.counts.cx_active.value() >= limit.into()) {
            return None;
        }
        self.breakers().connections.permit()
    }

    /// As [`Self::connection_permit`], but an endpoint without a single connection gets one in any case: without it a
    /// request would wait forever.
    pub(super) fn needed_connection_permit(&self) -> Option<Permit> {
        self.connection_permit().or_else(|| self.first_permit())
    }

    /// For the only connection to the endpoint, past the limit.
    pub(super) fn first_permit(&self) -> Option<Permit> {
        (self.open.get() == 0).then(|| {
            self.shared.stats.upstream_cx_overflow.inc();
            self.breakers().connections.permit_past_limit()
        })
    }

    /// As [`Self::needed_connection_permit`], once a connection to the endpoint has ended.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub(super) async fn permit_once_free(&self) -> Permit {
        loop {
            self.ended.notified().await;
            if let Some(permit) = self.needed_connection_permit() {
                return permit;
            }
        }
    }

    /// Counts a connection that is about to be opened.
    pub(super) fn begin_connect(self: &Rc<Self>, permit: Permit) -> Connecting {
        let stats = &self.shared.stats;
        stats.upstream_cx_total.inc();
        self.counts.cx_total.inc();
        self.pool_permit.borrow_mut().get_or_insert_with(|| self.breakers().pools.permit_past_limit());
        self.open.set(self.open.get() + 1);
        self.connecting.set(self.connecting.get() + 1);
        let record = ConnectionRecord {
            shared: Arc::clone(&self.shared),
            budget: Rc::downgrade(self),
            opened: Instant::now(),
            generation: self.generation.get(),
            closed_by: ClosedBy::Local,
            has_request: false,
            requests: None,
            _permit: permit,
            _held: [stats.upstream_cx_active.enter(), self.counts.cx_active.enter()],
        };
        Connecting { under_way: UnderWay(Rc::clone(self)), record }
    }

    /// Connects, within the cluster's `connect_timeout`.
    ///
    /// # Errors
    /// There is no connection; the record of the attempt is still held, so that waiting requests can fail before its end
    /// changes the budget.
    ///
    /// # Cancellation
    /// Dropped, it gives the attempt up.
    pub(super) async fn connect(
        &self,
        Connecting { under_way, mut record }: Connecting,
        carries: Carries,
    ) -> Result<(Conn, ConnectionRecord), (Failure, ConnectionRecord)> {
        let config = &self.shared.config;
        let keepalive = config.tcp_keepalive.map(|TcpKeepalive { probes, time, interval }| net::TcpKeepalive {
            probes,
            time,
            interval,
        });
        let location = self.location();
        let socket_options = Arc::clone(config.socket_options.of(&location.address));
        let (passed, from) = (self.passed(), config.source);
        let options = ConnectOptions { keepalive, passed, from, options: socket_options };
        let one_more = || {
            self.shared.stats.upstream_cx_total.inc();
            self.counts.cx_total.inc();
        };
        let connect = async {
            let conn = addresses::connect(&*self.outside.net, &location, &options, one_more).await;
            let failed = |error: io::Error| connect_failure(&location.address, &error);
            let mut conn = conn.map_err(failed)?;
            self.write_header(&mut conn).await.map_err(failed)?;
            match (&self.socket().tls, &self.shared.tls_stats) {
                (Some(tls), Some(stats)) => {
                    let counted = (stats, &*self.outside.logs);
                    encrypt(conn, tls, (&self.origin.names, carries), counted).await.map_err(Failure::Connect)
                }
                _ => Ok(conn),
            }
        };
        let connected = tokio::time::timeout(config.connect_timeout, connect).await;
        drop(under_way);
        let stats = &self.shared.stats;
        let failure = match connected {
            Ok(Ok(mut conn)) => {
                let numbered = &self.outside.numbered;
                numbered.set(numbered.get().wrapping_add(1));
                conn.number = numbered.get();
                conn.shared = self.state.borrow().0.clone();
                conn.count_bytes(&stats.bytes);
                record.requests(); // established
                stats.upstream_cx_connect_ms.record_ms(record.opened.elapsed());
                return Ok((conn, record));
            }
            Ok(Err(failure)) => {
                record.closed_by = ClosedBy::Peer;
                failure
            }
            Err(_elapsed) => {
                stats.upstream_cx_connect_timeout.inc();
                Failure::ConnectTimeout
            }
        };
        stats.upstream_cx_connect_fail.inc();
        self.counts.cx_connect_fail.inc();
        Err((failure, record))
    }

    /// What filters share with further connections.
    pub(super) fn share(&self, origin: &Origin) {
        self.state.borrow_mut().clone_from(&origin.state);
    }

    /// How connections are made.
    fn socket(&self) -> &UpstreamSocket {
        self.shared.config.socket(self.location.borrow().socket)
    }

    /// Writes what comes before everything else.
    async fn write_header(&self, conn: &mut Conn) -> io::Result<()> {
        let Some((of_client, to_upstream)) = self.origin.header.as_ref().zip(self.socket().proxy_header.as_ref())
        else {
            return Ok(());
        };
        let mut to_upstream = Cow::Borrowed(to_upstream);
        if !to_upstream.added.computed.is_empty() {
            to_upstream.to_mut().added.resolve(&|operator| of_process(operator, &*self.outside.net));
        }
        let (bytes, left_out) = of_client.bytes(&to_upstream, || self.about(conn));
        if let Some(tlvs_left_out) = self.shared.tlvs_left_out.as_ref().filter(|_| left_out > 0) {
            tlvs_left_out.inc();
        }
        conn.write_all(&bytes).await
    }

    /// What a line about a connection to the endpoint knows. As in Envoy, the connection stands where that of a client would.
    fn about(&self, conn: &Conn) -> StreamInfo {
        let state = self.state.borrow().0.clone();
        let number = self.outside.numbered.get().wrapping_add(1);
        let downstream = Downstream { state, ..Downstream::new(number, conn.local.clone(), conn.peer.clone()) };
        let mut info = StreamInfo::new(Instant::now(), self.outside.clock.wall(), Rc::new(downstream));
        let (config, location, at) = (&self.shared.config, self.location.borrow(), self.written());
        info.upstream_host = Some(location.address.clone());
        info.upstream_name = match &location.host {
            Some(host) => HeaderValue::from_str(host).ok(),
            None => at.and_then(|at| config.hostnames.get(at)?.clone()),
        };
        let of_endpoint = |all: &Arc<_>| UpstreamMetadata { all: Arc::clone(all), endpoint: at };
        info.upstream_metadata = config.metadata.as_ref().map(of_endpoint);
        info
    }

    /// What a connection to an internal listener passes on; counts what is not there.
    fn passed(&self) -> Option<Arc<Passed>> {
        let passing = self.socket().passing.as_ref()?;
        let (metadata, missing) = self.shared.config.passed(passing, self.written());
        if let Some(no_metadata) = &self.shared.no_metadata {
            no_metadata.add(missing);
        }
        let state = self.state.borrow().0.clone();
        Some(Arc::new(Passed { metadata, state, ..Passed::default() }))
    }

    /// The place of the endpoint in the configuration, where that has its address.
    fn written(&self) -> Option<usize> {
        match &self.shared.config.discovery {
            Discovery::Static(addresses) => {
                let at = &self.location.borrow().address;
                addresses.iter().position(|address| address == at)
            }
            Discovery::Aggregate(_)
            | Discovery::Forward(_)
            | Discovery::LogicalDns { .. }
            | Discovery::Original(_)
            | Discovery::StrictDns { .. } => None,
        }
    }

    /// When a connection must be looked at again; `idle_since` if it is not in use.
    pub(super) fn deadline(&self, opened: Instant, idle_since: Option<Instant>) -> Option<Instant> {
        let config = &self.shared.config;
        let idle = idle_since.zip(config.idle_timeout).map(|(since, limit)| since + limit);
        let age = config.connection_duration_max.map(|limit| opened + limit);
        idle.into_iter().chain(age).min()
    }

    /// Counts a connection whose deadline has passed.
    pub(super) fn count_expired(&self, opened: Instant, now: Instant) {
        let too_old = self.shared.config.connection_duration_max.is_some_and(|limit| opened + limit <= now);
        match too_old {
            true => self.shared.stats.upstream_cx_max_duration_reached.inc(),
            false => self.shared.stats.upstream_cx_idle_timeout.inc(),
        }
    }
}

/// Held by a request that waits for a connection.
pub(super) struct Pending {
    _permit: Permit,
    _held: [Held; 2],
}

/// Held by a request that has a connection. It is the last part of a lease to be dropped.
pub(super) struct ActiveRequest {
    budget: Rc<Budget>,
    _permit: Permit,
    _held: [Held; 2],
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.budget.requests.set(self.budget.requests.get().saturating_sub(1));
        // True only where the lease was dropped: to release one acts on the change first.
        if self.budget.changed.get() {
            self.budget.wake.notify_one();
        }
    }
}

/// A connection that is being opened. Dropped, the attempt is given up.
pub(super) struct Connecting {
    under_way: UnderWay,
    record: ConnectionRecord,
}

/// Held while a connect is under way.
struct UnderWay(Rc<Budget>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.connecting.set(self.0.connecting.get().saturating_sub(1));
    }
}

/// Which end closed a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClosedBy {
    Local,
    Peer,
}

/// Held by a connection for as long as it exists; counts its end.
pub(super) struct ConnectionRecord {
    pub(super) shared: Arc<ClusterShared>,
    /// Gone with the pool, which may happen before the connection's task has ended.
    budget: Weak<Budget>,
    pub(super) opened: Instant,
    /// The budget's when the connection was opened.
    generation: u32,
    /// Which end closes it, if it ends now.
    pub(super) closed_by: ClosedBy,
    /// A request is under way on it.
    pub(super) has_request: bool,
    /// How many it has been given; `None` until it is established.
    requests: Option<Rc<Cell<u32>>>,
    _permit: Permit,
    _held: [Held; 2],
}

impl ConnectionRecord {
    /// Was the endpoint drained since the connection was opened?
    pub(super) fn is_drained(&self) -> bool {
        self.budget.upgrade().is_some_and(|budget| budget.generation.get() != self.generation)
    }

    /// Counts the requests that it is given.
    pub(super) fn requests(&mut self) -> Rc<Cell<u32>> {
        Rc::clone(self.requests.get_or_insert_default())
    }

    /// Is it older than `max_connection_duration`?
    pub(super) fn is_too_old(&self) -> bool {
        self.shared.config.connection_duration_max.is_some_and(|max| self.opened.elapsed() >= max)
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        let stats = &self.shared.stats;
        stats.upstream_cx_destroy.inc();
        let (by, by_with_request) = match self.closed_by {
            ClosedBy::Peer => (&stats.upstream_cx_destroy_remote, &stats.upstream_cx_destroy_remote_with_active_rq),
            ClosedBy::Local => (&stats.upstream_cx_destroy_local, &stats.upstream_cx_destroy_local_with_active_rq),
        };
        by.inc();
        if self.has_request {
            stats.upstream_cx_destroy_with_active_rq.inc();
            by_with_request.inc();
        }
        stats.upstream_cx_length_ms.record_ms(self.opened.elapsed());
        if let Some(requests) = &self.requests {
            stats.upstream_rq_per_cx.record(requests.get().into());
        }
        if let Some(budget) = self.budget.upgrade() {
            budget.open.set(budget.open.get().saturating_sub(1));
            if budget.open.get() == 0 {
                budget.pool_permit.take();
            }
            budget.mark_changed(); // there may be room for another connection
            budget.ended.notify_one();
        }
    }
}
