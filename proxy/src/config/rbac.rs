//! Rules about connections and requests, typed: who may do what. Of the filters `rbac`, of the network and of HTTP.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::ops::Range;

use super::filter_chain::Ends;
use super::matching::{HeaderMatch, Sense};
use super::metadata::{Found, MetadataPath, ValueMatch};
use super::string_match::StringMatch;
use super::tls::PeerName;
use super::trust::Cidr;

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

/// What follows, and why.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Judgement<'r> {
    /// What follows.
    pub outcome: Outcome,
    /// The policy that matched, or the name of the action.
    pub policy: Option<&'r str>,
    /// Where LOG is an action: whether the request is to be logged.
    pub hint: Option<bool>,
}

/// What a client's certificate says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Certified {
    /// The DNS names for which it is.
    DnsNames,
    /// Its subject.
    Subject,
    /// The URIs for which it is.
    Uris,
}

/// What follows for a connection or a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is let through.
    Allowed,
    /// It is not.
    Denied,
}

/// A policy matches where one of its permissions and one of its principals do.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Its name, for logs.
    pub name: String,
    /// About where a connection leads, and what is requested.
    pub permissions: Vec<Rule>,
    /// About where it comes from, and who requests it.
    pub principals: Vec<Rule>,
}

/// A test of a connection or a request.
#[derive(Clone, Debug)]
pub enum Rule {
    /// `and_rules`, `and_ids`
    All(Vec<Self>),
    /// `or_rules`, `or_ids`
    Any(Vec<Self>),
    /// `any`
    Anything,
    /// `remote_ip`: of the client, which a PROXY header or a trusted header of a request may name.
    Client(Cidr),
    /// `authenticated`: the client has encrypted its connection, and has a certificate with this name if there is one.
    Authenticated(Option<StringMatch>),
    /// `destination_ip`
    Destination(Cidr),
    /// `destination_port`, `destination_port_range`
    DestinationPort(Range<u32>),
    /// `header`
    Header(HeaderMatch),
    /// `metadata`, `sourced_metadata`: there is such a value.
    Metadata {
        /// Whose.
        source: MetadataSource,
        /// Where.
        path: MetadataPath,
        /// What.
        value: ValueMatch,
        /// The value does not match, or is not there.
        sense: Sense,
    },
    /// `envoy.rbac.principals.mtls_authenticated`: the client has a certificate that was found valid, with this name if there is one.
    MutuallyAuthenticated(Option<PeerName>),
    /// `not_rule`, `not_id`
    Not(Box<Self>),
    /// `url_path`, `uri_template`: the path without its query.
    Path(StringMatch),
    /// `requested_server_name`
    ServerName(StringMatch),
    /// `direct_remote_ip`: of the socket's other end, whatever a PROXY header says.
    DirectSource(Cidr),
    /// `source_ip`: of the client, which a PROXY header may name.
    Source(Cidr),
    /// `filter_state`: the object under this key has such a text.
    State(Box<str>, StringMatch),
}

/// `envoy.config.rbac.v3.MetadataSource`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MetadataSource {
    /// What filters have left.
    Filters,
    /// `metadata` of the route. Where there is no route, no test of it succeeds, not even an inverted one.
    Route,
}

/// What rules are about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The ends of the connection.
    pub ends: Ends,
    /// What its ClientHello asks for.
    pub server_name: Option<&'a str>,
    /// The request, where it is not the connection alone that is judged.
    pub request: Option<&'a dyn Request>,
}

