//! Which part of the requests each priority gets. Pure.
//!
//! A priority takes as many percent of the requests as its health says, and what it cannot take spills over to the next. Health is
//! the share of its endpoints that are healthy, times the overprovisioning factor, and no more than 100.

use crate::config::balancing::{Balancing, HealthBy};

/// How many endpoints of one priority there are, and how many of them are of use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::cluster) struct Census {
    /// All of them.
    pub(in crate::cluster) all: u64,
    /// Those that do not count, not even as unhealthy.
    pub(super) excluded: u64,
    /// Those that are healthy.
    pub(super) healthy: u64,
    /// Those that are degraded.
    pub(super) degraded: u64,
    /// The same three as sums of weights: of all, of the healthy, of the degraded.
    pub(super) weights: [u64; 3],
}

/// Which endpoints of a priority are to be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Availability {
    /// The degraded ones.
    Degraded,
    /// The healthy ones.
    Healthy,
}

/// The shares of all priorities. Those of healthy and degraded endpoints together are 100 percent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(in crate::cluster) struct Shares {
    healthy: Vec<u32>,
    degraded: Vec<u32>,
    panics: Vec<bool>,
    /// How many percent each could take, of healthy and of degraded endpoints.
    available: [Vec<u32>; 2],
}

impl Shares {
    /// Of these priorities. `threshold`: with fewer healthy endpoints, in hundredths of a percent, a priority panics.
    pub(super) fn new(priorities: &[Census], how: &Balancing, threshold: u32) -> Self {
        Self::linked(&priorities.iter().map(|census| (*census, how)).collect::<Vec<_>>(), threshold)
    }

    /// The same of the priorities of several clusters.
    pub(in crate::cluster) fn linked(linked: &[(Census, &Balancing)], threshold: u32) -> Self {
        let part = |(census, how): &(Census, &Balancing), which: usize| {
            let counted = census.all.saturating_sub(census.excluded);
            let (some, all) = match how.health_by {
                HealthBy::Endpoints => ([census.healthy, census.degraded][which], counted),
                HealthBy::Weights => (census.weights[which + 1], census.weights[0]),
            };
            match (counted, all) {
                (0, _) | (_, 0) => 0,
                (_, all) => percent(u64::from(how.overprovisioning).saturating_mul(some) / all),
            }
        };
        let healthy: Vec<u32> = linked.iter().map(|of| part(of, 0)).collect();
        let degraded: Vec<u32> = linked.iter().map(|of| part(of, 1)).collect();
        let available = sum(&healthy, &degraded);
        let mut shares = Self::of_availability(&healthy, &degraded, available);
        shares.panics = vec![false; linked.len()];
        shares.available = [healthy, degraded];
        if available == 0 && threshold == 0 {
            shares.healthy.iter_mut().take(1).for_each(|first| *first = 100); // where nothing will be found
            return shares;
        }
        if available < 100 {
            shares.panics = linked.iter().map(|(census, _)| census.panics(threshold)).collect();
            if shares.panics.iter().all(|panics| *panics) {
                shares.divide_by_size(linked);
            }
        }
        shares
    }

    /// First to healthy endpoints, as far as they suffice, then to degraded ones.
    fn of_availability(healthy: &[u32], degraded: &[u32], available: u32) -> Self {
        let mut rest = 100;
        let mut deal = |parts: &[u32]| -> Vec<u32> {
            let share = |part: &u32| {
                let share = (part * 100).checked_div(available).unwrap_or(0).min(rest);
                rest -= share;
                share
            };
            parts.iter().map(share).collect()
        };
        let mut shares = Self { healthy: deal(healthy), degraded: deal(degraded), ..Self::default() };
        // What rounding has left goes to the first that has anything.
        let first = |parts: &[u32]| parts.iter().position(|part| *part > 0);
        if available > 0 {
            let place = match first(healthy) {
                Some(at) => shares.healthy.get_mut(at),
                None => first(degraded).and_then(|at| shares.degraded.get_mut(at)),
            };
            if let Some(place) = place {
                *place += rest;
            }
        }
        shares
    }

