//! Gauges that are worked out from a state when they are looked at, so that nothing has to keep them up to date.

use std::collections::BTreeMap;
use std::fmt;

use super::{Number, StatKind};

/// The value of such a gauge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Derived {
    /// The value. It mirrors a state and is no balance.
    pub value: u64,
    /// Did what it mirrors ever move?
    pub used: bool,
}

/// Works a gauge out; `None` once there is nothing any more that it is about.
type Derivation = Box<dyn Fn() -> Option<Derived> + Send + Sync>;

/// Every such gauge, by name. While a new configuration takes the place of an old one, two have a name: the later one
/// counts, and the earlier one again if the later one goes.
#[derive(Default)]
pub(super) struct Derivations(BTreeMap<String, Vec<Derivation>>);

impl Derivations {
    pub(super) fn insert(&mut self, name: String, derivation: Derivation) {
        let derivations = self.0.entry(name).or_default();
        derivations.retain(|earlier| earlier().is_some());
        derivations.push(derivation);
    }

    /// The gauges as they are now. Those that are about nothing any more are forgotten.
    pub(super) fn take(&mut self) -> Vec<Number> {
        let mut numbers = Vec::with_capacity(self.0.len());
        self.0.retain(|name, derivations| {
            let mut last = None;
            derivations.retain(|derivation| {
                let derived = derivation();
                last = derived.or(last);
                derived.is_some()
            });
            let number = |Derived { value, used }| Number {
                name: name.clone(),
                kind: StatKind::Gauge,
                value,
                is_balance: false,
                used,
            };
            numbers.extend(last.map(number));
            !derivations.is_empty()
        });
        numbers
    }
}

impl fmt::Debug for Derivations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn the_last_stat_of_a_name_counts_and_the_previous_one_after_its_removal() {
        let mut derivations = Derivations::default();
        let (old, new) = (Arc::new(1), Arc::new(2));
        for state in [&old, &new] {
            let state = Arc::downgrade(state);
            let derive = move || state.upgrade().map(|value| Derived { value: *value, used: true });
            derivations.insert("open".into(), Box::new(derive));
        }
        let mut value = || derivations.take().first().map(|number| number.value);
        assert_eq!(value(), Some(2));
        drop(new);
        assert_eq!(value(), Some(1));
        drop(old);
        assert_eq!(value(), None);
    }
}
