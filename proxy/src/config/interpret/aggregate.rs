//! Clusters whose type is an extension: those whose endpoints are those of other clusters (`envoy.clusters.aggregate`), and what
//! they have in common with forward proxies.

use super::forward_proxy;
use crate::config::bootstrap::aggregate::{AggregateClusterConfig, CustomClusterType, TypedCluster};
use crate::config::bootstrap::balancing::LbPolicy;
use crate::config::bootstrap::cluster::Cluster as Written;
use crate::config::cluster::Discovery;
use crate::config::error::Place;
use crate::config::problem::Problem;
use crate::config::yaml::{At, Notes};

/// Where the endpoints of such a cluster come from.
pub(super) fn discovery(cluster: &Written, custom: &At<CustomClusterType>) -> Result<Discovery, Problem> {
    if cluster.r#type.is_some() {
        return Err(custom.invalid("a cluster takes one of type and cluster_type"));
    }
    let provided = cluster.lb_policy.as_ref().filter(|policy| policy.value == LbPolicy::ClusterProvided);
    if provided.is_none() || cluster.load_balancing_policy.is_some() {
        let name = &cluster.name.value;
        return Err(cluster.name.invalid_but(
            format!("cluster provided LB not specified but cluster '{name}' provided one"),
            "write lb_policy: CLUSTER_PROVIDED, and no load_balancing_policy",
        ));
    }
    if let Some(subsets) = &cluster.lb_subset_config {
        return Err(subsets.invalid("lb_policy CLUSTER_PROVIDED cannot be combined with lb_subset_config"));
    }
    let config = match &custom.value.typed_config {
        TypedCluster::Aggregate(config) => config,
        TypedCluster::Forward(config) => return forward_proxy::discovery(cluster, config),
    };
    let AggregateClusterConfig { clusters } = &config.value;
    if clusters.is_empty() {
        return Err(config.invalid("clusters must contain at least 1 item"));
    }
    Ok(Discovery::Aggregate(clusters.iter().map(|name| name.value.as_str().into()).collect()))
}

/// What such a cluster has no use for, as in Envoy.
pub(super) fn note_unused(cluster: &Written, notes: &Notes) {
    let Some(custom) = &cluster.cluster_type else { return };
    let assigned = cluster.load_assignment.as_ref().map(|at| &at.place);
    match custom.value.typed_config {
        TypedCluster::Aggregate(_) => {
            let check = cluster.health_checks.first().map(|at| &at.place);
            let detection = cluster.outlier_detection.as_ref().map(|at| &at.place);
            for place in [assigned, check, detection].into_iter().flatten() {
                notes.note(place, "has no effect: the endpoints are those of the clusters that cluster_type lists");
            }
        }
        TypedCluster::Forward(_) => {
            if let Some(place) = assigned {
                notes.note(place, "has no effect: the endpoints are the hosts that requests name");
            }
        }
    }
}

/// The names of other clusters in these, with their places.
pub(super) fn names(clusters: &[At<Written>]) -> Vec<(Place, String)> {
    let custom = clusters.iter().filter_map(|cluster| cluster.value.cluster_type.as_ref());
    let listed = custom.flat_map(|custom| match &custom.value.typed_config {
        TypedCluster::Aggregate(config) => &config.value.clusters[..],
        TypedCluster::Forward(_) => &[],
    });
    listed.map(|name| (name.place.clone(), name.value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn what_such_clusters_cannot_have_is_refused() {
        let provided = "lb_policy: CLUSTER_PROVIDED";
        for (fields, clusters, message) in [
            ("", "a", "cluster provided LB not specified but cluster 'c' provided one"),
            ("lb_policy: ROUND_ROBIN", "a", "cluster provided LB not specified but cluster 'c' provided one"),
            ("lb_policy: CLUSTER_PROVIDED, type: STATIC", "a", "takes one of type and cluster_type"),
            (provided, "", "clusters must contain at least 1 item"),
            (
                "lb_policy: CLUSTER_PROVIDED, lb_subset_config: { subset_selectors: [{ keys: [a] }] }",
                "a",
                "cannot be combined with lb_subset_config",
            ),
        ] {
            let yaml = format!(
                "static_resources: {{ clusters: [{{ name: c, cluster_type: {{ name: t, typed_config: {{ '@type': \
                 type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig, clusters: [{clusters}] }} }}, \
                 {fields} }}] }}"
            );
            let error = Config::from_yaml(&yaml, "envoy.yaml").unwrap_err().to_string();
            assert!(error.contains(message), "{fields}: {error}");
        }
    }
}
