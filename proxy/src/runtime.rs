//! Values that an operator may change while the server runs, and the decisions that hang on them.
//!
//! What the configuration and the command line say is the beginning; the admin interface overrides it. Whoever asks gets
//! a [`Differences`] that stays as it is, so that one request is treated in one way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::config::network_filter::RuntimeFlag;
use crate::config::runtime::{LayerValues, RuntimeError, RuntimeLayer, RuntimeValue};
use crate::config::{Difference, Differences};
use crate::stats::{Derived, Registry, RuntimeStats};

/// The runtime of a server, shared by its workers.
#[derive(Debug)]
pub struct Runtime {
    layers: Mutex<Layers>,
    /// The differences in force, decided anew with every change.
    decided: AtomicU16,
    /// The values that the data path reads, by key. Locked after `layers`. As many as there are limits in use, or
    /// twice that: those that nothing uses any more go whenever their number reaches a power of two.
    watched: Mutex<BTreeMap<(String, Unit), Arc<AtomicU64>>>,
    /// Counts the changes, once they have names.
    stats: OnceLock<RuntimeStats>,
}

/// Where values come from.
#[derive(Debug)]
struct Layers {
    /// The strongest last.
    list: Vec<RuntimeLayer>,
    /// Of the admin layer.
    overrides: BTreeMap<String, RuntimeValue>,
    /// What holds where no layer says anything.
    otherwise: Differences,
}

/// What a watched key's number counts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Unit {
    One,
    /// 1 of a key whose value is true, 0 of one that is false.
    Flag,
    /// Hundredths of a percent, of a key whose value is a percentage.
    BasisPoint,
    /// Millionths, of a key whose value is a share of the requests.
    Millionth,
}

impl Unit {
    fn read(self, value: &RuntimeValue) -> Option<u32> {
        match self {
            Self::One => value.as_count(),
            Self::Flag => value.as_flag().map(u32::from),
            Self::BasisPoint => value.as_basis_points(),
            Self::Millionth => value.as_millionths(),
        }
    }
}

/// The number that a key has, and goes on having as operators change it. Reading it takes no lock.
#[derive(Clone, Debug)]
pub struct Watched {
    /// [`UNSET`] while no layer has the key.
    value: Arc<AtomicU64>,
    /// Holds while no layer has the key.
    default: Arc<AtomicU32>,
}

/// More than any `u32`.
const UNSET: u64 = u64::MAX;

impl Watched {
    /// A number that no key changes.
    #[must_use]
    pub fn fixed(number: u32) -> Self {
        Self { value: Arc::new(AtomicU64::new(UNSET)), default: Arc::new(AtomicU32::new(number)) }
    }

    /// The number in force.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.of_layers().unwrap_or_else(|| self.default.load(Ordering::Relaxed))
    }

    /// Another number holds while no layer has the key.
    pub fn set_default(&self, number: u32) {
        self.default.store(number, Ordering::Relaxed);
    }

    /// What the layers say; `None` if none of them has the key.
    #[must_use]
    pub fn of_layers(&self) -> Option<u32> {
        u32::try_from(self.value.load(Ordering::Relaxed)).ok()
    }
}

/// Why an operator's change was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ModifyError {
    /// No layer takes it.
    #[error("No admin layer specified")]
    NoAdminLayer,
    /// A key does not take its value.
    #[error(transparent)]
    Value(#[from] RuntimeError),
}

/// A key with its value in each layer, for operators.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyValues {
    /// With its dots, as in `circuit_breakers.app.default.max_requests`.
    pub key: String,
    /// The value in force.
    pub last: String,
    /// The value in each layer; empty where it has none.
    pub in_layers: Vec<String>,
}

impl Runtime {
    /// A runtime of these layers, over what the command line says.
    #[must_use]
    pub fn new(layers: Vec<RuntimeLayer>, otherwise: Differences) -> Self {
        let decided = AtomicU16::new(otherwise.bits());
        let layers = Layers { list: layers, overrides: BTreeMap::new(), otherwise };
        let runtime = Self { layers: Mutex::new(layers), decided, watched: Mutex::default(), stats: OnceLock::new() };
        runtime.decide(&runtime.layers());
        runtime
    }

