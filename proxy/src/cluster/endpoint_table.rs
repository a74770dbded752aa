//! The endpoints of one cluster with their numbers, for `/clusters`: each for as long as any worker holds its numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::location::EndpointKey;
use crate::net::Address;
use crate::stats::EndpointStats;

/// The endpoints of one cluster, in the order in which they appeared.
#[derive(Debug, Default)]
pub struct EndpointTable {
    endpoints: Mutex<Listed>,
    /// How often the health of an endpoint has changed, whichever worker has found it, as far as that has taken effect.
    version: AtomicU64,
    /// There are changes that have not.
    waits: AtomicBool,
    merging: Mutex<Merging>,
}

/// Endpoints by their places, and the place of each.
///
/// An endpoint that no worker holds stays until as many others have come as there are, so that one costs the logarithm of their
/// number, however many there are.
#[derive(Debug, Default)]
struct Listed {
    by_place: BTreeMap<u64, (EndpointKey, Weak<EndpointStats>)>,
    places: BTreeMap<EndpointKey, u64>,
    next: u64,
    /// Of all, those that were held when it was last looked.
    held: usize,
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
    /// The numbers of this endpoint, from 0 if no worker holds them.
    #[must_use]
    pub fn of(&self, key: &EndpointKey) -> Arc<EndpointStats> {
        let mut listed = self.lock();
        listed.get(key).unwrap_or_else(|| listed.add(key))
    }

    /// The numbers of the endpoint at this address, if any worker holds them.
    #[must_use]
    pub fn find(&self, address: &Address) -> Option<Arc<EndpointStats>> {
        let listed = self.lock();
        let found = listed.by_place.values().find(|(key, _)| key.address == *address);
        found.and_then(|(_, stats)| stats.upgrade())
    }

    /// Does a worker hold this endpoint?
    pub(super) fn has(&self, key: &EndpointKey) -> bool {
        self.lock().get(key).is_some()
    }

    /// An endpoint has moved: its numbers go with it. Where another worker has seen that before, nothing happens.
    pub(super) fn relocate(&self, before: &EndpointKey, now: &EndpointKey) {
        let mut listed = self.lock();
        if listed.get(now).is_some() {
            return;
        }
        let Some(place) = listed.places.remove(before) else { return };
        if let Some((key, _)) = listed.by_place.get_mut(&place) {
            key.clone_from(now);
        }
        listed.places.insert(now.clone(), place);
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
        self.lock().by_place.values().filter_map(|(key, stats)| Some((key.address.clone(), stats.upgrade()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        // Nothing in between the steps of a change panics.
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// So many are not looked through before there are twice as many.
const HELD_MIN: usize = 32;

impl Listed {
    /// The numbers of the endpoint, if any worker holds them.
    fn get(&self, key: &EndpointKey) -> Option<Arc<EndpointStats>> {
        self.by_place.get(self.places.get(key)?)?.1.upgrade()
    }

    /// An endpoint that no worker holds comes last.
    fn add(&mut self, key: &EndpointKey) -> Arc<EndpointStats> {
        if let Some(place) = self.places.get(key) {
            self.by_place.remove(place);
        }
        if self.by_place.len() >= 2 * self.held.max(HELD_MIN) {
            self.by_place.retain(|_, (_, stats)| stats.strong_count() > 0);
            let by_place = &self.by_place;
            self.places.retain(|_, place| by_place.contains_key(place));
            self.held = by_place.len();
        }
        let stats = Arc::new(EndpointStats::default());
        self.by_place.insert(self.next, (key.clone(), Arc::downgrade(&stats)));
        self.places.insert(key.clone(), self.next);
        self.next += 1;
        stats
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
    fn endpoints_without_a_holder_do_not_pile_up() {
        let table = EndpointTable::default();
        let at = |n: u32| {
            let at = format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255);
            EndpointKey::from(Address::Socket(at.parse().unwrap()))
        };
        let held: Vec<_> = (0..10_000).map(|n| table.of(&at(n))).collect();
        (10_000..60_000).for_each(|n| drop(table.of(&at(n))));
        let listed = table.lock();
        assert!(listed.by_place.len() <= 20_000 && listed.places.len() == listed.by_place.len());
        drop(listed);
        assert_eq!(table.snapshot().len(), held.len());
    }

    #[test]
    fn hosts_at_one_address_are_endpoints_of_their_own_and_take_their_numbers_along() {
        let table = EndpointTable::default();
        let [a, b] = ["127.0.0.1:1", "127.0.0.1:2"].map(|at| Address::Socket(at.parse().unwrap()));
        let key = |address: &Address, host: &str| EndpointKey { address: address.clone(), host: Some(host.into()) };
        let (one, other) = (table.of(&key(&a, "one:1")), table.of(&key(&a, "other:1")));
        one.rq_total.inc();
        assert_eq!((other.rq_total.value(), table.snapshot().len()), (0, 2));
        for _worker in 0..2 {
            table.relocate(&key(&a, "one:1"), &key(&b, "one:1"));
            assert_eq!(table.of(&key(&b, "one:1")).rq_total.value(), 1);
        }
        let listed: Vec<_> = table.snapshot().into_iter().map(|(at, _)| at).collect();
        assert_eq!(listed, [b, a]);
    }

    #[test]
    fn an_endpoint_is_listed_while_a_worker_holds_it() {
        let table = EndpointTable::default();
        let [a, b] = ["127.0.0.1:1", "127.0.0.1:2"].map(|at| Address::Socket(at.parse().unwrap()));
        let listed = || table.snapshot().into_iter().map(|(at, _)| at).collect::<Vec<_>>();
        let (one, two) = (table.of(&a.clone().into()), table.of(&b.clone().into()));
        one.rq_total.inc();
        assert_eq!(table.of(&a.clone().into()).rq_total.value(), 1, "workers share the numbers");
        assert_eq!(listed(), [a.clone(), b.clone()]);
        drop(one);
        assert_eq!(listed(), [b]);
        assert_eq!(table.of(&a.into()).rq_total.value(), 0, "an endpoint that comes back starts anew");
        drop(two);
    }
}
