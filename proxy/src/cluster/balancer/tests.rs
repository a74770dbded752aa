//! Shares of endpoints, localities and priorities, counted over many choices.

use std::cell::Cell;

use super::*;
use crate::config::balancing::{Compared, HealthBy, LeastRequest, Policy, SlowStart};
use crate::stats::Registry;

/// Chance from a seed: SplitMix64.
pub(super) struct Seeded(pub(super) Cell<u64>);

impl Random for Seeded {
    fn next_u64(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

pub(super) fn how(policy: Policy) -> Balancing {
    Balancing {
        policy,
        localities: Localities::Merged,
        panic: Panic::All,
        overprovisioning: 140,
        health_by: HealthBy::Endpoints,
        subsets: None,
        zones: None,
    }
}

fn least_request() -> Policy {
    Policy::LeastRequest(LeastRequest { compared: Compared::Random(2), bias: 1.0, slow_start: None })
}

pub(super) fn member(priority: u32, weight: u32, condition: Condition) -> Member {
    Member {
        priority,
        locality: Locality::default(),
        locality_weight: 0,
        weight,
        key: String::new(),
        labels: Struct::new(),
        condition,
    }
}

fn at(zone: &str, locality_weight: u32, condition: Condition) -> Member {
    let locality = Locality { zone: zone.to_owned(), ..Locality::default() };
    Member { locality, locality_weight, ..member(0, 1, condition) }
}

/// How often each of them is chosen out of `count` times, and how often in panic.
fn chosen(members: &[Member], how: &Balancing, count: u32, seed: u64) -> (Vec<u32>, u64) {
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Seeded(Cell::new(seed));
    let live = Live { active: &|_| 0, warmth: &|_| 1.0, all_active: 0 };
    let turns = Turns::At(random.next_u64());
    let mut balancer = Balancer::new(members.to_vec(), how, 5000, &live, turns);
    let mut times = vec![0; members.len()];
    for _ in 0..count {
        if let Some(number) = balancer.choose(Wish::default(), how, &live, &random, &stats) {
            times[usize::try_from(number).unwrap()] += 1;
        }
    }
    (times, stats.lb_healthy_panic.value())
}

/// Each has its share of `count`, give or take two percent of all.
fn assert_shares(times: &[u32], shares: &[f64], count: u32) {
    let sum: f64 = shares.iter().sum();
    for (found, share) in times.iter().zip(shares) {
        let part = f64::from(*found) / f64::from(count);
        assert!((part - share / sum).abs() <= 0.02, "{times:?} {shares:?}");
    }
}

#[test]
fn endpoints_are_chosen_by_their_weights() {
    use Condition::Healthy;
    for seed in 0..5 {
        for policy in [Policy::RoundRobin(None), least_request()] {
            let weights = [1, 2, 3, 10, 84];
            let members: Vec<_> = weights.iter().map(|weight| member(0, *weight, Healthy)).collect();
            let (times, _) = chosen(&members, &how(policy), 100_000, seed);
            assert_shares(&times, &weights.map(f64::from), 100_000);
        }
        let members = [1, 2, 3].map(|weight| member(0, weight, Healthy));
        let (times, _) = chosen(&members, &how(Policy::Random), 100_000, seed);
        assert_shares(&times, &[1.0, 1.0, 1.0], 100_000);
    }
}

#[test]
fn localities_are_chosen_by_their_weights_and_health() {
    use Condition::{Healthy, Unhealthy};
    let weighted = Balancing { localities: Localities::Weighted, ..how(Policy::RoundRobin(None)) };
    for seed in 0..5 {
        let members = [at("a", 1, Healthy), at("b", 2, Healthy), at("b", 2, Healthy), at("c", 0, Healthy)];
        let (times, _) = chosen(&members, &weighted, 100_000, seed);
        assert_shares(&times, &[1.0, 1.0, 1.0, 0.0], 100_000);
        // Half of b is healthy: 1.4 times a half of its weight.
        let members = [at("a", 1, Healthy), at("b", 1, Healthy), at("b", 1, Unhealthy), at("a", 1, Healthy)];
        let (times, _) = chosen(&members, &weighted, 100_000, seed);
        assert_shares(&times, &[0.5, 0.7, 0.0, 0.5], 100_000);
    }
    let merged = how(Policy::RoundRobin(None));
    let members = [at("a", 1, Healthy), at("b", 99, Healthy)];
    assert_shares(&chosen(&members, &merged, 1000, 1).0, &[1.0, 1.0], 1000);
}

#[test]
fn a_priority_spills_over_and_comes_back() {
    use Condition::{Degraded, Excluded, Healthy, Unhealthy};
    let first = |conditions: [Condition; 4]| {
        let first = conditions.map(|condition| member(0, 1, condition));
        let members: Vec<_> = first.into_iter().chain([member(1, 1, Healthy)]).collect();
        let (times, panics) = chosen(&members, &how(Policy::RoundRobin(None)), 100_000, 7);
        (f64::from(times[4]) / 100_000.0, panics)
    };
    for (conditions, second) in [
        ([Healthy, Healthy, Healthy, Unhealthy], 0.0),
        ([Healthy, Healthy, Unhealthy, Unhealthy], 0.3),
        ([Healthy, Unhealthy, Unhealthy, Unhealthy], 0.65),
        ([Unhealthy, Unhealthy, Unhealthy, Unhealthy], 1.0),
        ([Healthy, Healthy, Excluded, Excluded], 0.0),
        ([Degraded, Degraded, Degraded, Degraded], 1.0),
    ] {
        let (found, panics) = first(conditions);
        assert!((found - second).abs() <= 0.02, "{conditions:?}: {found}");
        assert_eq!(panics, 0);
    }
}

#[test]
fn too_few_healthy_endpoints_have_all_of_them_chosen_or_none() {
    use Condition::{Healthy, Unhealthy};
    let members = [Healthy, Unhealthy, Unhealthy].map(|condition| member(0, 1, condition));
    let all = how(Policy::RoundRobin(None));
    assert_eq!(chosen(&members, &all, 300, 3), (vec![100, 100, 100], 300));
    let none = Balancing { panic: Panic::None, ..all };
    assert_eq!(chosen(&members, &none, 300, 3), (vec![0, 0, 0], 300));
    assert_eq!(chosen(&[], &none, 1, 3), (vec![], 1));
}

#[test]
fn least_request_avoids_endpoints_with_requests() {
    let members = [1, 1].map(|weight| member(0, weight, Condition::Healthy));
    let live = Live { active: &|number| [5, 0][usize::try_from(number).unwrap()], warmth: &|_| 1.0, all_active: 0 };
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Seeded(Cell::new(1));
    for (policy, busy) in [
        (least_request(), 250),
        (Policy::LeastRequest(LeastRequest { compared: Compared::All, bias: 1.0, slow_start: None }), 0),
    ] {
        let how = how(policy);
        let mut balancer = Balancer::new(members.to_vec(), &how, 5000, &live, Turns::At(0));
        let found =
            (0..1000).filter(|_| balancer.choose(Wish::default(), &how, &live, &random, &stats) == Some(0)).count();
        assert!(found.abs_diff(busy) < 50, "{how:?}: {found}");
    }
    // With weights, an endpoint's is divided by its active requests and one.
    let members = [6, 1].map(|weight| member(0, weight, Condition::Healthy));
    for (bias, busy) in [(1.0, 500), (0.0, 857), (2.0, 143)] {
        let how = how(Policy::LeastRequest(LeastRequest { compared: Compared::Random(2), bias, slow_start: None }));
        let mut balancer = Balancer::new(members.to_vec(), &how, 5000, &live, Turns::At(0));
        let found =
            (0..1000).filter(|_| balancer.choose(Wish::default(), &how, &live, &random, &stats) == Some(0)).count();
        assert!(found.abs_diff(busy) <= 10, "{bias}: {found}");
    }
}

#[test]
fn an_endpoint_that_is_new_gets_its_share_little_by_little() {
    let slow_start = SlowStart { window: std::time::Duration::from_secs(10), aggression: 1.0, least: 0.1 };
    let how = how(Policy::RoundRobin(Some(slow_start)));
    let members = [1, 1].map(|weight| member(0, weight, Condition::Healthy));
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Seeded(Cell::new(1));
    let warm = Cell::new(0.1);
    let live = Live { active: &|_| 0, warmth: &|number| if number == 0 { warm.get() } else { 1.0 }, all_active: 0 };
    let mut balancer = Balancer::new(members.to_vec(), &how, 5000, &live, Turns::At(0));
    for (part, share) in [(0.1, 91), (0.5, 333), (1.0, 500)] {
        warm.set(part);
        let found =
            (0..1000).filter(|_| balancer.choose(Wish::default(), &how, &live, &random, &stats) == Some(0)).count();
        assert!(found.abs_diff(share) <= 10, "{part}: {found}");
    }
}

#[test]
fn turns_go_on_when_the_endpoints_are_looked_at_again() {
    let how = how(Policy::RoundRobin(None));
    let members = [1, 1, 1].map(|weight| member(0, weight, Condition::Healthy));
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Seeded(Cell::new(1));
    let live = Live { active: &|_| 0, warmth: &|_| 1.0, all_active: 0 };
    let mut balancer = Balancer::new(members.to_vec(), &how, 5000, &live, Turns::At(0));
    let mut found = Vec::new();
    for _ in 0..6 {
        found.extend(balancer.choose(Wish::default(), &how, &live, &random, &stats));
        balancer = Balancer::new(members.to_vec(), &how, 5000, &live, Turns::As(&balancer));
    }
    assert_eq!(found, [0, 1, 2, 0, 1, 2]);
}

/// Choices that were looked at ahead are those that follow, where neither requests nor what is under way decide.
#[test]
fn what_was_looked_at_ahead_is_chosen_next() {
    let stats = ClusterStats::new(&Registry::new(), "up");
    let live = Live { active: &|_| 0, warmth: &|_| 1.0, all_active: 0 };
    for (policy, weights, ahead) in [
        (Policy::RoundRobin(None), [1, 1, 1], 3),
        (Policy::RoundRobin(None), [5, 1, 1], 3),
        (Policy::Random, [1, 1, 1], 3),
        (least_request(), [5, 1, 1], 3),
        (least_request(), [1, 1, 1], 0),
    ] {
        let random = Seeded(Cell::new(3));
        let how = how(policy.clone());
        let members = weights.map(|weight| member(0, weight, Condition::Healthy)).to_vec();
        let mut balancer = Balancer::new(members, &how, 5000, &live, Turns::At(7 << 33));
        for _ in 0..5 {
            let peek = |_| balancer.peek(&how, &live, &random, &stats);
            let peeked: Vec<u32> = (0..4).map_while(peek).collect();
            assert_eq!(peeked.len(), ahead, "{policy:?}: no more than there are healthy endpoints");
            let choose = |_| balancer.choose(Wish::default(), &how, &live, &random, &stats).unwrap();
            let chosen: Vec<u32> = (0..ahead.max(4)).map(choose).collect();
            assert_eq!(peeked, chosen[..ahead], "{policy:?}");
        }
    }
}