    /// Gives the stats under `runtime.` their values.
    pub fn register(self: &Arc<Self>, registry: &Registry) {
        let stats = self.stats.get_or_init(|| RuntimeStats::new(registry));
        // Envoy makes its layers twice when it starts.
        (0..2).for_each(|_| stats.loaded());
        type Read = fn(&Layers) -> usize;
        let gauges: [(&str, Read); 3] = [
            ("admin_overrides_active", |layers| usize::from(!layers.overrides.is_empty())),
            ("num_keys", |layers| layers.keys().len()),
            ("num_layers", |layers| layers.list.len()),
        ];
        for (name, read) in gauges {
            let runtime = Arc::downgrade(self);
            registry.derive(format!("runtime.{name}"), move || {
                let value = u64::try_from(read(&runtime.upgrade()?.layers())).unwrap_or(u64::MAX);
                Some(Derived { value, used: value > 0 })
            });
        }
    }

    /// Other layers, as another configuration has them. What operators have set stays, if there is still a layer for it.
    pub fn replace_layers(&self, list: Vec<RuntimeLayer>, otherwise: Differences) {
        let mut layers = self.layers();
        layers.list = list;
        layers.otherwise = otherwise;
        if !layers.has_admin_layer() {
            layers.overrides.clear();
        }
        self.decide(&layers);
        self.count_load();
    }

    /// The layers as the same configuration has them when its files are read again. Are they others?
    pub fn renew_layers(&self, list: &[RuntimeLayer], otherwise: Differences) -> bool {
        let is_new = self.layers().list != list;
        if is_new {
            self.replace_layers(list.to_vec(), otherwise);
        }
        is_new
    }

    fn count_load(&self) {
        self.stats.get().into_iter().for_each(RuntimeStats::loaded);
    }

    /// The differences in force now.
    #[must_use]
    pub fn differences(&self) -> Differences {
        Differences::from_bits(self.decided.load(Ordering::Relaxed))
    }

    /// The value of `key` as a count, if it has one.
    #[must_use]
    pub fn count(&self, key: &str) -> Option<u32> {
        self.layers().value(key).and_then(RuntimeValue::as_count)
    }

    /// The value of `key` as a share of the requests in millionths, if it has one.
    #[must_use]
    pub fn share(&self, key: &str) -> Option<u32> {
        self.layers().value(key).and_then(RuntimeValue::as_millionths)
    }

    /// The count of `key` as it will be at any time; `default` while no layer has one.
    pub fn watch(&self, key: String, default: u32) -> Watched {
        self.watch_in(Unit::One, key, default)
    }

    /// The flag of `key`, as 1 or 0.
    pub fn watch_flag(&self, flag: &RuntimeFlag) -> Watched {
        match &flag.key {
            Some(key) => self.watch_in(Unit::Flag, key.clone(), flag.is_on.into()),
            None => Watched::fixed(flag.is_on.into()),
        }
    }

    /// The same for a percentage, in hundredths of a percent.
    pub fn watch_percentage(&self, key: String, default: u32) -> Watched {
        self.watch_in(Unit::BasisPoint, key, default)
    }

    /// The same for a share of the requests, in millionths.
    pub fn watch_share(&self, key: String, default: u32) -> Watched {
        self.watch_in(Unit::Millionth, key, default)
    }

    fn watch_in(&self, unit: Unit, key: String, default: u32) -> Watched {
        let layers = self.layers();
        let now = number(layers.value(&key), unit);
        let mut watched = self.watched();
        if watched.len().is_power_of_two() {
            watched.retain(|_, value| Arc::strong_count(value) > 1);
        }
        let value = watched.entry((key, unit)).or_insert_with(|| Arc::new(AtomicU64::new(now)));
        Watched { value: Arc::clone(value), default: Arc::new(AtomicU32::new(default)) }
    }

