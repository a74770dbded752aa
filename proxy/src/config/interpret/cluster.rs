//! What a cluster means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::metadata;
use super::rewrite::literal_host;
use super::secret::Secrets;
use super::{
    address, aggregate, assignment, balancing, basis_points, buffer_bytes_max, forward_proxy, health, name_case,
    original_dst, resolution, socket_option, trailer_rule, upstream_http, upstream_socket,
};
use crate::config::bootstrap::cluster::{
    Cluster as Written, DiscoveryType, Endpoint, PreconnectPolicy, RetryBudget as WrittenBudget, RoutingPriority,
};
use crate::config::bootstrap::socket_option::{TcpKeepalive as WrittenKeepalive, WrittenSocket};
use crate::config::cluster::{
    ByFamily, ByPriority, Cluster, ClusterMetadata, ClusterProtocol, Discovery, ExtraStats, Labels, Limits, Priority,
    RetryBudget, TcpKeepalive,
};
use crate::config::health::HealthCheck;
use crate::config::kept_endpoints::Endpoints;
use crate::config::metadata::Value;
use crate::config::problem::Problem;
use crate::config::rewrite::is_host;
use crate::config::socket_option::{SocketOption, SocketState};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// `CommonLbConfig.update_merge_window`
const MERGE_WINDOW: Duration = Duration::from_secs(1);

pub(super) fn cluster(mut written: At<Written>, secrets: &Secrets<'_>, notes: &Notes) -> Result<Cluster, Problem> {
    let file = assignment::File::of(&mut written.value, notes)?;
    let mut cluster = without_file(&written.value, secrets, notes)?;
    if let Some(file) = file {
        let (assigned, endpoints) = file.read(&mut written.value, notes, endpoints);
        cluster.assigned = Some(assigned);
        endpoints.into_iter().for_each(|endpoints| cluster.assign(endpoints));
    }
    Ok(cluster)
}

/// What `load_assignment` determines.
fn endpoints(cluster: &Written) -> Result<Endpoints, Problem> {
    let (overprovisioning, health_by) = balancing::assigned(cluster);
    Ok(Endpoints {
        discovery: discovery(cluster)?,
        hostnames: hostnames(cluster)?,
        labels: labels(cluster)?,
        metadata: own_metadata(cluster)?.map(Arc::new),
        placements: balancing::placements(cluster)?,
        overprovisioning,
        health_by,
    })
}

