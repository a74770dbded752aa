//! Values that an operator may change while the server runs, and the decisions that hang on them.
//!
//! What the configuration and the command line say is the beginning; the admin interface overrides it. Whoever asks gets
//! a [`Differences`] that stays as it is, so that one request is treated in one way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::runtime::{LayerValues, RuntimeError, RuntimeLayer, RuntimeValue};
use crate::config::{Difference, Differences};

/// The runtime of a server, shared by its workers.
#[derive(Debug)]
pub struct Runtime {
    layers: Vec<RuntimeLayer>,
    /// Of the admin layer.
    overrides: Mutex<BTreeMap<String, RuntimeValue>>,
    /// What holds where no layer says anything.
    otherwise: Differences,
    /// The differences in force, decided anew with every change.
    decided: AtomicU16,
    /// The values that the data path reads, by key. Locked after `overrides`. As many as there are limits in use, or
    /// twice that: those that nothing uses any more go whenever their number reaches a power of two.
    watched: Mutex<BTreeMap<(String, Unit), Arc<AtomicU64>>>,
}

/// What a watched key's number counts.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Unit {
    One,
    /// Hundredths of a percent, of a key whose value is a percentage.
    BasisPoint,
}

impl Unit {
    fn read(self, value: &RuntimeValue) -> Option<u32> {
        match self {
            Self::One => value.as_count(),
            Self::BasisPoint => value.as_basis_points(),
        }
    }
}

/// The number that a key has, and goes on having as operators change it. Reading it takes no lock.
#[derive(Clone, Debug)]
pub struct Watched {
    /// [`UNSET`] while no layer has the key.
    value: Arc<AtomicU64>,
    /// Holds while no layer has the key.
    default: u32,
}

/// More than any `u32`.
const UNSET: u64 = u64::MAX;

impl Watched {
    /// A number that no key changes.
    #[must_use]
    pub fn fixed(number: u32) -> Self {
        Self { value: Arc::new(AtomicU64::new(UNSET)), default: number }
    }

    /// The number in force.
    #[must_use]
    pub fn get(&self) -> u32 {
        self.of_layers().unwrap_or(self.default)
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
    /// The key.
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
        let runtime = Self { layers, overrides: Mutex::default(), otherwise, decided, watched: Mutex::default() };
        runtime.decide(&BTreeMap::new());
        runtime
    }

    /// The differences in force now.
    #[must_use]
    pub fn differences(&self) -> Differences {
        Differences::from_bits(self.decided.load(Ordering::Relaxed))
    }

    /// The value of `key` as a count, if it has one.
    #[must_use]
    pub fn count(&self, key: &str) -> Option<u32> {
        if self.layers.is_empty() {
            return None;
        }
        self.value(key, &self.overrides()).and_then(RuntimeValue::as_count)
    }

    /// The count of `key` as it will be at any time; `default` while no layer has one.
    pub fn watch(&self, key: String, default: u32) -> Watched {
        self.watch_in(Unit::One, key, default)
    }

    /// The same for a percentage, in hundredths of a percent.
    pub fn watch_percentage(&self, key: String, default: u32) -> Watched {
        self.watch_in(Unit::BasisPoint, key, default)
    }

    fn watch_in(&self, unit: Unit, key: String, default: u32) -> Watched {
        let overrides = self.overrides();
        let now = number(self.value(&key, &overrides), unit);
        let mut watched = self.watched();
        if watched.len().is_power_of_two() {
            watched.retain(|_, value| Arc::strong_count(value) > 1);
        }
        let value = watched.entry((key, unit)).or_insert_with(|| Arc::new(AtomicU64::new(now)));
        Watched { value: Arc::clone(value), default }
    }

    fn overrides(&self) -> MutexGuard<'_, BTreeMap<String, RuntimeValue>> {
        self.overrides.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, BTreeMap<(String, Unit), Arc<AtomicU64>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets each key to its value; an empty value takes the override back. All or none.
    ///
    /// # Errors
    /// There is no layer for it, or one of the values does not fit.
    pub fn modify<'p>(&self, pairs: impl Iterator<Item = (&'p str, &'p str)>) -> Result<(), ModifyError> {
        if !self.layers.iter().any(|layer| matches!(layer.values, LayerValues::Admin)) {
            return Err(ModifyError::NoAdminLayer);
        }
        let mut overrides = self.overrides();
        let mut changed = overrides.clone();
        for (key, text) in pairs {
            if text.is_empty() {
                changed.remove(key);
                continue;
            }
            let value = RuntimeValue::parse(text);
            value.check(key)?;
            changed.insert(key.to_owned(), value);
        }
        *overrides = changed;
        self.decide(&overrides);
        Ok(())
    }

    /// The names of the layers.
    pub fn layer_names(&self) -> impl Iterator<Item = &str> {
        self.layers.iter().map(|layer| layer.name.as_str())
    }

    /// Every key that some layer has, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyValues> {
        let overrides = self.overrides();
        let mut keys: Vec<&String> = self.layers.iter().flat_map(|layer| layer.values(&overrides).keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        let text = |value: Option<&RuntimeValue>| value.map(RuntimeValue::to_string).unwrap_or_default();
        let all = |key: &String| KeyValues {
            key: key.clone(),
            last: text(self.value(key, &overrides)),
            in_layers: self.layers.iter().map(|layer| text(layer.values(&overrides).get(key))).collect(),
        };
        keys.into_iter().map(all).collect()
    }

    fn decide(&self, overrides: &BTreeMap<String, RuntimeValue>) {
        let set = |decided: Differences, difference: Difference| {
            let said = self.value(difference.key(), overrides).and_then(RuntimeValue::as_flag);
            said.map_or(decided, |is_on| decided.with(difference, is_on))
        };
        let decided = Difference::ALL.into_iter().fold(self.otherwise, set);
        self.decided.store(decided.bits(), Ordering::Relaxed);
        for ((key, unit), watched) in &*self.watched() {
            watched.store(number(self.value(key, overrides), *unit), Ordering::Relaxed);
        }
    }

    /// The last layer that has the key decides.
    fn value<'v>(&'v self, key: &str, overrides: &'v BTreeMap<String, RuntimeValue>) -> Option<&'v RuntimeValue> {
        self.layers.iter().rev().find_map(|layer| layer.values(overrides).get(key))
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
    fn watched_keys_that_nothing_reads_any_more_are_forgotten() {
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
