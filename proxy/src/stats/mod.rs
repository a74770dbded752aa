//! What happened, as numbers.
//!
//! The data plane holds handles ([`Counter`], [`Gauge`], [`Histogram`]): cloned once when a scope is built,
//! one relaxed atomic operation per event afterwards, no name and no lock. The [`Registry`] knows the names;
//! the admin interface asks it for a [`Snapshot`]. Workers that ask for the same name share one number.
//!
//! [`names`] is the list of everything that is counted, [`codes`] the part of it that appears on first use,
//! [`endpoints`] what the admin interface shows of single endpoints.

mod authorisation;
pub mod codes;
mod derived;
pub mod endpoints;
mod grpc;
mod health;
pub mod histogram;
mod limits;
pub mod names;
mod policies;
pub mod prometheus;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use authorisation::ClusterAuthorisations;
pub use codes::{Charged, CodeStats, PartStats};
pub use derived::Derived;
pub use endpoints::{EndpointFacts, EndpointStats};
pub use grpc::{GrpcFamily, GrpcMethod, GrpcStats, service_and_method};
pub use health::{Ejections, Health, HealthFlag, Rate};
pub use histogram::{Histogram, Recorded};
pub use limits::{ClusterLimits, LimitEvent};
pub(crate) use names::Meter;
pub use names::{
    AssignmentStats, AuthorisationEvent, AuthorisationStats, BasicAuthStats, BreakerStats, ByteStats, ClusterStats,
    CodecStats, CompressorStats, ConnectionLimitStats, ConnectionRateStats, CorsStats, CsrfStats, DecompressorStats,
    DnsCacheStats, EntryStats, FaultStats, FlowStats, Handshake, HandshakeFailure, HandshakeStats, HealthCheckStats,
    Http1Stats, Http2Stats, HttpInspectorStats, HttpStats, ListenerStats, LogStats, LuaStats, ManagerStats, Origin,
    OriginFaults, ProxyProtocolStats, RateLimitStats, RbacStats, RecodedBytes, RecodingStats, ResponseStats, RuleKind,
    RuntimeStats, SecretStats, ServerState, ServerStats, SetMetadataStats, SpanStats, TableStats, TcpStats,
    TlsInspectorStats, TlsStats, TokenStats, TracingStats, TrackedStats, ZipkinStats,
};
pub use policies::PolicyStats;

/// A number that only grows.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Counts one more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// How many, so far.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that follows a state.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<Level>);

#[derive(Debug, Default)]
struct Level {
    now: AtomicU64,
    /// It was declared as a [`State`], and may be anything when nothing is under way.
    is_state: AtomicBool,
    // `usedonly` asks whether a gauge was ever written, which a level that is back at 0 cannot tell.
    written: AtomicBool,
}

impl Gauge {
    /// One more, for as long as the guard lives.
    pub fn enter(&self) -> Held {
        self.hold(1)
    }

    /// So many more, for as long as the guard lives.
    pub fn hold(&self, count: u64) -> Held {
        let mut held = Held { gauge: self.clone(), count: 0 };
        held.resize(count);
        held
    }

    /// The present value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.now.load(Relaxed)
    }
}

/// A gauge that mirrors a state, such as a number of healthy endpoints. It is no balance: when nothing is under way any
/// more, it may be anything.
#[derive(Clone, Debug, Default)]
pub struct State(Gauge);

impl State {
    /// Makes it `value`.
    pub fn set(&self, value: u64) {
        self.0.0.written.store(true, Relaxed);
        self.0.0.now.store(value, Relaxed);
    }

    /// Makes it `value`, and does not list it before that is another than 0.
    pub fn set_once_above_zero(&self, value: u64) {
        if value != self.value() {
            self.set(value);
        }
    }

    /// Makes it one more.
    pub(crate) fn raise(&self) {
        self.0.0.written.store(true, Relaxed);
        self.0.0.now.fetch_add(1, Relaxed);
    }

    /// The value that was set last; 0 before.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.value()
    }
}

/// Something waits. Counts that when made, and the end of it when dropped.
#[derive(Debug)]
pub(crate) struct Pause {
    ended: Vec<Counter>,
}

impl Pause {
    /// Each pair counts beginnings and ends.
    pub(crate) fn begin(counters: &[(&Counter, &Counter)]) -> Self {
        counters.iter().for_each(|(begun, _)| begun.inc());
        Self { ended: counters.iter().map(|(_, ended)| (*ended).clone()).collect() }
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.ended.iter().for_each(Counter::inc);
    }
}

/// A share of a [`Gauge`]. Dropping it gives the share back, so that no path can forget to.
#[derive(Debug)]
#[must_use = "the gauge falls again when this is dropped"]
pub struct Held {
    gauge: Gauge,
    count: u64,
}

impl Held {
    /// Adds to the share.
    pub(crate) fn grow(&mut self, by: u64) {
        self.resize(self.count.saturating_add(by));
    }

