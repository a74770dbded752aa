//! What `set_filter_state` means, as an HTTP filter and as a network filter.

use super::access_log::line_format;
use crate::config::bootstrap::filter_state::{FilterStateValue, SharedWithUpstream};
use crate::config::filter_state::{Mutability, ObjectKind, Sharing, StateEntry, WhenEmpty};
use crate::config::problem::Problem;
use crate::config::yaml::At;

/// What is set, one after the other.
pub(super) fn entries(written: &[At<FilterStateValue>]) -> Result<Vec<StateEntry>, Problem> {
    written.iter().map(|at| entry(&at.value)).collect()
}

fn entry(written: &FilterStateValue) -> Result<StateEntry, Problem> {
    Ok(StateEntry {
        key: (&**written.object_key.value).into(),
        kind: kind(written)?,
        format: line_format(&written.format_string)?,
        mutability: if written.read_only { Mutability::ReadOnly } else { Mutability::Mutable },
        sharing: match written.shared_with_upstream {
            None | Some(SharedWithUpstream::None) => Sharing::None,
            Some(SharedWithUpstream::Once) => Sharing::Once,
            Some(SharedWithUpstream::Transitive) => Sharing::Transitive,
        },
        when_empty: if written.skip_if_empty { WhenEmpty::Skip } else { WhenEmpty::Set },
    })
}

/// The factory of an object is that of its key, unless another is named.
fn kind(written: &FilterStateValue) -> Result<ObjectKind, Problem> {
    let named = written.factory_key.as_ref().filter(|name| !name.value.is_empty());
    let (name, place) = match named {
        Some(name) => (&*name.value, &name.place),
        None => (&**written.object_key.value, &written.object_key.place),
    };
    ObjectKind::of_factory(name).ok_or_else(|| {
        let known = ObjectKind::ALL.map(|(name, _)| name).join(", ");
        Problem::invalid_but(
            place,
            format!("'{name}' does not have an object factory"),
            format!("write factory_key: envoy.string, or one of {known}"),
        )
    })
}