/// What rules ask of a request.
pub trait Request {
    /// The client, if a header that is trusted names one.
    fn client(&self) -> Option<SocketAddr>;
    /// Does it have such a header?
    fn has(&self, header: &HeaderMatch) -> bool;
    /// What its client's certificate says, all of it together; `None` is nothing.
    fn certified(&self, part: Certified) -> Option<String>;
    /// The values of a header, with commas between them; the name is in lower case.
    fn joined<'s>(&'s self, name: &'s str) -> Option<Cow<'s, [u8]>>;
    /// Has its client a certificate, with this name if there is one?
    fn is_authenticated_as(&self, name: Option<&StringMatch>) -> bool;
    /// Has its client a certificate that was found valid, with this name if there is one?
    fn is_mutually_authenticated_as(&self, name: Option<&PeerName>) -> bool;
    /// Is there a route?
    fn has_route(&self) -> bool;
    /// What stands there.
    fn metadata(&self, source: MetadataSource, path: &MetadataPath) -> Option<Found<'_>>;
    /// Its path without the query.
    fn path(&self) -> &[u8];
    /// The text of the object that a filter has left under this key.
    fn state(&self, key: &str) -> Option<&[u8]>;
}

impl Rules {
    /// What follows, and the policy that matched, if one did.
    #[must_use]
    pub fn judge(&self, subject: &Subject<'_>) -> (Outcome, Option<&str>) {
        let matching = self.policies.iter().find(|policy| policy.matches(subject));
        let outcome = match (self.action, matching) {
            (Action::Allow, None) | (Action::Deny, Some(_)) => Outcome::Denied,
            (Action::Allow, Some(_)) | (Action::Deny, None) | (Action::Log, _) => Outcome::Allowed,
        };
        (outcome, matching.map(|policy| policy.name.as_str()))
    }
}

