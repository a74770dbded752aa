//! What a hop adds to a message and takes from it.
//!
//! Pure, but for request ids. Hop-by-hop headers end here (RFC 9110 7.6.1); `x-forwarded-*` and
//! `x-request-id` begin here.

use std::net::IpAddr;

use http::header::{CONNECTION, CONTENT_TYPE, DATE, EXPECT, SERVER, TE, TRANSFER_ENCODING, UPGRADE, USER_AGENT, VIA};
use http::{HeaderName, HeaderValue, Method, Version};

use super::Persistence;
use super::client_cert;
use super::local_reply::LocalReply;
use super::remote_client::{Origin, RemoteClient};
use crate::access_log::Downstream;
use crate::codec::head::tokens;
use crate::codec::{Headers, RequestHead, ResponseHead, names};
use crate::config::listener::{ConnectionManager, NodeNames, RequestIds, ServerHeader, ServerTransformation};
use crate::config::string_match::StringMatch;
use crate::net::Random;
use crate::tunnel::connect_udp;

/// Refuses what no route should see.
pub(super) fn check(head: &mut RequestHead) -> Result<(), LocalReply> {
    if head.authority.is_none() {
        return Err(LocalReply::MissingHost);
    }
    connect_udp::set_authority(head).map_err(|connect_udp::NoTarget| LocalReply::NotAPathOfConnectUdp)?;
    let Some(path) = &head.path else {
        return if head.method == Method::CONNECT { Ok(()) } else { Err(LocalReply::NotAPath) };
    };
    if !path.as_bytes().starts_with(b"/") {
        return Err(LocalReply::NotAPath);
    }
    // What a QUERY requests is in its content, which cannot be understood without a type.
    if head.method.as_str() == "QUERY" && head.headers.get(&CONTENT_TYPE).is_none_or(HeaderValue::is_empty) {
        return Err(LocalReply::QueryWithoutContentType);
    }
    // A fragment never belongs on the wire (RFC 9110 4.2.5); peers disagree on what it means there.
    if path.as_bytes().contains(&b'#') {
        return Err(LocalReply::MalformedPath);
    }
    Ok(())
}

/// What the client requests for its connection after this request.
pub(super) fn persistence(head: &RequestHead) -> Persistence {
    let has =
        |token| head.headers.has_token(&CONNECTION, token) || head.headers.has_token(&names::PROXY_CONNECTION, token);
    // RFC 9112 9.3: before HTTP/1.1, connections that stay are the exception.
    let closes = has("close") || (head.version == Version::HTTP_10 && !has("keep-alive"));
    if closes { Persistence::Close } else { Persistence::KeepAlive }
}

