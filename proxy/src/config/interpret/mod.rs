//! From what was written to what is meant: [`Bootstrap`] to [`Config`].
//!
//! Here every default is chosen and every rule that concerns more than one field is checked. Downwards the way is
//! listener, connection manager, route; a route points to its cluster by index, so clusters come first.

mod access_log;
mod address;
mod aggregate;
mod assignment;
mod balancing;
mod basic_auth;
mod cluster;
mod compression;
mod connection_manager;
mod cors;
mod data_source;
mod disk_layer;
mod entry_log;
mod ext_authz;
mod fault;
mod filter;
mod filter_options;
mod filter_override;
mod filter_state;
mod forward_proxy;
mod fraction;
mod global_rate_limit;
mod hashing;
mod header_to_metadata;
mod health;
mod health_check;
mod jwt_authn;
mod listener;
mod local_reply;
mod localities;
mod lua;
mod matching;
mod metadata;
mod mutation;
mod network_filter;
mod original_dst;
mod overload;
mod pattern;
mod probe;
mod proxy_protocol;
mod rate_limit;
mod rate_limit_policy;
mod rbac;
mod redirects;
mod resolution;
mod retry;
mod rewrite;
mod route;
mod rule_tree;
mod runtime;
mod runtime_keys;
mod secret;
mod secret_file;
mod service;
mod socket_option;
mod stats;
mod subsets;
mod system_roots;
mod targets;
mod tcp_proxy;
mod template;
mod ticket_keys;
mod tls;
mod tracing;
mod upstream_http;
mod upstream_socket;
mod weighted;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use listener::InternalListeners;

use super::address::Binding;
use super::bootstrap::{self, Bootstrap, HeaderKeyFormat, Http2ProtocolOptions, KeepaliveSettings};
use super::error::Place;
use super::filter::Kind;
use super::header_names::{NameCase, TrailerRule};
use super::listener::{Http2Floods, Http2Options, Keepalive, Listener, NodeNames};
use super::problem::Problem;
use super::tracing::TracedNode;
use super::yaml::{At, Node, Notes};
use super::{Cluster, Config, Difference, Differences};
use secret::Secrets;

/// The meaning of `bootstrap`, which was read from `tree`, with these differences unless its runtime says otherwise.
pub(super) fn interpret(
    bootstrap: Bootstrap,
    tree: &Node,
    notes: &Notes,
    differences: Differences,
) -> Result<Config, Problem> {
    let runtime = runtime::layers(tree, notes)?;
    if !runtime::differences(&runtime, differences).has(Difference::StrictRetryOn) {
        notes.forgive_retry_words();
    }
    let connections_max = bootstrap.overload_manager.as_ref().map(|it| overload::connections_max(it, &runtime));
    let connections_max = connections_max.transpose()?.flatten();
    resolution::check_resolver(bootstrap.typed_dns_resolver_config.as_ref())?;
    let stats = stats::options(bootstrap.stats_config.as_ref())?;
    let mut written = bootstrap.static_resources.unwrap_or_default();
    tracing::fill_in(&mut written.listeners, bootstrap.tracing);
    let admin = bootstrap.admin.and_then(|admin| admin.address).map(|address| address::bound(&address)).transpose()?;
    let connect_in_clusters = connect_in_clusters(&written.clusters);
    let listed = aggregate::names(&written.clusters);
    let secrets = Secrets::new(&written.secrets)?;
    let mut clusters = clusters(written.clusters, &secrets, notes)?;
    let local = bootstrap.cluster_manager.as_ref().and_then(|manager| manager.local_cluster_name.as_ref());
    let here = bootstrap.node.as_ref().and_then(|node| node.locality.as_ref());
    local.filter(|name| !name.value.is_empty()).into_iter().for_each(|name| notes.set_local_cluster(&name.value));
    localities::name_local(&mut clusters, local, here)?;
    let names = ClusterNames::new(&clusters);
    for (place, name) in listed.iter().filter(|(_, name)| !names.has(name)) {
        notes.note(place, format!("has no effect: there is no cluster {name:?}"));
    }
    let internal = listener::internal_listeners(&bootstrap.bootstrap_extensions)?;
    let mut listeners = listeners(written.listeners, internal, &names, &secrets, notes)?;
    name_node(&mut listeners, bootstrap.node.as_ref())?;
    runtime::note_unknown_owners(notes, &names, &listeners);
    notes.note_unread();
    if !listeners.iter().flat_map(Listener::managers).any(|manager| manager.http2.allow_connect) {
        note_connect_in_clusters(&connect_in_clusters, notes);
    }
    let internal_buffer_bytes = match internal {
        InternalListeners::Buffering { bytes } => bytes,
        InternalListeners::None => 0,
    };
    Ok(Config {
        admin,
        node: Arc::new(entry_log::identity(bootstrap.node.as_ref())?),
        zone: bootstrap.node.and_then(zone),
        connections_max,
        internal_buffer_bytes,
        listeners,
        clusters,
        differences,
        runtime,
        stats,
        dump: tree.to_message(),
        secrets: notes.take_secrets(),
        watched_files: notes.take_watched(),
        dns_caches: notes.take_caches(),
    })
}

