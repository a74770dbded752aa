//! The endpoints of one cluster with their numbers, for `/clusters`: each for as long as any worker holds its numbers.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::net::Address;
use crate::stats::EndpointStats;

/// The endpoints of one cluster, in the order in which they appeared.
#[derive(Debug, Default)]
pub struct EndpointTable {
    endpoints: Mutex<Vec<(Address, Weak<EndpointStats>)>>,
    /// How often the health of an endpoint has changed, whichever worker has found it, as far as that has taken effect.
    version: AtomicU64,
    /// There are changes that have not.
    waits: AtomicBool,
    merging: Mutex<Merging>,
}

/// When changes of health take effect.
#[derive(Debug, Default)]
struct Merging {
    /// When one last has.
    last: Option<Instant>,
    /// When those that wait will.
    due: Option<Instant>,
}

/// How a change of health takes effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Effect {
    /// At once, with all that wait.
    AtOnce,
    /// At once, and those that follow need not wait for it: a cluster begins, or has been looked at.
    Initially,
    /// Together with others: within this time after another, once as much time has passed.
    Within(Duration),
}

impl EndpointTable {
    /// The numbers of the endpoint at `address`, from 0 if no worker holds them.
    #[must_use]
    pub fn of(&self, address: &Address) -> Arc<EndpointStats> {
        let mut table = self.lock();
        table.retain(|(_, stats)| stats.strong_count() > 0);
        let known = table.iter().find(|(at, _)| at == address).and_then(|(_, stats)| stats.upgrade());
        known.unwrap_or_else(|| {
            let stats = Arc::new(EndpointStats::default());
            table.push((address.clone(), Arc::downgrade(&stats)));
            stats
        })
    }

    /// How often the health of an endpoint has changed, as far as that has taken effect by `now`.
    #[must_use]
    pub fn version(&self, now: Instant) -> u64 {
        if self.waits.load(Relaxed) {
            let mut merging = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
            if merging.due.is_some_and(|due| due <= now) {
                self.take_effect(&mut merging, now);
            }
        }
        self.version.load(Relaxed)
    }

    /// The health of an endpoint has changed: when that takes effect, every worker looks at it before its next choice.
    pub(super) fn health_changed(&self, effect: Effect, now: Instant) {
        let mut merging = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        match effect {
            Effect::Within(window)
                if merging.last.is_some_and(|last| now.saturating_duration_since(last) <= window) =>
            {
                merging.due.get_or_insert(now + window);
                self.waits.store(true, Relaxed);
            }
            Effect::AtOnce | Effect::Within(_) => self.take_effect(&mut merging, now),
            Effect::Initially => {
                self.version.fetch_add(1, Relaxed);
            }
        }
    }

    fn take_effect(&self, merging: &mut Merging, now: Instant) {
        *merging = Merging { last: Some(now), due: None };
        self.waits.store(false, Relaxed);
        self.version.fetch_add(1, Relaxed);
    }

    /// Every endpoint that any worker holds.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Address, Arc<EndpointStats>)> {
        self.lock().iter().filter_map(|(at, stats)| Some((at.clone(), stats.upgrade()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Address, Weak<EndpointStats>)>> {
        // A panic elsewhere leaves the list whole: no change is made in two steps.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_health_within_a_window_take_effect_together() {
        let table = EndpointTable::default();
        let begin = Instant::now();
        let at = |millis| begin + Duration::from_millis(millis);
        let within = Effect::Within(Duration::from_secs(1));
        for (change, looked, version) in [
            (Some((0, Effect::Initially)), 0, 1),
            (Some((0, within)), 0, 2),
            (Some((400, within)), 400, 2),
            (Some((900, within)), 1399, 2),
            (None, 1400, 3),
            (Some((2000, within)), 2999, 3),
            (Some((2999, Effect::AtOnce)), 2999, 4),
            (None, 9000, 4),
            (Some((9000, within)), 9000, 5),
        ] {
            change.into_iter().for_each(|(when, effect)| table.health_changed(effect, at(when)));
            assert_eq!(table.version(at(looked)), version, "at {looked} ms");
        }
    }

    #[test]
    fn an_endpoint_is_listed_while_a_worker_holds_it() {
        let table = EndpointTable::default();
        let [a, b] = ["127.0.0.1:1", "127.0.0.1:2"].map(|at| Address::Socket(at.parse().unwrap()));
        let listed = || table.snapshot().into_iter().map(|(at, _)| at).collect::<Vec<_>>();
        let one = table.of(&a);
        let two = table.of(&b);
        one.rq_total.inc();
        assert_eq!(table.of(&a).rq_total.value(), 1, "workers share the numbers");
        assert_eq!(listed(), [a.clone(), b.clone()]);
        drop(one);
        assert_eq!(listed(), [b]);
        assert_eq!(table.of(&a).rq_total.value(), 0, "an endpoint that comes back starts anew");
        drop(two);
    }
}
