//! Any bytes as method, path, authority and fields of a head. A head that the proxy reads in one version of HTTP and sends
//! on in the other is one message there, with the same fields: a second reading would be request smuggling.

use std::pin::Pin;
use std::task::{Context, Waker};

use bytes::Bytes;
use finwait::codec::http2::{ClientConnection, Counting, ListLimit, MessageErrorScope, ServerConnection};
use finwait::codec::{Headers, Payload, RequestHead};
use finwait::stats::{Http2Stats, Registry};
use finwait::tunnel::handshake;
use http::header::{CONNECTION, COOKIE, HOST, TE, UPGRADE};
use http::{HeaderName, HeaderValue, Method};

use super::http1::{NEXT_HOP, own_fields, read_requests, written};
use super::http2::{PREFACE, SETTINGS, options};
use super::peer::{Then, connect, finish};

/// More than any input has. Bytes and fields.
const LIMIT: ListLimit = ListLimit { bytes: 64 * 1024, fields: 1000 };

/// Lines: method, path and authority, then a field on each, `name:value`.
///
/// # Panics
/// If one of the properties does not hold.
pub fn header_values(input: &[u8]) {
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let [method, path, authority, fields @ ..] = lines.as_slice() else { return };
    let fields: Vec<(&[u8], &[u8])> = fields
        .iter()
        .filter_map(|line| line.iter().position(|byte| *byte == b':').map(|colon| (&line[..colon], &line[colon + 1..])))
        .collect();
    let head = [(&b":method"[..], *method), (b":scheme", b"http"), (b":authority", authority), (b":path", path)];
    let head: Vec<_> = head.into_iter().chain(fields.iter().copied()).collect();
    if let Some(head) = over_http2(&headers_frame(&head)) {
        is_one_request_in_http1(&head, &[]);
    }
    let mut sent = [method, &b" "[..], path, b" HTTP/1.1\r\nhost: ", authority, b"\r\n"].concat();
    for (name, value) in fields {
        sent.extend_from_slice(&[name, b": ", value, b"\r\n"].concat());
    }
    sent.extend_from_slice(b"\r\n");
    for exchange in read_requests(&[&sent], NEXT_HOP).exchanges {
        is_one_request_in_http2(exchange.head);
    }
}

/// The request, unless it is refused.
fn over_http2(frames: &[u8]) -> Option<RequestHead> {
    let sent = [PREFACE, SETTINGS, frames].concat();
    let (conn, _) = connect(&[&sent], Then::Fin);
    let (options, stats) = (options(), Http2Stats::downstream(&Registry::new()));
    let handshake = ServerConnection::handshake(
        conn,
        Bytes::new(),
        &options,
        MessageErrorScope::Stream,
        LIMIT,
        &stats,
        Counting::EachStream,
    );
    let mut server = finish(handshake).expect("the handshake is right");
    let (head, ..) = finish(server.accept())?.ok()?;
    Some(head)
}

/// A HEADERS frame that opens and ends stream 1. Every field is a literal (RFC 7541 6.2.2) without Huffman code.
fn headers_frame(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in fields.iter().flat_map(|(name, value)| [*name, *value]).enumerate() {
        let (number, text) = text;
        if number % 2 == 0 {
            block.push(0);
        }
        match text.len() {
            short @ 0..127 => block.extend(u8::try_from(short)),
            long => {
                block.push(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    block.push(u8::try_from(rest % 128).expect("7 bits") | 0x80);
                    rest /= 128;
                }
                block.extend(u8::try_from(rest));
            }
        }
        block.extend_from_slice(text);
    }
    let length = u32::try_from(block.len()).expect("an input is small").to_be_bytes();
    [&length[1..], &[1, 5, 0, 0, 0, 1], &block].concat()
}

/// The next hop reads `head` as it stands, or refuses it.
///
/// # Panics
/// If it reads anything else.
pub(super) fn is_one_request_in_http1(head: &RequestHead, body: &[u8]) {
    let mut head = head.clone();
    handshake::request_from_http2(&mut head);
    let bytes = written(&head, body);
    let read = read_requests(&[&bytes], NEXT_HOP);
    let context = || format!("{head:?} is written as {:?} and read as {read:?}", bytes.escape_ascii().to_string());
    let request = match read.exchanges.as_slice() {
        [] => return assert_ne!(read.end, "", "{}", context()),
        [request] => request,
        _ => panic!("more than one request: {}", context()),
    };
    assert_eq!(read.end, "", "{}", context());
    assert_eq!((&request.head.method, request.body.as_slice()), (&head.method, body), "{}", context());
    assert_eq!(trimmed(&request.head.headers), trimmed(&head.headers), "{}", context());
    let target = |head: &RequestHead| match (&head.path, &head.method) {
        (_, &Method::CONNECT) => Vec::new(),
        (None, _) => b"/".to_vec(),
        (Some(path), _) => escaped(path.as_bytes()),
    };
    assert_eq!(target(&request.head), target(&head), "{}", context());
}

