//! A limit on how many of something there are at once, shared by all workers.
//!
//! The count is an atomic and the limit may change at any time; a permit returns by being dropped, so none can leak.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::runtime::Watched;

/// A limit, and how many permits are out.
#[derive(Debug)]
pub struct Limit {
    taken: AtomicU32,
    max: Watched,
    /// A permit was given out at some time.
    was_used: AtomicBool,
}

impl Limit {
    /// No permit is out yet.
    #[must_use]
    pub fn new(max: Watched) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU32::new(0), max, was_used: AtomicBool::new(false) })
    }

    /// Changes the limit, where no runtime key sets it. Permits that are out stay.
    pub fn set_default(&self, max: u32) {
        self.max.set_default(max);
    }

    /// A permit, unless all are out.
    #[must_use]
    pub fn permit(self: &Arc<Self>) -> Option<Permit> {
        self.permit_below(self.max.get())
    }

    /// A permit, unless `max` or more are out.
    #[must_use]
    pub fn permit_below(self: &Arc<Self>, max: u32) -> Option<Permit> {
        let before = self.taken.fetch_add(1, Ordering::Relaxed);
        if before >= max {
            self.taken.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(self.taken())
    }

    /// A permit in any case, which counts.
    pub fn permit_past_limit(self: &Arc<Self>) -> Permit {
        self.taken.fetch_add(1, Ordering::Relaxed);
        self.taken()
    }

    fn taken(self: &Arc<Self>) -> Permit {
        if !self.was_used.load(Ordering::Relaxed) {
            self.was_used.store(true, Ordering::Relaxed);
        }
        Permit(Arc::clone(self))
    }

    /// Permits that are out.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Are as many permits out as may be? Where none may be and none is out, nothing has been refused: no.
    #[must_use]
    pub fn is_reached(&self) -> bool {
        let count = self.count();
        count > 0 && count >= self.max.get()
    }

    /// Permits that are left.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        self.max.get().saturating_sub(self.count())
    }

    /// Was a permit given out at some time?
    #[must_use]
    pub fn was_used(&self) -> bool {
        self.was_used.load(Ordering::Relaxed)
    }
}

/// Leave to use one of something. Returns on drop.
#[derive(Debug)]
#[must_use = "it returns when this is dropped"]
pub struct Permit(Arc<Limit>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one() -> Arc<Limit> {
        Limit::new(Watched::fixed(1))
    }

    #[test]
    fn a_permit_comes_back_when_dropped() {
        let limit = of_one();
        let first = limit.permit();
        assert!(first.is_some() && limit.permit().is_none());
        assert!(limit.is_reached());
        drop(first);
        assert!(!limit.is_reached());
        assert!(limit.permit().is_some());
    }

    #[test]
    fn a_permit_past_the_limit_counts() {
        let limit = of_one();
        let held = limit.permit_past_limit();
        assert!(limit.permit().is_none());
        drop(held);
        assert!(limit.permit().is_some());
    }

    #[test]
    fn a_limit_of_zero_is_not_reached_by_refusals() {
        let limit = Limit::new(Watched::fixed(0));
        assert!(limit.permit().is_none());
        assert_eq!((limit.is_reached(), limit.was_used(), limit.count()), (false, false, 0));
        let held = limit.permit_past_limit();
        assert!(limit.is_reached());
        drop(held);
    }
}
