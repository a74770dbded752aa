//! How a stream ended, for its stats and its line in the access log.

use std::rc::Rc;

use tokio::time::Instant;

use super::local_reply::LocalReply;
use super::log_periodic;
use super::relay::RelayEnd;
use super::service::Service;
use crate::access_log::format::Heads;
use crate::access_log::{Details, Downstream, LocalEnd, Process, ResponseFlag, ResponseStart, StreamInfo, Wire};
use crate::cluster::Cluster;
use crate::codec::{ExchangeError, Violation};
use crate::config::log_filter::LogType;
use crate::exchange::Expired;
use crate::exchange::Interrupted;
use crate::stats::Held;

/// A stream that will have exactly one line in every access log, written when this is dropped.
pub(crate) struct Record<'a> {
    pub(crate) info: StreamInfo,
    end: StreamEnd,
    service: &'a Service,
    _active: Held,
}

/// How a [`Record`] ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StreamEnd {
    /// Dropped with the task that served it: the drain is over.
    Cut,
    /// All that is logged is known.
    Recorded,
}

impl<'a> Record<'a> {
    /// A stream begins.
    pub(crate) fn begin(service: &'a Service, downstream: &Rc<Downstream>) -> Self {
        service.stats.downstream_rq_total.inc();
        let mut info = StreamInfo::new(Instant::now(), service.outside.clock.wall(), Rc::clone(downstream));
        info.process = Process::of(&service.outside.net);
        info.shows_upstream_name = service.logs.shows_upstream_name;
        info.wire = service.logs.shows_wire_bytes.then(Wire::default);
        Self { info, end: StreamEnd::Cut, service, _active: service.stats.downstream_rq_active.enter() }
    }

    /// Writes a line of a stream whose head is still to come.
    pub(crate) fn write_periodic(&self) {
        let mut info = self.info.clone();
        info.finish(Instant::now());
        log_periodic(self.service, &info);
    }

    /// The stream is over, and everything about it is known.
    pub(crate) fn end(&mut self) {
        self.end = StreamEnd::Recorded;
    }

    /// Lets the connection write the last frames of the stream, which is over, if their bytes are to be in its lines.
    ///
    /// # Cancellation
    /// Safe: the lines are written without these bytes.
    pub(crate) async fn count_last_frames(&mut self) {
        if self.info.wire.is_some() {
            self.info.finish(Instant::now());
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        if self.end == StreamEnd::Cut {
            self.info.end_locally(LocalEnd::Drained);
        }
        self.info.finish(Instant::now());
        let Self { info, service, .. } = self;
        let heads = Heads { request: info.request.as_ref(), response: info.response.as_ref() };
        service.logs.write(LogType::DownstreamEnd, heads, info, &*service.outside.random);
        if let Some(tracer) = &service.tracer {
            tracer.finish(info);
        }
    }
}

/// Counts a timer of the stream's that fired; the route's counts for its cluster.
pub(crate) fn count_expired(service: &Service, expired: Expired) {
    let stats = &service.stats;
    match expired {
        Expired::Duration => stats.downstream_rq_max_duration_reached.inc(),
        Expired::Global | Expired::Upstream => {}
        Expired::Head => stats.downstream_rq_header_timeout.inc(),
        Expired::Idle => stats.downstream_rq_idle_timeout.inc(),
        Expired::Request => stats.downstream_rq_timeout.inc(),
    }
}

/// The client went away, what it sent is no HTTP, or we ended its connection.
pub(crate) fn record_gone(service: &Service, info: &mut StreamInfo, broken: ExchangeError) {
    service.stats.downstream_rq_rx_reset.inc();
    if let Some(why) = info.downstream.local_end.get() {
        return info.end_locally(why);
    }
    match broken {
        ExchangeError::Closed | ExchangeError::ConnectionReset => {
            info.flag(ResponseFlag::DC);
            info.detail(Details::DownstreamDisconnect);
        }
        ExchangeError::StreamReset(_) => {
            info.flag(ResponseFlag::DR);
            info.detail(Violation::RemoteReset);
        }
        ExchangeError::OverLimit(violation) => {
            info.flag(ResponseFlag::DR);
            info.detail(violation);
        }
        ExchangeError::Malformed(violation) => {
            info.flag(ResponseFlag::DPE);
            info.detail(violation);
        }
    }
}

/// How an upstream's response ended on its way to the client.
pub(super) fn record_relay_end(
    service: &Service,
    cluster: &Cluster,
    end: &RelayEnd,
    request_complete: bool,
    info: &mut StreamInfo,
) {
    let stats = &service.stats;
    match end {
        RelayEnd::Complete => {
            if !request_complete {
                stats.downstream_rq_rx_reset.inc();
            }
            let ended = info.times.upstream_response_end.unwrap_or(info.times.begin);
            stats.downstream_rq_time.record_ms(ended.saturating_duration_since(info.times.begin));
        }
        RelayEnd::Interrupted(Interrupted::Downstream(broken)) => record_gone(service, info, *broken),
        RelayEnd::Interrupted(Interrupted::Filter(refusal)) => {
            stats.downstream_rq_tx_reset.inc();
            stats.downstream_rq_rx_reset.inc();
            info.detail(LocalReply::Filtered(*refusal).row().details);
        }
        RelayEnd::Interrupted(Interrupted::Timer(expired)) => {
            stats.downstream_rq_tx_reset.inc();
            stats.downstream_rq_rx_reset.inc();
            count_expired(service, *expired);
            match expired {
                Expired::Global => cluster.shared.stats.upstream_rq_timeout.inc(),
                Expired::Upstream => cluster.shared.stats.upstream_rq_max_duration_reached.inc(),
                Expired::Duration | Expired::Head | Expired::Idle | Expired::Request => {}
            }
            let row = LocalReply::too_late(*expired, request_complete).row();
            if let Some(flag) = row.flag {
                info.flag(flag);
            }
            info.detail(row.details);
        }
        RelayEnd::Drained => {
            stats.downstream_rq_tx_reset.inc();
            stats.downstream_rq_rx_reset.inc();
            info.end_locally(LocalEnd::Drained);
        }
        RelayEnd::Upstream { failure, .. } => {
            stats.downstream_rq_tx_reset.inc();
            stats.downstream_rq_rx_reset.inc();
            info.flag(failure.flag());
            info.detail(failure.details(ResponseStart::After));
        }
    }
}