/// The cluster as its own configuration has it.
fn without_file(cluster: &Written, secrets: &Secrets<'_>, notes: &Notes) -> Result<Cluster, Problem> {
    if cluster.name.value.is_empty() {
        return Err(cluster.name.invalid("a cluster must have a name"));
    }
    upstream_http::note_deprecated(cluster, notes);
    resolution::check_resolver(cluster.typed_dns_resolver_config.as_ref())?;
    original_dst::note_unused(cluster, notes);
    aggregate::note_unused(cluster, notes);
    forward_proxy::share_cache(cluster, notes)?;
    let protocol = upstream_http::protocol(cluster)?;
    let alpn = protocol.of(None).alpn();
    Ok(Cluster {
        name: cluster.name.value.as_str().into(),
        alt_stat_name: cluster.alt_stat_name.clone().filter(|name| !name.is_empty()),
        hostnames: hostnames(cluster)?,
        labels: labels(cluster)?,
        discovery: discovery(cluster)?,
        assigned: None,
        placements: balancing::placements(cluster)?,
        balancing: balancing::balancing(cluster, notes)?,
        protocol,
        is_per_client: cluster.connection_pool_per_downstream_connection,
        metadata: own_metadata(cluster)?.map(Arc::new),
        socket: upstream_socket::socket(cluster.transport_socket.as_ref(), alpn, secrets, notes)?,
        socket_matches: upstream_socket::matches(cluster, alpn, secrets, notes)?,
        host_as_name: upstream_http::host_as_name(cluster)?,
        trailers: trailer_rule(upstream_http::http1_options(cluster).is_some_and(|options| options.enable_trailers)),
        name_case: name_case(
            upstream_http::http1_options(cluster).and_then(|options| options.header_key_format.as_ref()),
        )?,
        connect_timeout: cluster.connect_timeout.map_or(CONNECT_TIMEOUT, |timeout| timeout.0),
        idle_timeout: upstream_http::idle_timeout(cluster),
        requests_per_connection_max: upstream_http::requests_per_connection_max(cluster)?,
        connection_duration_max: upstream_http::common_options(cluster)
            .and_then(|common| common.max_connection_duration)
            .and_then(Seconds::unless_zero),
        stream_duration_max: upstream_http::common_options(cluster)
            .and_then(|common| common.max_stream_duration)
            .and_then(Seconds::unless_zero),
        limits: ByPriority::new(|priority| limits(cluster, priority)),
        health_checks: health_checks(cluster, &protocol)?,
        keeps_healthy: !cluster.health_checks.is_empty() && !cluster.ignore_health_on_host_removal,
        outlier_detection: cluster.outlier_detection.as_ref().map(health::outlier).transpose()?,
        merge_window: match cluster.common_lb_config.as_ref().and_then(|common| common.update_merge_window) {
            Some(window) => window.unless_zero(),
            None => Some(MERGE_WINDOW),
        },
        panic_threshold: balancing::panic_threshold(cluster),
        preconnect_percent: preconnect_percent(cluster, |policy| policy.per_upstream_preconnect_ratio.as_ref())?,
        hash_policies: balancing::hash_policies(cluster, notes)?,
        predictive_percent: preconnect_percent(cluster, |policy| policy.predictive_preconnect_ratio.as_ref())?,
        tcp_keepalive: cluster.upstream_connection_options.and_then(|options| options.tcp_keepalive).map(tcp_keepalive),
        source: source(cluster)?,
        socket_options: ByFamily { ipv4: socket_options(cluster, false)?, ipv6: socket_options(cluster, true)? },
        extra_stats: extra_stats(cluster),
        buffer_bytes_max: buffer_bytes_max(cluster.per_connection_buffer_limit_bytes.as_ref())?,
    })
}

/// What else is counted: `track_timeout_budgets` is the older key for a part of it.
fn extra_stats(cluster: &Written) -> ExtraStats {
    let track = cluster.track_cluster_stats.unwrap_or_default();
    ExtraStats {
        timeout_budgets: track.timeout_budgets || cluster.track_timeout_budgets.as_ref().is_some_and(|at| at.value),
        sizes: track.request_response_sizes,
        per_endpoint: track.per_endpoint_stats,
    }
}

fn health_checks(cluster: &Written, protocol: &ClusterProtocol) -> Result<Vec<HealthCheck>, Problem> {
    let mut checks = health::checks(&cluster.health_checks, &cluster.name.value, protocol)?;
    for (check, written) in checks.iter_mut().zip(&cluster.health_checks) {
        let criteria = written.value.transport_socket_match_criteria.as_ref();
        check.socket = criteria.map(|criteria| upstream_socket::matched_by(cluster, criteria)).transpose()?;
    }
    Ok(checks)
}

/// Where its connections come from, if not from where the system chooses.
fn source(cluster: &Written) -> Result<Option<SocketAddr>, Problem> {
    let bind = cluster.upstream_bind_config.as_ref();
    bind.and_then(|bind| bind.source_address.as_ref()).map(address::source).transpose()
}

/// What is set on the sockets of its connections. As in Envoy, nothing once they are bound.
fn socket_options(cluster: &Written, is_ipv6: bool) -> Result<Arc<[SocketOption]>, Problem> {
    let Some(bind) = &cluster.upstream_bind_config else { return Ok(Arc::default()) };
    let written = WrittenSocket {
        options: &bind.socket_options,
        keepalive: None,
        freebind: bind.freebind.unwrap_or(false),
        transparent: false,
    };
    let options = socket_option::of_socket(written, is_ipv6)?;
    Ok(options.into_iter().filter(|option| option.when == SocketState::Prebind).collect())
}

