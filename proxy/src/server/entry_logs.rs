//! The access logs of a worker whose entries go to services: those with the same options share a call.

use std::cell::{OnceCell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;

use http::HeaderValue;

use super::ServerShared;
use crate::cluster::Clusters;
use crate::config::entry_log::EntryLog;
use crate::drain::{Direction, WorkerDrain};
use crate::filter::{FilterContext, FilterStats, HealthSources};
use crate::net::Outside;
use crate::stats::{EntryStats, HttpStats, Registry};
use crate::stream::{Calls, Entries, SubrequestParts};

/// Those of one worker.
#[derive(Default)]
pub(super) struct EntryLogs {
    known: RefCell<Vec<Weak<Entries>>>,
    calls: Calls,
    parts: OnceCell<SubrequestParts>,
}

impl EntryLogs {
    /// Where the entries of a log go.
    pub(super) fn sink(
        &self,
        log: &EntryLog,
        (outside, drain): (&Outside, &WorkerDrain),
        clusters: &Rc<Clusters>,
        shared: &Arc<ServerShared>,
    ) -> Rc<Entries> {
        let mut known = self.known.borrow_mut();
        known.retain(|entries| entries.strong_count() > 0);
        if let Some(same) = known.iter().filter_map(Weak::upgrade).find(|known| known.are_of(log)) {
            return same;
        }
        let parts = self.parts.get_or_init(|| parts(outside, drain, shared)).clone();
        let (node, stats) = (Arc::clone(&shared.snapshot().config.node), EntryStats::new(&shared.registry));
        let entries = Entries::new(log, &node, parts, clusters, stats, &self.calls);
        known.push(Rc::downgrade(&entries));
        entries
    }

    /// The worker ends: sends what waits, and waits for the responses as long as calls may last then.
    pub(super) async fn end(&self) {
        self.known.take().iter().filter_map(Weak::upgrade).for_each(|entries| entries.end());
        let mut calls = self.calls.take();
        while calls.join_next().await.is_some() {}
    }
}

/// A call belongs to no connection manager: what it would count there counts nowhere.
fn parts(outside: &Outside, drain: &WorkerDrain, shared: &Arc<ServerShared>) -> SubrequestParts {
    let nowhere = Arc::new(Registry::new());
    let filters = FilterContext::new(
        FilterStats::default(),
        0, // there are no filters
        (Rc::clone(&outside.random), Rc::clone(&outside.clock)),
        Arc::clone(&shared.runtime),
        (&nowhere, &Arc::default()),
        HealthSources {
            own_cluster: HeaderValue::from_static(""),
            drain: drain.listener(Direction::Other),
            membership: Box::new(|_| None),
        },
    );
    SubrequestParts {
        outside: outside.clone(),
        filters: Rc::new(filters),
        stats: Rc::new(HttpStats::new(&nowhere, "")),
        buffer_bytes_max: 0, // the cluster has a bound
    }
}
