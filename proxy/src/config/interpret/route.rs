//! What routes mean.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::filter::{Forwarding, Level, Template};
use super::mutation::edits;
use super::rate_limit_policy::{self, OfLevel, Owner};
use super::targets::{Levels, Targets};
use super::{
    ClusterNames, data_source, hashing, matching, metadata, proxy_protocol, redirects, retry, rewrite, tracing,
    weighted,
};
use crate::config::bootstrap::cluster::RoutingPriority;
use crate::config::bootstrap::route::{
    ClusterNotFoundResponseCode, ConnectConfig, DirectResponseAction, Route as Written, RouteAction,
    RouteConfiguration, TlsRequirementType, UpgradeConfig, VirtualHost as WrittenHost,
};
use crate::config::cluster::Priority;
use crate::config::constraints::OneLine;
use crate::config::metadata::Metadata;
use crate::config::problem::Problem;
use crate::config::rate_limit::OfHost;
use crate::config::route::{
    Action, AttemptCount, Destination, Domain, Forward, GrpcLimit, GrpcTimeout, HeaderEdits, KeptBody, Mirror,
    NamedCluster, ParameterMatch, PortMatch, RequireTls, RetryPolicy, Route, RouteTable, Termination, Upgrade,
    Upgrades, VirtualCluster, VirtualHost,
};
use crate::config::units::Seconds;
use crate::config::yaml::{At, Notes};

/// `RouteAction.timeout`
const TIMEOUT: Duration = Duration::from_secs(15);
/// Envoy's `max_direct_response_body_size_bytes`
const DIRECT_BODY_BYTES_MAX: usize = 4096;

pub(super) fn table(
    written: &At<RouteConfiguration>,
    clusters: &ClusterNames<'_>,
    filters: &Template,
    notes: &Notes,
) -> Result<RouteTable, Problem> {
    let written = &written.value;
    let validate = written.validate_clusters.unwrap_or(true);
    let stat_prefixes = RefCell::default();
    let targets = Targets { clusters, filters, validate, notes, stat_prefixes: &stat_prefixes };
    let level = filters.level(&written.typed_per_filter_config, None, notes)?;
    let edits = HeaderEdits {
        request: edits(&written.request_headers_to_add, &written.request_headers_to_remove)?,
        response: edits(&written.response_headers_to_add, &written.response_headers_to_remove)?,
    };
    let above = Above {
        filters: &level,
        edits: Arc::new(edits),
        mirrors: weighted::mirrors(&written.request_mirror_policies, targets)?,
        order: if written.most_specific_header_mutations_wins {
            Order::MostSpecificLast
        } else {
            Order::MostSpecificFirst
        },
    };
    let hosts = written.virtual_hosts.iter().map(|host| virtual_host(&host.value, targets, &above));
    let virtual_hosts: Vec<VirtualHost> = hosts.collect::<Result<_, _>>()?;
    let mut taken: BTreeMap<&Domain, &str> = BTreeMap::new();
    for (host, written) in virtual_hosts.iter().zip(&written.virtual_hosts) {
        for (domain, text) in host.domains.iter().zip(&written.value.domains.value) {
            if let Some(earlier) = taken.insert(domain, &host.name) {
                return Err(text.invalid(format!(
                    "only unique values for domains are permitted; virtual host '{earlier}' has {:?} already",
                    &*text.value
                )));
            }
        }
    }
    let internal_only_headers = written.internal_only_headers.iter().map(|name| name.to_string()).collect();
    let ports = if written.ignore_port_in_host_matching { PortMatch::Ignored } else { PortMatch::Compared };
    let parameters = match written.ignore_path_parameters_in_path_matching {
        true => ParameterMatch::Ignored,
        false => ParameterMatch::Compared,
    };
    let stat_prefixes = stat_prefixes.take();
    let (virtual_hosts, rate_limits) = (virtual_hosts.into(), filters.take_limits_of_routes());
    Ok(RouteTable { virtual_hosts, ports, parameters, stat_prefixes, rate_limits, internal_only_headers })
}

