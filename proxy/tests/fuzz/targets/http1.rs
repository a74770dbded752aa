//! HTTP/1 requests: however the bytes are cut, the requests read from them are the same; a request that is sent on is
//! read as that one request by the next hop; and no more is kept than the limits say.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use finwait::codec::http1::{
    ClientConnection, ClientOptions, HeadError, Incoming, Methods, NameRules, Outgoing, ServerConnection, ServerOptions,
};
use finwait::codec::{ExchangeError, Frame, Headers, Payload, RequestHead};
use finwait::config::header_names::{NameCase, TrailerRule};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue, Method};

use super::cuts::cuts;
use super::peer::{Then, connect, finish};

/// Small enough for the fuzzer to pass them.
const OPTIONS: ServerOptions = ServerOptions {
    head_bytes_max: 2048,
    headers_max: 20,
    accept_http_10: false,
    methods: Methods::Known,
    names: NameRules::PLAIN,
    trailers: TrailerRule::Dropped,
    write_buffer_bytes_max: 1024 * 1024,
};
/// A head that was read within [`OPTIONS`] is within these when it is written: `host` and a framing field may be added,
/// and a blank behind each colon.
pub(super) const NEXT_HOP: ServerOptions = ServerOptions {
    head_bytes_max: 8192,
    headers_max: 40,
    accept_http_10: false,
    methods: Methods::Known,
    names: NameRules::PLAIN,
    trailers: TrailerRule::Dropped,
    write_buffer_bytes_max: 1024 * 1024,
};
pub(super) const CLIENT: ClientOptions = ClientOptions {
    head_bytes_max: 8192,
    headers_max: 40,
    case: NameCase::Lower,
    trailers: TrailerRule::Dropped,
    write_buffer_bytes_max: 1024 * 1024,
};
/// What may be read ahead of its use: the largest head, what is read to notice a client that leaves, and one read.
const AHEAD_BYTES_MAX: usize = OPTIONS.head_bytes_max + 16 * 1024 + 32 * 1024;

/// What came of one request.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) head: RequestHead,
    pub(super) body: Vec<u8>,
    /// Why the body is not complete.
    pub(super) broken: Option<ExchangeError>,
}

/// All requests of a connection, and what followed the last.
#[derive(Debug)]
pub(super) struct Requests {
    pub(super) exchanges: Vec<Exchange>,
    /// Why there is no further one; empty if the client closed in between.
    pub(super) end: String,
}

/// Bytes that a client sends.
///
/// # Panics
/// If one of the properties does not hold.
pub fn http1_requests(input: &[u8]) {
    for accept_http_10 in [false, true] {
        let options = ServerOptions { accept_http_10, ..OPTIONS };
        let whole = read_requests(&[input], options);
        for pieces in cuts(input) {
            assert_eq!(format!("{:?}", read_requests(&pieces, options)), format!("{whole:?}"), "cut into {pieces:?}");
        }
        let payload: usize = whole.exchanges.iter().map(|exchange| exchange.body.len()).sum();
        assert!(payload <= input.len(), "{payload} bytes of payload from {} bytes", input.len());
        for exchange in whole.exchanges.iter().filter(|exchange| exchange.broken.is_none()) {
            is_sent_on_as_one_request(exchange);
        }
    }
    holds_back_a_client_that_nobody_reads(input);
}

/// Reads requests until the peer has closed or something is wrong.
pub(super) fn read_requests(pieces: &[&[u8]], options: ServerOptions) -> Requests {
    let (conn, _) = connect(pieces, Then::Fin);
    let mut server = ServerConnection::new(conn, BytesMut::new(), options);
    let mut requests = Requests { exchanges: Vec::new(), end: String::new() };
    while finish(server.wait()).expect("the peer sends no RST") {
        let (head, mut incoming) = match finish(server.read_head()) {
            Ok(read) => read,
            Err(HeadError::Refused(refusal)) => {
                requests.end = format!("{} {}", refusal.status(), refusal);
                break;
            }
            Err(HeadError::Lost(broken)) => {
                requests.end = broken.to_string();
                break;
            }
        };
        let (body, broken) = read_body(&mut incoming);
        let is_tunnel = head.method == Method::CONNECT;
        requests.exchanges.push(Exchange { head, body, broken });
        if broken.is_some() {
            break;
        }
        assert!(incoming.is_complete());
        assert_eq!(server.is_reusable(), !is_tunnel);
    }
    requests
}