/// What is written of the cluster and of its endpoints, if anything is.
fn own_metadata(cluster: &Written) -> Result<Option<ClusterMetadata>, Problem> {
    let assigned = cluster.load_assignment.iter().flat_map(|assignment| &assignment.value.endpoints);
    let endpoints =
        || assigned.clone().flat_map(|group| group.lb_endpoints.iter().map(move |endpoint| (endpoint, group)));
    let own = ClusterMetadata {
        of_cluster: metadata::metadata(cluster.metadata.as_ref())?,
        of_endpoints: endpoints()
            .map(|(endpoint, _)| metadata::metadata(endpoint.metadata.as_ref()))
            .collect::<Result<_, _>>()?,
        of_localities: endpoints()
            .map(|(_, group)| metadata::metadata(group.metadata.as_ref()))
            .collect::<Result<_, _>>()?,
    };
    let all = own.of_endpoints.iter().chain(&own.of_localities).chain([&own.of_cluster]);
    let is_empty = all.into_iter().all(|metadata| metadata.0.is_empty());
    Ok((!is_empty).then_some(own))
}

fn discovery(cluster: &Written) -> Result<Discovery, Problem> {
    if let Some(custom) = &cluster.cluster_type {
        return aggregate::discovery(cluster, custom);
    }
    let assigned = cluster.load_assignment.iter().flat_map(|assignment| &assignment.value.endpoints);
    let mut addresses = assigned.flat_map(|locality| &locality.lb_endpoints).map(|lb| &lb.endpoint.address);
    let refresh = resolution::refresh(cluster)?;
    match cluster.r#type {
        None | Some(DiscoveryType::Eds | DiscoveryType::Static) => {
            let endpoints: Result<_, _> = addresses.map(address::endpoint).collect();
            endpoints.map(Discovery::Static)
        }
        Some(DiscoveryType::OriginalDst) => original_dst::discovery(cluster),
        Some(DiscoveryType::StrictDns) => {
            let targets = addresses.map(address::name_and_port).collect::<Result<_, _>>()?;
            Ok(Discovery::StrictDns { family: resolution::family(cluster.dns_lookup_family), targets, refresh })
        }
        Some(DiscoveryType::LogicalDns) => {
            let localities = cluster.load_assignment.as_ref().map_or(0, |assignment| assignment.value.endpoints.len());
            let (Some(address), None, 1) = (addresses.next(), addresses.next(), localities) else {
                return Err(cluster.name.invalid_but(
                    "LOGICAL_DNS clusters must have a single locality_lb_endpoint and a single lb_endpoint",
                    "write one name in load_assignment, or type: STRICT_DNS",
                ));
            };
            Ok(Discovery::LogicalDns {
                family: resolution::family(cluster.dns_lookup_family),
                target: address::name_and_port(address)?,
                refresh,
            })
        }
    }
}