/// Fields in the order in which their names come up, without blanks around their values: HTTP/1 has no way to send those.
/// Fields of one name are one list (RFC 9110 5.3), which is how HTTP/1 reads some of them; empty members mean nothing.
fn trimmed(headers: &Headers) -> Vec<(HeaderName, Vec<Vec<u8>>)> {
    let mut lists: Vec<(HeaderName, Vec<Vec<u8>>)> = Vec::new();
    for (name, value) in own_fields(headers) {
        let members = value.as_bytes().split(|byte| *byte == b',').map(|member| member.trim_ascii().to_vec());
        let members = members.filter(|member| !member.is_empty());
        match lists.iter_mut().find(|(has, _)| *has == name) {
            Some((_, before)) => before.extend(members),
            None => lists.push((name, members.collect())),
        }
    }
    lists
}

/// A path as HTTP/1 has to write it.
fn escaped(path: &[u8]) -> Vec<u8> {
    let escape = |byte: &u8| match byte {
        b' ' => b"%20".to_vec(),
        b'\t' => b"%09".to_vec(),
        _ => vec![*byte],
    };
    path.iter().flat_map(escape).collect()
}

/// A server reads `head` as it stands, if the client sends it at all.
fn is_one_request_in_http2(mut head: RequestHead) {
    handshake::request_to_http2(&mut head);
    head.headers.remove(&http::header::CONTENT_LENGTH); // no payload is sent here
    let (conn, traffic) = connect(&[], Then::Silence);
    let (options, stats) = (options(), Http2Stats::upstream(&Registry::new(), "a"));
    let (mut client, mut driver) =
        finish(ClientConnection::handshake(conn, &options, MessageErrorScope::Stream, &stats))
            .expect("a connection that takes everything");
    let Ok((_outgoing, _response)) = client.send(&head, Payload::None) else { return };
    for _ in 0..10 {
        assert!(Pin::new(&mut driver).poll(&mut Context::from_waker(Waker::noop())).is_pending(), "{head:?}");
    }
    let bytes = traffic.received();
    let read = over_http2(bytes.strip_prefix(PREFACE).expect("a client begins with it"));
    let context = || format!("{head:?} is written as {:?} and read as {read:?}", bytes.escape_ascii().to_string());
    // A Host field may be empty (RFC 9112 3.2); an empty :authority is malformed (RFC 9113 8.3.1), and refused.
    if head.authority.as_ref().is_some_and(|authority| authority.is_empty()) {
        return assert!(read.is_none(), "{}", context());
    }
    let Some(read) = &read else { panic!("{}", context()) };
    assert_eq!((&read.method, &read.protocol), (&head.method, &head.protocol), "{}", context());
    assert_eq!(read.authority, head.authority, "{}", context());
    if let Some(path) = &head.path {
        // Fragments too: the connection manager decides about them.
        assert_eq!(read.path.as_ref().map(HeaderValue::as_bytes), Some(path.as_bytes()), "{}", context());
    }
    assert_eq!(by_name(read.headers.clone()), by_name(expected(head.headers.clone())), "{}", context());
}

/// Without what belongs to an HTTP/1 connection, and with one `cookie` field.
fn expected(mut headers: Headers) -> Headers {
    let of_http1 = [CONNECTION, HOST, UPGRADE].map(|name| name.as_str().to_owned());
    let of_http1 = |name: &HeaderName| {
        of_http1.contains(&name.as_str().to_owned())
            || ["keep-alive", "proxy-connection", "transfer-encoding"].contains(&name.as_str())
    };
    headers.retain(|name, value| !of_http1(name) && (*name != TE || value == "trailers"));
    let crumbs: Vec<&[u8]> = headers.get_all(&COOKIE).map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        let whole = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).expect("of values");
        headers.set(COOKIE, whole);
    }
    headers
}

/// h2 keeps the order of fields of one name only.
fn by_name(headers: Headers) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    fields.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
    fields
}
