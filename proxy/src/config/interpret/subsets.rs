//! Subsets of the endpoints of a cluster: what they mean.

use std::collections::BTreeSet;

use super::metadata;
use crate::config::bootstrap::balancing::{
    FallbackPolicy, LbSubsetConfig, MetadataFallbackPolicy, SelectorFallbackPolicy, SubsetSelector,
};
use crate::config::problem::Problem;
use crate::config::subsets::{Fallback, Selector, SelectorFallback, SubsetLocalities, Subsets};
use crate::config::yaml::At;

/// `None`: without selectors there are no subsets, as in Envoy.
pub(super) fn subsets(written: &LbSubsetConfig) -> Result<Option<Subsets>, Problem> {
    if written.subset_selectors.is_empty() {
        return Ok(None);
    }
    Ok(Some(Subsets {
        selectors: written.subset_selectors.iter().map(selector).collect::<Result<_, _>>()?,
        fallback: match written.fallback_policy {
            None | Some(FallbackPolicy::NoFallback) => Fallback::None,
            Some(FallbackPolicy::AnyEndpoint) => Fallback::Any,
            Some(FallbackPolicy::DefaultSubset) => Fallback::Default,
        },
        default: written.default_subset.as_ref().map(metadata::members).transpose()?.unwrap_or_default(),
        localities: match (written.locality_weight_aware, written.scale_locality_weight) {
            (true, true) => SubsetLocalities::Scaled,
            (true, false) => SubsetLocalities::Weighted,
            (false, _) => SubsetLocalities::Merged,
        },
        panic_any: written.panic_mode_any,
        list_as_any: written.list_as_any,
        redundant_keys: written.allow_redundant_keys,
        reads_fallback_list: matches!(written.metadata_fallback_policy, Some(MetadataFallbackPolicy::FallbackList)),
    }))
}

fn selector(at: &At<SubsetSelector>) -> Result<Selector, Problem> {
    let SubsetSelector { fallback_keys_subset, fallback_policy, keys, single_host_per_subset } = &at.value;
    let keys: BTreeSet<String> = keys.iter().cloned().collect();
    if *single_host_per_subset && keys.len() != 1 {
        return Err(at.invalid("subset selector's single_host_per_subset requires exactly one key"));
    }
    let fallback_keys: BTreeSet<String> = fallback_keys_subset.iter().cloned().collect();
    let fallback = match fallback_policy {
        None | Some(SelectorFallbackPolicy::NotDefined) => None,
        Some(SelectorFallbackPolicy::NoFallback) => Some(SelectorFallback::Plain(Fallback::None)),
        Some(SelectorFallbackPolicy::AnyEndpoint) => Some(SelectorFallback::Plain(Fallback::Any)),
        Some(SelectorFallbackPolicy::DefaultSubset) => Some(SelectorFallback::Plain(Fallback::Default)),
        Some(SelectorFallbackPolicy::KeysSubset) => Some(SelectorFallback::Keys(fallback_keys.clone())),
    };
    if matches!(fallback, Some(SelectorFallback::Keys(_))) {
        if fallback_keys.is_empty() {
            return Err(at.invalid("fallback_keys_subset cannot be empty with KEYS_SUBSET"));
        }
        if !fallback_keys.is_subset(&keys) {
            return Err(at.invalid("fallback_keys_subset must be a subset of keys"));
        }
        if fallback_keys == keys {
            return Err(at.invalid("fallback_keys_subset cannot be equal to keys"));
        }
    } else if !fallback_keys.is_empty() {
        return Err(at.invalid("fallback_keys_subset can be set only with KEYS_SUBSET"));
    }
    Ok(Selector { keys, fallback, single: *single_host_per_subset })
}