/// Does the client wait for `100 Continue`? Takes the expectation off: the proxy meets it.
pub(super) fn take_expect_continue(headers: &mut Headers) -> bool {
    let expects = headers.get(&EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if expects {
        headers.remove(&EXPECT);
    }
    expects
}

/// The request as the upstream shall see it, before routing. `internal_only` names headers that clients outside cannot set.
pub(super) fn request(
    head: &mut RequestHead,
    options: &ConnectionManager,
    internal_only: &[String],
    remote: &RemoteClient,
    downstream: &Downstream,
    random: &dyn Random,
) {
    let own_scheme = if downstream.tls.is_some() { "https" } else { "http" };
    // Over HTTP/2 it is no field that came, but extended CONNECT.
    let ignored = (head.version != Version::HTTP_2).then_some(&options.http1.ignore_http_11_upgrade[..]);
    let headers = &mut head.headers;
    if head.method == Method::CONNECT {
        // One request opens one tunnel, and which one is checked: an HTTP/2 app would get the other as `:protocol`.
        headers.remove(&UPGRADE);
    }
    end_request_hop(headers, ignored);
    if let Some(peer) = remote.appended {
        append_forwarded_for(headers, peer);
    }
    // What an untrusted peer sends about its own socket is not trusted.
    if options.trust.is_edge() {
        headers.set(names::X_FORWARDED_PROTO.clone(), HeaderValue::from_static(own_scheme));
    } else {
        headers.set_if_absent(names::X_FORWARDED_PROTO.clone(), HeaderValue::from_static(own_scheme));
    }
    if let Some(port) = downstream.local.port()
        && options.adds_port_header
        && (options.trust.is_edge() || !headers.contains(&names::X_FORWARDED_PORT))
    {
        headers.set(names::X_FORWARDED_PORT.clone(), HeaderValue::from(port));
    }
    if let Some(scheme) = &options.scheme {
        headers.set(names::X_FORWARDED_PROTO.clone(), scheme.clone());
        head.scheme = Some(scheme.clone());
    } else {
        head.scheme = Some(scheme(head.scheme.as_ref(), headers));
    }
    client_cert::forward(headers, &options.client_cert, downstream.tls.as_deref());
    if let Some(via) = &options.via {
        append_via(headers, via);
    }
    take_control(headers, remote.origin, internal_only);
    match (remote.origin, remote.address) {
        (Origin::Internal, _) => headers.append(names::X_ENVOY_INTERNAL.clone(), HeaderValue::from_static("true")),
        (Origin::Edge, Some(client)) => headers.set(names::X_ENVOY_EXTERNAL_ADDRESS.clone(), text(client)),
        (Origin::Edge, None) | (Origin::External, _) => {}
    }
    if let Some(names) = &options.node_names {
        name_node(headers, names);
    }
    // At the edge an id that came from outside is not trusted.
    let replaces = remote.origin == Origin::Edge && !options.request_ids.keep_external;
    if options.request_ids.generate && (replaces || !headers.contains(&names::X_REQUEST_ID)) {
        headers.set(names::X_REQUEST_ID.clone(), request_id(random));
    }
}

/// `add_user_agent`: names the node that sends the request on.
fn name_node(headers: &mut Headers, names: &NodeNames) {
    headers.set(names::X_ENVOY_DOWNSTREAM_SERVICE_CLUSTER.clone(), names.cluster.clone());
    if headers.get(&USER_AGENT).is_none_or(HeaderValue::is_empty) {
        headers.set(USER_AGENT, names.cluster.clone());
    }
    if let Some(id) = &names.id {
        headers.set(names::X_ENVOY_DOWNSTREAM_SERVICE_NODE.clone(), id.clone());
    }
}

/// The scheme of a request: its own, else that of `x-forwarded-proto`, else that of this connection. Each counts
/// if it is one that this proxy forwards.
fn scheme(own: Option<&HeaderValue>, headers: &Headers) -> HeaderValue {
    let forwarded = headers.get(&names::X_FORWARDED_PROTO);
    let known = |value: &HeaderValue| {
        let is = |scheme: &str| value.as_bytes().eq_ignore_ascii_case(scheme.as_bytes());
        ["http", "https"].into_iter().find(|scheme| is(scheme))
    };
    HeaderValue::from_static(own.and_then(known).or_else(|| forwarded.and_then(known)).unwrap_or("http"))
}

/// `ignored`: protocols that HTTP/1 clients offer in vain; `None` for a client that cannot offer any.
fn end_request_hop(headers: &mut Headers, ignored: Option<&[StringMatch]>) {
    if let Some(ignored) = ignored {
        ignore_upgrade(headers, ignored);
    }
    // It belongs to an upgrade to h2c, which ends here: an application that takes it would leave every route behind.
    headers.remove(&names::HTTP2_SETTINGS);
    if headers.upgrade().is_none() {
        remove_named_by_connection(headers);
        headers.remove(&CONNECTION);
        headers.remove(&UPGRADE);
    }
    headers.remove(&names::KEEP_ALIVE);
    headers.remove(&names::PROXY_CONNECTION);
    headers.remove(&TRANSFER_ENCODING);
    if headers.contains(&TE) {
        match headers.has_token(&TE, "trailers") {
            true => headers.set(TE, HeaderValue::from_static("trailers")),
            false => headers.remove(&TE),
        }
    }
}

/// Takes an upgrade off that is not to be thought of: to HTTP/2 in clear text, which is optional and obsolete (RFC 9113
/// 3.1), and to what the configuration ignores.
fn ignore_upgrade(headers: &mut Headers, ignored: &[StringMatch]) {
    let Some(upgrade) = headers.upgrade() else { return };
    if upgrade.as_bytes().eq_ignore_ascii_case(b"h2c") {
        return headers.remove(&UPGRADE);
    }
    if ignored.is_empty() {
        return;
    }
    let is_ignored = |protocol: &[u8]| ignored.iter().any(|matcher| matcher.takes(protocol));
    let left: Vec<&[u8]> = tokens(upgrade).filter(|protocol| !is_ignored(protocol)).collect();
    // A part of a value is a value.
    match HeaderValue::from_bytes(&left.join(&b',')) {
        Ok(left) if !left.is_empty() => headers.set(UPGRADE, left),
        Ok(_) | Err(_) => headers.remove(&UPGRADE),
    }
}

fn remove_named_by_connection(headers: &mut Headers) {
    let named: Vec<HeaderName> = headers
        .get_all(&CONNECTION)
        .flat_map(tokens)
        .filter_map(|token| HeaderName::from_bytes(token).ok())
        // Not `te`: its `trailers` is a fact about the next hop's reader too.
        .filter(|name| *name != TE)
        .collect();
    if !named.is_empty() {
        headers.retain(|name, _| !named.contains(name));
    }
}

/// Takes off the headers by which a client steers the router, unless it is internal.
fn take_control(headers: &mut Headers, origin: Origin, internal_only: &[String]) {
    match origin {
        // No client may declare itself internal.
        Origin::Internal => headers.remove(&names::X_ENVOY_INTERNAL),
        Origin::Edge | Origin::External => headers.retain(|name, _| {
            !is_control_header(name, origin == Origin::Edge) && !internal_only.iter().any(|only| name.as_str() == only)
        }),
    }
}

/// Headers by which an internal client steers the router. They are removed from external requests; at the edge even more of them.
fn is_control_header(name: &HeaderName, edge: bool) -> bool {
    let Some(rest) = name.as_str().strip_prefix("x-envoy-") else { return false };
    let from_outside = matches!(
        rest,
        "internal"
            | "retry-on"
            | "retry-grpc-on"
            | "max-retries"
            | "retriable-status-codes"
            | "retriable-header-names"
            | "upstream-alt-stat-name"
            | "upstream-rq-timeout-ms"
            | "upstream-rq-per-try-timeout-ms"
            | "upstream-rq-timeout-alt-response"
            | "upstream-stream-duration-ms"
            | "expected-rq-timeout-ms"
            | "force-trace"
            | "ip-tags"
            | "original-url"
            | "hedge-on-per-try-timeout"
    );
    let at_the_edge = matches!(
        rest,
        "decorator-operation"
            | "downstream-service-cluster"
            | "downstream-service-node"
            | "original-path"
            | "original-host"
    );
    from_outside || (edge && at_the_edge)
}

/// Adds `peer` to the list, which may stand on several lines (RFC 9110 5.3) and becomes one.
pub(super) fn append_forwarded_for(headers: &mut Headers, peer: IpAddr) {
    let mut list = Vec::new();
    for so_far in headers.get_all(&names::X_FORWARDED_FOR).filter(|value| !value.is_empty()) {
        list.extend_from_slice(so_far.as_bytes());
        list.push(b',');
    }
    list.extend_from_slice(text(peer).as_bytes());
    // Values that came as headers, commas and digits can only make a header.
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.set(names::X_FORWARDED_FOR.clone(), value);
    }
}

