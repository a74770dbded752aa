//! Parts of the requests that have stats of their own: virtual clusters, and routes with a `stat_prefix`.

use super::{last_words, one_segment, scope};
use crate::stats::{Counter, Registry};

scope! {
    /// `vhost.<virtual host>.vcluster.<name>.` and `vhost.<virtual host>.route.<prefix>.`
    PartCounters {
        /// A request was sent again.
        upstream_rq_retry: Counter,
        /// A request was not sent again: it has been sent as often as it may.
        upstream_rq_retry_limit_exceeded: Counter,
        /// A request was not sent again: as many retries are under way as may be.
        upstream_rq_retry_overflow: Counter,
        /// A retry led to a response that is none to retry.
        upstream_rq_retry_success: Counter,
        /// The route's timeout passed.
        upstream_rq_timeout: Counter,
        /// A request was sent to an upstream, or sent again.
        upstream_rq_total: Counter,
    }
}

impl PartCounters {
    pub(in crate::stats) fn new(registry: &Registry, prefix: &str) -> Self {
        Self::under(registry, &one_segment(prefix))
    }
}
