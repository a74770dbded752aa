//! Network filters before the one that ends a chain, typed: what a connection has to pass.

use std::ops::Range;
use std::time::Duration;

use super::filter_chain::Ends;
use super::string_match::StringMatch;
use super::trust::Cidr;

/// A network filter before the one that ends its chain.
#[derive(Clone, Debug)]
pub enum Gate {
    /// `envoy.filters.network.connection_limit`
    ConnectionLimit(ConnectionLimit),
    /// `envoy.filters.network.rbac`
    Rbac(Rbac),
}

/// `connection_limit`: so many connections of the chain may be open at once.
#[derive(Clone, Debug)]
pub struct ConnectionLimit {
    /// `connection_limit.<stat_prefix>.`
    pub stat_prefix: String,
    /// At least 1.
    pub connections_max: u32,
    /// `delay`: a connection above the limit is closed after this.
    pub delay: Option<Duration>,
}

/// `rbac`: rules by which connections are let through.
#[derive(Clone, Debug)]
pub struct Rbac {
    /// `<stat_prefix>.rbac.`
    pub stat_prefix: String,
    /// None lets everything through.
    pub rules: Option<Rules>,
    /// These only count.
    pub shadow_rules: Option<Rules>,
    /// In front of the names of what the shadow rules count.
    pub shadow_prefix: String,
}

/// `envoy.config.rbac.v3.RBAC`
#[derive(Clone, Debug)]
pub struct Rules {
    /// What follows from a policy that matches.
    pub action: Action,
    /// In the order of their names. The first that matches counts.
    pub policies: Vec<Policy>,
}

/// `envoy.config.rbac.v3.RBAC.Action`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// What no policy matches is denied.
    Allow,
    /// What a policy matches is denied.
    Deny,
    /// Nothing is denied.
    Log,
}

/// A policy matches where one of its permissions and one of its principals do.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name, for logs.
    pub name: String,
    /// About where a connection leads.
    pub permissions: Vec<Rule>,
    /// About where it comes from.
    pub principals: Vec<Rule>,
}

/// A test of a connection.
#[derive(Clone, Debug)]
pub enum Rule {
    /// `and_rules`, `and_ids`
    All(Vec<Self>),
    /// `or_rules`, `or_ids`
    Any(Vec<Self>),
    /// `any`
    Anything,
    /// `destination_ip`
    Destination(Cidr),
    /// `destination_port`, `destination_port_range`
    DestinationPort(Range<u32>),
    /// `not_rule`, `not_id`
    Not(Box<Self>),
    /// `requested_server_name`
    ServerName(StringMatch),
    /// `direct_remote_ip`: of the socket's other end, whatever a PROXY header says.
    DirectSource(Cidr),
    /// `remote_ip`, `source_ip`: of the client, which a PROXY header may name.
    Source(Cidr),
}

/// What rules are about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The ends of the connection.
    pub ends: Ends,
    /// What its ClientHello asks for.
    pub server_name: Option<&'a str>,
}

impl Rules {
    /// Why the connection is denied: the policy that did it, or `none`. `Ok` lets it through.
    ///
    /// # Errors
    /// It is denied.
    pub fn judge(&self, subject: &Subject<'_>) -> Result<(), &str> {
        let matching = self.policies.iter().find(|policy| policy.matches(subject));
        match (self.action, matching) {
            (Action::Allow, None) => Err("none"),
            (Action::Deny, Some(policy)) => Err(&policy.name),
            (Action::Allow, Some(_)) | (Action::Deny, None) | (Action::Log, _) => Ok(()),
        }
    }
}

impl Policy {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        self.permissions.iter().any(|rule| rule.matches(subject))
            && self.principals.iter().any(|rule| rule.matches(subject))
    }
}

impl Rule {
    fn matches(&self, subject: &Subject<'_>) -> bool {
        match self {
            Self::All(rules) => rules.iter().all(|rule| rule.matches(subject)),
            Self::Any(rules) => rules.iter().any(|rule| rule.matches(subject)),
            Self::Anything => true,
            Self::Destination(range) => subject.ends.local.is_some_and(|at| range.contains(at.ip())),
            Self::DestinationPort(range) => subject.ends.local.is_some_and(|at| range.contains(&at.port().into())),
            Self::Not(rule) => !rule.matches(subject),
            Self::ServerName(name) => name.takes(subject.server_name.unwrap_or_default().as_bytes()),
            Self::DirectSource(range) => subject.ends.direct_peer.is_some_and(|at| range.contains(at.ip())),
            Self::Source(range) => subject.ends.peer.is_some_and(|at| range.contains(at.ip())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(address: &str, length: u32) -> Cidr {
        Cidr::new(address.parse().unwrap(), length)
    }

    fn rules(action: Action, permission: Rule, principal: Rule) -> Rules {
        let policy = Policy { name: "p".into(), permissions: vec![permission], principals: vec![principal] };
        Rules { action, policies: vec![policy] }
    }

    #[test]
    fn the_action_decides_what_a_match_means() {
        let subject = Subject {
            ends: Ends {
                local: Some(([10, 0, 0, 2], 443).into()),
                peer: Some(([10, 1, 0, 9], 5).into()),
                direct_peer: Some(([10, 2, 0, 1], 6).into()),
            },
            server_name: None,
        };
        let ours = || Rule::DestinationPort(443..444);
        let theirs = || Rule::Source(range("10.1.0.0", 16));
        for (action, permission, principal, expected) in [
            (Action::Allow, ours(), theirs(), Ok(())),
            (Action::Allow, Rule::DestinationPort(80..443), theirs(), Err("none")),
            (Action::Deny, ours(), theirs(), Err("p")),
            (Action::Deny, ours(), Rule::Not(Box::new(theirs())), Ok(())),
            (Action::Deny, Rule::All(vec![ours(), Rule::Destination(range("10.0.0.2", 32))]), Rule::Anything, Err("p")),
            (Action::Deny, Rule::Any(vec![Rule::DestinationPort(1..2), ours()]), Rule::Any(Vec::new()), Ok(())),
            (Action::Log, ours(), theirs(), Ok(())),
            (Action::Allow, ours(), Rule::DirectSource(range("10.2.0.0", 16)), Ok(())),
            (Action::Allow, ours(), Rule::DirectSource(range("10.1.0.0", 16)), Err("none")),
            (Action::Allow, ours(), Rule::Source(range("10.2.0.0", 16)), Err("none")),
        ] {
            assert_eq!(rules(action, permission, principal).judge(&subject), expected);
        }
        assert_eq!(Rules { action: Action::Allow, policies: Vec::new() }.judge(&subject), Err("none"));
    }
}
