//! Tables by which what takes a request is found without trying all virtual hosts and all routes.
//!
//! Tables only narrow down what is tried: whether a route takes a request is for the matcher to say. Looking something up
//! takes as many steps as the text has bytes, and no memory.

use std::collections::BTreeMap;

use super::matching::{Domain, PathMatch};

/// Up to so many routes are tried one after the other, which is faster than to look them up.
const TRIED_MAX: usize = 8;

/// Lists of routes that one path may be on: those of its own and those of each length of prefix. A path that is on more is tried
/// against all routes.
const LISTS_MAX: usize = 16;

/// Which domain is whose. Numbers stand for virtual hosts.
#[derive(Clone, Default)]
pub(super) struct DomainIndex {
    exact: Table<Option<usize>>,
    /// By the length of what stands before the wildcard.
    prefixes: ByLength<Option<usize>>,
    /// By the length of what stands behind the wildcard. Hashes go backwards.
    suffixes: ByLength<Option<usize>>,
    any: Option<usize>,
}

impl DomainIndex {
    pub(super) fn new<'d>(domains: impl Iterator<Item = (usize, &'d Domain)>) -> Self {
        let mut index = Self::default();
        for (nth, domain) in domains {
            // Of two that are alike, which configuration refuses, the first wins.
            let put = |there: &mut Option<usize>| _ = there.get_or_insert(nth);
            match domain {
                Domain::Any => put(&mut index.any),
                Domain::Exact(name) => index.exact.change(Hash::of(name.bytes()), name.as_bytes(), put),
                Domain::Prefix(start) => {
                    let table = index.prefixes.entry(start.len()).or_default();
                    table.change(Hash::of(start.bytes()), start.as_bytes(), put);
                }
                Domain::Suffix(end) => {
                    let table = index.suffixes.entry(end.len()).or_default();
                    table.change(Hash::of(end.bytes().rev()), end.as_bytes(), put);
                }
            }
        }
        index
    }

    /// Whose the most specific domain is that takes `authority`: exact, then the longest suffix, then the longest prefix, then
    /// `*`. Envoy's order, independent of the order in the file. Letters are compared ignoring case.
    pub(super) fn find(&self, authority: &[u8]) -> Option<usize> {
        let lower = || authority.iter().map(u8::to_ascii_lowercase);
        // A wildcard stands for at least one character.
        let most = authority.len().saturating_sub(1);
        let start = |length: usize| authority.get(..length).unwrap_or_default();
        let end = |length: usize| authority.get(authority.len().saturating_sub(length)..).unwrap_or_default();
        let is_name = |key: &[u8]| key.eq_ignore_ascii_case(authority);
        let exact = if self.exact.is_empty() { None } else { self.exact.get(Hash::of(lower()), is_name) };
        let suffix = || {
            let is_it = |length: usize, key: &[u8]| key.eq_ignore_ascii_case(end(length));
            each_length(&self.suffixes, lower().rev().take(most), is_it).last()
        };
        let prefix = || {
            let is_it = |length: usize, key: &[u8]| key.eq_ignore_ascii_case(start(length));
            each_length(&self.prefixes, lower().take(most), is_it).last()
        };
        exact.or_else(suffix).or_else(prefix).copied().flatten().or(self.any)
    }
}

/// Which of the routes of a virtual host may take a path. Numbers stand for routes.
#[derive(Clone, Default)]
pub(super) struct PathIndex {
    /// How many there are.
    count: usize,
    /// `None` if they are few.
    tables: Option<RouteTables>,
}

/// Where the routes are that may take a path, each time in the order of the file.
#[derive(Clone, Default)]
struct RouteTables {
    /// Routes for one path.
    exact: Table<Vec<usize>>,
    /// Routes for what begins with a text, by its length.
    prefixes: ByLength<Vec<usize>>,
    /// Patterns that no table can find, in order.
    others: Vec<usize>,
}

impl PathIndex {
    pub(super) fn new<'m>(matches: impl ExactSizeIterator<Item = &'m PathMatch>) -> Self {
        let count = matches.len();
        if count <= TRIED_MAX {
            return Self { count, tables: None };
        }
        let mut tables = RouteTables::default();
        for (nth, path) in matches.enumerate() {
            match path {
                PathMatch::Exact { path, case_sensitive: true } => {
                    tables.exact.change(Hash::of(path.bytes()), path.as_bytes(), |list| list.push(nth));
                }
                PathMatch::Prefix { prefix, case_sensitive: true }
                | PathMatch::SeparatedPrefix { prefix, case_sensitive: true }
                    if !prefix.is_empty() =>
                {
                    let table = tables.prefixes.entry(prefix.len()).or_default();
                    table.change(Hash::of(prefix.bytes()), prefix.as_bytes(), |list| list.push(nth));
                }
                PathMatch::Connect
                | PathMatch::Exact { .. }
                | PathMatch::Prefix { .. }
                | PathMatch::Regex(_)
                | PathMatch::SeparatedPrefix { .. } => tables.others.push(nth),
            }
        }
        Self { count, tables: Some(tables) }
    }

    /// Those that may take this path, in their order: all that do are among them.
    pub(super) fn candidates<'l>(&'l self, path: &[u8]) -> impl Iterator<Item = usize> + use<'l> {
        let lists = self.tables.as_ref().and_then(|tables| tables.lists(path));
        let mut all = 0..if lists.is_none() { self.count } else { 0 };
        let mut some = lists.unwrap_or_default();
        std::iter::from_fn(move || all.next().or_else(|| next_of(&mut some)))
    }
}

