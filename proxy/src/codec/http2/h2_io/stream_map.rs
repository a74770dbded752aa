//! Maps by stream identifier that hold no memory while no stream is there.

use std::collections::BTreeMap;

/// Takes what is kept of a stream out of a map, and gives the memory of the map back with its last stream: a node of a
/// B-tree has room for eleven, which an idle connection would keep.
pub(super) fn remove<T>(map: &mut BTreeMap<u32, T>, stream: u32) -> Option<T> {
    let removed = map.remove(&stream);
    if map.is_empty() {
        *map = BTreeMap::new();
    }
    removed
}
