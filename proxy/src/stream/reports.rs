//! Spans on their way to a collector: kept until there are some, or until it is time, and sent as a request of the proxy's own.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderValue, Method, StatusCode, Version};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::decorate;
use super::subrequest::{Kept, Subrequest, SubrequestParts, of_bytes};
use crate::access_log::{Downstream, StreamInfo};
use crate::cluster::Clusters;
use crate::codec::{Headers, RequestHead, grpc, names};
use crate::config::filter::RouterOptions;
use crate::config::route::{Forward, NamedCluster};
use crate::config::tracing::{Collector, REQUEST_TIMEOUT, Transport, flush_interval_ms, min_flush_spans};
use crate::net::{Address, Outside};
use crate::runtime::{Runtime, Watched};
use crate::stats::{Registry, SpanStats};
use crate::trace::span::Span;
use crate::trace::{otlp, zipkin};
use crate::upstream::request_options::RequestOptions;

/// Where collectors of OpenTelemetry take spans over gRPC.
const OTLP_METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// What collectors of OpenTelemetry are told of the program.
const OTLP_AGENT: &str = concat!("OTel-OTLP-Exporter-finwait/", env!("CARGO_PKG_VERSION"));
/// Spans that wait for others, whatever the runtime says.
const SPANS_MAX: usize = 1024;
/// Reports under way to one collector, of one worker. Beyond them spans are dropped.
const REPORTS_MAX: usize = 64;

/// The spans for one collector, of one worker.
pub(crate) struct Reports {
    collector: Arc<Collector>,
    spans: RefCell<Vec<Span>>,
    parts: SubrequestParts,
    clusters: Rc<Clusters>,
    stats: SpanStats,
    flush_interval_ms: Watched,
    flush_spans: Watched,
    timeout_ms: Watched,
    under_way: RefCell<JoinSet<()>>,
    timer: RefCell<JoinSet<()>>,
}

impl Reports {
    /// From now on they are sent. Needs a `LocalSet` around it.
    pub(crate) fn start(
        collector: &Arc<Collector>,
        parts: SubrequestParts,
        clusters: &Rc<Clusters>,
        runtime: &Runtime,
        registry: &Registry,
    ) -> Rc<Self> {
        let reports = Rc::new(Self {
            collector: Arc::clone(collector),
            spans: RefCell::default(),
            parts,
            clusters: Rc::clone(clusters),
            stats: SpanStats::new(registry, collector.name()),
            flush_interval_ms: runtime.watch(flush_interval_ms(collector.name()), 5000), // Envoy's, as the others
            flush_spans: runtime.watch(min_flush_spans(collector.name()), 5),
            timeout_ms: runtime.watch(REQUEST_TIMEOUT.to_owned(), 5000),
            under_way: RefCell::default(),
            timer: RefCell::default(),
        });
        let this = Rc::downgrade(&reports);
        reports.timer.borrow_mut().spawn_local(async move {
            while let Some(interval) = this.upgrade().map(|reports| reports.flush_interval_ms.get().max(1)) {
                tokio::time::sleep(Duration::from_millis(interval.into())).await;
                if let Some(reports) = this.upgrade() {
                    reports.stats.timer_flushed();
                    reports.flush();
                }
            }
        });
        reports
    }

    /// Are they for this collector?
    pub(crate) fn are_for(&self, collector: &Collector) -> bool {
        *self.collector == *collector
    }

    /// A span is over.
    pub(super) fn add(&self, span: Span) {
        let mut spans = self.spans.borrow_mut();
        spans.push(span);
        let is_full = spans.len() >= usize::try_from(self.flush_spans.get()).unwrap_or(SPANS_MAX).clamp(1, SPANS_MAX);
        drop(spans);
        if is_full {
            self.flush();
        }
    }

    /// Sends what there is.
    fn flush(&self) {
        let spans = self.spans.take();
        if spans.is_empty() {
            return;
        }
        self.stats.spans_sent(u64::try_from(spans.len()).unwrap_or(u64::MAX));
        let mut under_way = self.under_way.borrow_mut();
        while under_way.try_join_next().is_some() {} // forget those that have ended
        if under_way.len() >= REPORTS_MAX {
            return self.stats.overflowed(u64::try_from(spans.len()).unwrap_or(u64::MAX));
        }
        let Some(cluster) = self.clusters.get(self.collector.cluster()) else {
            return self.stats.skipped();
        };
        let timeout = self.timeout();
        let (head, body) = self.report(&spans, timeout);
        let subrequest =
            Subrequest::of(self.parts.clone(), head, of_bytes(body), cluster, nowhere(&self.parts.outside));
        let to = Forward::to(NamedCluster::Cluster(self.collector.cluster().clone()), timeout);
        let stats = self.stats.clone();
        under_way.spawn_local(async move {
            let options = RequestOptions::resolve(&to, &RouterOptions::default(), &mut Headers::default());
            match subrequest.send(&to, &options, Kept::Nothing).await {
                Ok(whole) if whole.head.status == StatusCode::ACCEPTED => stats.sent(),
                Ok(_) | Err(_) => stats.dropped(),
            }
        });
    }

    /// How long the collector has for its response.
    fn timeout(&self) -> Option<Duration> {
        match &*self.collector {
            Collector::OpenTelemetry(options) => options.timeout,
            Collector::Zipkin(_) => {
                Some(Duration::from_millis(self.timeout_ms.get().into())).filter(|timeout| !timeout.is_zero())
            }
        }
    }

    /// The request with these spans.
    fn report(&self, spans: &[Span], timeout: Option<Duration>) -> (RequestHead, Bytes) {
        let value = HeaderValue::from_static;
        let mut headers = Headers::default();
        let (authority, path, body) = match &*self.collector {
            Collector::OpenTelemetry(options) => {
                let message = otlp::report(spans, &options.service);
                match &options.transport {
                    Transport::Grpc { authority } => {
                        headers.append(TE, value("trailers"));
                        headers.append(CONTENT_TYPE, value("application/grpc"));
                        headers.append(USER_AGENT, value(OTLP_AGENT));
                        (authority, value(OTLP_METHOD), grpc::frame(&message))
                    }
                    Transport::Http { authority, path } => {
                        headers.append(CONTENT_TYPE, value("application/x-protobuf"));
                        headers.append(USER_AGENT, value(OTLP_AGENT));
                        (authority, path.clone(), message.into())
                    }
                }
            }
            Collector::Zipkin(options) => {
                headers.append(CONTENT_TYPE, value("application/json"));
                (&options.host, options.path.clone(), zipkin::report(spans).into())
            }
        };
        headers.append(names::X_ENVOY_INTERNAL.clone(), value("true"));
        if let Some(own) = self.parts.outside.net.own_address() {
            decorate::append_forwarded_for(&mut headers, own);
        }
        if let Some(timeout) = timeout {
            let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
            headers.append(names::X_ENVOY_EXPECTED_TIMEOUT.clone(), HeaderValue::from(millis));
        }
        let head = RequestHead {
            method: Method::POST,
            scheme: Some(value("http")),
            authority: Some(authority.clone()),
            path: Some(path),
            protocol: None,
            version: Version::HTTP_11,
            headers,
        };
        (head, body)
    }
}

/// A request of the proxy's own that comes from no connection.
pub(super) fn nowhere(outside: &Outside) -> StreamInfo {
    let nowhere = Address::Socket(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
    let downstream = Rc::new(Downstream::new(0, nowhere.clone(), nowhere));
    StreamInfo::new(Instant::now(), outside.clock.wall(), downstream)
}