impl RouteTables {
    /// The lists that a path is on; `None` if there are too many.
    fn lists(&self, path: &[u8]) -> Option<[&[usize]; LISTS_MAX]> {
        let mut lists: [&[usize]; LISTS_MAX] = [&[]; LISTS_MAX];
        let exact = self.exact.get(Hash::of(path.iter().copied()), |key| key == path);
        let is_it = |length: usize, key: &[u8]| path.starts_with(key) && key.len() == length;
        let prefixes = each_length(&self.prefixes, path.iter().copied(), is_it);
        for (nth, list) in [&self.others].into_iter().chain(exact).chain(prefixes).enumerate() {
            *lists.get_mut(nth)? = list;
        }
        Some(lists)
    }
}

/// Takes the smallest number from ascending lists that have none in common.
fn next_of(lists: &mut [&[usize]]) -> Option<usize> {
    let first = lists.iter_mut().filter(|list| !list.is_empty()).min_by_key(|list| list.first().copied())?;
    let (next, rest) = first.split_first()?;
    *first = rest;
    Some(*next)
}

/// The values that texts have which begin like `bytes`, the shortest text first.
fn each_length<V>(
    by_length: &ByLength<V>,
    bytes: impl Iterator<Item = u8>,
    is_it: impl Fn(usize, &[u8]) -> bool,
) -> impl Iterator<Item = &V> {
    let (mut hash, mut lengths) = (Hash::default(), by_length.iter().peekable());
    let longest = by_length.last_key_value().map_or(0, |(length, _)| *length);
    bytes.take(longest).enumerate().filter_map(move |(before, byte)| {
        hash.add(byte);
        let (length, table) = lengths.next_if(|(length, _)| **length == before + 1)?;
        table.get(hash, |key| is_it(*length, key))
    })
}

type ByLength<V> = BTreeMap<usize, Table<V>>;

/// Values by texts. The standard library's hash tables are used nowhere, so that no order depends on chance; this one has no
/// order that could be seen.
#[derive(Clone, Default)]
struct Table<V> {
    entries: Vec<Entry<V>>,
    /// The number of an entry, from 1, at the first free slot from where its hash points to. At most half of them are taken; their
    /// number is a power of two.
    slots: Vec<usize>,
}

#[derive(Clone)]
struct Entry<V> {
    key: Box<[u8]>,
    hash: Hash,
    value: V,
}

impl<V: Default> Table<V> {
    /// Changes the value of a text with this hash, which is there from now on.
    fn change(&mut self, hash: Hash, key: &[u8], change: impl FnOnce(&mut V)) {
        let known = self.position(hash, |other| other == key);
        let position = known.unwrap_or_else(|| {
            self.entries.push(Entry { key: key.into(), hash, value: V::default() });
            self.place_last();
            self.entries.len() - 1
        });
        if let Some(entry) = self.entries.get_mut(position) {
            change(&mut entry.value);
        }
    }

    /// Puts the last entry into a slot.
    fn place_last(&mut self) {
        const SLOTS_MIN: usize = 4;
        let begin = if self.entries.len() * 2 <= self.slots.len() {
            self.entries.len() - 1
        } else {
            self.slots = vec![0; (self.slots.len() * 2).max(SLOTS_MIN)];
            0
        };
        for (number, entry) in (1..).zip(&self.entries).skip(begin) {
            let free = probe(entry.hash, self.slots.len()).find(|slot| self.slots.get(*slot) == Some(&0));
            // There is always a free one.
            if let Some(slot) = free.and_then(|slot| self.slots.get_mut(slot)) {
                *slot = number;
            }
        }
    }
}

impl<V> Table<V> {
    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn get(&self, hash: Hash, is_it: impl Fn(&[u8]) -> bool) -> Option<&V> {
        self.position(hash, is_it).and_then(|position| self.entries.get(position)).map(|entry| &entry.value)
    }

    fn position(&self, hash: Hash, is_it: impl Fn(&[u8]) -> bool) -> Option<usize> {
        for slot in probe(hash, self.slots.len()) {
            let position = self.slots.get(slot)?.checked_sub(1)?;
            let entry = self.entries.get(position)?;
            if entry.hash == hash && is_it(&entry.key) {
                return Some(position);
            }
        }
        None
    }
}

