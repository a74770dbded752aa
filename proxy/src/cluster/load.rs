//! What the connections of one worker to a cluster carry, and could carry: the sum over its pools.

use std::cell::Cell;
use std::rc::Rc;

/// What connections carry, and could carry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Load {
    /// Requests that wait for a connection.
    pub(super) waiting: usize,
    /// Requests that have one.
    pub(super) active: usize,
    /// Requests that the connections, those being opened included, could take in addition.
    pub(super) free: usize,
}

impl Load {
    /// Is that too little for the requests, and one that is expected, at `percent` of them?
    pub(super) fn wants_more(self, percent: u32) -> bool {
        let requests = self.waiting.saturating_add(self.active).saturating_add(1);
        let percent = usize::try_from(percent).unwrap_or(usize::MAX);
        requests.saturating_mul(percent) > self.free.saturating_add(self.active).saturating_mul(100)
    }
}

/// The sum over the pools of a cluster.
#[derive(Debug, Default)]
pub struct ClusterLoad(Cell<Load>);

impl ClusterLoad {
    /// As [`Load::wants_more`].
    pub(super) fn wants_more(&self, percent: u32) -> bool {
        self.0.get().wants_more(percent)
    }
}

/// The part of one pool. Dropped, it is taken out of the sum.
#[derive(Debug)]
pub(super) struct PoolLoad {
    sum: Rc<ClusterLoad>,
    own: Cell<Load>,
}

impl PoolLoad {
    /// A pool without connections.
    pub(super) fn new(sum: Rc<ClusterLoad>) -> Self {
        Self { sum, own: Cell::default() }
    }

    /// It carries this now.
    pub(super) fn set(&self, now: Load) {
        let before = self.own.replace(now);
        let replaced = |sum: usize, before: usize, now: usize| sum.saturating_sub(before).saturating_add(now);
        let sum = self.sum.0.get();
        self.sum.0.set(Load {
            waiting: replaced(sum.waiting, before.waiting, now.waiting),
            active: replaced(sum.active, before.active, now.active),
            free: replaced(sum.free, before.free, now.free),
        });
    }
}

impl Drop for PoolLoad {
    fn drop(&mut self) {
        self.set(Load::default());
    }
}
