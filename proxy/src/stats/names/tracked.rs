//! What is counted of a cluster only where its configuration wants it (`track_cluster_stats`).

use super::{cluster_prefix, last_words, scope};
use crate::config::cluster::ExtraStats;
use crate::stats::{Histogram, Registry};

/// What is counted of a cluster besides [`ClusterStats`](super::ClusterStats).
#[derive(Clone, Debug)]
pub struct TrackedStats {
    /// How much of their timeouts requests use.
    pub budgets: Option<BudgetStats>,
    /// How large messages are.
    pub sizes: Option<SizeStats>,
}

scope! {
    /// `cluster.<name>.`: how much of their timeouts requests and attempts use, in percent. Without a timeout that is 0.
    BudgetStats {
        /// A request is over, by its response or by a timeout.
        upstream_rq_timeout_budget_percent_used: Histogram,
        /// An attempt is over, but not by the timeout of the request.
        upstream_rq_timeout_budget_per_try_percent_used: Histogram,
    }
}

scope! {
    /// `cluster.<name>.`: how large the messages of each attempt are, once it is over.
    SizeStats {
        /// Bytes of a request's body.
        upstream_rq_body_size: Histogram,
        /// Fields of a request, pseudo-headers among them.
        upstream_rq_headers_count: Histogram,
        /// Bytes of their names and values.
        upstream_rq_headers_size: Histogram,
        /// Bytes of a response's body.
        upstream_rs_body_size: Histogram,
        /// Fields of a response, `:status` among them.
        upstream_rs_headers_count: Histogram,
        /// Bytes of their names and values.
        upstream_rs_headers_size: Histogram,
    }
}

impl TrackedStats {
    /// Those of `cluster` that are wanted.
    #[must_use]
    pub fn new(registry: &Registry, cluster: &str, wanted: ExtraStats) -> Self {
        let prefix = cluster_prefix(cluster);
        Self {
            budgets: wanted.timeout_budgets.then(|| BudgetStats::under(registry, &prefix)),
            sizes: wanted.sizes.then(|| SizeStats::under(registry, &prefix)),
        }
    }

    /// Is nothing of an attempt counted?
    pub(crate) fn is_empty(&self) -> bool {
        self.budgets.is_none() && self.sizes.is_none()
    }

    /// A request is over that has used so much of its timeout, in percent.
    pub(crate) fn record_budget(&self, percent: Option<u64>) {
        if let (Some(budgets), Some(percent)) = (&self.budgets, percent) {
            budgets.upstream_rq_timeout_budget_percent_used.record(percent);
        }
    }
}