/// The slots in which a text with this hash may be, in their order.
fn probe(hash: Hash, slots: usize) -> impl Iterator<Item = usize> {
    let mask = slots.wrapping_sub(1);
    // The upper half of the hash takes part; what does not fit is cut off by the mask anyway.
    let first = usize::try_from((hash.0 ^ (hash.0 >> 32)) & 0xffff_ffff).unwrap_or_default();
    (0..slots).map(move |step| first.wrapping_add(step) & mask)
}

/// The hash of a text, byte by byte: FNV-1a. Texts in tables come from the configuration, so that no client chooses which of
/// them meet.
#[derive(Clone, Copy, Eq, PartialEq)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn of(bytes: impl Iterator<Item = u8>) -> Self {
        let mut hash = Self::default();
        bytes.for_each(|byte| hash.add(byte));
        hash
    }

    fn add(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How specific a matching domain is; greater is more so. The rule by which tables are judged.
    fn rank(domain: &Domain, authority: &str) -> Option<(usize, usize)> {
        let authority = authority.to_ascii_lowercase();
        let is_longer = |part: &String| authority.len() > part.len();
        match domain {
            Domain::Any => Some((0, 0)),
            Domain::Exact(name) => (authority == *name).then_some((3, 0)),
            Domain::Prefix(start) => (authority.starts_with(start) && is_longer(start)).then_some((1, start.len())),
            Domain::Suffix(end) => (authority.ends_with(end) && is_longer(end)).then_some((2, end.len())),
        }
    }

    fn domain() -> impl Strategy<Value = Domain> {
        prop_oneof![
            Just(Domain::Any),
            "[ab.]{1,4}".prop_map(Domain::Exact),
            "[ab.]{1,4}".prop_map(Domain::Prefix),
            "[ab.]{1,4}".prop_map(Domain::Suffix),
        ]
    }

    fn path_match() -> impl Strategy<Value = PathMatch> {
        let path = || ("(/[ab]{0,2}){0,3}", prop::bool::weighted(0.8));
        prop_oneof![
            Just(PathMatch::Connect),
            path().prop_map(|(path, case_sensitive)| PathMatch::Exact { path, case_sensitive }),
            path().prop_map(|(prefix, case_sensitive)| PathMatch::Prefix { prefix, case_sensitive }),
            path().prop_map(|(prefix, case_sensitive)| PathMatch::SeparatedPrefix { prefix, case_sensitive }),
        ]
    }

    /// Might it take the path? A route that is not among the candidates must not.
    fn may_take(matches: &PathMatch, path: &str) -> bool {
        let same = |part: &str, wanted: &str, case_sensitive: bool| {
            if case_sensitive { part == wanted } else { part.eq_ignore_ascii_case(wanted) }
        };
        match matches {
            PathMatch::Connect | PathMatch::Regex(_) => true,
            PathMatch::Exact { path: wanted, case_sensitive } => same(path, wanted, *case_sensitive),
            PathMatch::Prefix { prefix, case_sensitive } | PathMatch::SeparatedPrefix { prefix, case_sensitive } => {
                path.get(..prefix.len()).is_some_and(|start| same(start, prefix, *case_sensitive))
            }
        }
    }

    proptest! {
        #[test]
        fn the_domain_found_is_the_most_specific_of_all(
            domains in prop::collection::btree_set(domain(), 0..60),
            authorities in prop::collection::vec("[abAB.]{0,5}", 20),
        ) {
            let domains: Vec<Domain> = domains.into_iter().collect();
            let index = DomainIndex::new(domains.iter().enumerate());
            for authority in authorities {
                let ranked = domains.iter().enumerate().filter_map(|(nth, of)| Some((rank(of, &authority)?, nth)));
                let best = ranked.max().map(|(_, nth)| nth);
                prop_assert_eq!(index.find(authority.as_bytes()), best, "{}", authority);
            }
        }

        #[test]
        fn candidates_are_in_order_and_include_all_that_take_the_path(
            matches in prop::collection::vec(path_match(), 0..60),
            paths in prop::collection::vec("(/[abA]{0,2}){0,4}", 10),
        ) {
            let index = PathIndex::new(matches.iter());
            for path in paths {
                let found: Vec<usize> = index.candidates(path.as_bytes()).collect();
                prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", found);
                for (nth, matches) in matches.iter().enumerate() {
                    prop_assert!(!may_take(matches, &path) || found.contains(&nth), "{} misses {:?}", path, matches);
                }
            }
        }
    }

    #[test]
    fn a_path_on_too_many_lists_is_tried_against_all_routes() {
        let prefix = |length| PathMatch::Prefix { prefix: format!("/{}", "a".repeat(length)), case_sensitive: true };
        let matches: Vec<PathMatch> = (0..40).map(prefix).collect();
        let index = PathIndex::new(matches.iter());
        let count = |path: &str| index.candidates(path.as_bytes()).count();
        assert_eq!((count("a"), count("/"), count("/aa")), (0, 1, 3));
        assert_eq!(count(&format!("/{}", "a".repeat(30))), 40);
    }
}
