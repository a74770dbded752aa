//! The time of one choice among 10 to 10,000 endpoints, by each policy; with the memory that is allocated for it, which should be
//! none.
//!
//!     cargo bench -p finwait --bench balancing

use std::cell::Cell;

use divan::{AllocProfiler, Bencher, black_box};
use finwait::cluster::balancer::{Balancer, Condition, Live, Member, Turns, Wish};
use finwait::config::balancing::{
    Balancing, Compared, HashFunction, HashedName, HealthBy, LeastRequest, Localities, Locality, Maglev, Panic, Policy,
    RingHash,
};
use finwait::net::Random;
use finwait::stats::{ClusterStats, Registry};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const COUNTS: [u32; 3] = [10, 1_000, 10_000];

fn main() {
    divan::main();
}

#[divan::bench(args = COUNTS)]
fn round_robin(bencher: Bencher<'_, '_>, count: u32) {
    choose(bencher, count, Policy::RoundRobin(None), |_| 1);
}

#[divan::bench(args = COUNTS)]
fn round_robin_by_weight(bencher: Bencher<'_, '_>, count: u32) {
    choose(bencher, count, Policy::RoundRobin(None), |n| n % 7 + 1);
}

#[divan::bench(args = COUNTS)]
fn least_request(bencher: Bencher<'_, '_>, count: u32) {
    let how = LeastRequest { compared: Compared::Random(2), bias: 1.0, slow_start: None };
    choose(bencher, count, Policy::LeastRequest(how), |_| 1);
}

#[divan::bench(args = COUNTS)]
fn ring_hash(bencher: Bencher<'_, '_>, count: u32) {
    let (function, name) = (HashFunction::Xx, HashedName::Address);
    let how = RingHash { size_min: 1024, size_max: 8 * 1024 * 1024, function, name, load_max: None };
    choose(bencher, count, Policy::RingHash(how), |_| 1);
}

#[divan::bench(args = COUNTS)]
fn maglev(bencher: Bencher<'_, '_>, count: u32) {
    let how = Maglev { size: 65_537, name: HashedName::Address, load_max: None };
    choose(bencher, count, Policy::Maglev(how), |_| 1);
}

/// Numbers that differ from each other.
struct Counting(Cell<u64>);

impl Random for Counting {
    fn next_u64(&self) -> u64 {
        let next = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(next);
        next ^ (next >> 29)
    }
}

/// Chooses again and again, each time for another key.
fn choose(bencher: Bencher<'_, '_>, count: u32, policy: Policy, weight: impl Fn(u32) -> u32) {
    let how = Balancing {
        policy,
        localities: Localities::Merged,
        panic: Panic::All,
        overprovisioning: 140,
        health_by: HealthBy::Endpoints,
        subsets: None,
        zones: None,
    };
    let member = |n: u32| Member {
        priority: 0,
        locality: Locality::default(),
        locality_weight: 0,
        weight: weight(n),
        key: format!("10.{}.{}.{}:80", n >> 16, n >> 8 & 255, n & 255),
        labels: Default::default(),
        condition: Condition::Healthy,
    };
    let live = Live { active: &|n| u64::from(n % 3), warmth: &|_| 1.0, all_active: 0 };
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Counting(Cell::new(1));
    let mut balancer = Balancer::new((0..count).map(member).collect(), &how, 5000, &live, Turns::At(1 << 40));
    bencher.bench_local(|| {
        let wish = Wish { hash: Some(random.next_u64()), ..Wish::default() };
        balancer.choose(black_box(wish), &how, &live, &random, &stats)
    });
}
