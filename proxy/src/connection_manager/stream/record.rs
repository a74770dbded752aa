//! How a stream ended, for its stats and its line in the access log.

use crate::access_log::{LocalEnd, ResponseFlag, StreamInfo};
use crate::cluster::Cluster;
use crate::codec::Broken;
use crate::connection_manager::ConnectionManager;
use crate::connection_manager::local_reply::LocalReply;
use crate::upstream::Interrupted;
use crate::upstream::relay::RelayEnd;
use crate::upstream::timers::Expired;

/// Counts a timer of the stream's that fired; the route's counts for its cluster.
pub(in crate::connection_manager) fn count_expired(manager: &ConnectionManager, expired: Expired) {
    let stats = &manager.stats;
    match expired {
        Expired::Duration => stats.downstream_rq_max_duration_reached.inc(),
        Expired::Global => {}
        Expired::Head => stats.downstream_rq_header_timeout.inc(),
        Expired::Idle => stats.downstream_rq_idle_timeout.inc(),
        Expired::Request => stats.downstream_rq_timeout.inc(),
    }
}

/// The client went away, what it sent is no HTTP, or we ended its connection.
pub(in crate::connection_manager) fn record_gone(manager: &ConnectionManager, info: &mut StreamInfo, broken: Broken) {
    manager.stats.downstream_rq_rx_reset.inc();
    if let Some(why) = info.downstream.local_end.get() {
        return info.end_locally(why);
    }
    match broken {
        Broken::Closed | Broken::ConnectionReset => {
            info.flag(ResponseFlag::DC);
            info.detail("downstream_remote_disconnect");
        }
        Broken::StreamReset(_) => {
            info.flag(ResponseFlag::DR);
            info.detail("http2.remote_reset");
        }
        Broken::Malformed(details) => {
            info.flag(ResponseFlag::DPE);
            info.detail(details);
        }
    }
}

/// How an upstream's answer ended on its way to the client.
pub(super) fn record_relay_end(
    manager: &ConnectionManager,
    cluster: &Cluster,
    end: &RelayEnd,
    request_complete: bool,
    info: &mut StreamInfo,
) {
    let stats = &manager.stats;
    match end {
        RelayEnd::Complete => {
            if !request_complete {
                stats.downstream_rq_rx_reset.inc();
            }
            stats.downstream_rq_time.record_ms(info.times.begin.elapsed());
        }
        RelayEnd::Interrupted(Interrupted::Downstream(broken)) => record_gone(manager, info, *broken),
        RelayEnd::Interrupted(Interrupted::Timer(expired)) => {
            stats.downstream_rq_tx_reset.inc();
            stats.downstream_rq_rx_reset.inc();
            count_expired(manager, *expired);
            if *expired == Expired::Global {
                cluster.shared.stats.upstream_rq_timeout.inc();
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
            info.detail(failure.details("after"));
        }
    }
}
