//! `envoy.filters.http.fault`: requests are delayed, refused, or have their responses slowed down, on purpose.
//!
//! The values are the configuration's or, where it says so, those of headers; the runtime overrides both, for all requests and for
//! those of a cluster that names itself (`x-envoy-downstream-service-cluster`). A delay comes before a refusal.

mod limiter;

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::time::Instant;

use super::reply::EndedReply;
use super::{FilterContext, FilterReply, Flow, Piece};
use crate::access_log::{Details, ResponseFlag, StreamInfo};
use crate::codec::matching::header_holds;
use crate::codec::{RequestHead, names};
use crate::config::fault::{Abort, ClusterStats, Fault, Injected, Source};
use crate::config::metadata::merge;
use crate::stats::{FaultStats, Held, Origin};
pub(super) use limiter::Limiter;

const DELAY_MS: HeaderName = HeaderName::from_static("x-envoy-fault-delay-request");
const DELAY_SHARE: HeaderName = HeaderName::from_static("x-envoy-fault-delay-request-percentage");
const ABORT_GRPC: HeaderName = HeaderName::from_static("x-envoy-fault-abort-grpc-request");
const ABORT_HTTP: HeaderName = HeaderName::from_static("x-envoy-fault-abort-request");
const ABORT_SHARE: HeaderName = HeaderName::from_static("x-envoy-fault-abort-request-percentage");
const LIMIT_KIB: HeaderName = HeaderName::from_static("x-envoy-fault-throughput-response");
const LIMIT_SHARE: HeaderName = HeaderName::from_static("x-envoy-fault-throughput-response-percentage");

/// The namespace of `filter_metadata`.
const NAMESPACE: &str = "envoy.filters.http.fault";

pub(super) struct Faults<'c> {
    fault: &'c Fault,
    request: Request,
    /// The request has a fault: it counts as one, whatever happens to it.
    active: Option<Held>,
    limiter: Option<Box<Limiter>>,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Request {
    /// It has not come.
    Awaited,
    /// It goes on at this instant.
    Delayed(Instant),
}

impl<'c> Faults<'c> {
    pub(super) fn new(fault: &'c Arc<Fault>) -> Self {
        Self { fault, request: Request::Awaited, active: None, limiter: None }
    }

    /// A request's head has come, or the delay is over.
    pub(super) fn on_request(
        &mut self,
        request: &RequestHead,
        info: &mut StreamInfo,
        context: &FilterContext,
    ) -> Flow<FilterReply> {
        let Some(stats) = &context.stats.fault else { return Flow::Continue };
        let origin = Runtime::of(request, context);
        if self.request == Request::Awaited {
            if !self.concerns(request, info) {
                return Flow::Continue;
            }
            self.limit_response(request, &origin, info, &stats.own);
            if let Some(delay) = self.delay(request, &origin)
                && self.activate(&origin, info, &stats.own)
            {
                stats.own.delays_injected.inc();
                self.of_origin(&origin, |origin| origin.delays.inc());
                info.flag(ResponseFlag::DI);
                self.request = Request::Delayed(Instant::now() + delay);
                return Flow::Wait;
            }
        }
        match self.abort(request, &origin) {
            Some(abort) if self.activate(&origin, info, &stats.own) => {
                stats.own.aborts_injected.inc();
                self.of_origin(&origin, |origin| origin.aborts.inc());
                reply(abort).end()
            }
            Some(_) | None => Flow::Continue,
        }
    }

    /// When the request goes on.
    pub(super) fn continues_at(&self) -> Option<Instant> {
        if let Request::Delayed(until) = self.request { Some(until) } else { None }
    }

    /// A piece of the response's body has come: where the response is slowed down, it is kept.
    pub(super) fn on_response_data(&mut self, piece: &mut Piece) {
        if let Some(limiter) = &mut self.limiter
            && !(piece.is_bare_end() && limiter.is_empty())
        {
            limiter.keep(std::mem::take(piece));
        }
    }

    /// What keeps pieces of the response's body for a time.
    pub(super) fn limiter(&mut self) -> Option<&mut Limiter> {
        self.limiter.as_deref_mut()
    }

