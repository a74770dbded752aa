//! What the requests of one listener share on one worker: its options, its stats and the way to clusters, logs and the
//! world.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderValue, StatusCode, Version};

use super::date::{DateCache, MillisCache};
use super::decorate;
use super::logs::Logs;
use super::rewritten::LocalReplies;
use super::subrequest::SubrequestParts;
use super::tracer::Tracer;
use crate::access_log::StreamInfo;
use crate::cluster::{Cluster, Clusters};
use crate::codec::RequestHead;
use crate::codec::matching::{header, header_holds};
use crate::config::listener::ConnectionManager as Options;
use crate::config::route::{NamedCluster, RouteTable, VirtualCluster};
use crate::dns_cache::{Lookup, WantedHost};
use crate::drain::ListenerDrain;
use crate::filter::FilterContext;
use crate::net::Outside;
use crate::router::{Found, RuntimeKeys};
use crate::runtime::Runtime;
use crate::stats::{HttpStats, PartStats, Registry, ResponseStats};

/// Serves the requests of one listener on one worker.
pub(crate) struct Service {
    pub(crate) options: Arc<Options>,
    routes: RefCell<Rc<Routes>>,
    /// `per_connection_buffer_limit_bytes`
    pub(crate) buffer_bytes_max: usize,
    pub(crate) stats: Rc<HttpStats>,
    listener_responses: ResponseStats,
    pub(crate) logs: Logs,
    pub(super) local_replies: LocalReplies,
    clusters: Rc<Clusters>,
    pub(super) filters: Rc<FilterContext>,
    runtime: Arc<Runtime>,
    /// Of the listener's stats.
    registry: Arc<Registry>,
    pub(crate) outside: Outside,
    pub(crate) drain: ListenerDrain,
    pub(super) date: DateCache,
    /// The `server` header.
    pub(super) server_header: decorate::Server,
    pub(super) millis: MillisCache,
    /// The host of an HTTP/1.0 request that names none.
    pub(super) default_host: Option<HeaderValue>,
    /// Tunnels so far: a draining server ends them in this order.
    pub(super) tunnels_begun: Cell<u64>,
    /// An address of this host that others reach.
    pub(super) own_address: Option<IpAddr>,
    /// Where its requests are traced.
    pub(super) tracer: Option<Tracer>,
}

/// What a [`Service`] is made of.
pub(crate) struct ServiceParts {
    pub(crate) options: Arc<Options>,
    /// `per_connection_buffer_limit_bytes`
    pub(crate) buffer_bytes_max: usize,
    /// `http.<stat_prefix>.`
    pub(crate) stats: HttpStats,
    /// `listener.<address>.http.<stat_prefix>.`
    pub(crate) listener_responses: ResponseStats,
    /// Open access logs.
    pub(crate) logs: Logs,
    /// What becomes of responses of the proxy's own.
    pub(crate) local_replies: LocalReplies,
    /// The worker's clusters.
    pub(crate) clusters: Rc<Clusters>,
    /// What its filters use.
    pub(crate) filters: Rc<FilterContext>,
    /// What operators may change.
    pub(crate) runtime: Arc<Runtime>,
    /// Of the listener's stats.
    pub(crate) registry: Arc<Registry>,
    pub(crate) outside: Outside,
    pub(crate) drain: ListenerDrain,
}

/// The route table in force. A request keeps that which was in force when it came; the pointer is the worker's own, so that
/// taking it costs no other worker anything.
pub(crate) struct Routes {
    pub(super) table: Arc<RouteTable>,
    pub(super) keys: RuntimeKeys,
    /// By the numbers of their prefixes.
    parts: Vec<Rc<PartStats>>,
}

impl Routes {
    fn new(table: Arc<RouteTable>, runtime: &Runtime, registry: &Arc<Registry>) -> Self {
        let parts = table.stat_prefixes.iter().map(|prefix| Rc::new(PartStats::new(registry, prefix))).collect();
        Self { keys: RuntimeKeys::of(&table, runtime), parts, table }
    }

