//! Subsets of the endpoints, by what their metadata says: a [`Balancer`] for each. Pure.

use std::collections::BTreeMap;

use super::{Balancer, Live, LocalHosts, Member, Turns, Wish};
use crate::config::balancing::{Balancing, Localities};
use crate::config::metadata::{Struct, Value};
use crate::config::subsets::{Criteria, Fallback, Selector, SelectorFallback, SubsetLocalities, Subsets as Options};
use crate::net::Random;
use crate::stats::ClusterStats;

/// So many subsets of one endpoint may its lists make, by the members that they have: a cluster's memory is bounded.
const COMBINATIONS_MAX: usize = 4096;

/// All subsets of a cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Subsets {
    tree: Tree,
    any: Subset,
    default: Subset,
}

/// Subsets by the values of one key after the other, in the order of the keys.
#[derive(Clone, Debug, Default)]
struct Tree(BTreeMap<String, BTreeMap<String, Node>>);

#[derive(Clone, Debug, Default)]
struct Node {
    subset: Option<Subset>,
    below: Tree,
}

/// Some of the endpoints.
#[derive(Clone, Debug, Default)]
struct Subset {
    /// Their numbers in the cluster.
    numbers: Vec<u32>,
    balancer: Balancer,
}

/// What all subsets are built from.
pub(super) struct Parts<'p> {
    pub(super) members: &'p [Member],
    pub(super) how: &'p Balancing,
    pub(super) threshold: u32,
    pub(super) live: &'p Live<'p>,
    /// A random place where turns begin.
    pub(super) turns: u64,
}

/// What a choice among subsets takes.
pub(super) struct Chooser<'c> {
    pub(super) how: &'c Balancing,
    pub(super) options: &'c Options,
    pub(super) wish: Wish<'c>,
    pub(super) live: &'c Live<'c>,
    pub(super) random: &'c dyn Random,
    pub(super) stats: &'c ClusterStats,
}

impl Subsets {
    /// Of these endpoints.
    pub(super) fn new(parts: &Parts<'_>, options: &Options) -> Self {
        let mut subsets = Self::default();
        for (number, member) in (0..).zip(parts.members) {
            subsets.any.numbers.push(number);
            if has(&member.labels, &options.default, options) {
                subsets.default.numbers.push(number);
            }
            for selector in &options.selectors {
                for values in values(&member.labels, selector, options) {
                    subsets.tree.add(&values, number, selector);
                }
            }
        }
        subsets.any.build(parts, options);
        subsets.default.build(parts, options);
        subsets.tree.for_each(&mut |subset| subset.build(parts, options));
        subsets
    }

    /// Has zones count in each of them.
    pub(super) fn route_by_zones(
        &mut self,
        how: &Balancing,
        local: &LocalHosts,
        live: &Live<'_>,
        stats: &ClusterStats,
    ) {
        let mut each = |Subset { numbers, balancer }: &mut Subset| {
            with_numbers(numbers, live, |live| balancer.route_by_zones(how, local, live, stats));
        };
        each(&mut self.any);
        each(&mut self.default);
        self.tree.for_each(&mut each);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.tree.count()
    }

    /// The number of an endpoint to use, if there is one.
    pub(super) fn choose(&mut self, of: &Chooser<'_>) -> Option<u32> {
        let alternatives = of.wish.wanted.and_then(|wanted| wanted.alternatives.as_ref());
        if let Some(alternatives) = alternatives.filter(|list| of.options.reads_fallback_list && !list.is_empty()) {
            return alternatives.iter().find_map(|criteria| self.choose_by(Some(criteria), of));
        }
        let criteria = of.wish.wanted.map(|wanted| &wanted.criteria).filter(|criteria| !criteria.is_empty());
        self.choose_by(criteria, of)
    }

    fn choose_by(&mut self, criteria: Option<&Criteria>, of: &Chooser<'_>) -> Option<u32> {
        let mut reduced = None;
        if let Some(all) = criteria.filter(|_| of.options.redundant_keys) {
            let selected = of.options.selectors.iter().map(|selector| (all.only(&selector.keys), selector));
            let mut whole = selected.filter(|(only, selector)| only.iter().count() == selector.keys.len());
            reduced = whole.next().map(|(only, _)| only);
        }
        if let Some(criteria) = reduced.as_ref().or(criteria) {
            if let Some(subset) = self.tree.find(criteria) {
                of.stats.lb_subsets_selected.inc();
                return subset.choose(of);
            }
            match fallback(criteria, &of.options.selectors) {
                None => {}
                Some(SelectorFallback::Keys(keys)) => return self.choose_by(Some(&criteria.only(keys)), of),
                Some(SelectorFallback::Plain(Fallback::Any)) => return self.any.choose(of),
                Some(SelectorFallback::Plain(Fallback::Default)) => return self.default.choose(of),
                Some(SelectorFallback::Plain(Fallback::None)) => return None,
            }
        }
        let chosen = match of.options.fallback {
            Fallback::Any => self.any.choose(of),
            Fallback::Default => self.default.choose(of),
            Fallback::None => return None,
        };
        if chosen.is_some() {
            of.stats.lb_subsets_fallback.inc();
            return chosen;
        }
        let chosen = if of.options.panic_any { self.any.choose(of) } else { None };
        chosen.inspect(|_| of.stats.lb_subsets_fallback_panic.inc())
    }
}

/// The fallback of the selector with exactly the keys of these criteria.
fn fallback<'o>(criteria: &Criteria, selectors: &'o [Selector]) -> Option<&'o SelectorFallback> {
    let is_same =
        |selector: &&Selector| criteria.iter().map(|(key, _)| key).eq(selector.keys.iter().map(String::as_str));
    selectors.iter().find(is_same)?.fallback.as_ref()
}

