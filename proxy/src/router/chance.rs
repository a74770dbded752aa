//! What decides about a request besides the request itself: one random number, and runtime keys.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::config::fraction::is_drawn;
use crate::config::route::{Action, Condition, Destination, Fraction, RouteTable, WeightedCluster, WeightedClusters};
use crate::net::Random;
use crate::runtime::{Runtime, Watched};

/// The runtime keys that a route table names, with the values that they have now.
#[derive(Debug, Default)]
pub struct RuntimeKeys {
    shares: BTreeMap<String, Watched>,
    weights: BTreeMap<String, Watched>,
}

impl RuntimeKeys {
    /// Those of `table`.
    #[must_use]
    pub fn of(table: &RouteTable, runtime: &Runtime) -> Self {
        let mut keys = Self::default();
        for route in table.virtual_hosts.iter().flat_map(|host| &host.routes) {
            for condition in &route.conditions {
                if let Condition::Fraction(Fraction { key: Some(key), .. }) = condition {
                    keys.shares.insert(key.clone(), runtime.watch_share(key.clone(), 0));
                }
            }
            let Action::Forward(to) = &route.action else { continue };
            for key in to.mirrors.iter().filter_map(|mirror| mirror.share.as_ref()?.key.as_ref()) {
                keys.shares.insert(key.clone(), runtime.watch_share(key.clone(), 0));
            }
            let Destination::Weighted(several) = &to.cluster else { continue };
            for key in several.clusters.iter().filter_map(|cluster| cluster.key.as_ref()) {
                keys.weights.insert(key.clone(), runtime.watch(key.clone(), 0));
            }
        }
        keys
    }

    /// How many millionths of the requests `fraction` is.
    fn millionths(&self, fraction: &Fraction) -> u32 {
        let of_runtime = fraction.key.as_ref().and_then(|key| self.shares.get(key)?.of_layers());
        of_runtime.unwrap_or(fraction.millionths)
    }

    fn weight(&self, cluster: &WeightedCluster) -> u64 {
        let of_runtime = cluster.key.as_ref().and_then(|key| self.weights.get(key)?.of_layers());
        u64::from(of_runtime.unwrap_or(cluster.weight))
    }
}

/// What decides about one request. Its random number is drawn when it is first needed and stays the same, so that the same
/// route is found whenever it is looked for.
pub struct Chance<'a> {
    keys: &'a RuntimeKeys,
    random: &'a dyn Random,
    drawn: Cell<Option<u64>>,
}

impl<'a> Chance<'a> {
    /// That of a request that has just come.
    #[must_use]
    pub fn new(keys: &'a RuntimeKeys, random: &'a dyn Random) -> Self {
        Self { keys, random, drawn: Cell::new(None) }
    }

    fn number(&self) -> u64 {
        let number = self.drawn.get().unwrap_or_else(|| self.random.next_u64());
        self.drawn.set(Some(number));
        number
    }

    /// Is the request among so many?
    pub(crate) fn is_within(&self, fraction: &Fraction) -> bool {
        is_drawn(self.keys.millionths(fraction), || self.number())
    }

    /// The cluster that gets the request. `by_header`: the number in the header that takes the place of chance. `None` if every
    /// weight is zero.
    pub(super) fn choose<'c>(
        &self,
        several: &'c WeightedClusters,
        by_header: Option<u64>,
    ) -> Option<&'c WeightedCluster> {
        let sum: u64 = several.clusters.iter().map(|cluster| self.keys.weight(cluster)).sum();
        let mut left = by_header.unwrap_or_else(|| self.number()).checked_rem(sum)?;
        several.clusters.iter().find(|cluster| {
            let weight = self.keys.weight(cluster);
            let is_chosen = left < weight;
            left = left.saturating_sub(weight);
            is_chosen
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Differences;
    use crate::config::route::NamedCluster;
    use crate::config::runtime::{LayerValues, RuntimeLayer};

    struct Fixed(u64);
    impl Random for Fixed {
        fn next_u64(&self) -> u64 {
            self.0
        }
    }

    fn runtime() -> Runtime {
        Runtime::new(vec![RuntimeLayer { name: "admin".into(), values: LayerValues::Admin }], Differences::NONE)
    }

    fn several(weights: &[(&str, u32)]) -> WeightedClusters {
        let clusters = weights.iter().map(|(name, weight)| WeightedCluster {
            metadata_match: None,
            cluster: NamedCluster::Cluster((*name).into()),
            weight: *weight,
            key: Some(format!("w.{name}")),
            host: None,
            edits: Vec::new(),
            filters: None,
        });
        WeightedClusters { clusters: clusters.collect(), chosen_by: None }
    }

    fn chosen(keys: &RuntimeKeys, several: &WeightedClusters, number: u64) -> Option<String> {
        Chance::new(keys, &Fixed(number)).choose(several, None).map(|cluster| format!("{:?}", cluster.cluster))
    }

    #[test]
    fn a_cluster_is_chosen_by_its_share_of_all_weights() {
        let several = several(&[("a", 1), ("none", 0), ("b", 3)]);
        let keys = RuntimeKeys::default();
        let names: Vec<_> = (0..5).map(|number| chosen(&keys, &several, number).unwrap()).collect();
        let (a, b) = ("Cluster(\"a\")", "Cluster(\"b\")");
        assert_eq!(names, [a, b, b, b, a]);
        let by_header = Chance::new(&keys, &Fixed(0)).choose(&several, Some(3)).unwrap();
        assert_eq!(format!("{:?}", by_header.cluster), b);
    }

    #[test]
    fn a_runtime_key_replaces_a_weight_and_a_share() {
        let runtime = runtime();
        let several = several(&[("a", 1), ("b", 0)]);
        let weights = ["w.a", "w.b"].map(|key| (key.to_owned(), runtime.watch(key.into(), 0)));
        let shares = [("s".to_owned(), runtime.watch_share("s".into(), 0))];
        let keys = RuntimeKeys { weights: weights.into(), shares: shares.into() };
        let fraction = Fraction { millionths: 0, key: Some("s".into()) };
        let is_within = |number| Chance::new(&keys, &Fixed(number)).is_within(&fraction);
        assert_eq!((chosen(&keys, &several, 0).unwrap().as_str(), is_within(0)), ("Cluster(\"a\")", false));
        runtime.modify([("w.a", "0"), ("w.b", "1"), ("s", "50")].into_iter()).unwrap();
        assert_eq!(chosen(&keys, &several, 0).unwrap(), "Cluster(\"b\")");
        assert_eq!((is_within(499_999), is_within(500_000)), (true, false));
        runtime.modify([("w.b", "0"), ("s", "abc")].into_iter()).unwrap();
        assert_eq!((chosen(&keys, &several, 0), is_within(0)), (None, false));
        runtime.modify([("s", "200")].into_iter()).unwrap();
        assert!(is_within(999_999));
    }

    #[test]
    fn one_number_decides_about_a_request() {
        struct Counting(Cell<u64>);
        impl Random for Counting {
            fn next_u64(&self) -> u64 {
                self.0.replace(self.0.get() + 1)
            }
        }
        let (keys, random) = (RuntimeKeys::default(), Counting(Cell::new(7)));
        let chance = Chance::new(&keys, &random);
        let all = Fraction { millionths: 2_000_000, key: None };
        assert!(chance.is_within(&all) && random.0.get() == 7, "certainty takes no chance");
        let half = Fraction { millionths: 500_000, key: None };
        assert!(chance.is_within(&half) && chance.is_within(&half));
        assert_eq!(random.0.get(), 8);
    }
}
