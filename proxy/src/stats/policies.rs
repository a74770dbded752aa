//! The stats of the policies of filters `rbac`, which carry the names of the policies.
//!
//! They appear with the first request that a policy decides about. A worker remembers the handles that it has used.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::{RuleKind, of_requests};
use super::{Counter, Registry};
use crate::config::filter::RbacPrefixes;
use crate::config::rbac::Outcome;

/// `http.<stat_prefix>.rbac.policy.<policy>.` of a filter (`track_per_rule_stats`), for one worker.
#[derive(Debug)]
pub struct PolicyStats {
    registry: Arc<Registry>,
    rules: Tree,
    shadow_rules: Tree,
}

/// Those of the rules, or of the shadow rules.
#[derive(Debug)]
struct Tree {
    prefix: String,
    names: [&'static str; 2],
    /// By the names of policies.
    allowed: RefCell<BTreeMap<Box<str>, Counter>>,
    denied: RefCell<BTreeMap<Box<str>, Counter>>,
}

impl PolicyStats {
    /// No names yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, stat_prefix: &str, prefixes: &RbacPrefixes) -> Self {
        Self {
            registry: Arc::clone(registry),
            rules: Tree::new(of_requests(stat_prefix, &prefixes.rules), ["allowed", "denied"]),
            shadow_rules: Tree::new(
                of_requests(stat_prefix, &prefixes.shadow_rules),
                ["shadow_allowed", "shadow_denied"],
            ),
        }
    }

    /// A policy has decided.
    pub fn count(&self, kind: RuleKind, outcome: Outcome, policy: &str) {
        let tree = match kind {
            RuleKind::Enforced => &self.rules,
            RuleKind::Shadow => &self.shadow_rules,
        };
        tree.count(&self.registry, outcome, policy);
    }
}

impl Tree {
    fn new(prefix: String, names: [&'static str; 2]) -> Self {
        Self { prefix, names, allowed: RefCell::default(), denied: RefCell::default() }
    }

    fn count(&self, registry: &Registry, outcome: Outcome, policy: &str) {
        let [allowed, denied] = self.names;
        let (known, name) = match outcome {
            Outcome::Allowed => (&self.allowed, allowed),
            Outcome::Denied => (&self.denied, denied),
        };
        let mut known = known.borrow_mut();
        if let Some(counter) = known.get(policy) {
            return counter.inc();
        }
        let counter = registry.counter(&format!("{}.policy.{policy}.{name}", self.prefix));
        counter.inc();
        known.insert(policy.into(), counter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_counted_under_its_name_once_it_decides() {
        let registry = Arc::new(Registry::default());
        let prefixes = RbacPrefixes { rules: String::new(), shadow_rules: "next".into() };
        let stats = PolicyStats::new(&registry, "in", &prefixes);
        stats.count(RuleKind::Enforced, Outcome::Allowed, "a.b c");
        stats.count(RuleKind::Enforced, Outcome::Allowed, "a.b c");
        stats.count(RuleKind::Shadow, Outcome::Denied, "old");
        for (name, count) in
            [("http.in.rbac.policy.a.b c.allowed", 2), ("http.in.rbac.next.policy.old.shadow_denied", 1)]
        {
            assert_eq!(registry.counter(name).value(), count, "{name}");
        }
    }
}