    /// Is the request one of those that get faults?
    fn concerns(&self, request: &RequestHead, info: &StreamInfo) -> bool {
        let Fault { upstream_cluster, headers, downstream_nodes, .. } = self.fault;
        let is_cluster = |name: &String| info.upstream_cluster.as_ref().is_some_and(|names| *names.own == **name);
        let node = || request.headers.get(&names::X_ENVOY_DOWNSTREAM_SERVICE_NODE).and_then(|node| node.to_str().ok());
        upstream_cluster.as_ref().is_none_or(is_cluster)
            && (downstream_nodes.is_empty() || node().is_some_and(|node| downstream_nodes.contains(node)))
            && headers.iter().all(|header| header_holds(header, request))
    }

    /// The request gets a fault, unless as many have one as may. It counts once.
    fn activate(&mut self, runtime: &Runtime<'_>, info: &mut StreamInfo, stats: &FaultStats) -> bool {
        if self.active.is_some() {
            return true;
        }
        let most = runtime.context.count(&self.fault.keys.active_max).or(self.fault.active_max);
        if most.is_some_and(|most| stats.active_faults.value() >= most.into()) {
            stats.faults_overflow.inc();
            return false;
        }
        self.active = Some(stats.active_faults.enter());
        if let Some(metadata) = &self.fault.metadata {
            merge(info.metadata.get_or_insert_default().0.entry(NAMESPACE.to_owned()).or_default(), metadata);
        }
        true
    }

    fn limit_response(
        &mut self,
        request: &RequestHead,
        runtime: &Runtime<'_>,
        info: &mut StreamInfo,
        stats: &FaultStats,
    ) {
        let Some(limit) = &self.fault.response_limit else { return };
        let from_header = || number(request, &LIMIT_KIB).and_then(NonZeroU64::new);
        // As in Envoy, no cluster has a share of its own here.
        let is_drawn = runtime.context.draw_share(Some(&limit.key), share(limit, request, &LIMIT_SHARE));
        if is_drawn
            && let Some(kilobytes) = value(limit, from_header)
            && self.activate(runtime, info, stats)
        {
            stats.response_rl_injected.inc();
            self.limiter = Some(Box::new(Limiter::new(kilobytes, runtime.context.buffer_bytes_max)));
        }
    }

    fn delay(&self, request: &RequestHead, runtime: &Runtime<'_>) -> Option<Duration> {
        let injected = self.fault.delay.as_ref()?;
        if !runtime.draws(&injected.key, "delay.fixed_delay_percent", share(injected, request, &DELAY_SHARE)) {
            return None;
        }
        let configured = value(injected, || number(request, &DELAY_MS).map(Duration::from_millis))?;
        let of_runtime = runtime.number(&self.fault.keys.delay_ms, "delay.fixed_duration_ms");
        let delay = of_runtime.map_or(configured, |millis| Duration::from_millis(millis.into()));
        Some(delay.min(DELAY_MAX)).filter(|delay| !delay.is_zero())
    }

    fn abort(&self, request: &RequestHead, runtime: &Runtime<'_>) -> Option<Abort> {
        let injected = self.fault.abort.as_ref()?;
        if !runtime.draws(&injected.key, "abort.abort_percent", share(injected, request, &ABORT_SHARE)) {
            return None;
        }
        let abort = value(injected, || {
            let http = number(request, &ABORT_HTTP).and_then(status).map(Abort::Http);
            http.or_else(|| u32::try_from(number(request, &ABORT_GRPC)?).ok().map(Abort::Grpc))
        })?;
        let keys = &self.fault.keys;
        Some(match abort {
            Abort::Http(_) => {
                let of_runtime = runtime.number(&keys.abort_http_status, "abort.http_status");
                of_runtime.and_then(|code| status(code.into())).map_or(abort, Abort::Http)
            }
            Abort::Grpc(_) => runtime.number(&keys.abort_grpc_status, "abort.grpc_status").map_or(abort, Abort::Grpc),
        })
    }

    /// Counts a fault for the cluster that the request comes from.
    fn of_origin(&self, runtime: &Runtime<'_>, count: impl FnOnce(&Origin)) {
        if self.fault.cluster_stats == ClusterStats::Counted
            && let Some(cluster) = runtime.cluster
            && let Some(stats) = &runtime.context.stats.fault
            && let Some(origin) = stats.origins.of(cluster)
        {
            count(&origin);
        }
    }
}

