//! What a TCP proxy means.

use std::num::NonZeroU32;
use std::time::Duration;

use http::HeaderValue;

use super::ClusterNames;
use super::access_log::access_log;
use super::metadata::metadata_match;
use super::mutation::edits;
use super::proxy_protocol;
use crate::config::bootstrap::tcp_proxy::{
    TcpHashPolicy, TcpProxy as Written, TcpWeightedCluster, TlvMergePolicy, TunnelingConfig,
};
use crate::config::error::Place;
use crate::config::log_format::Format;
use crate::config::problem::Problem;
use crate::config::tcp_proxy::{DurationMax, TcpClusters, TcpEarlyLogs, TcpHash, TcpProxy, TlvMerge, Tunneling};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

/// Envoy's `idle_timeout`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// The TCP proxy whose options stand at `place`.
pub(super) fn tcp_proxy(
    written: Written,
    place: &Place,
    known: &ClusterNames<'_>,
    notes: &Notes,
) -> Result<TcpProxy, Problem> {
    let jitter = written.max_downstream_connection_duration_jitter_percentage.as_ref();
    let jitter_percent = jitter.map_or(0.0, |percent| percent.value.0);
    Ok(TcpProxy {
        gates: Vec::new(), // the listener knows
        clusters: clusters(&written, place, known, notes)?,
        connect_attempts_max: attempts(written.max_connect_attempts.as_ref())?,
        early_logs: early_logs(&written)?,
        idle_timeout: written.idle_timeout.map_or(Some(IDLE_TIMEOUT), Seconds::unless_zero),
        duration_max: written
            .max_downstream_connection_duration
            .map(|least| DurationMax { least: least.0, jitter_percent }),
        access_logs: written.access_log.into_iter().map(|log| access_log(log, notes)).collect::<Result<_, _>>()?,
        tunneling: written.tunneling_config.as_ref().map(|tunneling| self::tunneling(&tunneling.value)).transpose()?,
        tlvs: proxy_protocol::added(&written.proxy_protocol_tlvs)?,
        tlv_merge: match written.proxy_protocol_tlv_merge_policy {
            Some(TlvMergePolicy::AddIfAbsent) | None => TlvMerge::AddIfAbsent,
            Some(TlvMergePolicy::AppendIfExistsOrAdd) => TlvMerge::Append,
            Some(TlvMergePolicy::OverwriteByTypeIfExistsOrAdd) => TlvMerge::Overwrite,
        },
        metadata_match: metadata_match(written.metadata_match.as_ref())?,
        hash: hash(&written.hash_policy, notes)?,
        stat_prefix: written.stat_prefix.to_string(),
    })
}

fn hash(written: &[At<TcpHashPolicy>], notes: &Notes) -> Result<TcpHash, Problem> {
    let (policy, more) = (written.first(), written.get(1));
    if let Some(more) = more {
        return Err(more.invalid("a TCP proxy has one hash policy"));
    }
    match policy.map(|at| (at, &at.value.source_ip, &at.value.filter_state)) {
        None => Ok(TcpHash::None),
        Some((_, Some(_), None)) => Ok(TcpHash::SourceIp),
        Some((at, None, Some(_))) => {
            notes.note(&at.place, "no object of filter state that can be hashed exists here".to_owned());
            Ok(TcpHash::None)
        }
        Some((at, ..)) => Err(at.invalid("takes exactly one of source_ip and filter_state")),
    }
}

fn clusters(written: &Written, place: &Place, known: &ClusterNames<'_>, notes: &Notes) -> Result<TcpClusters, Problem> {
    match (&written.cluster, &written.weighted_clusters) {
        (Some(name), None) => {
            note_unknown(&name.value, &name.place, known, notes);
            Ok(TcpClusters::One(name.value.as_str().into()))
        }
        (None, Some(weighted)) => weighted_clusters(weighted, known, notes),
        (Some(_), Some(both)) => Err(both.invalid("a TCP proxy has only one of cluster and weighted_clusters")),
        (None, None) => Err(Problem::invalid(place, "a TCP proxy needs cluster or weighted_clusters")),
    }
}