/// Adds this proxy to the machines that a message has come through (RFC 9110 7.6.3).
pub(super) fn append_via(headers: &mut Headers, via: &HeaderValue) {
    let list =
        headers.get(&VIA).filter(|list| !list.is_empty()).map(|list| [list.as_bytes(), b", ", via.as_bytes()].concat());
    // Values and a comma can only make a value.
    let list = list.and_then(|list| HeaderValue::from_bytes(&list).ok());
    headers.set(VIA, list.unwrap_or_else(|| via.clone()));
}

fn text(address: IpAddr) -> HeaderValue {
    HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("-"))
}

/// A random UUID, version 4 (RFC 9562 5.4), as text.
fn request_id(random: &dyn Random) -> HeaderValue {
    HeaderValue::from_bytes(&random.uuid()).unwrap_or(HeaderValue::from_static("-"))
}

/// The end of the upstream hop in a response. Headers that `connection` names stay, as in Envoy, and `upgrade` if it
/// concerns the client.
pub(super) fn end_response_hop(headers: &mut Headers, keeps_upgrade: bool) {
    if !keeps_upgrade || headers.upgrade().is_none() {
        headers.remove(&CONNECTION);
        headers.remove(&UPGRADE);
    }
    headers.remove(&names::KEEP_ALIVE);
    headers.remove(&names::PROXY_CONNECTION);
    headers.remove(&TRANSFER_ENCODING);
}

/// `date` and `server`, on every response.
pub(super) fn response(head: &mut ResponseHead, server: Server, date: HeaderValue) {
    head.headers.set_if_absent(DATE, date);
    match server.transformation {
        ServerTransformation::Overwrite => head.headers.set(SERVER, server.name),
        ServerTransformation::AppendIfAbsent => head.headers.set_if_absent(SERVER, server.name),
        ServerTransformation::PassThrough => {}
    }
}

/// The request's id in the response, for clients that want to quote it.
pub(super) fn echo_request_id(head: &mut ResponseHead, request: &RequestHead, ids: RequestIds, internal: bool) {
    let requested = ids.in_response || (internal && request.headers.contains(&names::X_ENVOY_FORCE_TRACE));
    if requested && let Some(id) = request.headers.get(&names::X_REQUEST_ID) {
        head.headers.set(names::X_REQUEST_ID.clone(), id.clone());
    }
}