/// As long as the longest delay of a file: a header cannot ask for an instant that there is not.
const DELAY_MAX: Duration = Duration::from_secs(315_360_000);

/// The runtime, for one request.
struct Runtime<'a> {
    context: &'a FilterContext,
    /// What the request says it comes from.
    cluster: Option<&'a str>,
}

impl<'a> Runtime<'a> {
    fn of(request: &'a RequestHead, context: &'a FilterContext) -> Self {
        let named = request.headers.get(&names::X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER);
        let cluster = named.and_then(|name| name.to_str().ok()).filter(|name| !name.is_empty());
        Self { context, cluster }
    }

    /// Does the request belong to a share? As in Envoy, it may by the key of all requests, and once more by that of its cluster.
    fn draws(&self, key: &str, last: &str, millionths: u32) -> bool {
        let of_cluster = || {
            let share = self.cluster.and_then(|cluster| self.context.share(&format!("fault.http.{cluster}.{last}")));
            self.cluster.is_some() && self.context.draw_share(None, share.unwrap_or(millionths))
        };
        self.context.draw_share(Some(key), millionths) || of_cluster()
    }

    /// The number of a key; that of the request's cluster comes first.
    fn number(&self, key: &str, last: &str) -> Option<u32> {
        let of_cluster = self.cluster.and_then(|cluster| self.context.count(&format!("fault.http.{cluster}.{last}")));
        of_cluster.or_else(|| self.context.count(key))
    }
}

/// In millionths. A header lowers it where the value comes from a header too.
fn share<T>(injected: &Injected<T>, request: &RequestHead, header: &HeaderName) -> u32 {
    let Injected { from, numerator, unit, .. } = injected;
    let wanted = match from {
        Source::Fixed(_) => None,
        Source::Header => number(request, header).and_then(|wanted| u32::try_from(wanted).ok()),
    };
    wanted.map_or(*numerator, |wanted| wanted.min(*numerator)).saturating_mul(*unit)
}

fn value<T: Copy>(injected: &Injected<T>, from_header: impl FnOnce() -> Option<T>) -> Option<T> {
    match injected.from {
        Source::Fixed(value) => Some(value),
        Source::Header => from_header(),
    }
}

/// The number that a header has.
fn number(request: &RequestHead, name: &HeaderName) -> Option<u64> {
    request.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()?.trim().parse().ok())
}

fn status(code: u64) -> Option<StatusCode> {
    let code = u16::try_from(code).ok().filter(|code| (200..600).contains(code))?;
    StatusCode::from_u16(code).ok()
}

fn reply(abort: Abort) -> EndedReply {
    let (status, grpc_status) = match abort {
        Abort::Grpc(status) => (StatusCode::OK, Some(status)),
        Abort::Http(status) => (status, None),
    };
    EndedReply {
        flag: Some(ResponseFlag::FI),
        grpc_status,
        ..EndedReply::new(status, "fault filter abort", Details::FaultFilterAbort)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::matching::testing::head;

    fn header<T>(numerator: u32) -> Injected<T> {
        Injected { from: Source::Header, numerator, unit: 10_000, key: String::new() }
    }

    #[test]
    fn a_header_lowers_a_share_and_never_raises_it() {
        for (said, expected) in [("", 500_000), ("0", 0), ("20", 200_000), ("80", 500_000), ("-1", 500_000)] {
            let request = match said {
                "" => head("/", &[]),
                said => head("/", &[("x-envoy-fault-delay-request-percentage", said)]),
            };
            assert_eq!(share(&header::<u8>(50), &request, &DELAY_SHARE), expected, "{said}");
            let fixed = Injected { from: Source::Fixed(1), ..header::<u8>(50) };
            assert_eq!(
                share(&fixed, &request, &DELAY_SHARE),
                500_000,
                "{said}: only a value of a header has a share of one"
            );
        }
    }

    #[test]
    fn statuses_are_from_200_to_599() {
        let known = [199, 200, 599, 600, u64::MAX].map(|code| status(code).is_some());
        assert_eq!(known, [false, true, true, false, false]);
    }
}
