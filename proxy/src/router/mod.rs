//! A stream gets a destination. Pure: a function of the route table and the request's head.

mod chance;
mod matcher;
pub(crate) mod redirect;
pub(crate) mod rewrite;

use std::sync::Arc;

pub(crate) use matcher::header_holds;

use http::HeaderValue;

pub use chance::{Chance, RuntimeKeys};

use crate::codec::RequestHead;
use crate::codec::names;
use crate::config::filter::Chains;
use crate::config::route::{
    Action, Destination, HeaderEdits, NamedCluster, PathMatch, PortMatch, RequireTls, Route, RouteTable, VirtualHost,
    WeightedCluster, WeightedClusters,
};

/// What takes a request.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The virtual host.
    pub host: &'a VirtualHost,
    /// Its route.
    pub route: &'a Route,
    /// Which of the clusters gets the request, if the route has several.
    pub chosen: Option<&'a WeightedCluster>,
}

impl<'a> Found<'a> {
    /// What is changed in heads.
    #[must_use]
    pub fn edits(&self) -> &'a [Arc<HeaderEdits>] {
        self.chosen.map_or(&self.route.edits, |chosen| &chosen.edits)
    }

    /// The filter chains, if they are not those of the connection manager.
    #[must_use]
    pub fn filters(&self) -> Option<&'a Chains> {
        self.chosen.map_or(&self.route.filters, |chosen| &chosen.filters).as_deref()
    }

    /// The cluster that gets the request, if one does.
    #[must_use]
    pub fn cluster(&self) -> Option<&'a NamedCluster> {
        match (self.chosen, &self.route.action) {
            (Some(chosen), _) => Some(&chosen.cluster),
            (None, Action::Forward(to)) => match &to.cluster {
                Destination::One(cluster) => Some(cluster),
                Destination::Weighted(_) => None,
            },
            (None, Action::Direct { .. } | Action::Redirect(_) | Action::RedirectToTls) => None,
        }
    }
}

/// The virtual host and the route that take this request, or `None`: the answer is 404 then.
#[must_use]
pub fn route<'a>(table: &'a RouteTable, head: &RequestHead, chance: &Chance<'_>) -> Option<Found<'a>> {
    let authority = head.authority.as_ref()?.as_bytes();
    let authority = match table.ports {
        PortMatch::Compared => authority,
        PortMatch::Ignored => port_at(authority).and_then(|at| authority.get(..at)).unwrap_or(authority),
    };
    let host = matcher::virtual_host(&table.virtual_hosts, authority)?;
    if requires_tls(host, head) {
        return Some(Found { host, route: &TO_TLS, chosen: None });
    }
    let mut taking = host.routes.iter().filter(|route| matcher::route_takes(route, head, chance));
    taking.find_map(|route| match several(route) {
        None => Some(Found { host, route, chosen: None }),
        Some(several) => {
            let by_header = several.chosen_by.as_ref().and_then(|name| header(head, name)).and_then(number);
            // A route whose weights are all zero takes nothing.
            chance.choose(several, by_header).map(|chosen| Found { host, route, chosen: Some(chosen) })
        }
    })
}

/// Where the colon before the port of a host is, if there is one. In an IPv6 address, colons stand between brackets.
#[must_use]
pub fn port_at(host: &[u8]) -> Option<usize> {
    let colon = host.iter().rposition(|byte| *byte == b':')?;
    let is_within_address = host.get(colon..).unwrap_or_default().contains(&b']');
    (!is_within_address).then_some(colon)
}

fn several(route: &Route) -> Option<&WeightedClusters> {
    match &route.action {
        Action::Forward(to) => match &to.cluster {
            Destination::One(_) => None,
            Destination::Weighted(several) => Some(several),
        },
        Action::Direct { .. } | Action::Redirect(_) | Action::RedirectToTls => None,
    }
}

