//! A stream gets a destination. Pure: a function of the route table and the request's head.

mod chance;
mod location;
mod matcher;
pub(crate) mod redirect;
pub(crate) mod rewrite;

use std::borrow::Cow;
use std::sync::Arc;

pub(crate) use location::AbsoluteUrl;

pub use chance::{Chance, RuntimeKeys};

use crate::codec::RequestHead;
use crate::codec::matching::header;
use crate::codec::names;
use crate::config::filter::Chains;
use crate::config::route::{
    Action, Destination, HeaderEdits, NamedCluster, ParameterMatch, PathMatch, PortMatch, RequireTls, Route,
    RouteTable, VirtualHost, WeightedCluster, WeightedClusters,
};

/// What takes a request.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// The virtual host.
    pub host: &'a VirtualHost,
    /// The first route of the virtual host that matches.
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

/// The virtual host and the route that take this request, or `None`: the response is 404 then.
#[must_use]
pub fn route<'a>(table: &'a RouteTable, head: &RequestHead, chance: &Chance<'_>) -> Option<Found<'a>> {
    // A filter may have taken it off.
    let authority = head.authority.as_ref().map(http::HeaderValue::as_bytes).unwrap_or_default();
    let authority = match table.ports {
        PortMatch::Compared => authority,
        PortMatch::Ignored => port_at(authority).and_then(|at| authority.get(..at)).unwrap_or(authority),
    };
    let host = table.virtual_hosts.find(authority)?;
    if requires_tls(host, head) {
        return Some(Found { host, route: &TO_TLS, chosen: None });
    }
    let path = match table.parameters {
        ParameterMatch::Compared => Cow::Borrowed(head.path_only()),
        ParameterMatch::Ignored => without_parameters(head.path_only()),
    };
    let candidates = host.routes.candidates(&path);
    let mut taking = candidates.filter(|route| matcher::route_takes(route, head, &path, chance));
    taking.find_map(|route| match several(route) {
        None => Some(Found { host, route, chosen: None }),
        Some(several) => {
            let by_header = several.chosen_by.as_ref().and_then(|name| header(head, name)).and_then(number);
            // A route whose weights are all zero takes nothing.
            chance.choose(several, by_header).map(|chosen| Found { host, route, chosen: Some(chosen) })
        }
    })
}

