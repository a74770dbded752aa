//! Rings and Maglev tables beside those of Envoy 1.40, and what moves when an endpoint goes.

use std::cell::Cell;

use super::tests::{Seeded, how, member};
use super::*;
use crate::config::balancing::{HashFunction, HashedName, Maglev, RingHash};
use crate::stats::Registry;
use xxhash_rust::xxh64::xxh64;

const RING: RingHash = RingHash {
    size_min: 1024,
    size_max: 8 * 1024 * 1024,
    function: HashFunction::Xx,
    name: HashedName::Address,
    load_max: None,
};

const MAGLEV: Maglev = Maglev { size: 65_537, name: HashedName::Address, load_max: None };

/// Endpoints on ports from 29951 on.
fn members(weights: &[u32]) -> Vec<Member> {
    let members = weights.iter().enumerate();
    let named = |(nth, weight): (usize, &u32)| {
        let key = format!("127.0.0.1:{}", 29_951 + nth);
        Member { key, ..member(0, *weight, Condition::Healthy) }
    };
    members.map(named).collect()
}

/// The endpoints of 40 requests with `x-h: v0` and so on and `?q=`, in this order of hash policies.
fn chosen(members: Vec<Member>, how: &Balancing) -> (String, TableSizes) {
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Seeded(Cell::new(1));
    let live = Live { active: &|_| 0, warmth: &|_| 1.0, all_active: 0 };
    let mut balancer = Balancer::new(members, how, 5000, &live, Turns::At(0));
    let chosen = (0..40).map(|nth| {
        let header = xxh64(format!("v{nth}").as_bytes(), 0);
        let hash = header.rotate_left(1) ^ xxh64(format!("{}", nth % 7).as_bytes(), 0);
        let wish = Wish { hash: Some(hash), ..Wish::default() };
        balancer.choose(wish, how, &live, &random, &stats).unwrap().to_string()
    });
    (chosen.collect(), balancer.table_sizes().unwrap())
}

fn sizes(all: u64, least: u64, most: u64) -> TableSizes {
    TableSizes { all, least, most }
}

/// What Envoy 1.40 chose, and what it showed in `ring_hash_lb.` and `maglev_lb.`
#[test]
fn a_key_meets_the_endpoint_that_envoy_finds() {
    let murmur = RingHash { function: HashFunction::Murmur2, ..RING };
    let small = RingHash { size_min: 4, size_max: 11, ..RING };
    let (equal, rising) = ([1; 5], [1, 2, 3, 4, 5]);
    for (weights, policy, expected, size) in [
        (equal, Policy::RingHash(RING), "3214142113141432111424441103123303342201", sizes(1025, 205, 205)),
        (equal, Policy::RingHash(murmur), "0323441413442034310142440403214402432411", sizes(1025, 205, 205)),
        (rising, Policy::RingHash(RING), "4414142414141432313424431233123303342233", sizes(1035, 69, 345)),
        (rising, Policy::RingHash(small), "1143321414111141111131113113141111411441", sizes(11, 1, 3)),
        (equal, Policy::Maglev(MAGLEV), "2032410220301322003300414013111222342434", sizes(65_537, 13_107, 13_108)),
        (
            rising,
            Policy::Maglev(Maglev { size: 101, ..MAGLEV }),
            "3214242344123212430233134443442131230122",
            sizes(101, 7, 33),
        ),
        (
            equal,
            Policy::Maglev(Maglev { size: 11, ..MAGLEV }),
            "3411033122431432114032000044424410014414",
            sizes(11, 2, 3),
        ),
    ] {
        assert_eq!(
            chosen(members(&weights), &how(policy.clone())),
            (expected.to_owned(), size),
            "{policy:?} {weights:?}"
        );
    }
}

#[test]
fn localities_and_priorities_have_their_parts_of_a_table() {
    let in_localities = || {
        let mut members = members(&[1; 5]);
        for (nth, member) in members.iter_mut().enumerate() {
            let (zone, weight) = if nth < 2 { ("b", 1) } else { ("a", 3) };
            member.locality.zone = zone.to_owned();
            member.locality_weight = weight;
        }
        members
    };
    for (policy, expected, size) in [
        (Policy::RingHash(RING), "4434142413141232313424431203123303342232", sizes(1024, 128, 256)),
        (Policy::Maglev(MAGLEV), "2032410224321322003300434213232222342434", sizes(65_537, 8193, 16_384)),
    ] {
        let how = Balancing { localities: Localities::Weighted, ..how(policy) };
        assert_eq!(chosen(in_localities(), &how), (expected.to_owned(), size));
    }
    let mut by_priority = members(&[1; 5]);
    for (nth, member) in by_priority.iter_mut().enumerate() {
        (member.priority, member.condition) = match nth {
            0 => (0, Condition::Healthy),
            1 | 2 => (0, Condition::Unhealthy),
            _ => (1, Condition::Healthy),
        };
    }
    let expected = ("4000400004400304330004403003033403300430".to_owned(), sizes(1024, 512, 512));
    assert_eq!(chosen(by_priority, &how(Policy::RingHash(RING))), expected);
}

#[test]
fn few_keys_move_when_one_of_ten_endpoints_goes() {
    const KEYS: u32 = 100_000;
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Seeded(Cell::new(1));
    let live = Live { active: &|_| 0, warmth: &|_| 1.0, all_active: 0 };
    // A ring keeps its size: each endpoint that stays gets more slots, which move keys as well.
    for (policy, percent_max) in [(Policy::RingHash(RING), 20.0), (Policy::Maglev(MAGLEV), 12.0)] {
        let how = how(policy);
        for gone in 0..10 {
            let all = members(&[1; 10]);
            let mut before = Balancer::new(all.clone(), &how, 5000, &live, Turns::At(0));
            let mut rest = all;
            rest[gone].condition = Condition::Unhealthy;
            let mut after = Balancer::new(rest, &how, 5000, &live, Turns::At(0));
            let mut moved = 0;
            for key in 0..KEYS {
                let wish = Wish { hash: Some(xxh64(&key.to_le_bytes(), 0)), ..Wish::default() };
                let one = before.choose(wish, &how, &live, &random, &stats);
                moved += u32::from(one != after.choose(wish, &how, &live, &random, &stats));
            }
            let percent = f64::from(moved) * 100.0 / f64::from(KEYS);
            assert!(percent <= percent_max, "{:?} without {gone}: {percent} % of the keys", how.policy);
        }
    }
}

#[test]
fn a_retry_finds_another_endpoint_for_the_same_key() {
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Seeded(Cell::new(1));
    let live = Live { active: &|_| 0, warmth: &|_| 1.0, all_active: 0 };
    for policy in [Policy::RingHash(RING), Policy::Maglev(MAGLEV)] {
        let how = how(policy);
        let mut balancer = Balancer::new(members(&[1; 10]), &how, 5000, &live, Turns::At(0));
        let mut at = |attempt| {
            let wish = Wish { hash: Some(7), attempt, ..Wish::default() };
            balancer.choose(wish, &how, &live, &random, &stats).unwrap()
        };
        let found: std::collections::BTreeSet<u32> = (0..10).map(&mut at).collect();
        assert!(found.len() > 3, "{found:?}");
    }
    assert_eq!(
        Balancer::new(Vec::new(), &how(Policy::RingHash(RING)), 5000, &live, Turns::At(0)).choose(
            Wish { hash: Some(7), ..Wish::default() },
            &how(Policy::RingHash(RING)),
            &live,
            &random,
            &stats
        ),
        None
    );
}