fn number(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The route of requests in clear text to a virtual host that requires TLS.
static TO_TLS: Route = Route {
    name: String::new(),
    matches: PathMatch::Connect,
    conditions: Vec::new(),
    filters: None,
    edits: Vec::new(),
    action: Action::RedirectToTls,
};

fn requires_tls(host: &VirtualHost, head: &RequestHead) -> bool {
    let is = |name, wanted: &[u8]| head.headers.get(name).is_some_and(|value| value.as_bytes() == wanted);
    match host.require_tls {
        RequireTls::None => false,
        RequireTls::ExternalOnly => !is(&names::X_FORWARDED_PROTO, b"https") && !is(&names::X_ENVOY_INTERNAL, b"true"),
        RequireTls::All => !is(&names::X_FORWARDED_PROTO, b"https"),
    }
}

/// A request's header, where `:authority` (or `host`), `:method` and `:path` are headers too.
#[must_use]
pub fn header<'a>(head: &'a RequestHead, name: &str) -> Option<&'a [u8]> {
    match name {
        ":authority" | "host" => head.authority.as_ref().map(HeaderValue::as_bytes),
        ":method" => Some(head.method.as_str().as_bytes()),
        ":protocol" => head.protocol.as_ref().map(HeaderValue::as_bytes),
        ":scheme" => head.scheme.as_ref().map(HeaderValue::as_bytes),
        ":path" => head.path.as_ref().map(HeaderValue::as_bytes),
        name => head.headers.get_str(name).map(HeaderValue::as_bytes),
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Version};

    use super::*;
    use crate::codec::Headers;
    use crate::config::route::Domain;
    use crate::net::Random;

    #[test]
    fn the_most_specific_domain_wins_then_the_first_route() {
        let cases = [
            ("exact.test", "/", Some("exact")),
            ("EXACT.test", "/", Some("exact")),
            ("exact.test:8080", "/", Some("any")), // the port is part of the name unless stripped by configuration
            ("a.b.test", "/", Some("suffix-long")),
            ("a.c.test", "/", Some("suffix-short")),
            ("api.other", "/", Some("prefix")),
            ("unknown", "/x", Some("any")),
            ("unknown", "/only", Some("any-only")),
            ("unknown", "/only/deeper", Some("any")),
            ("exact.test", "/CASE", Some("exact-case")),
        ];
        let table = table();
        for (authority, path, expected) in cases {
            let found = found(&table, &get(authority, path)).map(|found| found.route.name.as_str());
            assert_eq!(found, expected, "{authority}{path}");
        }
    }

    #[test]
    fn ports_count_unless_they_are_ignored() {
        let mut table = table();
        let name = |table: &RouteTable, authority| found(table, &get(authority, "/")).unwrap().route.name.clone();
        assert_eq!(name(&table, "a.b.test:80"), "any");
        table.ports = PortMatch::Ignored;
        for (authority, expected) in [("a.b.test:80", "suffix-long"), ("exact.test:x", "exact"), ("[::1:2]", "any")] {
            assert_eq!(name(&table, authority), expected, "{authority}");
        }
    }

    #[test]
    fn connect_matches_only_connect_routes() {
        let table = table();
        let mut connect = get("unknown", "/");
        connect.method = Method::CONNECT;
        connect.path = None;
        assert!(found(&table, &connect).is_none());
    }

    #[test]
    fn tls_is_required_of_requests_whose_forwarded_proto_is_not_https() {
        use RequireTls::{All, ExternalOnly};
        let mut table = table();
        for (require_tls, fields, is_redirected) in [
            (RequireTls::None, &[][..], false),
            (All, &[], true),
            (All, &[("x-forwarded-proto", "http")], true),
            (All, &[("x-forwarded-proto", "https")], false),
            (All, &[("x-envoy-internal", "true")], true),
            (ExternalOnly, &[("x-forwarded-proto", "http")], true),
            (ExternalOnly, &[("x-forwarded-proto", "https")], false),
            (ExternalOnly, &[("x-envoy-internal", "true")], false),
            (ExternalOnly, &[("x-envoy-internal", "false")], true),
        ] {
            table.virtual_hosts.iter_mut().for_each(|host| host.require_tls = require_tls);
            let mut head = get("unknown", "/");
            for (name, value) in fields {
                head.headers.append(name.parse().unwrap(), HeaderValue::from_static(value));
            }
            let found = found(&table, &head).unwrap();
            assert_eq!(
                matches!(found.route.action, Action::RedirectToTls),
                is_redirected,
                "{require_tls:?} {fields:?}"
            );
        }
    }

    fn found<'a>(table: &'a RouteTable, head: &RequestHead) -> Option<Found<'a>> {
        struct Never;
        impl Random for Never {
            fn next_u64(&self) -> u64 {
                panic!("nothing here depends on chance");
            }
        }
        route(table, head, &Chance::new(&RuntimeKeys::default(), &Never))
    }

    fn get(authority: &str, path: &str) -> RequestHead {
        RequestHead {
            method: Method::GET,
            scheme: None,
            authority: Some(HeaderValue::from_str(authority).unwrap()),
            path: Some(HeaderValue::from_str(path).unwrap()),
            protocol: None,
            version: Version::HTTP_11,
            headers: Headers::default(),
        }
    }

    fn table() -> RouteTable {
        let prefix = |p: &str| PathMatch::Prefix { prefix: p.into(), case_sensitive: true };
        let host = |domains: Vec<Domain>, routes: Vec<(&str, PathMatch)>| VirtualHost {
            name: String::new(),
            domains,
            require_tls: RequireTls::None,
            routes: routes
                .into_iter()
                .map(|(name, matches)| Route {
                    name: name.into(),
                    matches,
                    conditions: Vec::new(),
                    filters: None,
                    edits: Vec::new(),
                    action: Action::Direct { status: 200, body: String::new() },
                })
                .collect(),
        };
        RouteTable {
            internal_only_headers: Vec::new(),
            ports: PortMatch::Compared,
            virtual_hosts: vec![
                host(
                    vec![Domain::Any],
                    vec![
                        ("any-only", PathMatch::Exact { path: "/only".into(), case_sensitive: true }),
                        ("any", prefix("/")),
                        ("never-reached", prefix("/x")),
                    ],
                ),
                host(vec![Domain::Suffix(".test".into())], vec![("suffix-short", prefix("/"))]),
                host(vec![Domain::Suffix(".b.test".into())], vec![("suffix-long", prefix("/"))]),
                host(vec![Domain::Prefix("api.".into())], vec![("prefix", prefix("/"))]),
                host(
                    vec![Domain::Exact("exact.test".into())],
                    vec![
                        ("exact-case", PathMatch::Prefix { prefix: "/case".into(), case_sensitive: false }),
                        ("exact", prefix("/")),
                    ],
                ),
            ],
        }
    }
}