/// What the route configuration says for all of its virtual hosts.
struct Above<'a> {
    mirrors: Vec<Mirror>,
    filters: &'a Level,
    edits: Arc<HeaderEdits>,
    order: Order,
}

/// In which order the edits of the levels are applied: the last wins.
#[derive(Clone, Copy)]
enum Order {
    /// Route, virtual host, route configuration.
    MostSpecificFirst,
    /// `most_specific_header_mutations_wins`
    MostSpecificLast,
}

impl Order {
    /// These levels, of which the most specific is first, in their order and without those that do nothing.
    fn of(self, mut levels: [Arc<HeaderEdits>; 3]) -> Vec<Arc<HeaderEdits>> {
        if let Self::MostSpecificLast = self {
            levels.reverse();
        }
        levels.into_iter().filter(|edits| !edits.is_empty()).collect()
    }
}

/// What a virtual host says for those of its routes that do not say otherwise.
struct HostDefaults<'a> {
    /// What the route configuration and the virtual host say of HTTP filters.
    filters: [&'a Level; 2],
    /// The same of headers.
    edits: [Arc<HeaderEdits>; 2],
    order: Order,
    retry: Option<RetryPolicy>,
    hedges: bool,
    attempt_count: AttemptCount,
    adds_timeout_header: bool,
    kept_body: Option<KeptBody>,
    mirrors: Vec<Mirror>,
}

fn virtual_host(written: &WrittenHost, targets: Targets<'_>, above: &Above<'_>) -> Result<VirtualHost, Problem> {
    if written.domains.value.is_empty() {
        return Err(written.domains.invalid_but("a virtual host needs at least one domain", "write [\"*\"] for any"));
    }
    let mut level = targets.filters.level(&written.typed_per_filter_config, written.cors.as_deref(), targets.notes)?;
    if !written.rate_limits.is_empty() {
        level.limits =
            Some(OfLevel::Host(rate_limit_policy::policies(&written.rate_limits, Owner::Route, targets.notes)?));
    }
    let edits = HeaderEdits {
        request: edits(&written.request_headers_to_add, &written.request_headers_to_remove)?,
        response: edits(&written.response_headers_to_add, &written.response_headers_to_remove)?,
    };
    let defaults = HostDefaults {
        filters: [above.filters, &level],
        edits: [Arc::new(edits), Arc::clone(&above.edits)],
        order: above.order,
        retry: written.retry_policy.as_ref().map(|policy| retry::policy(policy, targets.notes)).transpose()?,
        hedges: written.hedge_policy.as_ref().is_some_and(|policy| retry::hedges(policy, targets.notes)),
        attempt_count: AttemptCount {
            in_request: written.include_request_attempt_count.unwrap_or(false),
            in_response: written.include_attempt_count_in_response.unwrap_or(false),
        },
        mirrors: match weighted::mirrors(&written.request_mirror_policies, targets)? {
            none if none.is_empty() => above.mirrors.clone(),
            own => own,
        },
        adds_timeout_header: written.include_is_timeout_retry_header,
        kept_body: kept_body(written.per_request_buffer_limit_bytes, written.request_body_buffer_limit.as_ref()),
    };
    let routes = written.routes.iter().map(|route| self::route(route, &written.name, targets, &defaults));
    Ok(VirtualHost {
        name: written.name.to_string(),
        domains: written.domains.value.iter().map(domain).collect::<Result<_, _>>()?,
        routes: routes.collect::<Result<Vec<_>, _>>()?.into(),
        virtual_clusters: virtual_clusters(written, targets)?,
        require_tls: match written.require_tls {
            None | Some(TlsRequirementType::None) => RequireTls::None,
            Some(TlsRequirementType::ExternalOnly) => RequireTls::ExternalOnly,
            Some(TlsRequirementType::All) => RequireTls::All,
        },
    })
}