    /// The shares without some priorities, if any is named and the others have something available.
    pub(in crate::cluster) fn without(&self, priorities: &[u32]) -> Option<Self> {
        if priorities.is_empty() {
            return None; // the common case allocates nothing
        }
        let named = |at: usize| u32::try_from(at).is_ok_and(|at| priorities.contains(&at));
        let rest = |of: &Vec<u32>| of.iter().enumerate().map(|(at, part)| if named(at) { 0 } else { *part }).collect();
        let [healthy, degraded]: [Vec<u32>; 2] = self.available.each_ref().map(rest);
        let available = sum(&healthy, &degraded);
        (available > 0).then(|| Self::of_availability(&healthy, &degraded, available))
    }

    /// Every priority panics: each gets its part by the number of its endpoints, healthy or not.
    fn divide_by_size(&mut self, priorities: &[(Census, &Balancing)]) {
        let all: u64 = priorities.iter().map(|(census, _)| census.all).sum();
        let part = |(census, _): &(Census, &Balancing)| percent((census.all * 100).checked_div(all).unwrap_or(0));
        self.healthy = priorities.iter().map(part).collect();
        self.degraded = vec![0; priorities.len()];
        let rest = 100 - self.healthy.iter().sum::<u32>().min(100);
        let first = priorities.iter().position(|(census, _)| census.all > 0).unwrap_or(0);
        self.healthy.iter_mut().skip(first).take(1).for_each(|share| *share += rest);
    }

    /// Does one priority get everything?
    pub(in crate::cluster) fn only(&self) -> Option<(usize, Availability)> {
        let whole = |shares: &[u32]| shares.iter().position(|share| *share == 100);
        let healthy = whole(&self.healthy).map(|at| (at, Availability::Healthy));
        healthy.or_else(|| whole(&self.degraded).map(|at| (at, Availability::Degraded)))
    }

    /// The priority that `chance` draws.
    pub(in crate::cluster) fn draw(&self, chance: u64) -> (usize, Availability) {
        let drawn = chance % 100 + 1;
        let mut sum = 0;
        for (shares, availability) in [(&self.healthy, Availability::Healthy), (&self.degraded, Availability::Degraded)]
        {
            for (at, share) in shares.iter().enumerate() {
                sum += u64::from(*share);
                if drawn <= sum {
                    return (at, availability);
                }
            }
        }
        (0, Availability::Healthy)
    }

    /// Is so little of the priority healthy that health does not count?
    pub(super) fn panics(&self, priority: usize) -> bool {
        self.panics.get(priority).copied().unwrap_or(false)
    }
}

impl Census {
    fn panics(&self, threshold: u32) -> bool {
        let counted = self.all.saturating_sub(self.excluded);
        let available = self.healthy.saturating_add(self.degraded).saturating_mul(10_000);
        threshold > 0 && (counted == 0 || available < u64::from(threshold).saturating_mul(counted))
    }
}

/// What is available in all, no more than 100 percent.
fn sum(healthy: &[u32], degraded: &[u32]) -> u32 {
    healthy.iter().chain(degraded).fold(0_u32, |sum, more| sum.saturating_add(*more)).min(100)
}

