//! What `weighted_clusters` and mirrors mean.

use super::fraction::fraction;
use super::metadata::metadata_match;
use super::mutation::{self, edits};
use super::rewrite::literal_host;
use super::targets::{Levels, OfCluster, Targets};
use crate::config::bootstrap::route::{ClusterWeight, RequestMirrorPolicy, WeightedCluster as Written};
use crate::config::problem::Problem;
use crate::config::route::{HeaderEdits, Mirror, MirrorHost, NamedCluster, WeightedCluster, WeightedClusters};
use crate::config::subsets::MetadataMatch;
use crate::config::yaml::At;

pub(super) fn clusters(
    at: &At<Written>,
    of_route: Option<&MetadataMatch>,
    targets: Targets<'_>,
    levels: &Levels<'_>,
) -> Result<WeightedClusters, Problem> {
    let written = &at.value;
    if written.clusters.is_empty() {
        return Err(at.invalid("weighted_clusters needs at least one cluster"));
    }
    let prefix = &written.runtime_key_prefix;
    let clusters = written.clusters.iter().map(|written| cluster(written, prefix, of_route, targets, levels));
    let clusters: Vec<WeightedCluster> = clusters.collect::<Result<_, _>>()?;
    let sum: u64 = clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
    // Runtime keys may say otherwise at any time.
    if sum == 0 && prefix.is_empty() {
        return Err(at.invalid("sum of weights in the weighted_cluster must be greater than 0"));
    }
    if sum > u64::from(u32::MAX) {
        return Err(at.invalid(format!("the sum of weights of all weighted clusters exceeds {}", u32::MAX)));
    }
    Ok(WeightedClusters { clusters, chosen_by: written.header_name.as_ref().map(|name| name.to_string()) })
}

fn cluster(
    at: &At<ClusterWeight>,
    prefix: &str,
    of_route: Option<&MetadataMatch>,
    targets: Targets<'_>,
    levels: &Levels<'_>,
) -> Result<WeightedCluster, Problem> {
    let written = &at.value;
    let name = written.name.as_ref().filter(|name| !name.value.is_empty());
    let cluster = match (name, &written.cluster_header) {
        (Some(name), None) => targets.cluster(name)?,
        (None, Some(header)) => NamedCluster::Header(header.value.to_string()),
        (Some(_), Some(_)) => return Err(at.invalid("only one of name or cluster_header can be specified")),
        (None, None) => return Err(at.invalid("at least one of name or cluster_header needs to be specified")),
    };
    let own = HeaderEdits {
        request: edits(&written.request_headers_to_add, &written.request_headers_to_remove)?,
        response: edits(&written.response_headers_to_add, &written.response_headers_to_remove)?,
    };
    let OfCluster { filters, edits } = levels.below(&written.typed_per_filter_config, own, targets)?;
    // As in Envoy, one that a header names has the key of no name.
    let key = (!prefix.is_empty()).then(|| format!("{prefix}.{}", name.map_or("", |name| &name.value)));
    if let Some(key) = &key {
        targets.notes.reads(key);
    }
    let own = metadata_match(written.metadata_match.as_ref())?;
    Ok(WeightedCluster {
        cluster,
        metadata_match: match (own, of_route) {
            (Some(own), Some(route)) => Some(route.joined(&own.written)),
            (own, route) => own.or_else(|| route.cloned()),
        },
        weight: written.weight.value,
        key,
        host: written.host_rewrite_literal.as_ref().map(literal_host).transpose()?.flatten(),
        edits,
        filters,
    })
}

/// The clusters that get copies. A level that names any replaces those above it.
pub(super) fn mirrors(written: &[At<RequestMirrorPolicy>], targets: Targets<'_>) -> Result<Vec<Mirror>, Problem> {
    let mirror = |at: &At<RequestMirrorPolicy>| {
        let written = &at.value;
        let name = written.cluster.as_ref().filter(|name| !name.value.is_empty());
        let cluster = match (name, &written.cluster_header) {
            (Some(name), None) => targets.cluster(name)?,
            (None, Some(header)) => NamedCluster::Header(header.value.to_string()),
            _ => return Err(at.invalid("exactly one of cluster or cluster_header has to be specified")),
        };
        let share = written.runtime_fraction.as_ref().map(|share| fraction(share, targets.notes));
        let literal = written.host_rewrite_literal.as_ref().map(literal_host).transpose()?.flatten();
        let host = match literal {
            Some(host) => MirrorHost::Literal(host),
            None if written.disable_shadow_host_suffix_append => MirrorHost::Same,
            None => MirrorHost::Shadow,
        };
        let edits = written.request_headers_mutations.iter().map(mutation::header).collect::<Result<_, _>>()?;
        Ok(Mirror { cluster, share, host, edits })
    };
    written.iter().map(mirror).collect()
}