/// The virtual clusters, and behind them the one that counts what none of them takes.
fn virtual_clusters(written: &WrittenHost, targets: Targets<'_>) -> Result<Vec<VirtualCluster>, Problem> {
    let stats = |name: &str| targets.stats(format!("vhost.{}.vcluster.{name}", &*written.name));
    let mut clusters = Vec::new();
    for at in &written.virtual_clusters {
        if at.value.headers.is_empty() {
            return Err(at.invalid("virtual clusters must define 'headers'"));
        }
        let headers = at.value.headers.iter().map(matching::header).collect::<Result<_, _>>()?;
        clusters.push(VirtualCluster { name: (*at.value.name).into(), headers, stats: stats(&at.value.name) });
    }
    if !clusters.is_empty() {
        clusters.push(VirtualCluster { name: "other".into(), headers: Vec::new(), stats: stats("other") });
    }
    Ok(clusters)
}

fn domain(written: &At<OneLine>) -> Result<Domain, Problem> {
    let text = written.value.to_ascii_lowercase();
    match (text.strip_prefix('*'), text.strip_suffix('*')) {
        (Some(""), _) => Ok(Domain::Any),
        (Some(suffix), _) => Ok(Domain::Suffix(suffix.to_owned())),
        (None, Some(prefix)) => Ok(Domain::Prefix(prefix.to_owned())),
        (None, None) if text.is_empty() => Err(written.invalid("must not be empty")),
        (None, None) => Ok(Domain::Exact(text)),
    }
}

