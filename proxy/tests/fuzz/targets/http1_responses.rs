//! HTTP/1 responses, as answers to each kind of request that frames them otherwise: however the bytes are cut, the
//! response read from them is the same; and one that is passed on is read as that response by the client.

use bytes::BytesMut;
use finwait::codec::http1::{ClientConnection, ServerConnection};
use finwait::codec::{ExchangeError, Payload, RequestHead, ResponseHead};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, StatusCode};

use super::cuts::cuts;
use super::http1::{CLIENT, NEXT_HOP, own_fields, read_body, read_requests, write_body};
use super::peer::{Then, connect, finish};

/// What decides, besides the response itself, where it ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Request {
    Connect,
    Get,
    Head,
    Upgrade,
}

/// What came of it.
#[derive(Debug)]
struct Response {
    head: ResponseHead,
    body: Vec<u8>,
    /// Why the body is not complete.
    broken: Option<ExchangeError>,
    informational: Vec<StatusCode>,
}

/// Bytes that a server sends.
///
/// # Panics
/// If one of the properties does not hold.
pub fn http1_responses(input: &[u8]) {
    for request in [Request::Get, Request::Head, Request::Connect, Request::Upgrade] {
        let whole = read_response(&[input], request);
        for pieces in cuts(input) {
            let cut = read_response(&pieces, request);
            // What comes behind a response shows at once or not at all.
            let known = |read: &Result<Response, ExchangeError>| match read {
                Ok(Response { head, body, broken, informational, .. }) => {
                    format!("{head:?} {body:?} {broken:?} {informational:?}")
                }
                Err(broken) => broken.to_string(),
            };
            assert_eq!(known(&cut), known(&whole), "{request:?}, cut into {pieces:?}");
        }
        let Ok(response) = whole else { continue };
        assert!(response.body.len() <= input.len(), "more payload than bytes: {response:?}");
        if response.broken.is_none() {
            is_passed_on_as_one_response(&response, request);
        }
    }
}

/// Sends `request` and reads what comes until FIN.
fn read_response(pieces: &[&[u8]], request: Request) -> Result<Response, ExchangeError> {
    let (conn, _) = connect(pieces, Then::Fin);
    let mut client = ClientConnection::new(conn, CLIENT);
    let (head, payload) = request.head();
    let _outgoing = client.send(&head, payload);
    let (head, mut incoming) = finish(client.response())?;
    let (body, broken) = read_body(&mut incoming);
    let informational = client.informational().to_vec();
    Ok(Response { head, body, broken, informational })
}

impl Request {
    fn head(self) -> (RequestHead, Payload) {
        let mut head = RequestHead { authority: Some(HeaderValue::from_static("a")), ..RequestHead::default() };
        let payload = match self {
            Self::Connect | Self::Upgrade => Payload::Raw,
            Self::Get | Self::Head => Payload::None,
        };
        head.method = match self {
            Self::Connect => Method::CONNECT,
            Self::Get | Self::Upgrade => Method::GET,
            Self::Head => Method::HEAD,
        };
        if self == Self::Upgrade {
            head.headers.append(CONNECTION, HeaderValue::from_static("upgrade"));
            head.headers.append(UPGRADE, HeaderValue::from_static("websocket"));
        }
        (head, payload)
    }
}

/// What is serialised parses back to the same.
fn is_passed_on_as_one_response(response: &Response, request: Request) {
    let Response { head, body, .. } = response;
    let is_tunnel = match request {
        Request::Connect => head.status.is_success(),
        Request::Upgrade => head.status == StatusCode::SWITCHING_PROTOCOLS || head.headers.upgrade().is_some(),
        Request::Get | Request::Head => false,
    };
    let payload = match body.as_slice() {
        _ if is_tunnel => Payload::Raw,
        [] => Payload::None,
        _ => Payload::Some,
    };
    let (conn, traffic) = connect(&[], Then::Silence);
    let mut server = ServerConnection::new(conn, BytesMut::new(), NEXT_HOP);
    write_body(&mut server.respond(head, payload, &request.head().0.method), body);
    let bytes = traffic.received();
    let context = || format!("{response:?} is written as {:?}", bytes.escape_ascii().to_string());
    let read = read_response(&[&bytes], request);
    let Ok(read) = read else { panic!("{read:?}: {}", context()) };
    assert_eq!(read.head.status, head.status, "{}", context());
    assert_eq!(own_fields(&read.head.headers), own_fields(&head.headers), "{}", context());
    assert_eq!((&read.body, read.broken), (body, None), "{}", context());
    assert!(read_requests(&[&bytes], NEXT_HOP).exchanges.is_empty(), "a response is no request: {}", context());
}
