//! Bytes are passed on as they come: the network filter `envoy.filters.network.tcp_proxy`.
//!
//! A listener hands over a connection. [`TcpProxy::serve`] finds its cluster, [`connect`] opens a connection to one of the
//! endpoints, [`relay`] copies both ways until both directions have ended, and [`record`] is the line in the access log. A
//! client is not read before there is a connection to an endpoint, as in Envoy: until then its end is not seen. With
//! `tunneling_config` that connection is a [`tunnel`].

mod connect;
mod record;
mod relay;
mod takes_nothing;
mod tunnel;
mod upstream;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::access_log::{ConnectionTermination, Downstream, LocalEnd, ResponseFlag, StreamInfo};
use crate::cluster::{Cluster, Clusters};
use crate::config::filter_state::{Object, ObjectKind};
use crate::config::log_filter::LogType;
use crate::config::network_filter::state_entries;
use crate::config::tcp_proxy::TcpProxy as Options;
use crate::drain::ListenerDrain;
use crate::exchange::LazyTimer;
use crate::filter::set_on_connection;
use crate::gate::{Gates, Refusal, Refused, Verdict};
use crate::net::{Conn, Outside};
use crate::snapshot::Listener;
use crate::stats::TcpStats;
use crate::stream::{ConnectionLog, Logs};
use record::Record;
use relay::{Limits, Relay, Step};

/// Serves the connections of one listener, on one worker.
pub struct TcpProxy {
    parts: TcpProxyParts,
    /// Connections so far: a draining server ends them in this order.
    begun: Cell<u64>,
    /// Keeps its stats listed.
    _listener: Arc<Listener>,
}

/// What a [`TcpProxy`] is made of.
pub(crate) struct TcpProxyParts {
    pub(crate) options: Arc<Options>,
    /// What connections have to pass.
    pub(crate) gates: Gates,
    /// `per_connection_buffer_limit_bytes` of the listener.
    pub(crate) buffer_bytes_max: usize,
    /// `tcp.<stat_prefix>.`
    pub(crate) stats: TcpStats,
    /// Open access logs.
    pub(crate) logs: Logs,
    pub(crate) clusters: Rc<Clusters>,
    pub(crate) outside: Outside,
    pub(crate) drain: ListenerDrain,
    /// Numbers the worker's connections.
    pub(crate) connection_ids: Rc<Cell<u64>>,
}

/// Why a connection is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Both directions have ended.
    Complete,
    /// The client has reset its connection.
    DownstreamReset,
    /// The proxy's drain ended it.
    Drained,
    /// A network filter has denied it.
    Denied,
    /// No byte for too long.
    Idle,
    /// A network filter has refused it: as many are open as may be.
    Refused,
    /// It lasted too long.
    TooOld,
    /// There is no connection to an endpoint.
    Unconnected,
    /// The endpoint has reset its connection.
    UpstreamReset,
}

impl TcpProxy {
    /// A proxy for the listener's connections.
    pub(crate) fn new(parts: TcpProxyParts, listener: Arc<Listener>) -> Self {
        Self { parts, begun: Cell::new(0), _listener: listener }
    }

    /// Serves a connection to its end.
    ///
    /// # Cancellation
    /// Dropped, it cuts the connection and that to the endpoint.
    pub(crate) async fn serve(self: Rc<Self>, mut conn: Conn, log: Option<Box<ConnectionLog>>) {
        let TcpProxyParts { options, stats, outside, connection_ids, drain, .. } = &self.parts;
        stats.downstream_cx_total.inc();
        conn.count_bytes(&stats.bytes);
        let id = connection_ids.replace(connection_ids.get() + 1);
        let mut downstream = Rc::new(Downstream::of(id, &mut conn));
        set_on_connection(state_entries(&options.gates), &mut downstream, &*outside.clock);
        let mut admission =
            Box::new(self.parts.gates.admit(downstream.ends(), downstream.requested_server_name.as_deref()));
        let verdict = admission.verdict.take();
        let mut record = Record::begin(&self.parts, downstream, log);
        if options.early_logs.at_start {
            record.write(LogType::TcpConnectionStart);
        }
        let old_at = options.duration_max.map(|max| Instant::now() + max.drawn(outside.random.next_u64()));
        let number = self.begun.replace(self.begun.get().wrapping_add(1));
        let end = tokio::select! {
            // What has ended by itself is not ended by the drain.
            biased;
            end = Box::pin(async {
                match admission.refused {
                    None => self.proxy(conn, verdict, old_at, &mut record).await,
                    Some(Refused { after, why }) => {
                        if why == Refusal::TooFast {
                            record.info.flag(ResponseFlag::URX);
                        }
                        sleep(after).await;
                        drop(conn);
                        End::Refused
                    }
                }
            }) => end,
            () = drain.ends_tunnel(number) => End::Drained,
        };
        self.count(end, &mut record);
        record.end();
    }