fn route(
    written: &At<Written>,
    host_name: &str,
    targets: Targets<'_>,
    host: &HostDefaults<'_>,
) -> Result<Route, Problem> {
    let (cors, forwarding) = match &written.value.route {
        Some(forward) => (forward.value.cors.as_deref(), Forwarding::Forwarded),
        None => (None, Forwarding::NotForwarded),
    };
    let mut own = targets.filters.level(&written.value.typed_per_filter_config, cors, targets.notes)?;
    if let Some(forward) = &written.value.route
        && targets.filters.tells_apart()
    {
        let included = forward.value.include_vh_rate_limits.unwrap_or(false).then_some(OfHost::Included);
        let policies = rate_limit_policy::policies(&forward.value.rate_limits, Owner::Route, targets.notes)?;
        let metadata = rate_limit_policy::of_route(written.value.metadata.as_ref())?;
        own.limits = Some(OfLevel::Route(policies, included, metadata));
    }
    let metadata = written.value.metadata.as_ref().map(|it| metadata::metadata(Some(it))).transpose()?.map(Arc::new);
    own.metadata = metadata.as_ref().filter(|_| targets.filters.reads_metadata()).map(|it| Metadata::clone(it));
    let edits = HeaderEdits {
        request: edits(&written.value.request_headers_to_add, &written.value.request_headers_to_remove)?,
        response: edits(&written.value.response_headers_to_add, &written.value.response_headers_to_remove)?,
    };
    let [of_host, of_all] = host.edits.clone();
    let edits = host.order.of([Arc::new(edits), of_host, of_all]);
    let levels = Levels { filters: [host.filters[0], host.filters[1], &own], forwarding, edits };
    let action = action(written, targets, host, &levels)?;
    Ok(Route {
        name: written.value.name.clone(),
        matches: matching::path(&written.value.r#match)?,
        conditions: matching::conditions(&written.value.r#match.value, targets.notes)?,
        filters: levels.chains(targets.filters),
        edits: levels.edits,
        stats: Some(&written.value.stat_prefix)
            .filter(|prefix| !prefix.is_empty())
            .map(|prefix| targets.stats(format!("vhost.{host_name}.route.{prefix}"))),
        metadata,
        tracing: tracing::of_route(written.value.tracing.as_ref(), written.value.decorator.as_ref())?,
        action,
    })
}

/// What a route does.
fn action(
    at: &At<Written>,
    targets: Targets<'_>,
    host: &HostDefaults<'_>,
    levels: &Levels<'_>,
) -> Result<Action, Problem> {
    let Written { route, direct_response, redirect, non_forwarding_action, .. } = &at.value;
    match (route, direct_response, redirect, non_forwarding_action) {
        (Some(route), None, None, None) => forward(&at.value, route, targets, host, levels),
        (None, Some(direct), None, None) => self::direct(direct),
        (None, None, Some(redirect), None) => Ok(Action::Redirect(Box::new(rewrite::redirect(redirect)?))),
        // It is for listeners that forward nothing. To the router it is a route without a cluster, as in Envoy.
        (None, None, None, Some(_)) => {
            Ok(Action::Forward(Box::new(Forward::to(NamedCluster::Cluster("".into()), Some(TIMEOUT)))))
        }
        (None, None, None, None) => {
            Err(at.invalid("a route needs an action: route, redirect, direct_response or non_forwarding_action"))
        }
        _ => Err(at.invalid("a route has one action: route, redirect, direct_response or non_forwarding_action")),
    }
}

/// The limit of the body that is kept for another try, of which the newer field counts.
fn kept_body(at_most: Option<u32>, up_to: Option<&At<u32>>) -> Option<KeptBody> {
    // A usize has at least 32 bits wherever this runs.
    let bytes = |bytes: u32| usize::try_from(bytes).unwrap_or(usize::MAX);
    let up_to = up_to.map(|limit| KeptBody::UpTo(bytes(limit.value)));
    up_to.or_else(|| at_most.map(|limit| KeptBody::AtMost(bytes(limit))))
}

fn direct(written: &At<DirectResponseAction>) -> Result<Action, Problem> {
    let status = &written.value.status;
    if !(200..600).contains(&status.value) {
        return Err(status.invalid(format!("{} is not a status from 200 to 599", status.value)));
    }
    let body = match &written.value.body {
        Some(body) => {
            let text = data_source::text(body)?;
            let bytes = text.value.len();
            if bytes > DIRECT_BODY_BYTES_MAX {
                return Err(
                    text.invalid(format!("response body size is {bytes} bytes; maximum is {DIRECT_BODY_BYTES_MAX}"))
                );
            }
            text.value
        }
        None => String::new(),
    };
    Ok(Action::Direct { status: status.value, body })
}

/// The status of the response while there is no such cluster.
fn missing(written: &RouteAction) -> u16 {
    match written.cluster_not_found_response_code {
        None | Some(ClusterNotFoundResponseCode::ServiceUnavailable) => 503,
        Some(ClusterNotFoundResponseCode::NotFound) => 404,
        Some(ClusterNotFoundResponseCode::InternalServerError) => 500,
    }
}

fn forward(
    route: &Written,
    at: &At<RouteAction>,
    targets: Targets<'_>,
    host: &HostDefaults<'_>,
    levels: &Levels<'_>,
) -> Result<Action, Problem> {
    let written = &at.value;
    let kept_body = kept_body(route.per_request_buffer_limit_bytes, route.request_body_buffer_limit.as_ref());
    let metadata_match = metadata::metadata_match(written.metadata_match.as_ref())?;
    let cluster = match (&written.cluster, &written.cluster_header, &written.weighted_clusters) {
        (Some(name), None, None) => Destination::One(targets.cluster(name)?),
        (None, Some(header), None) => Destination::One(NamedCluster::Header(header.value.to_string())),
        (None, None, Some(several)) => {
            Destination::Weighted(Box::new(weighted::clusters(several, metadata_match.as_ref(), targets, levels)?))
        }
        _ => {
            return Err(at.invalid("a route action has exactly one of cluster, cluster_header and weighted_clusters"));
        }
    };
    Ok(Action::Forward(Box::new(Forward {
        cluster,
        missing: missing(written),
        metadata_match,
        hash_policies: hashing::policies(&written.hash_policy, targets.notes)?,
        priority: match written.priority {
            None | Some(RoutingPriority::Default) => Priority::Default,
            Some(RoutingPriority::High) => Priority::High,
        },
        timeout: timeout(written),
        flush_timeout: written.flush_timeout.map(Seconds::unless_zero),
        idle_timeout: written.idle_timeout.map(Seconds::unless_zero),
        stream_duration_max: written
            .max_stream_duration
            .and_then(|duration| duration.max_stream_duration)
            .map(Seconds::unless_zero),
        grpc_timeout: grpc_timeout(written),
        upgrades: upgrades(&written.upgrade_configs)?,
        // A route's policy replaces the virtual host's whole.
        retry: written
            .retry_policy
            .as_ref()
            .map(|policy| retry::policy(policy, targets.notes))
            .transpose()?
            .or_else(|| host.retry.clone())
            .map(Box::new),
        hedges: written.hedge_policy.as_ref().map_or(host.hedges, |policy| retry::hedges(policy, targets.notes)),
        attempt_count: host.attempt_count,
        mirrors: match weighted::mirrors(&written.request_mirror_policies, targets)? {
            none if none.is_empty() => host.mirrors.clone(),
            own => own,
        },
        adds_timeout_header: host.adds_timeout_header,
        kept_body: kept_body.or(host.kept_body),
        redirects: written.internal_redirect_policy.as_ref().map(redirects::policy).transpose()?.map(Box::new),
        rewrites: rewrite::rewrites(at, &route.r#match.value)?.map(Box::new),
    })))
}

/// `timeout`, which the mere presence of `max_stream_duration` switches off, as in Envoy.
fn timeout(written: &RouteAction) -> Option<Duration> {
    match (written.max_stream_duration, written.timeout) {
        (Some(_), _) => None,
        (None, None) => Some(TIMEOUT),
        (None, Some(timeout)) => timeout.unless_zero(),
    }
}

/// What `grpc-timeout` does: `max_stream_duration` replaces `max_grpc_timeout` as it replaces `timeout`.
fn grpc_timeout(written: &RouteAction) -> GrpcTimeout {
    let limit = |max: Seconds, offset: Option<Seconds>| GrpcLimit {
        max: max.unless_zero(),
        offset: offset.map_or(Duration::ZERO, |offset| offset.0),
    };
    match (written.max_stream_duration, written.max_grpc_timeout) {
        (Some(stream), _) => {
            GrpcTimeout::Stream(stream.grpc_timeout_header_max.map(|max| limit(max, stream.grpc_timeout_header_offset)))
        }
        (None, Some(max)) => GrpcTimeout::Whole(limit(max, written.grpc_timeout_offset)),
        (None, None) => GrpcTimeout::Passed,
    }
}

/// A route's upgrades: switches over those of the connection manager.
fn upgrades(written: &[At<UpgradeConfig>]) -> Result<Upgrades, Problem> {
    upgrades_of(written, |config, known| {
        if known {
            return Err(config.upgrade_type.invalid(format!("duplicate upgrade {}", &*config.upgrade_type.value)));
        }
        match &config.filters {
            Some(filters) => Err(filters.invalid("a route cannot have filters; write them in the connection manager")),
            None => Ok(()),
        }
    })
}

/// Upgrade types, which are compared ignoring case. `check` is told of each whether it is there already.
pub(super) fn upgrades_of(
    written: &[At<UpgradeConfig>],
    check: impl Fn(&UpgradeConfig, bool) -> Result<(), Problem>,
) -> Result<Upgrades, Problem> {
    let mut upgrades = Upgrades::default();
    for At { value: config, .. } in written {
        let name = &config.upgrade_type;
        if name.value.is_empty() {
            return Err(name.invalid("must not be empty"));
        }
        check(config, upgrades.find(&name.value).is_some())?;
        let enabled = config.enabled.unwrap_or(true);
        let protocol = name.value.to_ascii_lowercase();
        let termination = config.connect_config.as_ref().map(|connect| termination(&protocol, connect)).transpose()?;
        upgrades.0.push(Upgrade { protocol, enabled, termination });
    }
    Ok(upgrades)
}

fn termination(protocol: &str, written: &At<ConnectConfig>) -> Result<Termination, Problem> {
    if protocol != "connect" {
        let what = match protocol {
            "connect-udp" => {
                "there is no UDP here: a tunnel of UDP does not end here, and is passed on without connect_config"
                    .into()
            }
            protocol => format!("only an upgrade_type of CONNECT has a connect_config, not {protocol:?}"),
        };
        return Err(written.invalid(what));
    }
    let ConnectConfig { allow_post, proxy_protocol_config } = &written.value;
    Ok(Termination {
        allow_post: *allow_post,
        proxy: proxy_protocol_config.as_ref().map(proxy_protocol::before_tunnel).transpose()?,
    })
}
