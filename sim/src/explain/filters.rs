//! The reasons of HTTP filters that respond by themselves, but for those that authorise.

use finwait::access_log::{Details, HealthCheck};

use super::proposal::{Proposal, set};
use super::reason::{At, Reason, reason};

pub(super) const PAYLOAD_TOO_LARGE: Reason = reason(
    "because the body is larger than a filter that waits for the whole of it permits",
    "raise max_request_bytes of the buffer filter, for the route or for all, or per_connection_buffer_limit_bytes of the listener",
    Some((At::Filter("buffer.v3.Buffer"), "max_request_bytes", set("1073741824"))),
);

pub(super) const BAD_BASE64: Reason = reason(
    "because the body of a gRPC-Web request in text is not base64",
    "no setting: the client has to send base64, or application/grpc-web+proto",
    None,
);

pub(super) const RESPONSE_TOO_LARGE: Reason = reason(
    "because a filter has to keep the response's body, which is larger than the connection's buffer",
    "raise it",
    Some((At::Listener, "per_connection_buffer_limit_bytes", set("1073741824"))),
);

pub(super) const FORBIDDEN: Reason = reason(
    "because the rules of the rbac filter do not let the request through",
    "let such requests through by its rules",
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("rbac.v3.RBAC"))),
);

const HEALTH_CHECK: Reason = reason(
    "because the request is a health check, to which the health_check filter responds",
    "write pass_through_mode: true to have the upstream respond",
    Some((At::Filter("health_check.v3.HealthCheck"), "pass_through_mode", set("true"))),
);

const CHECK_CACHED: Reason = reason(
    "because this was the app's status for a health check less than cache_time ago",
    "shorten cache_time of the health_check filter",
    Some((At::Filter("health_check.v3.HealthCheck"), "cache_time", set("0.001s"))),
);

const CHECK_FAILED: Reason = reason(
    "because POST /healthcheck/fail has marked this proxy as unhealthy",
    "send POST /healthcheck/ok to its admin interface",
    None,
);

const CHECK_EMPTY: Reason = reason(
    "because a cluster that the health_check filter names has no endpoints",
    "give it endpoints, or take it out of cluster_min_healthy_percentages",
    Some((At::Filter("health_check.v3.HealthCheck"), "cluster_min_healthy_percentages", Proposal::Remove)),
);

const CHECK_UNHEALTHY: Reason = reason(
    "because too few endpoints of a cluster that the health_check filter names are healthy",
    "mend its endpoints, or lower its percentage in cluster_min_healthy_percentages",
    Some((At::Filter("health_check.v3.HealthCheck"), "cluster_min_healthy_percentages", Proposal::Remove)),
);

const CHECK_WITHOUT_CLUSTER: Reason = reason(
    "because the health_check filter names a cluster that does not exist",
    "correct the name in cluster_min_healthy_percentages",
    Some((At::Filter("health_check.v3.HealthCheck"), "cluster_min_healthy_percentages", Proposal::Remove)),
);

pub(super) const OTHER_ORIGIN: Reason = reason(
    "because the request does not come from a page of the host that it asks, nor of one that the csrf filter names",
    "name the page's host in additional_origins of the csrf filter",
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("csrf.v3.CsrfPolicy"))),
);

pub(super) const PREFLIGHT: Reason = reason(
    "because the request is a preflight, which the route's CORS policy responds to",
    "no setting: the response names what the policy allows",
    None,
);

pub(super) const FAULT: Reason = reason(
    "because the fault filter refuses such requests on purpose",
    "remove its abort, or lower the percentage",
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("fault.v3.HTTPFault"))),
);

pub(super) const NOT_DECODABLE: Reason = reason(
    "because the decompressor filter cannot read the body: it is not of the coding that content-encoding names, is cut off, or \
     becomes too long",
    "have the sender name the coding that its body has, or let bodies through as they are",
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("decompressor.v3.Decompressor"))),
);

pub(super) const SCRIPT: Reason = reason(
    "because the script of the lua filter responded",
    "let such requests through by the script",
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("lua.v3.Lua"))),
);

pub(super) const UNSENDABLE: Reason = reason(
    "because a filter gave the request a header that no message can have",
    "correct the script of the lua filter",
    Some((At::Manager, "http_filters", Proposal::WithoutFilter("lua.v3.Lua"))),
);

/// Of a health check that the filter has responded to.
pub(super) fn of_check(responded: HealthCheck) -> Reason {
    match responded {
        HealthCheck::Cached => CHECK_CACHED,
        HealthCheck::ClusterEmpty => CHECK_EMPTY,
        HealthCheck::ClusterHealthy | HealthCheck::Ok => HEALTH_CHECK,
        HealthCheck::ClusterUnhealthy => CHECK_UNHEALTHY,
        HealthCheck::Failed => CHECK_FAILED,
        HealthCheck::NoCluster => CHECK_WITHOUT_CLUSTER,
    }
}
/// The reason of a forward proxy that does not get to the host of a request.
pub(super) fn of_host(details: &Details) -> Option<Reason> {
    [
        (matches!(details, Details::DnsResolutionFailure(_)), NO_SUCH_HOST),
        (*details == Details::DnsCacheOverflow, TOO_MANY_HOSTS),
        (*details == Details::ForwardProxyPendingOverflow, TOO_MANY_WAIT),
        (*details == Details::EmptyHostHeader, EMPTY_HOST),
    ]
    .into_iter()
    .find_map(|(is_it, reason)| is_it.then_some(reason))
}

/// The host that a request names has no address.
const NO_SUCH_HOST: Reason = reason(
    "because the host that the request names has no address, and the route leads to whatever host it names",
    "name a host that exists",
    None,
);
/// The cache has no room for the host of a request.
const TOO_MANY_HOSTS: Reason = reason(
    "because as many hosts are known as max_hosts permits",
    "raise max_hosts of the dns_cache_config, in the filter and in the cluster",
    None,
);
/// As many requests wait for their hosts as may.
const TOO_MANY_WAIT: Reason = reason(
    "because as many requests wait for the name server as max_pending_requests permits",
    "raise max_pending_requests of the dns_cache_circuit_breaker, in the filter and in the cluster",
    None,
);
/// A request to be forwarded to its host names none.
const EMPTY_HOST: Reason = reason("because the request names no host to be forwarded to", "send it with a host", None);