/// The names of the endpoints: their hostnames, or what they are found by.
fn hostnames(cluster: &Written) -> Result<Vec<Option<HeaderValue>>, Problem> {
    let assigned = cluster.load_assignment.iter().flat_map(|assignment| &assignment.value.endpoints);
    let endpoints = assigned.flat_map(|locality| &locality.lb_endpoints).map(|lb| &lb.endpoint);
    let is_dns = !matches!(cluster.r#type, None | Some(DiscoveryType::Eds | DiscoveryType::Static));
    let hostname = |endpoint: &Endpoint| {
        let written = endpoint.hostname.as_ref().map(literal_host).transpose()?.flatten();
        let name = endpoint.address.value.socket_address.as_ref().filter(|_| is_dns);
        let name = name.map(|socket| HeaderValue::from_str(&socket.address.value).ok());
        Ok(written.or(name.flatten().filter(|name| is_host(name.as_bytes()))))
    };
    endpoints.map(hostname).collect()
}

/// What is said of the kind of the endpoints, in the same order.
fn labels(cluster: &Written) -> Result<Vec<Option<Labels>>, Problem> {
    let assigned = cluster.load_assignment.iter().flat_map(|assignment| &assignment.value.endpoints);
    let endpoints = assigned.flat_map(|locality| &locality.lb_endpoints);
    let labels = endpoints.map(|lb| -> Result<_, Problem> {
        let balancing = lb.metadata.as_ref().map(metadata::labels).transpose()?.flatten();
        Ok(balancing
            .map(|balancing| Labels { is_canary: balancing.get("canary") == Some(&Value::Flag(true)), balancing }))
    });
    let labels = labels.collect::<Result<Vec<_>, _>>()?;
    Ok(if labels.iter().all(Option::is_none) { Vec::new() } else { labels })
}

fn preconnect_percent(cluster: &Written, which: fn(&PreconnectPolicy) -> Option<&At<f64>>) -> Result<u32, Problem> {
    let Some(ratio) = cluster.preconnect_policy.as_ref().and_then(which) else { return Ok(100) };
    if !(1.0..=3.0).contains(&ratio.value) {
        return Err(ratio.invalid(format!("{} is not within 1 to 3", ratio.value)));
    }
    Ok(basis_points(ratio.value)) // hundredths of a ratio as those of a percentage
}

/// 0 is no choice either.
fn tcp_keepalive(written: WrittenKeepalive) -> TcpKeepalive {
    let chosen = |number: Option<u32>| number.filter(|number| *number > 0);
    let seconds = |number: Option<u32>| chosen(number).map(|seconds| Duration::from_secs(seconds.into()));
    TcpKeepalive {
        probes: chosen(written.keepalive_probes),
        time: seconds(written.keepalive_time),
        interval: seconds(written.keepalive_interval),
    }
}

fn limits(cluster: &Written, priority: Priority) -> Limits {
    let default = Limits { connections_per_endpoint_max: per_endpoint(cluster, priority), ..Limits::default() };
    let named = match priority {
        Priority::Default => RoutingPriority::Default,
        Priority::High => RoutingPriority::High,
    };
    let mut thresholds = cluster.circuit_breakers.iter().flat_map(|breakers| &breakers.thresholds);
    // Envoy takes the first entry of a priority.
    let written = thresholds.find(|written| written.priority.unwrap_or(RoutingPriority::Default) == named);
    let Some(written) = written else { return default };
    Limits {
        connections_max: written.max_connections.unwrap_or(default.connections_max),
        pending_max: written.max_pending_requests.unwrap_or(default.pending_max),
        pools_max: written.max_connection_pools.unwrap_or(default.pools_max),
        requests_max: written.max_requests.unwrap_or(default.requests_max),
        retries_max: written.max_retries.unwrap_or(default.retries_max),
        retry_budget: written.retry_budget.map(retry_budget),
        track_remaining: written.track_remaining.unwrap_or(default.track_remaining),
        connections_per_endpoint_max: default.connections_per_endpoint_max,
    }
}

/// `max_connections` of single endpoints. As above, the first entry of a priority counts.
fn per_endpoint(cluster: &Written, priority: Priority) -> Option<u32> {
    let named = |written: Option<RoutingPriority>| match written.unwrap_or(RoutingPriority::Default) {
        RoutingPriority::Default => Priority::Default,
        RoutingPriority::High => Priority::High,
    };
    let mut thresholds = cluster.circuit_breakers.iter().flat_map(|breakers| &breakers.per_host_thresholds);
    thresholds.find(|at| named(at.value.priority) == priority)?.value.max_connections
}

fn retry_budget(written: WrittenBudget) -> RetryBudget {
    let default = RetryBudget::DEFAULT;
    RetryBudget {
        basis_points: written.budget_percent.map_or(default.basis_points, |percent| basis_points(percent.value.0)),
        retries_min: written.min_retry_concurrency.unwrap_or(default.retries_min),
        interval: written.budget_interval.and_then(Seconds::unless_zero),
    }
}
