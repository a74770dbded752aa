//! The endpoints of one cluster with their numbers, for `/clusters`: each for as long as any worker holds its numbers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::net::Address;
use crate::stats::EndpointStats;

/// The endpoints of one cluster, in the order in which they appeared.
#[derive(Debug, Default)]
pub struct EndpointTable(Mutex<Vec<(Address, Weak<EndpointStats>)>>);

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

    /// Every endpoint that any worker holds.
    #[must_use]
    pub fn snapshot(&self) -> Vec<(Address, Arc<EndpointStats>)> {
        self.lock().iter().filter_map(|(at, stats)| Some((at.clone(), stats.upgrade()?))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Address, Weak<EndpointStats>)>> {
        // A panic elsewhere leaves the list whole: no change is made in two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
