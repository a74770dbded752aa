//! Forward proxies: clusters and filters whose hosts come from requests (`envoy.clusters.dynamic_forward_proxy`,
//! `envoy.filters.http.dynamic_forward_proxy`), and the caches that both name.

use std::sync::Arc;
use std::time::Duration;

use super::resolution;
use super::rewrite::literal_host;
use crate::config::bootstrap::aggregate::TypedCluster;
use crate::config::bootstrap::cluster::{Cluster as Written, UpstreamNameOptions};
use crate::config::bootstrap::forward_proxy::{
    DnsCacheConfig, ForwardProxyCluster, ForwardProxyFilter, ForwardProxyPerRoute,
};
use crate::config::cluster::Discovery;
use crate::config::dns_cache::{DnsCache, ForwardProxy, HostRewrite};
use crate::config::error::{Cause, Place};
use crate::config::problem::Problem;
use crate::config::units::Seconds;
use crate::config::upstream_name::{HostAsName, HostUses};
use crate::config::yaml::{At, Notes};

// Envoy's.
const REFRESH: Duration = Duration::from_secs(60);
const REFRESH_SHORTEST: Duration = Duration::from_millis(1);
const REFRESH_MIN: Duration = Duration::from_secs(5);
const REFRESH_MIN_SHORTEST: Duration = Duration::from_secs(1);
const HOST_TTL: Duration = Duration::from_mins(5);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
const HOSTS_MAX: u32 = 1024;
const PENDING_MAX: u32 = 1024;

/// Where the endpoints of such a cluster come from.
pub(super) fn discovery(cluster: &Written, config: &At<ForwardProxyCluster>) -> Result<Discovery, Problem> {
    if let Some(check) = cluster.health_checks.first() {
        return Err(check.invalid_but(
            "hosts of a dynamic_forward_proxy cluster are known while requests name them, and are not checked",
            "delete it, or write outlier_detection",
        ));
    }
    let names = cluster.http_options().map(|options| options.value.upstream_http_protocol_options.as_ref());
    let uses_both = names.is_none_or(|names| {
        names.is_some_and(|UpstreamNameOptions { auto_san_validation, auto_sni, .. }| *auto_san_validation && *auto_sni)
    });
    if !config.value.allow_insecure_cluster_options && !uses_both {
        return Err(config.invalid_but(
            "dynamic_forward_proxy cluster must have auto_sni and auto_san_validation true unless \
             allow_insecure_cluster_options is set",
            "write upstream_http_protocol_options: { auto_sni: true, auto_san_validation: true } in the \
             HttpProtocolOptions of the cluster",
        ));
    }
    cache(config.value.dns_cache_config.as_ref(), &config.place).map(|cache| Discovery::Forward(Arc::new(cache)))
}

/// What the host of a request means for TLS where a cluster has no HTTP options: of such a cluster, all.
pub(super) fn host_as_name(cluster: &Written) -> Option<HostAsName> {
    let is_forward = cluster.cluster_type.as_ref().is_some_and(|custom| match custom.value.typed_config {
        TypedCluster::Aggregate(_) => false,
        TypedCluster::Forward(_) => true,
    });
    (is_forward && cluster.http_options().is_none()).then_some(HostAsName { header: None, uses: HostUses::Both })
}

/// Such a cluster has the same cache as all others that name it.
pub(super) fn share_cache(cluster: &Written, notes: &Notes) -> Result<(), Problem> {
    let Some(TypedCluster::Forward(config)) = cluster.cluster_type.as_ref().map(|custom| &custom.value.typed_config)
    else {
        return Ok(());
    };
    shared(config.value.dns_cache_config.as_ref(), &config.place, notes).map(drop)
}

/// The filter.
pub(super) fn filter(written: &ForwardProxyFilter, place: &Place, notes: &Notes) -> Result<ForwardProxy, Problem> {
    let cache = shared(written.dns_cache_config.as_ref(), place, notes)?;
    Ok(ForwardProxy { cache, rewrite: None })
}

/// The filter where the most specific level has this rewrite, if one has.
pub(super) fn below(own: &Arc<ForwardProxy>, rewrite: Option<&Option<HostRewrite>>) -> Arc<ForwardProxy> {
    let Some(rewrite) = rewrite else { return Arc::clone(own) };
    Arc::new(ForwardProxy { cache: Arc::clone(&own.cache), rewrite: rewrite.clone() })
}

/// What a level says of it.
pub(super) fn of_route(written: &ForwardProxyPerRoute, place: &Place) -> Result<Option<HostRewrite>, Problem> {
    match (&written.host_rewrite_literal, &written.host_rewrite_header) {
        (Some(_), Some(_)) => Err(Problem::invalid(place, "takes one of host_rewrite_literal and host_rewrite_header")),
        (Some(literal), None) => Ok(literal_host(literal)?.map(HostRewrite::Literal)),
        (None, Some(header)) if !header.value.is_empty() => {
            let name = header.value.parse().map_err(|_| header.invalid("is not the name of a header"))?;
            Ok(Some(HostRewrite::Header(name)))
        }
        (None, _) => Ok(None),
    }
}

/// The cache, which has the same settings wherever it is named.
fn shared(written: Option<&At<DnsCacheConfig>>, place: &Place, notes: &Notes) -> Result<Arc<DnsCache>, Problem> {
    let cache = cache(written, place)?;
    let name = cache.name.clone();
    notes.share_cache(cache).ok_or_else(|| {
        let place = written.map_or(place, |written| &written.place);
        Problem::invalid(place, format!("config specified DNS cache '{name}' with different settings"))
    })
}

