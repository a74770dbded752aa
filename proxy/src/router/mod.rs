//! A stream gets a destination. Pure: a function of the route table and the request's head.

mod matcher;
pub(crate) mod redirect;
pub(crate) mod rewrite;

use http::HeaderValue;

use crate::codec::RequestHead;
use crate::codec::names;
use crate::config::route::{Action, PathMatch, RequireTls, Route, RouteTable, VirtualHost};

/// The virtual host and the route that take this request, or `None`: the answer is 404 then.
#[must_use]
pub fn route<'a>(table: &'a RouteTable, head: &RequestHead) -> Option<(&'a VirtualHost, &'a Route)> {
    let host = matcher::virtual_host(&table.virtual_hosts, head.authority.as_ref()?.as_bytes())?;
    if requires_tls(host, head) {
        return Some((host, &TO_TLS));
    }
    let route = host.routes.iter().find(|route| matcher::route_takes(route, head))?;
    Some((host, route))
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
            let found = route(&table, &get(authority, path)).map(|(_, route)| route.name.as_str());
            assert_eq!(found, expected, "{authority}{path}");
        }
    }

    #[test]
    fn connect_matches_only_connect_routes() {
        let table = table();
        let mut connect = get("unknown", "/");
        connect.method = Method::CONNECT;
        connect.path = None;
        assert!(route(&table, &connect).is_none());
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
            let (_, route) = route(&table, &head).unwrap();
            assert_eq!(matches!(route.action, Action::RedirectToTls), is_redirected, "{require_tls:?} {fields:?}");
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