/// A path without what stands between a semicolon and the end of its segment (RFC 3986 3.3).
fn without_parameters(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.contains(&b';') {
        return Cow::Borrowed(path);
    }
    let segments = path.split(|byte| *byte == b'/');
    let bare = segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or_default());
    Cow::Owned(bare.collect::<Vec<_>>().join(&b'/'))
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
    stats: None,
    metadata: None,
    tracing: None,
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

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Method, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::codec::Headers;
    use crate::config::route::{
        CertificateMatch, Condition, CookieMatch, Domain, HeaderMatch, HeaderTest, Missing, QueryMatch, QueryTest,
        Sense,
    };
    use crate::config::string_match::{Pattern, StringMatch};
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
    fn parameters_are_left_out_of_each_segment() {
        for (path, expected) in
            [("/a/b", "/a/b"), ("/a;x=1/b;y", "/a/b"), ("/;a/b;", "//b"), ("/a/b;c/d", "/a/b/d"), ("/a;b;c", "/a")]
        {
            assert_eq!(without_parameters(path.as_bytes()), expected.as_bytes(), "{path}");
        }
        let mut table = table();
        let name = |table: &RouteTable| found(table, &get("unknown", "/only;x?y")).unwrap().route.name.clone();
        assert_eq!(name(&table), "any");
        table.parameters = ParameterMatch::Ignored;
        assert_eq!(name(&table), "any-only");
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
            let hosts = table.virtual_hosts.iter().cloned().map(|host| VirtualHost { require_tls, ..host });
            table.virtual_hosts = hosts.collect::<Vec<_>>().into();
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

    struct Never;
    impl Random for Never {
        fn next_u64(&self) -> u64 {
            panic!("nothing here depends on chance");
        }
    }

    fn found<'a>(table: &'a RouteTable, head: &RequestHead) -> Option<Found<'a>> {
        route(table, head, &Chance::new(&RuntimeKeys::default(), &Never))
    }

    /// A route by number, path match and conditions.
    fn numbered(number: usize, matches: PathMatch, conditions: Vec<Condition>) -> Route {
        Route {
            name: number.to_string(),
            matches,
            conditions,
            filters: None,
            edits: Vec::new(),
            stats: None,
            metadata: None,
            tracing: None,
            action: Action::Direct { status: 200, body: String::new() },
        }
    }

    fn path_match() -> impl Strategy<Value = PathMatch> {
        let path = || ("(/[ab]{0,2}){1,3}", prop::bool::weighted(0.8));
        prop_oneof![
            Just(PathMatch::Connect),
            path().prop_map(|(path, case_sensitive)| PathMatch::Exact { path, case_sensitive }),
            path().prop_map(|(prefix, case_sensitive)| PathMatch::Prefix { prefix, case_sensitive }),
            path().prop_map(|(prefix, case_sensitive)| PathMatch::SeparatedPrefix { prefix, case_sensitive }),
            "[ab/]{1,3}".prop_map(|text| PathMatch::Regex(regex::Regex::new(&format!("^(?:/{text}.*)$")).unwrap())),
        ]
    }

    fn text() -> impl Strategy<Value = StringMatch> {
        let pattern = prop_oneof![
            "[ab]{0,2}".prop_map(Pattern::Contains),
            "[abA]{0,2}".prop_map(Pattern::Exact),
            "[abA]{0,2}".prop_map(Pattern::Prefix),
            "[abA]{0,2}".prop_map(Pattern::Suffix),
            "[ab.]{0,2}[*]?"
                .prop_filter_map("a regular expression", |text| regex::Regex::new(&text).ok())
                .prop_map(Pattern::Regex),
        ];
        (pattern, any::<bool>()).prop_map(|(pattern, ignore_case)| StringMatch { pattern, ignore_case })
    }

    fn sense() -> impl Strategy<Value = Sense> {
        prop_oneof![Just(Sense::Direct), Just(Sense::Inverted)]
    }

    /// All conditions that a request's head decides about.
    fn condition() -> impl Strategy<Value = Condition> {
        let header_test = prop_oneof![
            Just(HeaderTest::Absent),
            Just(HeaderTest::Present),
            (any::<i64>(), any::<i64>()).prop_map(|(from, to)| HeaderTest::Range(from..to)),
            (-2..2_i64, 0..4_i64).prop_map(|(from, to)| HeaderTest::Range(from..to)),
            text().prop_map(HeaderTest::Text),
        ];
        let missing = prop_oneof![Just(Missing::Absent), Just(Missing::Empty)];
        let name = "[xyz]|:path|:method|:authority|:scheme|content-type";
        let header = (name, header_test, sense(), missing).prop_map(|(name, value, sense, missing)| HeaderMatch {
            name,
            value,
            sense,
            missing,
        });
        let query_test =
            prop_oneof![Just(QueryTest::Absent), Just(QueryTest::Present), text().prop_map(QueryTest::Text)];
        let query = ("[qr]?", query_test).prop_map(|(name, value)| QueryMatch { name, value });
        let cookie = ("[ab]?", text(), sense()).prop_map(|(name, value, sense)| CookieMatch { name, value, sense });
        let flag = || prop::option::of(any::<bool>());
        let certificate = (flag(), flag()).prop_map(|(presented, validated)| CertificateMatch { presented, validated });
        prop_oneof![
            4 => header.prop_map(Condition::Header),
            2 => query.prop_map(Condition::Query),
            1 => cookie.prop_map(Condition::Cookie),
            1 => certificate.prop_map(Condition::ClientCertificate),
            1 => Just(Condition::Grpc),
            1 => Just(Condition::Never),
        ]
    }

    /// Any value that a header may have.
    fn value() -> impl Strategy<Value = HeaderValue> {
        let bytes = prop_oneof![
            "[abA]{0,3}".prop_map(String::into_bytes),
            "-?[0-9]{0,20}".prop_map(String::into_bytes),
            "([ab]?=\"?[abA]{0,2}\"?;? ?){0,3}".prop_map(String::into_bytes),
            "application/grpc[+;a-z]{0,4}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..6),
        ];
        bytes.prop_filter_map("a value", |bytes| HeaderValue::from_bytes(&bytes).ok())
    }

    proptest! {
        #[test]
        fn the_route_found_is_the_first_that_takes_the_request_and_stays_the_same(
            routes in prop::collection::vec((path_match(), prop::collection::vec(condition(), 0..3)), 0..40),
            paths in prop::collection::vec("(/[abA]{0,2}){1,4}([?]([qr]?(=[abA]{0,2})?&?){0,3})?", 8),
            fields in prop::collection::vec(("[xyz]|cookie|content-type", value()), 0..6),
            method in prop::sample::select(&[Method::GET, Method::POST, Method::CONNECT][..]),
        ) {
            let routes = routes.into_iter().enumerate().map(|(n, (path, conditions))| numbered(n, path, conditions));
            let host = VirtualHost {
                name: String::new(),
                domains: vec![Domain::Any],
                routes: routes.collect::<Vec<_>>().into(),
                virtual_clusters: Vec::new(),
                require_tls: RequireTls::None,
            };
            let table = RouteTable { virtual_hosts: vec![host].into(), ..RouteTable::default() };
            for path in paths {
                let mut head = get("a.test", &path);
                head.method = method.clone();
                for (name, value) in &fields {
                    head.headers.append(name.parse().unwrap(), value.clone());
                }
                let keys = RuntimeKeys::default();
                let takes = |route: &&Route| matcher::route_takes(route, &head, head.path_only(), &Chance::new(&keys, &Never));
                let first = table.virtual_hosts[0].routes.iter().find(takes).map(|route| route.name.clone());
                for _ in 0..2 {
                    let found = found(&table, &head).map(|found| found.route.name.clone());
                    prop_assert_eq!(&found, &first, "{}", path);
                }
            }
        }
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
            virtual_clusters: Vec::new(),
            require_tls: RequireTls::None,
            routes: routes
                .into_iter()
                .map(|(name, matches)| Route {
                    name: name.into(),
                    matches,
                    conditions: Vec::new(),
                    filters: None,
                    edits: Vec::new(),
                    stats: None,
                    metadata: None,
                    tracing: None,
                    action: Action::Direct { status: 200, body: String::new() },
                })
                .collect::<Vec<_>>()
                .into(),
        };
        RouteTable {
            internal_only_headers: Vec::new(),
            ports: PortMatch::Compared,
            parameters: ParameterMatch::Compared,
            stat_prefixes: Vec::new(),
            rate_limits: Vec::new(),
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
            ]
            .into(),
        }
    }
}