/// `allow_connect` stands in clusters, and in no connection manager.
fn note_connect_in_clusters(places: &[Place], notes: &Notes) {
    for place in places {
        notes.note(
            place,
            "has no effect towards a cluster: extended CONNECT is permitted by the side that accepts the connection; \
             set it in the HttpConnectionManager's http2_protocol_options of the hop that this cluster leads to",
        );
    }
}

/// Its zone, if it has one.
fn zone(node: bootstrap::Node) -> Option<String> {
    node.locality.map(|locality| locality.zone).filter(|zone| !zone.is_empty())
}

/// What concerns this node in connection managers.
fn name_node(listeners: &mut [Listener], node: Option<&bootstrap::Node>) -> Result<(), Problem> {
    let cluster = node.and_then(|node| node.cluster.as_ref());
    let cluster = cluster.and_then(|cluster| HeaderValue::from_str(&cluster.value).ok());
    for manager in listeners.iter_mut().flat_map(Listener::managers_mut) {
        // For descriptors, `source_cluster`.
        manager.own_cluster = cluster.clone().unwrap_or_else(|| manager.own_cluster.clone());
        if manager.node_names.is_some() || manager.counted.contains(&Kind::HealthCheck) {
            let names = node_names(node)?;
            manager.own_cluster = names.cluster.clone();
            manager.node_names = manager.node_names.is_some().then_some(names);
        }
        if let Some(tracing) = &mut manager.tracing {
            tracing.node = traced_node(node);
        }
    }
    Ok(())
}

/// What spans say of this node.
fn traced_node(node: Option<&bootstrap::Node>) -> TracedNode {
    let text = |written: Option<&At<String>>| written.map(|written| written.value.clone()).unwrap_or_default();
    TracedNode {
        service: text(node.and_then(|node| node.cluster.as_ref())),
        id: text(node.and_then(|node| node.id.as_ref())),
        zone: node.and_then(|node| node.locality.as_ref()).map(|locality| locality.zone.clone()).unwrap_or_default(),
    }
}

/// What upstreams are told of this node.
fn node_names(node: Option<&bootstrap::Node>) -> Result<NodeNames, Problem> {
    let value = |written: Option<&At<String>>| {
        let written = written.filter(|written| !written.value.is_empty());
        let value = |written: &At<String>| {
            HeaderValue::from_str(&written.value).map_err(|_| {
                written.invalid(
                    "cannot be the value of a header, which add_user_agent and the health_check filter make of it",
                )
            })
        };
        written.map(value).transpose()
    };
    let by_default = NodeNames::default();
    Ok(NodeNames {
        cluster: value(node.and_then(|node| node.cluster.as_ref()))?.unwrap_or(by_default.cluster),
        id: value(node.and_then(|node| node.id.as_ref()))?,
    })
}