/// What logs show as the policy where none matched.
pub const NO_POLICY: &str = "none";

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
            Self::Client(range) => {
                let named = subject.request.and_then(|it| it.client());
                named.or(subject.ends.peer).is_some_and(|at| range.contains(at.ip()))
            }
            Self::Authenticated(name) => subject.request.is_some_and(|it| it.is_authenticated_as(name.as_ref())),
            Self::Destination(range) => subject.ends.local.is_some_and(|at| range.contains(at.ip())),
            Self::DestinationPort(range) => subject.ends.local.is_some_and(|at| range.contains(&at.port().into())),
            Self::Header(header) => subject.request.is_some_and(|it| it.has(header)),
            Self::Metadata { source: MetadataSource::Route, .. }
                if !subject.request.is_some_and(|it| it.has_route()) =>
            {
                false
            }
            Self::Metadata { source, path, value, sense } => {
                let found = subject.request.and_then(|it| it.metadata(*source, path));
                found.is_some_and(|found| value.takes(found)) == (*sense == Sense::Direct)
            }
            Self::MutuallyAuthenticated(name) => {
                subject.request.is_some_and(|it| it.is_mutually_authenticated_as(name.as_ref()))
            }
            Self::Path(path) => subject.request.is_some_and(|it| path.takes(it.path())),
            Self::Not(rule) => !rule.matches(subject),
            Self::ServerName(name) => name.takes(subject.server_name.unwrap_or_default().as_bytes()),
            Self::DirectSource(range) => subject.ends.direct_peer.is_some_and(|at| range.contains(at.ip())),
            Self::Source(range) => subject.ends.peer.is_some_and(|at| range.contains(at.ip())),
            Self::State(key, text) => {
                let found = subject.request.and_then(|it| it.state(key));
                found.is_some_and(|found| text.takes(found))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::metadata::{Metadata, Value};
    use crate::config::string_match::Pattern;

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
            request: None,
        };
        let ours = || Rule::DestinationPort(443..444);
        let theirs = || Rule::Source(range("10.1.0.0", 16));
        let (allowed, denied) = (Outcome::Allowed, Outcome::Denied);
        let all = || Rule::All(vec![ours(), Rule::Destination(range("10.0.0.2", 32))]);
        for (action, permission, principal, expected) in [
            (Action::Allow, ours(), theirs(), (allowed, Some("p"))),
            (Action::Allow, Rule::DestinationPort(80..443), theirs(), (denied, None)),
            (Action::Deny, ours(), theirs(), (denied, Some("p"))),
            (Action::Deny, ours(), Rule::Not(Box::new(theirs())), (allowed, None)),
            (Action::Deny, all(), Rule::Anything, (denied, Some("p"))),
            (
                Action::Deny,
                Rule::Any(vec![Rule::DestinationPort(1..2), ours()]),
                Rule::Any(Vec::new()),
                (allowed, None),
            ),
            (Action::Log, ours(), theirs(), (allowed, Some("p"))),
            (Action::Allow, ours(), Rule::DirectSource(range("10.2.0.0", 16)), (allowed, Some("p"))),
            (Action::Allow, ours(), Rule::DirectSource(range("10.1.0.0", 16)), (denied, None)),
            (Action::Allow, ours(), Rule::Source(range("10.2.0.0", 16)), (denied, None)),
        ] {
            assert_eq!(rules(action, permission, principal).judge(&subject), expected);
        }
        assert_eq!(Rules { action: Action::Allow, policies: Vec::new() }.judge(&subject), (denied, None));
    }

    /// A request of which this is known.
    #[derive(Default)]
    struct Known {
        has_route: bool,
        of_route: Metadata,
        certificate: Option<&'static str>,
    }

    impl Request for Known {
        fn client(&self) -> Option<SocketAddr> {
            None
        }

        fn has(&self, _: &HeaderMatch) -> bool {
            false
        }

        fn certified(&self, _: Certified) -> Option<String> {
            None
        }

        fn joined<'s>(&'s self, _: &'s str) -> Option<Cow<'s, [u8]>> {
            None
        }

        fn is_authenticated_as(&self, _: Option<&StringMatch>) -> bool {
            false
        }

        fn is_mutually_authenticated_as(&self, name: Option<&PeerName>) -> bool {
            self.certificate.is_some_and(|known| match name {
                Some(PeerName::Dns(wanted)) => wanted.takes(known.as_bytes()),
                Some(_) => false,
                None => true,
            })
        }

        fn has_route(&self) -> bool {
            self.has_route
        }

        fn metadata(&self, source: MetadataSource, path: &MetadataPath) -> Option<Found<'_>> {
            if source == MetadataSource::Route { self.of_route.get(path) } else { None }
        }

        fn path(&self) -> &[u8] {
            b"/a/b"
        }

        fn state(&self, key: &str) -> Option<&[u8]> {
            (key == "team").then_some(b"guests")
        }
    }

    #[test]
    fn rules_look_at_routes_filter_state_and_certificates() {
        let kind = || MetadataPath { namespace: "access".into(), keys: vec!["kind".into()] };
        let of_route = |sense| Rule::Metadata {
            source: MetadataSource::Route,
            path: kind(),
            value: ValueMatch::Present(true),
            sense,
        };
        let text = |text: &str| StringMatch { pattern: Pattern::Exact(text.into()), ignore_case: false };
        let state = |key: &str, wanted| Rule::State(key.into(), text(wanted));
        let named = |name| Rule::MutuallyAuthenticated(Some(PeerName::Dns(text(name))));
        let of = |kind: &str| {
            let values = [("kind".to_owned(), Value::Text(kind.into()))].into();
            Known {
                has_route: true,
                of_route: Metadata([("access".to_owned(), values)].into()),
                certificate: Some("a"),
            }
        };
        let (tagged, untagged) = (of("internal"), Known { has_route: true, ..Known::default() });
        for (rule, on_tagged, on_untagged, without_route) in [
            (of_route(Sense::Direct), true, false, false),
            (of_route(Sense::Inverted), false, true, false),
            (state("team", "guests"), true, true, true),
            (state("team", "others"), false, false, false),
            (state("other", "guests"), false, false, false),
            (named("a"), true, false, false),
            (named("b"), false, false, false),
            (Rule::MutuallyAuthenticated(None), true, false, false),
        ] {
            let matches = |request: &Known| {
                let ends = Ends { local: None, peer: None, direct_peer: None };
                rule.matches(&Subject { ends, server_name: None, request: Some(request) })
            };
            let found = [matches(&tagged), matches(&untagged), matches(&Known::default())];
            assert_eq!(found, [on_tagged, on_untagged, without_route], "{rule:?}");
        }
    }
}