    /// Counts and logs a connection whose TLS handshake failed. As in Envoy it was one of this proxy's, and of the cluster that
    /// it would have been for.
    pub(crate) fn note_failed_handshake(
        &self,
        downstream: Rc<Downstream>,
        (begun, why): (Instant, Option<ConnectionTermination>),
        log: Option<Box<ConnectionLog>>,
    ) {
        self.parts.stats.downstream_cx_total.inc();
        let mut record = Record::begin(&self.parts, downstream, log);
        record.info.started = record.info.started.checked_sub(begun.elapsed()).unwrap_or(record.info.started);
        record.info.times.begin = begun;
        record.info.connection_termination = why;
        record.info.upstream_cluster = self.cluster(&record.info).map(|cluster| Rc::clone(&cluster.names));
        if self.parts.options.early_logs.at_start {
            record.write(LogType::TcpConnectionStart);
        }
        record.end();
    }

    /// From the choice of a cluster to the end of both directions.
    async fn proxy(
        &self,
        conn: Conn,
        verdict: Option<Box<Verdict>>,
        old_at: Option<Instant>,
        record: &mut Record<'_>,
    ) -> End {
        let Some(cluster) = self.cluster(&record.info) else {
            self.parts.stats.downstream_cx_no_route.inc();
            record.info.flag(ResponseFlag::NC);
            return End::Unconnected;
        };
        record.info.upstream_cluster = Some(Rc::clone(&cluster.names));
        record.info.upstream_metadata = cluster.metadata(None);
        let idle = idle_timeout(&record.info, self.parts.options.idle_timeout);
        let idle_at = idle.map(|limit| Instant::now() + limit);
        let (mut age_timer, mut idle_timer) = (LazyTimer::default(), LazyTimer::default());
        let connected = tokio::select! {
            // A connection that has come is used, though the time is up at the same instant.
            biased;
            connected = connect::connect(&self.parts.options, &cluster, &mut record.info) => connected,
            () = age_timer.at(old_at) => return End::TooOld,
            () = idle_timer.at(idle_at) => {
                note_idle_unconnected(&mut record.info);
                return End::Idle;
            }
        };
        let Some(upstream) = connected else { return End::Unconnected };
        let options = &self.parts.options;
        if options.early_logs.at_connected {
            record.write(LogType::TcpUpstreamConnected);
        }
        let limits = Limits { idle, old_at, log: options.early_logs.every };
        let mut relay = Relay::new(conn, verdict, upstream, limits, &self.parts, &cluster);
        loop {
            match relay.step(&mut record.info).await {
                Step::Log => record.write(LogType::TcpPeriodic),
                Step::ClientGone => record.write_end(),
                Step::End(end) => return end,
            }
        }
    }

    /// The one that a filter names, or else one of the configuration.
    fn cluster(&self, info: &StreamInfo) -> Option<Rc<Cluster>> {
        let TcpProxyParts { options, clusters, outside, .. } = &self.parts;
        let named = info.state("envoy.tcp_proxy.cluster").filter(|object| object.kind == ObjectKind::TcpCluster);
        if let Some(named) = named.and_then(Object::as_text) {
            return clusters.get(named);
        }
        clusters.get(options.clusters.drawn(outside.random.next_u64())?)
    }

    /// What an end adds to the stats and to the line.
    fn count(&self, end: End, record: &mut Record<'_>) {
        let stats = &self.parts.stats;
        match end {
            End::Complete | End::Denied | End::DownstreamReset | End::Refused | End::Unconnected => {}
            End::Drained => record.info.end_locally(LocalEnd::Drained),
            End::Idle => stats.idle_timeout.inc(),
            End::TooOld => {
                stats.max_downstream_connection_duration.inc();
                record.info.flag(ResponseFlag::DT);
            }
            End::UpstreamReset => record.info.flag(ResponseFlag::UR),
        }
    }
}

/// No byte could pass before `idle_timeout`. As in Envoy the line has an endpoint that has not accepted its tunnel, and none that no
/// connection has reached.
fn note_idle_unconnected(info: &mut StreamInfo) {
    match info.upstream_connection {
        Some(_) => info.flag(ResponseFlag::UF),
        None => info.upstream_host = None,
    }
}

/// What a filter has said of this connection comes before `configured`; 0 is off.
fn idle_timeout(info: &StreamInfo, configured: Option<Duration>) -> Option<Duration> {
    let object = info.state("envoy.tcp_proxy.per_connection_idle_timeout_ms");
    let own = object.filter(|object| object.kind == ObjectKind::IdleTimeout).and_then(Object::milliseconds);
    own.map_or(configured, |own| (!own.is_zero()).then_some(own))
}