    fn layers(&self) -> MutexGuard<'_, Layers> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<(String, Unit), Arc<AtomicU64>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets each key to its value; an empty value takes the override back. All or none.
    ///
    /// # Errors
    /// There is no layer for it, or one of the values does not fit.
    pub fn modify<'p>(&self, pairs: impl Iterator<Item = (&'p str, &'p str)>) -> Result<(), ModifyError> {
        let mut layers = self.layers();
        if !layers.has_admin_layer() {
            return Err(ModifyError::NoAdminLayer);
        }
        let mut changed = layers.overrides.clone();
        for (key, text) in pairs {
            if text.is_empty() {
                changed.remove(key);
                continue;
            }
            let value = RuntimeValue::parse(text);
            value.check(key)?;
            changed.insert(key.to_owned(), value);
        }
        layers.overrides = changed;
        self.decide(&layers);
        self.count_load();
        Ok(())
    }

    /// The names of the layers.
    #[must_use]
    pub fn layer_names(&self) -> Vec<String> {
        self.layers().list.iter().map(|layer| layer.name.clone()).collect()
    }

    /// Every key that some layer has, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyValues> {
        let layers = self.layers();
        let each = || layers.list.iter().map(|layer| layer.values(&layers.overrides));
        let text = |value: Option<&RuntimeValue>| value.map(RuntimeValue::to_string).unwrap_or_default();
        let all = |key: &String| KeyValues {
            key: key.clone(),
            last: text(layers.value(key)),
            in_layers: each().map(|values| text(values.get(key))).collect(),
        };
        layers.keys().into_iter().map(all).collect()
    }

    fn decide(&self, layers: &Layers) {
        let set = |decided: Differences, difference: Difference| {
            let said = layers.value(difference.key()).and_then(RuntimeValue::as_flag);
            said.map_or(decided, |is_on| decided.with(difference, is_on))
        };
        let decided = Difference::ALL.into_iter().fold(layers.otherwise, set);
        self.decided.store(decided.bits(), Ordering::Relaxed);
        for ((key, unit), watched) in &*self.watched() {
            watched.store(number(layers.value(key), *unit), Ordering::Relaxed);
        }
    }
}

impl Layers {
    /// The last layer that has the key decides.
    fn value(&self, key: &str) -> Option<&RuntimeValue> {
        self.list.iter().rev().find_map(|layer| layer.values(&self.overrides).get(key))
    }