/// The `server` header, ready to be put into a response.
#[derive(Clone)]
pub(super) struct Server {
    name: HeaderValue,
    transformation: ServerTransformation,
}

impl Server {
    pub(super) fn new(configured: &ServerHeader) -> Self {
        Self { name: configured.name.clone(), transformation: configured.transformation }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config::string_match::Pattern;

    #[test]
    fn the_hop_ends_with_connection_and_what_it_names() {
        let cases: &[(&str, &str)] = &[
            ("connection: keep-alive, x-foo\nx-foo: 1\nx-bar: 2", "x-bar: 2"),
            ("connection: close\nkeep-alive: 5\nproxy-connection: close\ntransfer-encoding: chunked", ""),
            ("te: gzip", ""),
            ("te: gzip, trailers", "te: trailers"),
            ("upgrade: websocket", ""),
            (
                "connection: keep-alive, Upgrade\nupgrade: websocket",
                "connection: keep-alive, Upgrade\nupgrade: websocket",
            ),
            ("connection: Upgrade, HTTP2-Settings\nupgrade: h2c\nhttp2-settings: AAMA", ""),
            ("http2-settings: AAMA", ""),
            (
                "connection: Upgrade\nupgrade: websocket\nhttp2-settings: AAMA",
                "connection: Upgrade\nupgrade: websocket",
            ),
        ];
        for (before, after) in cases {
            let mut headers = parse(before);
            end_request_hop(&mut headers, Some(&[]));
            assert_eq!(headers, parse(after), "{before}");
        }
    }

    #[test]
    fn ignored_protocols_are_taken_off_and_others_stay() {
        let prefix = |text: &str| StringMatch { pattern: Pattern::Prefix(text.into()), ignore_case: false };
        let ignored = [prefix("TLS/"), prefix("foo")];
        for (before, after) in [
            ("TLS/1.2", None),
            ("tls/1.2", Some("tls/1.2")),
            ("foo, TLS/1.2", None),
            ("foo,", None),
            ("", None),
            ("websocket, foo", Some("websocket")),
            ("a, foo, b", Some("a,b")),
            ("h2c", None),
            ("h2c, foo", Some("h2c")),
        ] {
            let mut headers = parse(&format!("connection: upgrade\nupgrade: {before}"));
            end_request_hop(&mut headers, Some(&ignored));
            assert_eq!(headers.upgrade().map(|to| to.to_str().unwrap()), after, "{before}");
            assert_eq!(headers.contains(&CONNECTION), after.is_some(), "{before}");
        }
    }

    #[test]
    fn extended_connect_offers_nothing_that_is_ignored() {
        let mut headers = parse("connection: upgrade\nupgrade: h2c");
        end_request_hop(&mut headers, None);
        assert!(headers.upgrade().is_some());
    }

    #[test]
    fn the_scheme_is_that_of_forwarded_proto_if_it_is_one() {
        for (proto, expected) in
            [("https", "https"), ("HTTPS", "https"), ("http", "http"), ("https,http", "http"), ("ftp", "http")]
        {
            assert_eq!(scheme(None, &parse(&format!("x-forwarded-proto: {proto}"))), expected, "{proto}");
        }
        assert_eq!(scheme(None, &Headers::default()), "http");
        for (own, expected) in [("http", "http"), ("HTTP", "http"), ("https", "https"), ("ftp", "https")] {
            let headers = parse("x-forwarded-proto: https");
            assert_eq!(scheme(Some(&HeaderValue::from_static(own)), &headers), expected, "{own}");
        }
    }

    #[test]
    fn a_caller_from_outside_does_not_steer_the_router() {
        for (name, outside, edge) in [
            ("x-envoy-retry-on", true, true),
            ("x-envoy-decorator-operation", false, true),
            ("x-envoy-attempt-count", false, false),
            ("x-other", false, false),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!((is_control_header(&name, false), is_control_header(&name, true)), (outside, edge), "{name}");
        }
    }

    #[test]
    fn a_request_id_is_a_uuid_of_version_4() {
        struct Ones(Cell<u64>);
        impl Random for Ones {
            fn next_u64(&self) -> u64 {
                self.0.replace(0)
            }
        }
        let id = request_id(&Ones(Cell::new(u64::MAX)));
        assert_eq!(id, "ffffffff-ffff-4fff-8000-000000000000");
    }

    fn parse(text: &str) -> Headers {
        let mut headers = Headers::default();
        for line in text.lines() {
            let (name, value) = line.split_once(": ").unwrap();
            headers.append(name.parse().unwrap(), value.parse().unwrap());
        }
        headers
    }
}
