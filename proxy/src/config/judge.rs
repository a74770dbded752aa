//! What decides about connections and requests in the filters `rbac`: rules, or a tree of matchers.

use super::rbac::{Action, Judgement, Rules, Subject};
use super::rule_tree::RuleTree;

/// `rules` or `matcher`.
#[derive(Clone, Debug)]
pub enum Judge {
    /// `matcher`, `shadow_matcher`
    Matcher(Box<RuleTree>),
    /// `rules`, `shadow_rules`
    Policies(Rules),
}

impl Judge {
    /// What follows.
    #[must_use]
    pub fn judge(&self, subject: &Subject<'_>) -> Judgement<'_> {
        match self {
            Self::Matcher(tree) => tree.judge(subject),
            Self::Policies(rules) => {
                let (outcome, policy) = rules.judge(subject);
                let hint = (rules.action == Action::Log).then_some(policy.is_some());
                Judgement { outcome, policy, hint }
            }
        }
    }
}