    /// Every key that some layer has, in order.
    fn keys(&self) -> Vec<&String> {
        let all = self.list.iter().flat_map(|layer| layer.values(&self.overrides).keys());
        let mut keys: Vec<&String> = all.collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    fn has_admin_layer(&self) -> bool {
        self.list.iter().any(|layer| matches!(layer.values, LayerValues::Admin))
    }
}

fn number(value: Option<&RuntimeValue>, unit: Unit) -> u64 {
    value.and_then(|value| unit.read(value)).map_or(UNSET, u64::from)
}

impl RuntimeLayer {
    fn values<'v>(&'v self, overrides: &'v BTreeMap<String, RuntimeValue>) -> &'v BTreeMap<String, RuntimeValue> {
        match &self.values {
            LayerValues::Admin => overrides,
            LayerValues::Static(values) => values,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(name: &str, values: &[(&str, &str)]) -> RuntimeLayer {
        let values = values.iter().map(|(key, value)| ((*key).to_owned(), RuntimeValue::parse(value)));
        RuntimeLayer { name: name.into(), values: LayerValues::Static(values.collect()) }
    }

    fn admin() -> RuntimeLayer {
        RuntimeLayer { name: "admin".into(), values: LayerValues::Admin }
    }

    #[test]
    fn the_last_layer_decides_and_an_operator_may_change_it() {
        let below = fixed("below", &[("finwait.resend", "false"), ("finwait.redispatch", "false"), ("n", "3")]);
        let above = fixed("above", &[("finwait.redispatch", "true")]);
        let runtime = Runtime::new(vec![below, above, admin()], Differences::ALL);
        let state = || {
            let now = runtime.differences();
            (now.has(Difference::Resend), now.has(Difference::Redispatch), now.has(Difference::RetryFresh))
        };
        assert_eq!((state(), runtime.count("n")), ((false, true, true), Some(3)));
        runtime.modify([("finwait.resend", "true"), ("n", "4")].into_iter()).unwrap();
        assert_eq!((state(), runtime.count("n")), ((true, true, true), Some(4)));
        let of_n = runtime.keys().into_iter().find(|values| values.key == "n").unwrap();
        assert_eq!((of_n.last.as_str(), of_n.in_layers), ("4", vec!["3".into(), String::new(), "4".into()]));
        let refused = runtime.modify([("n", "5"), ("finwait.resent", "true")].into_iter());
        assert!(matches!(refused, Err(ModifyError::Value(_))));
        assert_eq!(runtime.count("n"), Some(4), "all or none");
        runtime.modify([("finwait.resend", ""), ("n", "")].into_iter()).unwrap();
        assert_eq!((state(), runtime.count("n")), ((false, true, true), Some(3)));
    }

    #[test]
    fn a_watched_key_follows_its_layers_and_falls_back_to_its_default() {
        let runtime = Runtime::new(vec![fixed("below", &[("n", "3"), ("share", "12.5")]), admin()], Differences::NONE);
        let (set, unset) = (runtime.watch("n".into(), 9), runtime.watch("m".into(), 9));
        let share = runtime.watch_percentage("share".into(), 2000);
        let now = || (set.get(), unset.get(), share.get());
        assert_eq!(now(), (3, 9, 1250));
        runtime.modify([("n", "5"), ("m", "0"), ("share", "100")].into_iter()).unwrap();
        assert_eq!(now(), (5, 0, 10_000));
        assert_eq!(runtime.watch("m".into(), 1).get(), 0, "who asks later gets the same number");
        runtime.modify([("n", ""), ("m", ""), ("share", "a half")].into_iter()).unwrap();
        assert_eq!(now(), (3, 9, 2000));
    }

    #[test]
    fn other_layers_take_the_place_of_those_before_and_keep_what_operators_set() {
        let runtime =
            Runtime::new(vec![fixed("below", &[("n", "3"), ("finwait.resend", "false")]), admin()], Differences::ALL);
        let (n, m) = (runtime.watch("n".into(), 9), runtime.watch("m".into(), 9));
        runtime.modify([("m", "1")].into_iter()).unwrap();
        runtime.replace_layers(vec![fixed("below", &[("n", "4")]), admin()], Differences::ALL);
        assert_eq!((n.get(), m.get(), runtime.differences().has(Difference::Resend)), (4, 1, true));
        runtime.replace_layers(Vec::new(), Differences::NONE);
        n.set_default(7);
        assert_eq!((n.get(), m.get(), runtime.differences()), (7, 9, Differences::NONE));
        assert_eq!(runtime.keys(), Vec::new());
    }

    #[test]
    fn watched_keys_without_readers_are_removed() {
        let runtime = Runtime::new(vec![admin()], Differences::NONE);
        let kept = runtime.watch("kept".into(), 1);
        for number in 0..1000 {
            drop(runtime.watch(format!("gone.{number}"), 1));
        }
        assert!(runtime.watched().len() < 8);
        runtime.modify([("kept", "2")].into_iter()).unwrap();
        assert_eq!(kept.get(), 2);
    }

    #[test]
    fn without_an_admin_layer_nothing_can_be_changed() {
        let runtime = Runtime::new(vec![fixed("one", &[("finwait.resend", "1e2")])], Differences::NONE);
        assert_eq!(runtime.modify([("a", "1")].into_iter()), Err(ModifyError::NoAdminLayer));
        assert!(runtime.differences().has(Difference::Resend), "switched on again over --envoy-exact");
        assert!(!runtime.differences().has(Difference::Redispatch));
    }
}
