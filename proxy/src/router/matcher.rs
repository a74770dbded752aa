//! What a route's match accepts.

use super::chance::Chance;
use crate::codec::RequestHead;
use crate::codec::route_matching::{condition_holds, path_takes};
use crate::config::route::Route;

/// Does the route take the request? `path` is its path as far as it counts.
pub(super) fn route_takes(route: &Route, head: &RequestHead, path: &[u8], chance: &Chance<'_>) -> bool {
    route.conditions.iter().all(|condition| condition_holds(condition, head, |share| chance.is_within(share)))
        && path_takes(&route.matches, head, path)
}
