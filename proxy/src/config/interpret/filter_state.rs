//! What `set_filter_state` means, as an HTTP filter and as a network filter.

use super::access_log::line_format;
use crate::config::bootstrap::filter_state::{FilterStateValue, HttpSetFilterState, SharedWithUpstream};
use crate::config::error::Cause;
use crate::config::filter::SetFilterState;
use crate::config::filter_state::{ObjectKind, Sharing, StateEntry, WhenEmpty};
use crate::config::problem::Problem;
use crate::config::yaml::At;

/// The HTTP filter, before what routes add.
pub(super) fn filter(written: &HttpSetFilterState) -> Result<SetFilterState, Problem> {
    let levels = vec![entries(&written.on_request_headers)?.into()];
    Ok(SetFilterState { levels, clears_route: written.clear_route_cache })
}

/// What is set, one after the other.
pub(super) fn entries(written: &[At<FilterStateValue>]) -> Result<Vec<StateEntry>, Problem> {
    written.iter().map(|at| entry(&at.value)).collect()
}

fn entry(written: &FilterStateValue) -> Result<StateEntry, Problem> {
    Ok(StateEntry {
        key: (&*written.object_key.value).into(),
        kind: kind(written)?,
        format: line_format(&written.format_string)?,
        sharing: match written.shared_with_upstream {
            None | Some(SharedWithUpstream::None) => Sharing::None,
            Some(SharedWithUpstream::Once) => Sharing::Once,
            Some(SharedWithUpstream::Transitive) => Sharing::Transitive,
        },
        when_empty: if written.skip_if_empty { WhenEmpty::Skip } else { WhenEmpty::Set },
    })
}

/// The other factories of Envoy.
const UNREAD: [&str; 8] = [
    "envoy.filters.listener.original_dst.local_ip",
    "envoy.filters.listener.original_dst.remote_ip",
    "envoy.network.ip",
    "envoy.network.network_namespace",
    "envoy.network.transport_socket.original_dst_address",
    "envoy.ratelimit.hits_addend",
    "envoy.upstream.dynamic_host",
    "envoy.upstream.dynamic_port",
];

/// The factory of an object is that of its key, unless another is named.
fn kind(written: &FilterStateValue) -> Result<ObjectKind, Problem> {
    let named = written.factory_key.as_ref().filter(|name| !name.value.is_empty());
    let (name, place) = match named {
        Some(name) => (&*name.value, &name.place),
        None => (&*written.object_key.value, &written.object_key.place),
    };
    ObjectKind::of_factory(name).ok_or_else(|| {
        let known = ObjectKind::ALL.map(|(name, _)| name).join(", ");
        let remedy = format!("write as factory_key one of {known}");
        let what = if UNREAD.contains(&name) {
            format!("'{name}' is not supported: nothing here would read such an object")
        } else {
            format!("'{name}' does not have an object factory") // Envoy's words
        };
        Problem::at(place, Cause::Invalid { what, remedy: Some(remedy) })
    })
}