fn weighted_clusters(
    written: &At<TcpWeightedCluster>,
    known: &ClusterNames<'_>,
    notes: &Notes,
) -> Result<TcpClusters, Problem> {
    let clusters = &written.value.clusters;
    if clusters.is_empty() {
        return Err(written.invalid("weighted_clusters needs at least one cluster"));
    }
    let clusters = clusters.iter().map(|cluster| {
        let (name, weight) = (&cluster.value.name, &cluster.value.weight);
        note_unknown(&name.value, &name.place, known, notes);
        let weight = NonZeroU32::new(weight.value).ok_or_else(|| weight.invalid("must be at least 1"))?;
        Ok(((&*name.value).into(), weight))
    });
    clusters.collect::<Result<_, _>>().map(TcpClusters::Weighted)
}

/// As in Envoy a TCP proxy may name a cluster that is not there, and then closes its connections.
fn note_unknown(name: &str, place: &Place, known: &ClusterNames<'_>, notes: &Notes) {
    if !known.has(name) {
        let what = format!(
            "there is no cluster '{name}': each connection is closed at once; the clusters are {}",
            known.shown()
        );
        notes.note(place, what);
    }
}

fn attempts(written: Option<&At<u32>>) -> Result<NonZeroU32, Problem> {
    let Some(written) = written else { return Ok(NonZeroU32::MIN) };
    NonZeroU32::new(written.value).ok_or_else(|| written.invalid("must be at least 1"))
}

fn early_logs(written: &Written) -> Result<TcpEarlyLogs, Problem> {
    let (interval, connected) = (&written.access_log_flush_interval, &written.flush_access_log_on_connected);
    let Some(options) = &written.access_log_options else {
        return Ok(TcpEarlyLogs {
            at_start: false,
            at_connected: connected.as_ref().is_some_and(|connected| connected.value),
            every: interval.as_ref().map(|interval| interval.value.0),
        });
    };
    let older = interval.as_ref().map(|interval| &interval.place);
    let older = older.or(connected.as_ref().filter(|connected| connected.value).map(|connected| &connected.place));
    if let Some(place) = older {
        return Err(Problem::invalid(place, "access_log_options has this field; write it there"));
    }
    Ok(TcpEarlyLogs {
        at_start: options.flush_access_log_on_start,
        at_connected: options.flush_access_log_on_connected,
        every: options.access_log_flush_interval.map(|interval| interval.0),
    })
}

fn tunneling(written: &TunnelingConfig) -> Result<Tunneling, Problem> {
    let TunnelingConfig { headers_to_add, hostname, post_path, use_post, .. } = written;
    let post_path = match (use_post, post_path) {
        (false, None) => None,
        (false, Some(path)) if path.value.is_empty() => None,
        (false, Some(path)) => return Err(path.invalid("a post path cannot be set where use_post is not")),
        (true, None) => Some(HeaderValue::from_static("/")),
        (true, Some(path)) => Some(post_path_value(path)?),
    };
    Ok(Tunneling {
        hostname: Format::parse_header_value(&hostname.value).map_err(|error| hostname.invalid(error.to_string()))?,
        post_path,
        headers: edits(headers_to_add, &[])?,
        keeps_headers: written.propagate_response_headers,
        keeps_trailers: written.propagate_response_trailers,
    })
}

fn post_path_value(written: &At<String>) -> Result<HeaderValue, Problem> {
    let path = if written.value.is_empty() { "/" } else { &written.value };
    let value = HeaderValue::from_str(path).ok().filter(|_| path.starts_with('/') && !path.contains([' ', '\t']));
    value.ok_or_else(|| written.invalid("must begin with a slash, and have no blanks and no control characters"))
}