/// The body, and why it is not complete.
pub(super) fn read_body(incoming: &mut Incoming) -> (Vec<u8>, Option<ExchangeError>) {
    let mut body = Vec::new();
    while let Some(frame) = finish(poll_fn(|cx| incoming.poll_frame(cx))) {
        match frame {
            Ok(Frame::Data(data)) => {
                assert!(!data.is_empty(), "an empty frame");
                body.extend_from_slice(&data);
            }
            Ok(Frame::Trailers(_)) => panic!("HTTP/1 drops trailers"),
            Err(broken) => return (body, Some(broken)),
        }
    }
    (body, None)
}

/// Writes a body to its end.
pub(super) fn write_body(outgoing: &mut Outgoing, body: &[u8]) {
    if !body.is_empty() {
        finish(poll_fn(|cx| outgoing.poll_ready(cx))).expect("the peer reads");
        outgoing.write(Bytes::copy_from_slice(body));
    }
    outgoing.finish(None);
    finish(poll_fn(|cx| outgoing.poll_flush(cx))).expect("the peer reads");
}

/// The bytes of a request that is sent to the next hop.
pub(super) fn written(head: &RequestHead, body: &[u8]) -> Vec<u8> {
    let payload = match (&head.method, body) {
        (&Method::CONNECT, _) => Payload::Raw,
        (_, []) => Payload::None,
        _ => Payload::Some,
    };
    let (conn, traffic) = connect(&[], Then::Silence);
    let mut client = ClientConnection::new(conn, CLIENT);
    write_body(&mut client.send(head, payload), body);
    traffic.received()
}

/// What is serialised parses back to the same.
fn is_sent_on_as_one_request(exchange: &Exchange) {
    let Exchange { head, body, .. } = exchange;
    if head.path.as_ref().is_some_and(|path| path.as_bytes().starts_with(b"?")) {
        return; // a query without a path, which the connection manager answers itself
    }
    let bytes = written(head, body);
    let next_hop = read_requests(&[&bytes], NEXT_HOP);
    let context = || format!("{exchange:?} is written as {:?}", bytes.escape_ascii().to_string());
    let [read] = next_hop.exchanges.as_slice() else { panic!("{next_hop:?}: {}", context()) };
    assert_eq!(next_hop.end, "", "{}", context());
    assert_eq!(read.broken, None, "{}", context());
    assert_eq!(read.body, *body, "{}", context());
    assert_eq!(read.head.method, head.method, "{}", context());
    assert_eq!(read.head.path, head.path, "{}", context());
    let authority = |head: &RequestHead| head.authority.clone().unwrap_or(HeaderValue::from_static(""));
    assert_eq!(authority(&read.head), authority(head), "{}", context());
    assert_eq!(own_fields(&read.head.headers), own_fields(&head.headers), "{}", context());
}

/// Fields without those that frame the body, which each hop writes anew.
pub(super) fn own_fields(headers: &Headers) -> Vec<(HeaderName, HeaderValue)> {
    let of_framing = [CONTENT_LENGTH, TRANSFER_ENCODING];
    let own = headers.iter().filter(|(name, _)| !of_framing.contains(name));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A client that goes on sending while its request is not read fills a bounded buffer, and then waits.
fn holds_back_a_client_that_nobody_reads(input: &[u8]) {
    if input.is_empty() {
        return;
    }
    let endless = input.repeat(1 + 4 * AHEAD_BYTES_MAX / input.len());
    let (conn, traffic) = connect(&[&endless], Then::Silence);
    let mut server = ServerConnection::new(conn, BytesMut::new(), OPTIONS);
    let mut cx = Context::from_waker(Waker::noop());
    let mut head = Box::pin(server.read_head());
    let read = (0..100).find_map(|_| match head.as_mut().poll(&mut cx) {
        Poll::Ready(read) => Some(read),
        Poll::Pending => None,
    });
    let mut read = read.expect("a head is complete or too large after a few reads");
    if let Ok((_, incoming)) = &mut read {
        for _ in 0..100 {
            assert!(incoming.poll_gone(&mut cx).is_pending(), "the peer is there");
        }
    }
    assert!(traffic.sent_bytes() <= AHEAD_BYTES_MAX, "{} bytes are held", traffic.sent_bytes());
}
