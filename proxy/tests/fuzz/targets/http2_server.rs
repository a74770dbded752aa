//! HTTP/2 frames of a client: the requests read from them are the same however the bytes are cut, what is written back
//! is whole frames and in proportion to what came, and a request that HTTP/2 lets pass is one request in HTTP/1.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use finwait::codec::http2::{
    ConnectionError, Counting, Incoming, ListLimit, MessageErrorScope, Responder, ServerConnection,
};
use finwait::codec::{ExchangeError, Payload, RequestHead, ResponseHead};
use finwait::stats::{Http2Stats, Registry};
use http::StatusCode;

use super::cuts::cuts;
use super::header_values::is_one_request_in_http1;
use super::http2::{Message, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE, frames, kinds, options};
use super::peer::{Then, Traffic, connect};

const LIMIT: ListLimit = ListLimit { bytes: 2048, fields: 20 };
/// Bytes written for one that was read, beside those of the handshake. The shortest request is an empty HEADERS frame.
const BYTES_FOR_ONE: usize = 8;
const HANDSHAKE_BYTES_MAX: usize = 256;

/// When requests get their responses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Respond {
    AtOnce,
    Never,
}

/// What came of a connection.
#[derive(Debug)]
struct Connection {
    requests: Vec<Request>,
    /// What was wrong with the connection.
    end: Option<End>,
    /// Errors of single requests.
    refused: Vec<ConnectionError>,
}

/// Frames that come in one read with the preface are judged with it.
#[derive(Debug, Eq, PartialEq)]
enum End {
    InHandshake(ExchangeError),
    Later(ConnectionError),
}

#[derive(Debug)]
struct Request {
    head: RequestHead,
    message: Message,
}

/// Frames that a client sends behind its preface and an empty SETTINGS frame.
///
/// # Panics
/// If one of the properties does not hold.
pub fn http2_server(input: &[u8]) {
    let sent = [PREFACE, SETTINGS, input].concat();
    let (whole, _) = serve(&[&sent], Respond::Never);
    let kinds = kinds(input);
    // A request that is reset is handed out if there was time for it; WINDOW_UPDATE is counted against DATA that was
    // written by then; and a fault of the connection takes those requests along that nobody has seen yet.
    let depends_on_time = [RST_STREAM, WINDOW_UPDATE].iter().any(|kind| kinds.contains_key(kind));
    for pieces in cuts(&sent) {
        let (cut, _) = serve(&pieces, Respond::Never);
        // Likewise a request that turns out malformed behind its head.
        let is_malformed = whole.refused.iter().any(|error| matches!(error, ConnectionError::Malformed { .. }))
            || whole
                .requests
                .iter()
                .any(|request| matches!(request.message.end, Some(Err(ExchangeError::Malformed(_)))));
        if !depends_on_time && !is_malformed && whole.end.is_none() {
            assert_eq!(format!("{cut:?}"), format!("{whole:?}"), "cut into {pieces:?}");
        }
    }
    let payload: usize = whole.requests.iter().map(|request| request.message.body.len()).sum();
    assert!(payload <= input.len(), "{payload} bytes of payload from {} bytes", input.len());

    for pieces in [vec![sent.as_slice()], cuts(&sent).remove(0)] {
        let (served, traffic) = serve(&pieces, Respond::AtOnce);
        let written = traffic.received();
        let bound = HANDSHAKE_BYTES_MAX + BYTES_FOR_ONE * sent.len();
        assert!(written.len() <= bound, "{} bytes written for {}: {served:?}", written.len(), sent.len());
        let frames = frames(&written);
        let framed: usize = frames.iter().map(|(_, payload)| 9 + payload.len()).sum();
        assert_eq!(framed, written.len(), "a frame is not whole: {:?}", written.escape_ascii().to_string());
        assert!(frames.first().is_none_or(|(kind, _)| *kind == SETTINGS[3]), "SETTINGS come first");
    }
    for Request { head, message } in &whole.requests {
        if message.end == Some(Ok(())) {
            is_one_request_in_http1(head, &message.body);
        }
    }
}