    /// Sets what a stream is counted with besides its cluster.
    pub(super) fn set_parts(&self, found: &Found<'_>, head: &RequestHead, info: &mut StreamInfo) {
        let takes = |cluster: &&VirtualCluster| cluster.headers.iter().all(|header| header_holds(header, head));
        let of_host = found.host.virtual_clusters.iter().find(takes);
        info.virtual_cluster = of_host.map(|cluster| Arc::clone(&cluster.name));
        let numbers = of_host.map(|cluster| cluster.stats).into_iter().chain(found.route.stats);
        info.parts = numbers.filter_map(|number| self.parts.get(number).map(Rc::clone)).collect();
    }
}

impl Service {
    pub(crate) fn new(parts: ServiceParts) -> Self {
        let ServiceParts {
            options,
            buffer_bytes_max,
            stats,
            listener_responses,
            logs,
            local_replies,
            clusters,
            filters,
            runtime,
            registry,
            outside,
            drain,
        } = parts;
        // Configuration refuses hosts that are no header value.
        let default_host = options.http1.default_host_for_http_10.as_deref();
        let default_host = default_host.and_then(|host| HeaderValue::from_str(host).ok());
        filters.set_rate_limits(options.rate_limits.iter().chain(&options.routes.rate_limits));
        Self {
            routes: RefCell::new(Rc::new(Routes::new(Arc::clone(&options.routes), &runtime, &registry))),
            runtime,
            registry,
            buffer_bytes_max,
            stats: Rc::new(stats),
            listener_responses,
            logs,
            local_replies,
            clusters,
            filters,
            date: DateCache::default(),
            server_header: decorate::Server::new(&options.server),
            millis: MillisCache::default(),
            default_host,
            tunnels_begun: Cell::new(0),
            own_address: outside.net.own_address(),
            tracer: None,
            outside,
            drain,
            options,
        }
    }

    /// What its own requests need.
    pub(crate) fn subrequest_parts(&self) -> SubrequestParts {
        SubrequestParts {
            outside: self.outside.clone(),
            filters: Rc::clone(&self.filters),
            stats: Rc::clone(&self.stats),
            buffer_bytes_max: self.buffer_bytes_max,
        }
    }

    /// Has its requests traced.
    pub(crate) fn set_tracer(&mut self, tracer: Tracer) {
        self.tracer = Some(tracer);
    }

    /// Has the next requests matched against other routes.
    pub(crate) fn set_routes(&self, routes: Arc<RouteTable>) {
        self.filters.set_rate_limits(self.options.rate_limits.iter().chain(&routes.rate_limits));
        self.routes.replace(Rc::new(Routes::new(routes, &self.runtime, &self.registry)));
    }

    /// The routes for a request that comes now.
    pub(crate) fn routes(&self) -> Rc<Routes> {
        Rc::clone(&self.routes.borrow())
    }

    /// The cluster that a route refers to, if the worker has it.
    pub(super) fn cluster(&self, wanted: &NamedCluster, head: &RequestHead) -> Option<Rc<Cluster>> {
        match wanted {
            NamedCluster::Cluster(name) => self.clusters.get(name),
            NamedCluster::Header(name) => {
                let named = header(head, name)?;
                self.clusters.get(std::str::from_utf8(named).ok()?)
            }
        }
    }

    /// Looks a host up for a forward proxy.
    pub(super) fn look_up(&self, wanted: &WantedHost) -> Lookup {
        self.clusters.hosts.find(wanted)
    }

    /// Counts a stream that begins in place of another one of the same client.
    pub(super) fn begin_stream(&self, version: Version) {
        self.stats.downstream_rq_total.inc();
        match version {
            Version::HTTP_2 => self.stats.downstream_rq_http2_total.inc(),
            _ => self.stats.downstream_rq_http1_total.inc(),
        }
    }

    /// Counts a response head that is on its way.
    pub(super) fn count_response(&self, status: StatusCode) {
        self.stats.responses.charge(status);
        self.listener_responses.charge(status);
    }
}
