//! Trees of matchers (the unified matcher API), typed: they decide about connections and requests in the place of rules.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use super::rbac::{Action, Certified, Judgement, Outcome, Subject};
use super::string_match::StringMatch;
use super::trust::Cidr;

/// `xds.type.matcher.v3.Matcher`
#[derive(Clone, Debug)]
pub struct RuleTree {
    /// What is looked at.
    pub matching: Matching,
    /// `on_no_match`
    pub otherwise: Option<OnMatch>,
    /// An action somewhere in it is LOG.
    pub logs: bool,
}

/// What a matcher looks at.
#[derive(Clone, Debug)]
pub enum Matching {
    /// `exact_match_map`
    Exact(Input, BTreeMap<Vec<u8>, OnMatch>),
    /// `matcher_list`: the first that matches counts.
    List(Vec<(Predicate, OnMatch)>),
    /// Nothing matches.
    Nothing,
    /// `prefix_match_map`: the longest prefix counts.
    Prefix(Input, BTreeMap<Vec<u8>, OnMatch>),
}

/// What follows from a match.
#[derive(Clone, Debug)]
pub enum OnMatch {
    /// `envoy.config.rbac.v3.Action`
    Decision {
        /// Its name, for logs.
        name: String,
        /// What it decides.
        action: Action,
    },
    /// Another matcher decides, if it matches.
    Matcher(Box<RuleTree>),
}

/// A test.
#[derive(Clone, Debug)]
pub enum Predicate {
    /// `and_matcher`
    All(Vec<Self>),
    /// `or_matcher`
    Any(Vec<Self>),
    /// `not_matcher`
    Not(Box<Self>),
    /// `custom_match` by the ranges that an address is in.
    Range(Input, Vec<Cidr>),
    /// `value_match`
    Text(Input, StringMatch),
}

/// What is compared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Input {
    /// What a certificate says.
    Certificate(Certified),
    /// The address where the connection leads.
    DestinationIp,
    /// The port where the connection leads.
    DestinationPort,
    /// The address of the socket's other end, whatever a PROXY header says.
    DirectSourceIp,
    /// A header of the request, in lower case: all lines together.
    Header(String),
    /// What the ClientHello asks for.
    ServerName,
    /// The address of the client, which a PROXY header may name.
    SourceIp,
    /// And its port.
    SourcePort,
}

impl RuleTree {
    /// What follows: what nothing matches is denied.
    pub(super) fn judge(&self, subject: &Subject<'_>) -> Judgement<'_> {
        let Some((name, action)) = self.find(subject) else {
            return Judgement { outcome: Outcome::Denied, policy: None, hint: None };
        };
        let outcome = match action {
            Action::Allow | Action::Log => Outcome::Allowed,
            Action::Deny => Outcome::Denied,
        };
        Judgement { outcome, policy: Some(name), hint: self.logs.then_some(action == Action::Log) }
    }

    fn find(&self, subject: &Subject<'_>) -> Option<(&str, Action)> {
        let found = match &self.matching {
            Matching::Exact(input, map) => input.value(subject).and_then(|value| map.get(&*value)?.find(subject)),
            Matching::List(matchers) => {
                // One that matches, and whose own matcher does not, decides nothing.
                let mut matching = matchers.iter().filter(|(predicate, _)| predicate.holds(subject));
                matching.find_map(|(_, then)| then.find(subject))
            }
            Matching::Nothing => None,
            Matching::Prefix(input, map) => input.value(subject).and_then(|value| {
                let prefixes = (0..=value.len()).rev().filter_map(|length| value.get(..length));
                prefixes.filter_map(|prefix| map.get(prefix)).find_map(|then| then.find(subject))
            }),
        };
        found.or_else(|| self.otherwise.as_ref()?.find(subject))
    }
}

impl OnMatch {
    fn find(&self, subject: &Subject<'_>) -> Option<(&str, Action)> {
        match self {
            Self::Decision { name, action } => Some((name, *action)),
            Self::Matcher(matcher) => matcher.find(subject),
        }
    }

    /// Is one of its actions LOG?
    pub(super) fn logs(&self) -> bool {
        match self {
            Self::Decision { action, .. } => *action == Action::Log,
            Self::Matcher(matcher) => matcher.logs,
        }
    }
}

impl Predicate {
    fn holds(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All(predicates) => predicates.iter().all(|predicate| predicate.holds(subject)),
            Self::Any(predicates) => predicates.iter().any(|predicate| predicate.holds(subject)),
            Self::Not(predicate) => !predicate.holds(subject),
            Self::Range(input, ranges) => {
                input.address(subject).is_some_and(|at| ranges.iter().any(|range| range.contains(at)))
            }
            Self::Text(input, text) => input.value(subject).is_some_and(|value| text.takes(&value)),
        }
    }
}

impl Input {
    /// Is it an address?
    #[must_use]
    pub fn is_address(&self) -> bool {
        matches!(self, Self::DestinationIp | Self::DirectSourceIp | Self::SourceIp)
    }

    fn address(&self, subject: &Subject<'_>) -> Option<IpAddr> {
        let ends = &subject.ends;
        let at = match self {
            Self::DestinationIp => ends.local,
            Self::DirectSourceIp => ends.direct_peer,
            Self::SourceIp => ends.peer,
            Self::Certificate(_) | Self::DestinationPort | Self::Header(_) | Self::ServerName | Self::SourcePort => {
                None
            }
        };
        at.map(|at| at.ip())
    }

    /// What is there; `None` is nothing, which no text matches.
    fn value<'s>(&'s self, subject: &'s Subject<'_>) -> Option<Cow<'s, [u8]>> {
        let text = |text: String| Cow::Owned(text.into_bytes());
        match self {
            Self::Certificate(part) => Some(text(subject.request?.certified(*part)?)),
            Self::DestinationIp | Self::DirectSourceIp | Self::SourceIp => {
                self.address(subject).map(|at| text(at.to_string()))
            }
            Self::DestinationPort => subject.ends.local.map(|at| text(at.port().to_string())),
            Self::Header(name) => subject.request?.joined(name),
            Self::ServerName => subject.server_name.filter(|name| !name.is_empty()).map(|it| it.as_bytes().into()),
            Self::SourcePort => subject.ends.peer.map(|at| text(at.port().to_string())),
        }
    }
}