fn percent(number: u64) -> u32 {
    u32::try_from(number.min(100)).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::balancing::{Localities, Panic, Policy};

    fn how(overprovisioning: u32) -> Balancing {
        Balancing {
            policy: Policy::Random,
            localities: Localities::Merged,
            panic: Panic::All,
            overprovisioning,
            health_by: HealthBy::Endpoints,
            subsets: None,
            zones: None,
        }
    }

    /// Of 100 endpoints each: so many are healthy, so many degraded.
    fn shares(priorities: &[(u64, u64)], threshold: u32) -> Shares {
        let census = |(healthy, degraded): &(u64, u64)| Census {
            all: 100,
            healthy: *healthy,
            degraded: *degraded,
            ..Census::default()
        };
        Shares::new(&priorities.iter().map(census).collect::<Vec<_>>(), &how(140), threshold)
    }

    /// The tables of Envoy's documentation on priority levels, degraded endpoints and panic.
    #[test]
    fn health_spills_over() {
        for (priorities, healthy, degraded) in [
            (&[(100, 0), (100, 0)][..], &[100, 0][..], &[0, 0][..]),
            (&[(72, 0), (72, 0)], &[100, 0], &[0, 0]),
            (&[(71, 0), (71, 0)], &[99, 1], &[0, 0]),
            (&[(50, 0), (50, 0)], &[70, 30], &[0, 0]),
            (&[(25, 0), (100, 0)], &[35, 65], &[0, 0]),
            (&[(25, 0), (25, 0)], &[50, 50], &[0, 0]), // panics: by size
            (&[(25, 0), (25, 0), (20, 0)], &[37, 35, 28], &[0, 0, 0]),
            (&[(0, 0), (100, 0)], &[0, 100], &[0, 0]),
            (&[(0, 0), (0, 0)], &[50, 50], &[0, 0]),
            (&[(0, 100), (0, 0)], &[0, 0], &[100, 0]),
            (&[(50, 50), (0, 0)], &[70, 0], &[30, 0]),
            (&[(5, 95), (100, 0)], &[7, 93], &[0, 0]),
        ] {
            let threshold = if priorities == [(25, 0), (25, 0), (20, 0)] { 0 } else { 5000 };
            let found = shares(priorities, threshold);
            assert_eq!((&found.healthy[..], &found.degraded[..]), (healthy, degraded), "{priorities:?}");
        }
    }

    #[test]
    fn a_priority_panics_while_all_together_do_not_suffice() {
        assert_eq!(shares(&[(49, 0)], 5000).panics, [true]);
        assert_eq!(shares(&[(50, 0)], 5000).panics, [false]);
        assert_eq!(shares(&[(10, 0), (100, 0)], 5000).panics, [false, false], "the second priority suffices");
        assert_eq!(shares(&[(10, 0), (60, 0)], 5000).panics, [true, false]);
        let available = [vec![0], vec![0]];
        let nothing = Shares { healthy: vec![100], degraded: vec![0], panics: vec![false], available };
        assert_eq!(shares(&[(0, 0)], 0), nothing);
        assert!(Census { all: 4, excluded: 4, ..Census::default() }.panics(1));
    }

    #[test]
    fn shares_are_a_hundred_percent_whatever_the_health() {
        for first in 0..=20 {
            for second in 0..=20 {
                for degraded in [0, 10, 50] {
                    let found = shares(&[(first * 5, degraded.min(100 - first * 5)), (second * 5, 0), (33, 3)], 5000);
                    let sum: u32 = found.healthy.iter().chain(&found.degraded).sum();
                    assert_eq!(sum, 100, "{first} {second} {degraded}: {found:?}");
                    let drawn = |at: u64| found.draw(at);
                    let first_share = (0..100).filter(|at| drawn(*at) == (0, Availability::Healthy)).count();
                    assert_eq!(first_share, usize::try_from(found.healthy[0]).unwrap());
                }
            }
        }
    }

    #[test]
    fn without_a_priority_the_others_have_everything() {
        let all = shares(&[(100, 0), (50, 0), (20, 80)], 5000);
        let without = |priorities: &[u32]| all.without(priorities).map(|found| (found.healthy, found.degraded));
        assert_eq!(without(&[]), None);
        assert_eq!(without(&[0]), Some((vec![0, 70, 28], vec![0, 0, 2])));
        assert_eq!(without(&[1, 0, 0]), Some((vec![0, 0, 28], vec![0, 0, 72])));
        assert_eq!(without(&[0, 1, 2]), None, "nothing is left");
        assert_eq!(without(&[7]), Some((vec![100, 0, 0], vec![0, 0, 0])));
    }

    #[test]
    fn weights_count_in_place_of_endpoints() {
        let census = Census { all: 2, healthy: 1, weights: [10, 9, 0], ..Census::default() };
        let by_weights = Balancing { health_by: HealthBy::Weights, ..how(100) };
        let rest = Census { all: 1, healthy: 1, weights: [1, 1, 0], ..Census::default() };
        assert_eq!(Shares::new(&[census, rest], &by_weights, 5000).healthy, [90, 10]);
        assert_eq!(Shares::new(&[census, rest], &how(100), 5000).healthy, [50, 50]);
    }
}