    /// Changes the share, as a buffer does that fills and empties.
    pub fn resize(&mut self, count: u64) {
        if count == self.count {
            return;
        }
        self.gauge.0.written.store(true, Relaxed);
        // Wrapping, so that a share may shrink; the sum over all shares is never negative.
        self.gauge.0.now.fetch_add(count.wrapping_sub(self.count), Relaxed);
        self.count = count;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.gauge.0.now.fetch_sub(self.count, Relaxed);
    }
}

/// Every number by name, for all workers.
///
/// What was named through a [`scope`](Self::scope) is listed for as long as that scope, or another that named it too, is kept:
/// the stats of a cluster that a new configuration leaves out go with the cluster.
#[derive(Debug, Default)]
pub struct Registry {
    names: Arc<Mutex<Names>>,
    /// What was named through this one, each once.
    named: Mutex<BTreeSet<(Map, Arc<str>)>>,
}

#[derive(Debug, Default)]
struct Names {
    counters: BTreeMap<Arc<str>, Entry<Counter>>,
    gauges: BTreeMap<Arc<str>, Entry<Gauge>>,
    histograms: BTreeMap<Arc<str>, Entry<Histogram>>,
    derived: derived::Derivations,
}

/// A named number.
#[derive(Debug, Default)]
struct Entry<T> {
    number: T,
    /// Scopes that have named it.
    scopes: usize,
}

/// One of the maps of [`Names`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Map {
    Counters,
    Gauges,
    Histograms,
}

impl Registry {
    /// A registry without stats.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same numbers. What is first named through the scope is forgotten when the scope is dropped.
    #[must_use]
    pub fn scope(&self) -> Self {
        Self { names: Arc::clone(&self.names), named: Mutex::default() }
    }

    /// The counter of this name, made if there is none.
    pub fn counter(&self, name: &str) -> Counter {
        self.entry(Map::Counters, name, |names| &mut names.counters, None)
    }

    /// The gauge of this name, made if there is none.
    pub fn gauge(&self, name: &str) -> Gauge {
        self.entry(Map::Gauges, name, |names| &mut names.gauges, None)
    }

    /// The gauge of this name that mirrors a state, made if there is none.
    pub fn state(&self, name: &str) -> State {
        let gauge = self.gauge(name);
        gauge.0.is_state.store(true, Relaxed);
        State(gauge)
    }

    /// The gauge of this name is worked out whenever it is looked at, until `value` says that there is none.
    pub fn derive(&self, name: String, value: impl Fn() -> Option<Derived> + Send + Sync + 'static) {
        self.lock().derived.insert(name, Box::new(value));
    }

    /// The histogram of this name, made if there is none.
    pub fn histogram(&self, name: &str) -> Histogram {
        self.entry(Map::Histograms, name, |names| &mut names.histograms, None)
    }

    /// Gives a counter that was made elsewhere a name. A counter that had it until now goes on without one.
    pub fn adopt_counter(&self, name: &str, counter: &Counter) {
        self.entry(Map::Counters, name, |names| &mut names.counters, Some(counter));
    }

    /// The same for a gauge.
    pub fn adopt_gauge(&self, name: &str, gauge: &Gauge) {
        self.entry(Map::Gauges, name, |names| &mut names.gauges, Some(gauge));
    }

    /// The number of this name; `adopted` takes the place of what had it.
    fn entry<T: Clone + Default>(
        &self,
        map: Map,
        name: &str,
        of: fn(&mut Names) -> &mut BTreeMap<Arc<str>, Entry<T>>,
        adopted: Option<&T>,
    ) -> T {
        let mut names = self.lock();
        let entries = of(&mut names);
        let name: Arc<str> = entries.get_key_value(name).map_or_else(|| name.into(), |(known, _)| Arc::clone(known));
        let entry = entries.entry(Arc::clone(&name)).or_default();
        if let Some(adopted) = adopted {
            entry.number = adopted.clone();
        }
        if self.named.lock().unwrap_or_else(PoisonError::into_inner).insert((map, name)) {
            entry.scopes += 1;
        }
        entry.number.clone()
    }

    /// Ends the current interval of every histogram. Envoy does this each `stats_flush_interval`, 5 s.
    pub fn end_interval(&self) {
        for entry in self.lock().histograms.values() {
            entry.number.end_interval();
        }
    }

    /// Sets every counter to 0.
    pub fn reset_counters(&self) {
        for entry in self.lock().counters.values() {
            entry.number.0.store(0, Relaxed);
        }
    }

    /// All numbers as they are now. Not one instant: workers go on counting.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut names = self.lock();
        let derived = names.derived.take();
        let counters = names.counters.iter().map(|(name, entry)| {
            let value = entry.number.value();
            Number { name: name.to_string(), kind: StatKind::Counter, value, is_balance: false, used: value > 0 }
        });
        let gauges = names.gauges.iter().map(|(name, entry)| {
            let gauge = &entry.number;
            let used = gauge.0.written.load(Relaxed);
            let is_balance = !gauge.0.is_state.load(Relaxed);
            Number { name: name.to_string(), kind: StatKind::Gauge, value: gauge.value(), is_balance, used }
        });
        let mut numbers: Vec<Number> = counters.chain(gauges).chain(derived).collect();
        numbers.sort_by(|a, b| a.name.cmp(&b.name));
        let histograms = names.histograms.iter().map(|(name, entry)| entry.number.recorded(name.to_string())).collect();
        Snapshot { numbers, histograms }
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        // A panic elsewhere leaves the maps whole: no insertion is done in two steps.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let named = std::mem::take(self.named.get_mut().unwrap_or_else(PoisonError::into_inner));
        let mut names = self.lock();
        for (map, name) in named {
            match map {
                Map::Counters => forget(&mut names.counters, &name),
                Map::Gauges => forget(&mut names.gauges, &name),
                Map::Histograms => forget(&mut names.histograms, &name),
            }
        }
    }
}

