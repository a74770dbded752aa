//! `envoy.filters.http.set_metadata`: fixed values under a namespace, for logs, headers and filters behind it.

use crate::config::filter::{MetadataEntry, Overwriting, SetMetadata};
use crate::config::metadata::{Metadata, merge};
use crate::stats::Counter;

use super::context::MetadataStats;

/// A request's head has come: the filter's own entries are set, then those of its route.
pub(super) fn on_request(options: &SetMetadata, metadata: &mut Option<Box<Metadata>>, stats: &MetadataStats) {
    let metadata = metadata.get_or_insert_default();
    set(&options.own, metadata, &stats.own.overwrite_denied);
    if let Some(of_route) = &options.of_route {
        set(of_route, metadata, &stats.of_routes.overwrite_denied);
    }
}

fn set(entries: &[MetadataEntry], metadata: &mut Metadata, denied: &Counter) {
    for entry in entries {
        match (metadata.0.get_mut(&entry.namespace), entry.overwriting) {
            (None, _) => drop(metadata.0.insert(entry.namespace.clone(), entry.value.clone())),
            (Some(there), Overwriting::Merged) => merge(there, &entry.value),
            (Some(_), Overwriting::Denied) => denied.inc(),
        }
    }
}