fn cache(written: Option<&At<DnsCacheConfig>>, place: &Place) -> Result<DnsCache, Problem> {
    let Some(At { value: written, .. }) = written else {
        return Err(Problem::at(place, Cause::Missing { field: "dns_cache_config" }));
    };
    resolution::check_resolver(written.typed_dns_resolver_config.as_ref())?;
    let preresolved = written.preresolve_hostnames.iter();
    Ok(DnsCache {
        name: written.name.to_string(),
        family: resolution::family(written.dns_lookup_family),
        refresh: at_least(written.dns_refresh_rate.as_ref(), REFRESH_SHORTEST, REFRESH)?,
        refresh_min: at_least(written.dns_min_refresh_rate.as_ref(), REFRESH_MIN_SHORTEST, REFRESH_MIN)?,
        after_failure: written.dns_failure_refresh_rate.as_ref().map(resolution::after_failure).transpose()?,
        host_ttl: written.host_ttl.map_or(HOST_TTL, |ttl| ttl.0),
        hosts_max: written.max_hosts.map_or(HOSTS_MAX, |max| max.0.get()),
        pending_max: written.dns_cache_circuit_breaker.and_then(|it| it.max_pending_requests).unwrap_or(PENDING_MAX),
        query_timeout: written.dns_query_timeout.map_or(Some(QUERY_TIMEOUT), Seconds::unless_zero),
        preresolved: preresolved.map(|at| (at.value.address.value.clone(), at.value.port_value)).collect(),
    })
}

fn at_least(written: Option<&At<Seconds>>, least: Duration, default: Duration) -> Result<Duration, Problem> {
    match written {
        Some(at) if at.value.0 < least => Err(at.invalid(format!("must be at least {}s", least.as_secs_f64()))),
        Some(at) => Ok(at.value.0),
        None => Ok(default),
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    /// As Envoy 1.40 refuses it, where a message is not ours.
    #[test]
    fn what_such_clusters_cannot_have_is_refused() {
        let options = |names: &str| {
            format!(
                "lb_policy: CLUSTER_PROVIDED, typed_extension_protocol_options: {{ \
                 envoy.extensions.upstreams.http.v3.HttpProtocolOptions: {{ '@type': \
                 type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {names} \
                 explicit_http_config: {{ http2_protocol_options: {{}} }} }} }}"
            )
        };
        let provided = "lb_policy: CLUSTER_PROVIDED".to_owned();
        let check = "health_checks: [{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, \
                     tcp_health_check: {} }]";
        let insecure = "must have auto_sni and auto_san_validation true";
        for (fields, config, message) in [
            (
                String::new(),
                "dns_cache_config: { name: q }",
                "cluster provided LB not specified but cluster 'c' provided",
            ),
            (options(""), "dns_cache_config: { name: q }", insecure),
            (options("upstream_http_protocol_options: { auto_sni: true },"), "dns_cache_config: { name: q }", insecure),
            (format!("{provided}, {check}"), "dns_cache_config: { name: q }", "are not checked"),
            (provided.clone(), "sub_clusters_config: {}", "sub_clusters_config"),
            (provided.clone(), "", "dns_cache_config"),
            (provided.clone(), "dns_cache_config: { name: '' }", "must not be empty"),
            (provided.clone(), "dns_cache_config: { name: q, dns_min_refresh_rate: 0.5s }", "must be at least 1s"),
            (provided.clone(), "dns_cache_config: { name: q, dns_refresh_rate: 0.0001s }", "must be at least 0.001s"),
            (provided.clone(), "dns_cache_config: { name: q, max_hosts: 0 }", "must be at least 1"),
            (provided.clone(), "dns_cache_config: { name: q, host_ttl: 0s }", "greater than 0s"),
            (provided, "dns_cache_config: { name: q, key_value_config: {} }", "key_value_config"),
        ] {
            let error = load(&fields, config).unwrap_err();
            assert!(error.contains(message), "{fields} {config}: {error}");
        }
        assert_eq!(load(&options(""), "dns_cache_config: { name: q }, allow_insecure_cluster_options: true"), Ok(()));
    }

    fn load(fields: &str, config: &str) -> Result<(), String> {
        let yaml = format!(
            "static_resources: {{ clusters: [{{ name: c, cluster_type: {{ name: t, typed_config: {{ '@type': \
             type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, {config} }} }}, \
             {fields} }}] }}"
        );
        Config::from_yaml(&yaml, "envoy.yaml").map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cache_has_the_same_settings_wherever_it_is_named() {
        let cluster = |name: &str, cache: &str| {
            format!(
                "{{ name: {name}, lb_policy: CLUSTER_PROVIDED, cluster_type: {{ name: t, typed_config: {{ '@type': \
                 type.googleapis.com/envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig, \
                 dns_cache_config: {{ {cache} }} }} }} }}"
            )
        };
        for (other, is_same) in [
            ("name: q, max_hosts: 7", true),
            ("name: m", true),
            ("name: q", false),
            ("name: q, max_hosts: 7, dns_lookup_family: V4_ONLY", false),
        ] {
            let (one, other) = (cluster("a", "name: q, max_hosts: 7"), cluster("b", other));
            let yaml = format!("static_resources: {{ clusters: [{one}, {other}] }}");
            let loaded = Config::from_yaml(&yaml, "envoy.yaml").map(|loaded| loaded.config.dns_caches.len());
            match loaded {
                Ok(_) => assert!(is_same, "{other}"),
                Err(error) => {
                    assert!(!is_same, "{other}: {error}");
                    let message = "config specified DNS cache 'q' with different settings";
                    assert!(error.to_string().contains(message), "{error}");
                }
            }
        }
    }
}
