//! What a worker knows of the limits of its listener's requests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::config::rate_limit::RateLimit;
use crate::stats::{RateLimitStats, Registry};
use crate::token_bucket::{BucketSet, Buckets};

/// The limits that requests have met or will meet, by their places in the file.
pub(super) struct Limits {
    known: RefCell<BTreeMap<String, Rc<Known>>>,
    /// Of the listener.
    buckets: Arc<Buckets>,
    /// Of the listener's stats.
    registry: Arc<Registry>,
}

/// A limit, what it counts, and the buckets that its requests share.
pub(super) struct Known {
    limit: Arc<RateLimit>,
    pub(super) stats: RateLimitStats,
    pub(super) buckets: Arc<BucketSet>,
}

impl Limits {
    pub(super) fn new(registry: &Arc<Registry>, buckets: &Arc<Buckets>) -> Self {
        Self { known: RefCell::default(), buckets: Arc::clone(buckets), registry: Arc::clone(registry) }
    }

    /// These are in force. Requests under way may still meet others.
    pub(super) fn set<'l>(&self, limits: impl Iterator<Item = &'l Arc<RateLimit>>) {
        let mut places = Vec::new();
        for limit in limits {
            self.of(limit);
            places.push(limit.place.as_str());
        }
        places.sort_unstable();
        let is_kept = |place: &str| places.binary_search(&place).is_ok();
        self.known.borrow_mut().retain(|place, _| is_kept(place));
        self.buckets.retain(is_kept);
    }

    pub(super) fn of(&self, limit: &Arc<RateLimit>) -> Rc<Known> {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.get(&limit.place)
            && Arc::ptr_eq(&known.limit, limit)
        {
            return Rc::clone(known);
        }
        let new = Rc::new(Known {
            limit: Arc::clone(limit),
            stats: RateLimitStats::new(&self.registry, &limit.stat_prefix),
            buckets: Arc::new(self.buckets.of(limit)),
        });
        known.insert(limit.place.clone(), Rc::clone(&new));
        new
    }
}
