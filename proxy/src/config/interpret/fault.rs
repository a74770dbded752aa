//! The filter `envoy.filters.http.fault`.

use std::num::NonZeroU64;
use std::time::Duration;

use http::StatusCode;

use super::{fraction, matching, metadata};
use crate::config::bootstrap::FractionalPercent;
use crate::config::bootstrap::fault::{FaultAbort, FaultDelay, FaultRateLimit, HttpFault};
use crate::config::fault::{Abort, ClusterStats, Fault, Injected, Keys, Source};
use crate::config::problem::Problem;
use crate::config::yaml::{At, Notes};

pub(super) fn interpret(written: &HttpFault, notes: &Notes) -> Result<Fault, Problem> {
    let key = |written: &Option<String>, default: &str| {
        let key = written.as_deref().filter(|key| !key.is_empty()).unwrap_or(default);
        notes.reads(key);
        key.to_owned()
    };
    let keys = Keys {
        abort_grpc_status: key(&written.abort_grpc_status_runtime, "fault.http.abort.grpc_status"),
        abort_http_status: key(&written.abort_http_status_runtime, "fault.http.abort.http_status"),
        active_max: key(&written.max_active_faults_runtime, "fault.http.max_active_faults"),
        delay_ms: key(&written.delay_duration_runtime, "fault.http.delay.fixed_duration_ms"),
    };
    let of_delay = key(&written.delay_percent_runtime, "fault.http.delay.fixed_delay_percent");
    let of_abort = key(&written.abort_percent_runtime, "fault.http.abort.abort_percent");
    let of_limit = key(&written.response_rate_limit_percent_runtime, "fault.http.rate_limit.response_percent");
    Ok(Fault {
        delay: written.delay.as_ref().map(|at| delay(at, of_delay)).transpose()?,
        abort: written.abort.as_ref().map(|at| abort(at, of_abort)).transpose()?,
        response_limit: written.response_rate_limit.as_ref().map(|at| limit(at, of_limit)).transpose()?,
        upstream_cluster: written.upstream_cluster.clone().filter(|name| !name.is_empty()),
        headers: written.headers.iter().map(matching::header).collect::<Result<_, _>>()?,
        downstream_nodes: written.downstream_nodes.iter().cloned().collect(),
        active_max: written.max_active_faults,
        keys,
        cluster_stats: match written.disable_downstream_cluster_stats {
            true => ClusterStats::Off,
            false => ClusterStats::Counted,
        },
        metadata: written.filter_metadata.as_ref().map(metadata::members).transpose()?,
    })
}

fn delay(written: &At<FaultDelay>, key: String) -> Result<Injected<Duration>, Problem> {
    let FaultDelay { fixed_delay, header_delay, percentage } = &written.value;
    let from = match (fixed_delay, header_delay) {
        // As in Envoy, whole milliseconds.
        (Some(delay), None) => {
            Source::Fixed(Duration::from_millis(u64::try_from(delay.0.as_millis()).unwrap_or(u64::MAX)))
        }
        (None, Some(_)) => Source::Header,
        (None, None) | (Some(_), Some(_)) => {
            return Err(written.invalid("takes exactly one of fixed_delay and header_delay"));
        }
    };
    Ok(injected(from, *percentage, key))
}

fn abort(written: &At<FaultAbort>, key: String) -> Result<Injected<Abort>, Problem> {
    let FaultAbort { grpc_status, header_abort, http_status, percentage } = &written.value;
    let from = match (http_status, grpc_status, header_abort) {
        (Some(status), None, None) => {
            let known = u16::try_from(status.value).ok().filter(|status| (200..600).contains(status));
            let known = known.and_then(|status| StatusCode::from_u16(status).ok());
            Source::Fixed(Abort::Http(known.ok_or_else(|| status.invalid("must be from 200 to 599"))?))
        }
        (None, Some(status), None) => Source::Fixed(Abort::Grpc(*status)),
        (None, None, Some(_)) => Source::Header,
        (..) => return Err(written.invalid("takes exactly one of http_status, grpc_status and header_abort")),
    };
    Ok(injected(from, *percentage, key))
}

fn limit(written: &At<FaultRateLimit>, key: String) -> Result<Injected<NonZeroU64>, Problem> {
    let FaultRateLimit { fixed_limit, header_limit, percentage } = &written.value;
    let from = match (fixed_limit, header_limit) {
        (Some(fixed), None) => {
            let kilobytes = NonZeroU64::new(fixed.limit_kbps.value);
            Source::Fixed(kilobytes.ok_or_else(|| fixed.limit_kbps.invalid("must be greater than 0"))?)
        }
        (None, Some(_)) => Source::Header,
        (None, None) | (Some(_), Some(_)) => {
            return Err(written.invalid("takes exactly one of fixed_limit and header_limit"));
        }
    };
    Ok(injected(from, *percentage, key))
}

/// Without a share no request gets the fault.
fn injected<T>(from: Source<T>, share: Option<FractionalPercent>, key: String) -> Injected<T> {
    let (numerator, unit) = share.map_or((0, 1), |share| (share.numerator, fraction::unit(share.denominator)));
    Injected { from, numerator, unit, key }
}