/// One scope less has this name.
fn forget<T>(entries: &mut BTreeMap<Arc<str>, Entry<T>>, name: &str) {
    let Some(entry) = entries.get_mut(name) else { return };
    entry.scopes -= 1;
    if entry.scopes == 0 {
        entries.remove(name);
    }
}

/// Every number at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counters and gauges, by name.
    pub numbers: Vec<Number>,
    /// Histograms, by name.
    pub histograms: Vec<Recorded>,
}

impl Snapshot {
    /// Keeps what was ever written.
    pub fn retain_used(&mut self) {
        self.numbers.retain(|number| number.used);
        self.histograms.retain(|recorded| !recorded.total.is_empty());
    }

    /// Keeps the names that `keep` says yes to.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.numbers.retain(|number| keep(&number.name));
        self.histograms.retain(|recorded| keep(&recorded.name));
    }
}

/// A counter or a gauge at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Number {
    /// With the prefix of its scope.
    pub name: String,
    /// Which of the two.
    pub kind: StatKind,
    /// At the time of the snapshot.
    pub value: u64,
    /// Is it 0 whenever nothing is under way? True of a gauge that counts connections, requests or bytes.
    pub is_balance: bool,
    /// Was it ever written?
    pub used: bool,
}

/// What a number is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum StatKind {
    /// Only grows, except for `/reset_counters`.
    Counter,
    /// Follows a state.
    Gauge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_stat_for_all_its_users() {
        let registry = Registry::new();
        let (a, b) = (registry.counter("x"), registry.counter("x"));
        a.inc();
        b.add(2);
        assert_eq!(registry.counter("x").value(), 3);
    }

    #[test]
    fn stats_of_a_scope_are_removed_with_the_last_scope_of_that_name() {
        let registry = Registry::new();
        let (old, new) = (registry.scope(), registry.scope());
        let counter = old.counter("cluster.a.x");
        old.counter("cluster.a.x").inc();
        old.histogram("cluster.a.ms");
        old.gauge("shared");
        registry.gauge("shared");
        new.counter("cluster.a.x").inc();
        let names = |registry: &Registry| {
            let snapshot = registry.snapshot();
            let histograms = snapshot.histograms.into_iter().map(|recorded| recorded.name);
            snapshot.numbers.into_iter().map(|number| number.name).chain(histograms).collect::<Vec<_>>()
        };
        assert_eq!(names(&registry), ["cluster.a.x", "shared", "cluster.a.ms"]);
        drop(old);
        assert_eq!((names(&registry), counter.value()), (vec!["cluster.a.x".into(), "shared".into()], 2));
        drop(new);
        assert_eq!(names(&registry), ["shared"]);
        counter.inc(); // what still counts does no harm
    }

    #[test]
    fn a_held_gauge_falls_when_the_guard_is_dropped() {
        let gauge = Gauge::default();
        let one = gauge.enter();
        let mut bytes = gauge.hold(10);
        bytes.resize(4);
        assert_eq!(gauge.value(), 5);
        drop(one);
        drop(bytes);
        assert_eq!(gauge.value(), 0);
    }

    #[test]
    fn a_snapshot_is_sorted_and_marks_used_stats() {
        let registry = Registry::new();
        registry.counter("b").inc();
        registry.counter("d");
        drop(registry.gauge("c").enter());
        registry.gauge("a");
        registry.histogram("h");
        let mut snapshot = registry.snapshot();
        let names = |s: &Snapshot| s.numbers.iter().map(|n| n.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&snapshot), ["a", "b", "c", "d"]);
        snapshot.retain_used();
        assert_eq!(names(&snapshot), ["b", "c"]);
        assert!(snapshot.histograms.is_empty());
    }

    #[test]
    fn a_gauge_that_mirrors_a_state_is_no_balance() {
        let registry = Registry::new();
        registry.gauge("held");
        registry.state("declared");
        registry.state("set").set(1);
        registry.counter("counted");
        let balances = registry.snapshot().numbers.into_iter().filter(|number| number.is_balance);
        assert_eq!(balances.map(|number| number.name).collect::<Vec<_>>(), ["held"]);
    }

    #[test]
    fn resetting_counters_leaves_gauges() {
        let registry = Registry::new();
        registry.counter("c").add(7);
        let _held = registry.gauge("g").enter();
        registry.reset_counters();
        assert_eq!((registry.counter("c").value(), registry.gauge("g").value()), (0, 1));
    }
}
