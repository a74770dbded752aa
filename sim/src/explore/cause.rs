//! What failing runs have in common when one thing is behind them, whichever of the hosts it met and however often.

use std::collections::BTreeSet;

use crate::explain::{Explanation, explain};
use crate::run::Played;
use crate::scenario::{Role, Scenario};

/// Why a run failed, without its times, numbers and names: two runs with one cause need no file each.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Cause(BTreeSet<String>);

impl Cause {
    /// The cause of what failed in a run.
    #[must_use]
    pub fn of(scenario: &Scenario, played: &Played) -> Self {
        Self(explain(scenario, played).iter().map(|explanation| sentence(scenario, explanation)).collect())
    }
}

/// What the hops did that ended one request.
fn sentence(scenario: &Scenario, explanation: &Explanation) -> String {
    let hops = explanation.hops.iter().filter_map(|hop| Some((hop.host.as_str(), hop.did.first()?.as_str())));
    let words = hops.flat_map(|(host, did)| std::iter::once(host).chain(did.split_whitespace()));
    words.filter_map(|word| general(scenario, word)).collect::<Vec<_>>().join(" ")
}

/// The kind of a host in place of its name; nothing in place of a number.
fn general<'a>(scenario: &Scenario, word: &'a str) -> Option<&'a str> {
    let name = word.trim_matches(|c: char| !c.is_alphanumeric());
    if let Some(host) = scenario.hosts.iter().find(|host| host.name == name) {
        return Some(match host.role {
            Role::Alb(_) => "balancer",
            Role::App(_) => "app",
            Role::Client(_) => "client",
            Role::Proxy(_) => "proxy",
        });
    }
    (!name.contains(|c: char| c.is_ascii_digit())).then_some(word)
}