impl Tree {
    fn add(&mut self, values: &[(&str, String)], number: u32, selector: &Selector) {
        let Some(((key, value), rest)) = values.split_first() else { return };
        let node = self.0.entry((*key).to_owned()).or_default().entry(value.clone()).or_default();
        if !rest.is_empty() {
            return node.below.add(rest, number, selector);
        }
        let subset = node.subset.get_or_insert_default();
        // Two selectors may have the same keys, and make one subset.
        if subset.numbers.last() != Some(&number) && (!selector.single || subset.numbers.is_empty()) {
            subset.numbers.push(number);
        }
    }

    fn find(&mut self, criteria: &Criteria) -> Option<&mut Subset> {
        let mut pairs = criteria.iter();
        let (key, value) = pairs.next()?;
        let mut node = self.0.get_mut(key)?.get_mut(value)?;
        for (key, value) in pairs {
            node = node.below.0.get_mut(key)?.get_mut(value)?;
        }
        node.subset.as_mut()
    }

    fn for_each(&mut self, each: &mut dyn FnMut(&mut Subset)) {
        for node in self.0.values_mut().flat_map(BTreeMap::values_mut) {
            node.subset.iter_mut().for_each(&mut *each);
            node.below.for_each(each);
        }
    }

    fn count(&self) -> u64 {
        let nodes = self.0.values().flat_map(BTreeMap::values);
        nodes.map(|node| u64::from(node.subset.is_some()) + node.below.count()).sum()
    }
}

impl Subset {
    fn build(&mut self, parts: &Parts<'_>, options: &Options) {
        let of = |number: &u32| parts.members.get(usize::try_from(*number).ok()?).cloned();
        let mut members: Vec<Member> = self.numbers.iter().filter_map(of).collect();
        if options.localities == SubsetLocalities::Scaled {
            scale(&mut members, parts.members);
        }
        let how = within(parts.how, options);
        let numbers = &self.numbers;
        with_numbers(numbers, parts.live, |live| {
            self.balancer = Balancer::plain(members, &how, parts.threshold, live, Turns::At(parts.turns));
        });
    }

    fn choose(&mut self, of: &Chooser<'_>) -> Option<u32> {
        let Self { numbers, balancer } = self;
        let chosen =
            with_numbers(numbers, of.live, |live| balancer.choose_plain(of.wish, of.how, live, of.random, of.stats));
        numbers.get(usize::try_from(chosen?).ok()?).copied()
    }
}

/// Has `work` see the endpoints of a subset by their numbers there.
fn with_numbers<T>(numbers: &[u32], live: &Live<'_>, work: impl FnOnce(&Live<'_>) -> T) -> T {
    let number = |within: u32| usize::try_from(within).ok().and_then(|at| numbers.get(at)).copied().unwrap_or(u32::MAX);
    let active = |within| (live.active)(number(within));
    let warmth = |within| (live.warmth)(number(within));
    work(&Live { active: &active, warmth: &warmth, all_active: live.all_active })
}

/// How endpoints are chosen within a subset.
fn within(how: &Balancing, options: &Options) -> Balancing {
    let localities = match options.localities {
        SubsetLocalities::Merged => Localities::Merged,
        SubsetLocalities::Scaled | SubsetLocalities::Weighted => how.localities,
    };
    Balancing { localities, subsets: None, zones: None, ..how.clone() }
}

/// The weight of each locality times the part of its endpoints that are in the subset.
fn scale(members: &mut [Member], all: &[Member]) {
    let count = |members: &[Member]| {
        let mut counts: BTreeMap<_, u64> = BTreeMap::new();
        for member in members {
            *counts.entry((member.priority, member.locality.clone())).or_default() += 1;
        }
        counts
    };
    let (own, whole) = (count(members), count(all));
    for member in members {
        let key = (member.priority, member.locality.clone());
        let (Some(own), Some(whole)) = (own.get(&key), whole.get(&key)) else { continue };
        let scaled = (u64::from(member.locality_weight) * own * 2 + whole) / (whole * 2); // rounded
        member.locality_weight = u32::try_from(scaled).unwrap_or(u32::MAX);
    }
}

/// Does an endpoint have all of these values?
fn has(labels: &Struct, wanted: &Struct, options: &Options) -> bool {
    wanted.iter().all(|(key, wanted)| match labels.get(key) {
        Some(Value::List(list)) if options.list_as_any => list.contains(wanted),
        Some(value) => value == wanted,
        None => false,
    })
}

/// The values that an endpoint has of the keys of a selector: none, or one for each key; several where lists are read as such.
fn values<'k>(labels: &Struct, selector: &'k Selector, options: &Options) -> Vec<Vec<(&'k str, String)>> {
    let mut all: Vec<Vec<(&str, String)>> = vec![Vec::new()];
    for key in &selector.keys {
        let Some(value) = labels.get(key) else { return Vec::new() };
        let texts: Vec<String> = match value {
            Value::List(list) if options.list_as_any => list.iter().map(Criteria::text).collect(),
            value @ (Value::Flag(_)
            | Value::List(_)
            | Value::Null
            | Value::Number(_)
            | Value::Struct(_)
            | Value::Text(_)) => {
                vec![Criteria::text(value)]
            }
        };
        let more = all.iter().flat_map(|values| {
            texts.iter().map(move |text| values.iter().cloned().chain([(key.as_str(), text.clone())]).collect())
        });
        all = more.take(COMBINATIONS_MAX).collect();
    }
    if selector.keys.is_empty() { Vec::new() } else { all }
}
