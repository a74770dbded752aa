//! Clusters of type ORIGINAL_DST.

use std::time::Duration;

use http::HeaderName;

use crate::config::bootstrap::balancing::LbPolicy;
use crate::config::bootstrap::cluster::{Cluster as Written, DiscoveryType};
use crate::config::cluster::{Discovery, OriginalDestination};
use crate::config::problem::Problem;
use crate::config::yaml::Notes;

/// Envoy's `cleanup_interval`
const CLEANUP: Duration = Duration::from_secs(5);
/// Envoy's `http_header_name`
const HEADER: HeaderName = HeaderName::from_static("x-envoy-original-dst-host");

/// Where the endpoints of such a cluster come from.
pub(super) fn discovery(cluster: &Written) -> Result<Discovery, Problem> {
    if let Some(assigned) = &cluster.load_assignment {
        return Err(assigned.invalid_but(
            "ORIGINAL_DST clusters must have no load assignment configured",
            "delete it: endpoints are where connections were to go",
        ));
    }
    if let Some(policy) = &cluster.load_balancing_policy {
        let name = &cluster.name.value;
        return Err(policy.invalid_but(
            format!("cluster provided LB not specified but cluster '{name}' provided one"),
            "write lb_policy: CLUSTER_PROVIDED in place of it",
        ));
    }
    let place = cluster.lb_policy.as_ref().map_or(&cluster.name.place, |policy| &policy.place);
    if cluster.lb_policy.as_ref().map(|policy| policy.value) != Some(LbPolicy::ClusterProvided) {
        let what = "Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'";
        return Err(Problem::invalid(place, what));
    }
    if let Some(subsets) = &cluster.lb_subset_config {
        return Err(subsets.invalid("lb_policy CLUSTER_PROVIDED cannot be combined with lb_subset_config"));
    }
    if let Some(check) = cluster.health_checks.first() {
        return Err(check.invalid_but(
            "endpoints of an ORIGINAL_DST cluster are known while they are used, and are not checked",
            "delete it, or write outlier_detection",
        ));
    }
    let options = cluster.original_dst_lb_config.as_ref().map(|options| &options.value);
    Ok(Discovery::Original(OriginalDestination {
        header: header(cluster)?,
        port: options.and_then(|options| options.upstream_port_override),
        cleanup: cluster.cleanup_interval.map_or(CLEANUP, |interval| interval.0),
    }))
}

fn header(cluster: &Written) -> Result<Option<HeaderName>, Problem> {
    let Some(options) = &cluster.original_dst_lb_config else { return Ok(None) };
    let named = options.value.http_header_name.as_ref().filter(|name| !name.value.is_empty());
    match (options.value.use_http_header, named) {
        (false, Some(named)) => Err(named.invalid_but(
            format!("invalid config http_header_name={} and use_http_header is false", named.value),
            "write use_http_header: true beside it",
        )),
        (false, None) => Ok(None),
        (true, None) => Ok(Some(HEADER)),
        (true, Some(named)) => named.value.parse().map(Some).map_err(|_| named.invalid("is not the name of a header")),
    }
}

/// Options of such clusters have no effect on others, as in Envoy.
pub(super) fn note_unused(cluster: &Written, notes: &Notes) {
    match cluster.r#type {
        Some(DiscoveryType::OriginalDst) => {}
        None
        | Some(DiscoveryType::Eds | DiscoveryType::LogicalDns | DiscoveryType::Static | DiscoveryType::StrictDns) => {
            if let Some(options) = &cluster.original_dst_lb_config {
                notes.note(&options.place, "has no effect: the cluster is not of type ORIGINAL_DST");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_such_clusters_cannot_have_is_refused() {
        let provided = "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED";
        for (fields, message) in [
            ("type: ORIGINAL_DST".to_owned(), "Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'"),
            (format!("{provided}, load_assignment: {{ cluster_name: c }}"), "must have no load assignment configured"),
            (
                format!("{provided}, original_dst_lb_config: {{ http_header_name: x-to }}"),
                "invalid config http_header_name=x-to and use_http_header is false",
            ),
            (
                format!("{provided}, original_dst_lb_config: {{ use_http_header: true, http_header_name: 'a b' }}"),
                "is not the name of a header",
            ),
            (
                format!("{provided}, original_dst_lb_config: {{ metadata_key: {{ key: k }} }}"),
                "the address comes from the connection or from a header",
            ),
            (
                format!("{provided}, lb_subset_config: {{ subset_selectors: [{{ keys: [a] }}] }}"),
                "cannot be combined with lb_subset_config",
            ),
            (
                format!(
                    "{provided}, health_checks: [{{ timeout: 1s, interval: 1s, unhealthy_threshold: 1, \
                     healthy_threshold: 1, tcp_health_check: {{}} }}]"
                ),
                "are not checked",
            ),
            ("lb_policy: CLUSTER_PROVIDED".to_owned(), "value `CLUSTER_PROVIDED` is not supported"),
        ] {
            let yaml = format!("static_resources: {{ clusters: [{{ name: c, {fields} }}] }}");
            let error = Config::from_yaml(&yaml, "envoy.yaml").unwrap_err().to_string();
            assert!(error.contains(message), "{fields}: {error}");
        }
    }
}
