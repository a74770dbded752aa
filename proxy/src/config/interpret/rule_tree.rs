//! What trees of matchers mean that decide in the place of rules.

use super::address::cidr;
use super::pattern::string_match;
use crate::config::bootstrap::rule_tree::{
    CustomMatchConfig, HttpRequestHeaderMatchInput, MatchInput, MatchInputConfig, MatchMap, MatchPredicate,
    MatchedActionConfig, MatcherList, MatcherTree, OnMatch as WrittenOnMatch, PredicateList, RbacAction,
    SinglePredicate, UnifiedMatcher,
};
use crate::config::problem::Problem;
use crate::config::rbac::{Action, Certified};
use crate::config::rule_tree::{Input, Matching, OnMatch, Predicate, RuleTree};
use crate::config::yaml::At;

/// What rules are about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Scope {
    Connections,
    Requests,
}

pub(super) fn action(written: Option<RbacAction>) -> Action {
    match written {
        None | Some(RbacAction::Allow) => Action::Allow,
        Some(RbacAction::Deny) => Action::Deny,
        Some(RbacAction::Log) => Action::Log,
    }
}

pub(super) fn tree(written: &At<UnifiedMatcher>, scope: Scope) -> Result<RuleTree, Problem> {
    let UnifiedMatcher { matcher_list, matcher_tree, on_no_match } = &written.value;
    let matching = match (matcher_list, matcher_tree) {
        (Some(list), None) => list_of(list, scope)?,
        (None, Some(tree)) => map_of(tree, scope)?,
        (None, None) => Matching::Nothing,
        (Some(_), Some(second)) => return Err(second.invalid("takes one of matcher_list and matcher_tree")),
    };
    let otherwise = on_no_match.as_ref().map(|then| on_match(then, scope)).transpose()?;
    let of_matching = match &matching {
        Matching::Exact(_, map) | Matching::Prefix(_, map) => map.values().any(OnMatch::logs),
        Matching::List(matchers) => matchers.iter().any(|(_, then)| then.logs()),
        Matching::Nothing => false,
    };
    let logs = of_matching || otherwise.as_ref().is_some_and(OnMatch::logs);
    Ok(RuleTree { matching, otherwise, logs })
}

fn list_of(written: &At<MatcherList>, scope: Scope) -> Result<Matching, Problem> {
    if written.value.matchers.is_empty() {
        return Err(written.invalid("matchers must contain at least 1 item"));
    }
    let matchers = written.value.matchers.iter();
    let matchers = matchers.map(|it| Ok((predicate(&it.predicate, scope)?, on_match(&it.on_match, scope)?)));
    matchers.collect::<Result<_, Problem>>().map(Matching::List)
}

fn map_of(written: &At<MatcherTree>, scope: Scope) -> Result<Matching, Problem> {
    let MatcherTree { exact_match_map, input: of, prefix_match_map } = &written.value;
    let map = |map: &MatchMap| {
        if map.map.is_empty() {
            return Err(written.invalid("a map must contain at least 1 entry"));
        }
        let entries = map.map.iter();
        entries.map(|(key, then)| Ok((key.clone().into_bytes(), on_match(then, scope)?))).collect()
    };
    let of = input(of, scope)?;
    match (exact_match_map, prefix_match_map) {
        (Some(exact), None) => Ok(Matching::Exact(of, map(exact)?)),
        (None, Some(prefix)) => Ok(Matching::Prefix(of, map(prefix)?)),
        (None, None) | (Some(_), Some(_)) => {
            Err(written.invalid("takes exactly one of exact_match_map and prefix_match_map"))
        }
    }
}

fn on_match(written: &At<WrittenOnMatch>, scope: Scope) -> Result<OnMatch, Problem> {
    match (&written.value.action, &written.value.matcher) {
        (Some(said), None) => {
            let MatchedActionConfig::Rbac(said) = &said.typed_config;
            Ok(OnMatch::Decision { name: said.name.to_string(), action: action(said.action) })
        }
        (None, Some(matcher)) => Ok(OnMatch::Matcher(Box::new(tree(matcher, scope)?))),
        (None, None) | (Some(_), Some(_)) => Err(written.invalid("takes exactly one of action and matcher")),
    }
}

fn predicate(written: &At<MatchPredicate>, scope: Scope) -> Result<Predicate, Problem> {
    let MatchPredicate { and_matcher, not_matcher, or_matcher, single_predicate } = &written.value;
    let each = |list: &At<PredicateList>| {
        if list.value.predicate.len() < 2 {
            return Err(list.invalid("predicate must contain at least 2 items"));
        }
        list.value.predicate.iter().map(|it| predicate(it, scope)).collect::<Result<Vec<_>, _>>()
    };
    let found = [
        and_matcher.as_ref().map(|list| each(list).map(Predicate::All)),
        not_matcher.as_ref().map(|it| predicate(it, scope).map(|it| Predicate::Not(Box::new(it)))),
        or_matcher.as_ref().map(|list| each(list).map(Predicate::Any)),
        single_predicate.as_ref().map(|it| single(it, scope)),
    ];
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(predicate), None) => predicate,
        (None, _) | (Some(_), Some(_)) => Err(written.invalid("a predicate takes exactly one kind of test")),
    }
}

fn single(written: &At<SinglePredicate>, scope: Scope) -> Result<Predicate, Problem> {
    let SinglePredicate { custom_match, input: of, value_match } = &written.value;
    let found = input(of, scope)?;
    match (custom_match, value_match) {
        (None, Some(text)) => Ok(Predicate::Text(found, string_match(text)?)),
        (Some(custom), None) => {
            let CustomMatchConfig::Ip(ip) = &custom.typed_config;
            if !found.is_address() {
                return Err(of.invalid("ranges of addresses are for inputs that are addresses"));
            }
            Ok(Predicate::Range(found, ip.cidr_ranges.iter().map(cidr).collect::<Result<_, _>>()?))
        }
        (None, None) | (Some(_), Some(_)) => Err(written.invalid("takes exactly one of value_match and custom_match")),
    }
}

fn input(written: &At<MatchInput>, scope: Scope) -> Result<Input, Problem> {
    let of_requests = |input| match scope {
        Scope::Connections => Err(written
            .invalid("matchers of connections look at addresses, ports and the server name; others are for requests")),
        Scope::Requests => Ok(input),
    };
    match &written.value.typed_config {
        MatchInputConfig::DestinationIp(_) => Ok(Input::DestinationIp),
        MatchInputConfig::DestinationPort(_) => Ok(Input::DestinationPort),
        MatchInputConfig::DirectSourceIp(_) => Ok(Input::DirectSourceIp),
        MatchInputConfig::DnsSan(_) => of_requests(Input::Certificate(Certified::DnsNames)),
        MatchInputConfig::RequestHeader(HttpRequestHeaderMatchInput { header_name }) => {
            of_requests(Input::Header(header_name.value.to_ascii_lowercase()))
        }
        MatchInputConfig::ServerName(_) => Ok(Input::ServerName),
        MatchInputConfig::SourceIp(_) => Ok(Input::SourceIp),
        MatchInputConfig::SourcePort(_) => Ok(Input::SourcePort),
        MatchInputConfig::Subject(_) => of_requests(Input::Certificate(Certified::Subject)),
        MatchInputConfig::UriSan(_) => of_requests(Input::Certificate(Certified::Uris)),
    }
}
