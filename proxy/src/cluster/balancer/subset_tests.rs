//! Which subset a request gets, and what takes its place.

use std::cell::Cell;

use super::tests::{Seeded, how, member};
use super::*;
use crate::config::metadata::Value;
use crate::config::subsets::{Fallback, Selector, SelectorFallback, SubsetLocalities, Subsets as Options};
use crate::stats::Registry;

fn labels(pairs: &[(&str, &str)]) -> Struct {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned()))).collect()
}

fn endpoint(pairs: &[(&str, &str)], condition: Condition) -> Member {
    Member { labels: labels(pairs), ..member(0, 1, condition) }
}

fn selector(keys: &[&str], fallback: Option<SelectorFallback>) -> Selector {
    Selector { keys: keys.iter().map(|key| (*key).to_owned()).collect(), fallback, single: false }
}

fn options(fallback: Fallback, selectors: Vec<Selector>) -> Options {
    Options {
        selectors,
        fallback,
        default: labels(&[("v", "2")]),
        localities: SubsetLocalities::Merged,
        panic_any: false,
        list_as_any: false,
        redundant_keys: false,
        reads_fallback_list: false,
    }
}

/// The endpoints that requests with this `metadata_match` get, and how often they were selected, fell back, and panicked.
fn chosen(members: &[Member], options: Options, wanted: &MetadataMatch) -> (Vec<u32>, [u64; 3]) {
    let how = Balancing { subsets: Some(options), ..how(Policy::RoundRobin(None)) };
    let stats = ClusterStats::new(&Registry::new(), "up");
    let random = Seeded(Cell::new(1));
    let live = Live { active: &|_| 0, warmth: &|_| 1.0, all_active: 0 };
    let mut balancer = Balancer::new(members.to_vec(), &how, 5000, &live, Turns::At(0));
    let wish = Wish { wanted: Some(wanted), ..Wish::default() };
    let mut found: Vec<u32> = (0..6).filter_map(|_| balancer.choose(wish, &how, &live, &random, &stats)).collect();
    found.sort_unstable();
    found.dedup();
    let counters = [&stats.lb_subsets_selected, &stats.lb_subsets_fallback, &stats.lb_subsets_fallback_panic];
    (found, counters.map(crate::stats::Counter::value))
}

fn wanted(pairs: &[(&str, &str)]) -> MetadataMatch {
    labels(pairs).into()
}

#[test]
fn a_request_gets_its_subset_or_what_takes_its_place() {
    use Condition::Healthy;
    let members = [
        endpoint(&[("v", "1"), ("stage", "prod")], Healthy),
        endpoint(&[("v", "2"), ("stage", "prod")], Healthy),
        endpoint(&[("v", "2"), ("stage", "dev")], Healthy),
        endpoint(&[], Healthy),
    ];
    let both =
        |fallback, of_selector| options(fallback, vec![selector(&["v"], None), selector(&["v", "stage"], of_selector)]);
    let keys = || Some(SelectorFallback::Keys(["v".to_owned()].into()));
    let plain = |fallback| Some(SelectorFallback::Plain(fallback));
    for (options, wish, expected, counted) in [
        (both(Fallback::None, None), &[("v", "1")][..], &[0][..], [6, 0, 0]),
        (both(Fallback::None, None), &[("v", "2")], &[1, 2], [6, 0, 0]),
        (both(Fallback::None, None), &[("v", "2"), ("stage", "dev")], &[2], [6, 0, 0]),
        (both(Fallback::None, None), &[("v", "3")], &[], [0, 0, 0]),
        (both(Fallback::None, None), &[("stage", "dev")], &[], [0, 0, 0]),
        (both(Fallback::None, None), &[], &[], [0, 0, 0]),
        (both(Fallback::Any, None), &[("v", "3")], &[0, 1, 2, 3], [0, 6, 0]),
        (both(Fallback::Default, None), &[("v", "3")], &[1, 2], [0, 6, 0]),
        (both(Fallback::Default, None), &[], &[1, 2], [0, 6, 0]),
        (both(Fallback::None, keys()), &[("v", "1"), ("stage", "dev")], &[0], [6, 0, 0]),
        (both(Fallback::Any, plain(Fallback::None)), &[("v", "1"), ("stage", "dev")], &[], [0, 0, 0]),
        (both(Fallback::None, plain(Fallback::Default)), &[("v", "1"), ("stage", "dev")], &[1, 2], [0, 0, 0]),
    ] {
        assert_eq!(chosen(&members, options, &wanted(wish)), (expected.to_vec(), counted), "{wish:?}");
    }
}

#[test]
fn options_of_subsets_change_who_is_in_them() {
    use Condition::{Healthy, Unhealthy};
    let list = |texts: &[&str]| Value::List(texts.iter().map(|text| Value::Text((*text).to_owned())).collect());
    let mut members = vec![endpoint(&[("v", "1")], Healthy), endpoint(&[("v", "1")], Healthy)];
    members[1].labels.insert("v".to_owned(), list(&["1", "2"]));
    let by_v = |fallback| options(fallback, vec![selector(&["v"], None)]);
    assert_eq!(chosen(&members, by_v(Fallback::None), &wanted(&[("v", "1")])).0, [0]);
    let as_any = Options { list_as_any: true, ..by_v(Fallback::None) };
    assert_eq!(chosen(&members, as_any.clone(), &wanted(&[("v", "1")])).0, [0, 1]);
    assert_eq!(chosen(&members, as_any, &wanted(&[("v", "2")])).0, [1]);

    let redundant = Options { redundant_keys: true, ..by_v(Fallback::None) };
    assert_eq!(chosen(&members, redundant, &wanted(&[("v", "1"), ("z", "1")])).0, [0]);

    let same = [endpoint(&[("v", "1")], Healthy), endpoint(&[("v", "1")], Healthy)];
    let single = Selector { single: true, ..selector(&["v"], None) };
    assert_eq!(chosen(&same, options(Fallback::None, vec![single]), &wanted(&[("v", "1")])).0, [0]);

    // No endpoint is in the default subset.
    let panic_any = Options { panic_any: true, ..by_v(Fallback::Default) };
    assert_eq!(chosen(&same, panic_any, &wanted(&[("v", "3")])), (vec![0, 1], [0, 0, 6]));

    // A subset whose endpoints are not healthy is in panic of its own.
    let sick = [endpoint(&[("v", "1")], Unhealthy), endpoint(&[("v", "2")], Healthy)];
    assert_eq!(chosen(&sick, by_v(Fallback::Default), &wanted(&[("v", "1")])), (vec![0], [6, 0, 0]));
}

#[test]
fn a_fallback_list_is_tried_in_its_order() {
    let members = [endpoint(&[("v", "1")], Condition::Healthy), endpoint(&[("v", "2")], Condition::Healthy)];
    let with = |version: &str| Value::Struct(labels(&[("v", version)]));
    let mut written = labels(&[]);
    written.insert("fallback_list".to_owned(), Value::List(vec![with("7"), with("2"), with("1")]));
    let reading = Options { reads_fallback_list: true, ..options(Fallback::None, vec![selector(&["v"], None)]) };
    assert_eq!(chosen(&members, reading, &written.into()), (vec![1], [6, 0, 0]));
}