fn clusters(
    written: Vec<At<bootstrap::cluster::Cluster>>,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<Vec<Cluster>, Problem> {
    let mut clusters: Vec<Cluster> = Vec::with_capacity(written.len());
    let mut names = BTreeSet::new();
    for cluster in written {
        let name = cluster.value.name.clone();
        if !names.insert(name.value.clone()) {
            return Err(name.invalid(format!("duplicate cluster '{}'", name.value)));
        }
        clusters.push(cluster::cluster(cluster, secrets, notes)?);
    }
    Ok(clusters)
}

fn listeners(
    written: Vec<At<bootstrap::listener::Listener>>,
    internal: InternalListeners,
    clusters: &ClusterNames<'_>,
    secrets: &Secrets<'_>,
    notes: &Notes,
) -> Result<Vec<Listener>, Problem> {
    let mut listeners: Vec<Listener> = Vec::with_capacity(written.len());
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeMap::new());
    for at in written {
        let place = at.place.clone();
        let listener = listener::listener(at, internal, clusters, secrets, notes)?;
        if !names.insert(listener.name.clone()) {
            return Err(Problem::invalid(&place, format!("duplicate listener '{}'", listener.name)));
        }
        // Two listeners may both ask for any free port.
        for Binding { at, .. } in listener.bindings().filter(|binding| !binding.at.has_any_port()) {
            if let Some(earlier) = addresses.insert(at.to_string(), listener.name.clone()) {
                return Err(Problem::invalid(&place, format!("listener '{earlier}' already listens on {at}")));
            }
        }
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The names of the clusters, each with its place in the file, for the routes that refer to them.
struct ClusterNames<'c>(BTreeMap<&'c str, usize>);

impl<'c> ClusterNames<'c> {
    fn new(clusters: &'c [Cluster]) -> Self {
        Self(clusters.iter().enumerate().map(|(index, cluster)| (&*cluster.name, index)).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Names, in the order of the file, for a message: not more than fit in it.
    fn shown(&self) -> String {
        let mut names: Vec<(usize, &str)> = self.0.iter().map(|(name, index)| (*index, *name)).collect();
        names.sort_unstable();
        shown(&names.into_iter().map(|(_, name)| name).collect::<Vec<_>>())
    }
}

/// What stands for names where there are none.
const NO_NAMES: &str = "none";

/// Names, for a message: not more than fit in it.
fn shown(names: &[&str]) -> String {
    const SHOWN_MAX: usize = 20;
    if names.is_empty() {
        return NO_NAMES.to_owned();
    }
    let more = if names.len() > SHOWN_MAX { ", ..." } else { "" };
    let names: Vec<&str> = names.iter().copied().take(SHOWN_MAX).collect();
    names.join(", ") + more
}

/// Where clusters have `allow_connect`, which only means something to a listener.
fn connect_in_clusters(clusters: &[At<bootstrap::cluster::Cluster>]) -> Vec<Place> {
    clusters
        .iter()
        .filter_map(|cluster| cluster.value.http2_options()?.allow_connect.as_ref())
        .filter(|allowed| allowed.value)
        .map(|allowed| allowed.place.clone())
        .collect()
}

/// HTTP/2 options towards clusters.
fn http2_options(written: &Http2ProtocolOptions) -> Result<Http2Options, Problem> {
    let keepalive = written.connection_keepalive.as_ref().map(keepalive).transpose()?;
    Ok(Http2Options { keepalive, ..any_http2_options(written)? })
}

/// HTTP/2 options towards clients.
fn downstream_http2_options(written: &Http2ProtocolOptions) -> Result<Http2Options, Problem> {
    let keepalive = written.connection_keepalive.as_ref();
    if let Some(idle) = keepalive.and_then(|keepalive| keepalive.value.connection_idle_interval.as_ref()) {
        return Err(idle.invalid("is for clusters only; clients get PING every `interval`"));
    }
    Ok(Http2Options { keepalive: keepalive.map(self::keepalive).transpose()?, ..any_http2_options(written)? })
}

fn keepalive(written: &At<KeepaliveSettings>) -> Result<Keepalive, Problem> {
    const SHORTEST: Duration = Duration::from_millis(1); // Envoy's
    const JITTER_PERCENT: f64 = 15.0; // Envoy's default, interval_jitter
    let KeepaliveSettings { connection_idle_interval, interval, interval_jitter, timeout } = &written.value;
    let times = connection_idle_interval.iter().chain(interval).chain([timeout]);
    if let Some(short) = times.into_iter().find(|time| time.value.0 < SHORTEST) {
        return Err(short.invalid("must be at least 0.001s"));
    }
    let percent = interval_jitter.map_or(JITTER_PERCENT, |jitter| jitter.value.0);
    let interval = interval.as_ref().map(|interval| interval.value.0);
    Ok(Keepalive {
        interval,
        jitter: interval.unwrap_or_default().mul_f64(percent / 100.0),
        timeout: timeout.value.0,
        after_idle: connection_idle_interval.as_ref().map(|idle| idle.value.0),
    })
}

/// HTTP/2 options for either direction.
fn any_http2_options(written: &Http2ProtocolOptions) -> Result<Http2Options, Problem> {
    // RFC 9113 6.9.1 has the upper bound; Envoy has the lower one, the protocol's initial value.
    const WINDOW_BYTES: RangeInclusive<u32> = 65_535..=0x7fff_ffff;
    const STREAMS: RangeInclusive<u32> = 1..=0x7fff_ffff;
    let default = Http2Options::default();
    let window = |field: &Option<At<u32>>, default: u32| {
        field.as_ref().map_or(Ok(default), |window| within(window, WINDOW_BYTES))
    };
    let streams = written.max_concurrent_streams.as_ref().map(|streams| within(streams, STREAMS)).transpose()?;
    Ok(Http2Options {
        allow_connect: written.allow_connect.as_ref().is_some_and(|allowed| allowed.value),
        hpack_table_size: written.hpack_table_size.unwrap_or(default.hpack_table_size),
        initial_connection_window_size: window(
            &written.initial_connection_window_size,
            default.initial_connection_window_size,
        )?,
        initial_stream_window_size: window(&written.initial_stream_window_size, default.initial_stream_window_size)?,
        max_concurrent_streams: streams.and_then(NonZeroU32::new).unwrap_or(default.max_concurrent_streams),
        floods: floods(written)?,
        keepalive: None,
    })
}

fn floods(written: &Http2ProtocolOptions) -> Result<Http2Floods, Problem> {
    let default = Http2Floods::default();
    let window_updates = written.max_inbound_window_update_frames_per_data_frame_sent.as_ref();
    Ok(Http2Floods {
        empty_frames_max: written.max_consecutive_inbound_frames_with_empty_payload.unwrap_or(default.empty_frames_max),
        priorities_per_stream_max: written
            .max_inbound_priority_frames_per_stream
            .unwrap_or(default.priorities_per_stream_max),
        window_updates_per_data_max: window_updates
            .map_or(Ok(default.window_updates_per_data_max), |most| within(most, 1..=u32::MAX))?,
    })
}

/// The value, if it is in `range`.
fn within(at: &At<u32>, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    if range.contains(&at.value) {
        return Ok(at.value);
    }
    Err(at.invalid(format!("{} is not within {} to {}", at.value, range.start(), range.end())))
}

/// `enable_trailers`
fn trailer_rule(enabled: bool) -> TrailerRule {
    if enabled { TrailerRule::Passed } else { TrailerRule::Dropped }
}

/// How the names of header fields are written over HTTP/1.
fn name_case(written: Option<&At<HeaderKeyFormat>>) -> Result<NameCase, Problem> {
    let Some(at) = written else { return Ok(NameCase::Lower) };
    match (&at.value.proper_case_words, &at.value.stateful_formatter) {
        (Some(_), None) => Ok(NameCase::Words),
        (None, Some(_)) => Ok(NameCase::AsReceived),
        _ => Err(at.invalid("takes exactly one of proper_case_words and stateful_formatter")),
    }
}

/// The bytes that may wait on a connection.
fn buffer_bytes_max(written: Option<&At<u32>>) -> Result<usize, Problem> {
    const DEFAULT: usize = 1024 * 1024; // Envoy's per_connection_buffer_limit_bytes.
    let Some(limit) = written else {
        return Ok(DEFAULT);
    };
    if limit.value == 0 {
        return Err(limit.invalid("0 would mean no limit, and every buffer has one"));
    }
    // A usize has at least 32 bits wherever this runs.
    Ok(usize::try_from(limit.value).unwrap_or(usize::MAX))
}

/// Percent as whole hundredths of it, from 0 to all.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=10000 before")]
fn basis_points(percent: f64) -> u32 {
    (percent.clamp(0.0, 100.0) * 100.0) as u32
}
