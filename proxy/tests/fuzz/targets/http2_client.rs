//! HTTP/2 frames of a server: three requests wait for responses, and what they get is the same however the bytes are
//! cut; no response has more payload than came, and each ends once the server has closed.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use finwait::codec::http2::{ClientConnection, Driver, DriverEnd, Incoming, MessageErrorScope, Outgoing};
use finwait::codec::{ExchangeError, Payload, RequestHead, ResponseHead};
use finwait::stats::{Http2Stats, Registry};
use http::{HeaderValue, Method, StatusCode};

use super::cuts::cuts;
use super::http2::{GOAWAY, Message, RST_STREAM, SETTINGS, kinds, options};
use super::peer::{Then, connect, finish};

/// What came of a request.
#[derive(Debug)]
#[expect(dead_code, reason = "compared as text: heads have no equality of their own")]
struct Response {
    head: Result<ResponseHead, ExchangeError>,
    message: Message,
    informational: Vec<StatusCode>,
}

impl Response {
    fn is_complete(&self) -> bool {
        self.message.end == Some(Ok(()))
    }
}

/// Frames that a server sends behind an empty SETTINGS frame.
///
/// # Panics
/// If one of the properties does not hold.
pub fn http2_client(input: &[u8]) {
    let sent = [SETTINGS, input].concat();
    let (whole, end) = read(&[&sent]);
    let payload: usize = whole.iter().map(|response| response.message.body.len()).sum();
    assert!(payload <= input.len(), "{payload} bytes of payload from {} bytes", input.len());
    let kinds = kinds(input);
    // A response that is reset, or that a fault follows, is given out as far as there was time for it.
    let depends_on_time = [RST_STREAM, GOAWAY].iter().any(|kind| kinds.contains_key(kind));
    for pieces in cuts(&sent) {
        let (cut, cut_end) = read(&pieces);
        for (cut, whole) in cut.iter().zip(&whole) {
            if !depends_on_time && whole.is_complete() {
                assert_eq!(format!("{cut:?}"), format!("{whole:?}"), "{end:?} {cut_end:?}, cut into {pieces:?}");
            }
        }
    }
}

/// Sends the requests and reads until the server has closed.
fn read(pieces: &[&[u8]]) -> (Vec<Response>, DriverEnd) {
    let (conn, _) = connect(pieces, Then::Fin);
    let (options, stats) = (options(), Http2Stats::upstream(&Registry::new(), "a"));
    let handshake = ClientConnection::handshake(conn, &options, MessageErrorScope::Stream, &stats);
    let (mut client, mut driver) = finish(handshake).expect("a connection that takes everything");
    let sent: Vec<(Outgoing, finwait::codec::http2::Response)> = requests()
        .into_iter()
        .map(|(head, payload)| {
            let (mut outgoing, response) = client.send(&head, payload).expect("a head without faults");
            if payload == Payload::Some {
                outgoing.write(Bytes::from_static(b"hello"));
                outgoing.finish(None);
            }
            (outgoing, response)
        })
        .collect();
    drop(client);
    let mut waiting: Vec<Waiting> =
        sent.into_iter().map(|(outgoing, response)| Waiting::new(outgoing, response)).collect();
    let mut cx = Context::from_waker(Waker::noop());
    let end = drive(&mut driver, &mut waiting, &mut cx);
    drop(driver);
    for request in &mut waiting {
        request.advance(&mut cx);
    }
    (waiting.into_iter().map(Waiting::into_response).collect(), end)
}

fn drive(driver: &mut Driver, waiting: &mut [Waiting], cx: &mut Context<'_>) -> DriverEnd {
    const POLLS_MAX: usize = 20_000; // a read and a pause for each byte of an input
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(end) = Pin::new(&mut *driver).poll(cx) {
            return end;
        }
        waiting.iter_mut().for_each(|request| request.advance(cx));
    }
    panic!("the driver waits although the server has closed")
}

/// A request without a body, one with a body, and a tunnel.
fn requests() -> [(RequestHead, Payload); 3] {
    let value = |text| Some(HeaderValue::from_static(text));
    let get = RequestHead { scheme: value("http"), authority: value("a"), path: value("/"), ..RequestHead::default() };
    let post = RequestHead { method: Method::POST, ..get.clone() };
    let tunnel = RequestHead { method: Method::CONNECT, protocol: value("websocket"), ..get.clone() };
    [(get, Payload::None), (post, Payload::Some), (tunnel, Payload::Raw)]
}

/// A request whose response is under way.
struct Waiting {
    _outgoing: Outgoing,
    response: finwait::codec::http2::Response,
    head: Option<Result<(ResponseHead, Incoming), ExchangeError>>,
    message: Message,
}

impl Waiting {
    fn new(outgoing: Outgoing, response: finwait::codec::http2::Response) -> Self {
        Self { _outgoing: outgoing, response, head: None, message: Message::default() }
    }

    fn advance(&mut self, cx: &mut Context<'_>) {
        if self.head.is_none()
            && let Poll::Ready(head) = pin!(self.response.head()).poll(cx)
        {
            self.head = Some(head);
        }
        if let Some(Ok((_, incoming))) = &mut self.head {
            self.message.read(incoming, cx);
        }
    }

    fn into_response(self) -> Response {
        let head = self.head.expect("a response ends with its connection").map(|(head, _)| head);
        assert!(head.is_err() || self.message.end.is_some(), "a body ends with its connection: {:?}", self.message);
        Response { head, message: self.message, informational: self.response.informational().to_vec() }
    }
}