/// Serves until the client has closed and nothing moves any more.
fn serve(pieces: &[&[u8]], respond: Respond) -> (Connection, Traffic) {
    let (conn, traffic) = connect(pieces, Then::Fin);
    let mut cx = Context::from_waker(Waker::noop());
    let mut served = Connection { requests: Vec::new(), end: None, refused: Vec::new() };
    let (options, stats) = (options(), Http2Stats::downstream(&Registry::new()));
    let mut server = {
        let handshake = ServerConnection::handshake(
            conn,
            Bytes::new(),
            &options,
            MessageErrorScope::Stream,
            LIMIT,
            &stats,
            Counting::EachStream,
        );
        match poll_often(&mut pin!(handshake), &mut cx, || {}) {
            Some(Ok(server)) => server,
            Some(Err(broken)) => {
                served.end = Some(End::InHandshake(broken));
                return (served, traffic);
            }
            None => panic!("the client has closed"),
        }
    };
    let mut open: Vec<Exchange> = Vec::new();
    loop {
        let accepted = {
            let (open, requests) = (&mut open, &mut served.requests);
            let mut cx = Context::from_waker(Waker::noop());
            let mut others = || open.iter_mut().for_each(|exchange| exchange.advance(requests, &mut cx));
            let mut cx = Context::from_waker(Waker::noop());
            poll_often(&mut pin!(server.accept()), &mut cx, &mut others)
        };
        match accepted {
            Some(Some(Ok((head, incoming, responder)))) => {
                let at = served.requests.len();
                served.requests.push(Request { head, message: Message::default() });
                let responder = Some(responder);
                let mut exchange = Exchange { at, incoming, responder, outgoing: None };
                if respond == Respond::AtOnce {
                    exchange.respond(&served.requests[at].head);
                }
                open.push(exchange);
            }
            Some(Some(Err(error @ (ConnectionError::HeadTooLarge(_) | ConnectionError::Malformed { .. })))) => {
                served.refused.push(error)
            }
            Some(Some(Err(error))) => {
                let first = served.end.replace(End::Later(error));
                assert_eq!(first, None, "an error ends the connection");
            }
            Some(None) | None => break,
        }
    }
    // What is still open finds the connection closed.
    let drained = traffic.is_drained();
    drop(server);
    for exchange in &mut open {
        exchange.advance(&mut served.requests, &mut cx);
    }
    assert!(drained || served.end.is_some(), "it stopped reading: {served:?}");
    (served, traffic)
}

/// A request that is under way.
struct Exchange {
    /// Its place among all requests.
    at: usize,
    incoming: Incoming,
    responder: Option<Responder>,
    outgoing: Option<finwait::codec::http2::Outgoing>,
}

impl Exchange {
    /// 200 with the path for a body; nothing to CONNECT.
    fn respond(&mut self, head: &RequestHead) {
        let Some(responder) = self.responder.take() else { return };
        let body = head.path_only().to_vec();
        let payload = if body.is_empty() { Payload::None } else { Payload::Some };
        let mut outgoing = responder.respond(&ResponseHead::new(StatusCode::OK), payload);
        if !body.is_empty() {
            outgoing.write(Bytes::from(body));
            outgoing.finish(None);
        }
        self.outgoing = Some(outgoing);
    }

    fn advance(&mut self, requests: &mut [Request], cx: &mut Context<'_>) {
        requests[self.at].message.read(&mut self.incoming, cx);
        if let Some(outgoing) = &mut self.outgoing {
            let _flushed = outgoing.poll_flush(cx).is_ready();
        }
    }
}

/// Polls `future`, and before each time what goes on `beside` it. `None`: it waits for something that does not come.
fn poll_often<F: Future>(
    future: &mut Pin<&mut F>,
    cx: &mut Context<'_>,
    mut beside: impl FnMut(),
) -> Option<F::Output> {
    const POLLS_MAX: usize = 20_000; // a read and a pause for each byte of an input
    (0..POLLS_MAX).find_map(|_| {
        beside();
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    })
}
