//! What a reason is made of: a sentence why, what would change it, where that setting stands and what it is to become.

use super::proposal::Proposal;

/// Where a setting stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum At {
    /// In the cluster that the route leads to.
    Cluster,
    /// Among the cluster's HTTP options.
    ClusterHttp,
    /// In an HTTP filter, by the end of its type's name.
    Filter(&'static str),
    /// In the listener.
    Listener,
    /// In the connection manager.
    Manager,
    /// In the route.
    Route,
}

/// Why a proxy did what it did, and what would have changed it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reason {
    /// Follows what was done: `because no route takes the request`.
    pub(super) why: &'static str,
    /// What to do about it.
    pub(super) change: &'static str,
    /// With which setting, and what it is to become; none if none is about it.
    pub(super) setting: Option<(At, &'static str, Proposal)>,
}

pub(super) const fn reason(
    why: &'static str,
    change: &'static str,
    setting: Option<(At, &'static str, Proposal)>,
) -> Reason {
    Reason { why, change, setting }
}
