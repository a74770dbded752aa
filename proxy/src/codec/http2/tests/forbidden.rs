//! Control frames, DATA and header sections for which the connection ends: the requests before them are handed out all the
//! same, and each stream gets its error.

use super::*;
use crate::codec::http2::frames::{FLOW_CONTROL_ERROR, PROTOCOL_ERROR, PUSH_PROMISE, STREAM_CLOSED};

/// What becomes of the connection, whose stream 1 is complete and whose stream 3 is not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Then {
    /// GOAWAY with this code.
    GoAway(u32),
    GoesOn,
    /// RST_STREAM on this stream with this code.
    Reset(u32, u32),
    /// The end without a word, and Envoy's text for a frame that is wrong on this stream.
    Silence(u32),
}

use Then::{GoAway, GoesOn, Reset, Silence};

type Case = (&'static str, u8, u32, &'static [u8], Then, Then);

/// Name, type, stream and payload of a frame; what becomes of it by RFC 9113, and where Envoy's way is requested.
const CASES: &[Case] = &[
    ("ENABLE_PUSH 2", SETTINGS, 0, &[0, 2, 0, 0, 0, 2], GoAway(PROTOCOL_ERROR), Silence(0)),
    ("a window of 2^31", SETTINGS, 0, &[0, 4, 0x80, 0, 0, 0], GoAway(FLOW_CONTROL_ERROR), Silence(0)),
    ("frames of 1 byte", SETTINGS, 0, &[0, 5, 0, 0, 0, 1], GoAway(PROTOCOL_ERROR), Silence(0)),
    ("SETTINGS of a stream", SETTINGS, 3, &[], GoAway(PROTOCOL_ERROR), Silence(3)),
    ("PING of a stream", PING, 1, b"12345678", GoAway(PROTOCOL_ERROR), Silence(1)),
    ("GOAWAY of a stream", GOAWAY, 1, &[0; 8], GoAway(PROTOCOL_ERROR), Silence(1)),
    ("RST_STREAM of an idle stream", RST_STREAM, 9, &[0, 0, 0, 8], GoAway(PROTOCOL_ERROR), Silence(0)),
    ("RST_STREAM of the connection", RST_STREAM, 0, &[0, 0, 0, 8], GoAway(PROTOCOL_ERROR), Silence(0)),
    ("PRIORITY of the connection", PRIORITY, 0, &[0, 0, 0, 1, 1], GoAway(PROTOCOL_ERROR), GoesOn),
    ("PUSH_PROMISE", PUSH_PROMISE, 1, &[0, 0, 0, 2], GoAway(PROTOCOL_ERROR), Silence(1)),
    ("the connection's window grows by 0", WINDOW_UPDATE, 0, &[0; 4], GoAway(PROTOCOL_ERROR), Silence(0)),
    (
        "the connection's window grows past its limit",
        WINDOW_UPDATE,
        0,
        &[0x7f, 0xff, 0xff, 0xff],
        GoAway(FLOW_CONTROL_ERROR),
        Silence(0),
    ),
    ("an idle stream's window grows", WINDOW_UPDATE, 9, &[0, 0, 0, 1], GoAway(PROTOCOL_ERROR), Silence(0)),
    ("an idle stream's window grows by 0", WINDOW_UPDATE, 9, &[0; 4], GoAway(PROTOCOL_ERROR), Silence(0)),
    ("a stream's window grows by 0", WINDOW_UPDATE, 3, &[0; 4], Reset(3, PROTOCOL_ERROR), Silence(3)),
    (
        "a stream's window grows past its limit",
        WINDOW_UPDATE,
        3,
        &[0x7f, 0xff, 0xff, 0xff],
        Reset(3, FLOW_CONTROL_ERROR),
        Reset(3, FLOW_CONTROL_ERROR),
    ),
    ("DATA of the connection", DATA, 0, b"x", GoAway(PROTOCOL_ERROR), GoAway(PROTOCOL_ERROR)),
    ("DATA of an idle stream", DATA, 9, b"x", GoAway(PROTOCOL_ERROR), GoAway(PROTOCOL_ERROR)),
    ("DATA behind the end", DATA, 1, b"x", Reset(1, STREAM_CLOSED), GoAway(STREAM_CLOSED)),
    ("a head behind the end", HEADERS, 1, b"\x82", Reset(1, STREAM_CLOSED), Silence(1)),
    ("a head of the server's stream", HEADERS, 2, b"\x82", GoAway(PROTOCOL_ERROR), Silence(0)),
];

#[tokio::test(start_paused = true)]
async fn a_forbidden_frame_does_not_fail_the_requests_before_it() {
    for (name, kind, stream, payload, by_the_rfc, as_envoy) in CASES {
        for (errors, expected) in [(Stream, *by_the_rfc), (Connection, *as_envoy)] {
            let (mut raw, mut server) = raw_client_with(&Http2Options::default(), errors, LIMIT).await;
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
            raw.send(HEADERS, END_HEADERS, 3, &block(GET)).await;
            raw.send(*kind, if *kind == HEADERS { END_HEADERS } else { 0 }, *stream, payload).await;
            raw.send(HEADERS, END_HEADERS | END_STREAM, 5, &block(GET)).await;
            let (_, first, _responder) = server.accept().await.unwrap().expect(name);
            let (_, second, _responder) = server.accept().await.unwrap().expect(name);
            check(expected, &mut raw, server, [first, second]).await.unwrap_or_else(|wrong| {
                panic!("{name}, {errors:?}: expected {expected:?}, {wrong}");
            });
        }
    }
}

async fn check(
    expected: Then,
    raw: &mut Raw,
    mut server: ServerConnection,
    streams: [Incoming; 2],
) -> Result<(), String> {
    let third = server.accept().await.expect("a request or an error").map(drop);
    match (expected, third) {
        (GoesOn, Ok(())) => return Ok(()),
        (Reset(stream, code), Ok(())) => {
            let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
            let received = (reset.stream, reset.code(0));
            return (received == (stream, code)).then_some(()).ok_or(format!("reset {received:?}"));
        }
        (GoAway(_) | Silence(_), Err(ConnectionError::Protocol { unread: None })) => {}
        (_, third) => return Err(format!("the third request came to {third:?}")),
    }
    for (id, mut stream) in [1, 3].into_iter().zip(streams) {
        let is_culprit = matches!(expected, Silence(culprit) if culprit == id);
        let violation = if is_culprit { Violation::Unknown } else { Violation::Protocol };
        let error = poll_fn(|cx| stream.poll_gone(cx)).await;
        if error != ExchangeError::Malformed(violation) && !matches!(expected, GoAway(_)) {
            return Err(format!("stream {id} ended with {error:?}"));
        }
    }
    let mut waiting = Box::pin(server.wait_for_peer());
    assert!(timeout(Duration::from_millis(1), &mut waiting).await.is_err(), "the socket stays open for a while");
    drop(waiting);
    raw.until_closed().await;
    let received = raw.seen.iter().find(|frame| frame.kind == GOAWAY).map(|frame| frame.code(4));
    let wanted = if let GoAway(code) = expected { Some(code) } else { None };
    (received == wanted).then_some(()).ok_or(format!("GOAWAY {received:?}"))
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_are_as_many_as_settings() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(SETTINGS, ACK, 0, &[]).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    raw.send(SETTINGS, ACK, 0, &[]).await;
    assert!(server.accept().await.unwrap().is_ok(), "it came before the second one");
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert_eq!(error, ConnectionError::Protocol { unread: None });
    assert_eq!(raw.frame_of(GOAWAY).await.code(4), PROTOCOL_ERROR);
}

#[tokio::test(start_paused = true)]
async fn the_connections_window_shrinks_with_what_is_sent() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, _incoming, responder) = server.accept().await.unwrap().unwrap();
    let mut outgoing = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Raw);
    poll_fn(|cx| outgoing.poll_ready(cx)).await.unwrap();
    outgoing.write(Bytes::from_static(&[0; 1000]));
    assert!(poll_fn(|cx| Poll::Ready(outgoing.poll_flush(cx))).await.is_pending(), "the server has yet to be polled");
    let data = while_serving(&mut server, raw.frame_of(DATA)).await;
    assert_eq!(data.payload.len(), 1000);
    // Up to its limit, which is no error, and past it by one.
    raw.send(WINDOW_UPDATE, 0, 0, &(0x7fff_ffff - 65_535 + 1000_u32).to_be_bytes()).await;
    raw.send(PING, 0, 0, b"12345678").await;
    while_serving(&mut server, raw.frame_of(PING)).await;
    raw.send(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).await;
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert_eq!(error, ConnectionError::Protocol { unread: None });
    assert_eq!(raw.frame_of(GOAWAY).await.code(4), FLOW_CONTROL_ERROR);
}

#[tokio::test(start_paused = true)]
async fn a_response_whose_length_is_not_that_of_its_content_is_a_messaging_error() {
    let length = ("content-length", "5");
    let ok = block(&[(":status", "200"), length]);
    let short = [(HEADERS, END_HEADERS, ok.clone()), (DATA, 0, b"abc".to_vec()), (HEADERS, 5, block(&[("x", "y")]))];
    let none = [(HEADERS, END_HEADERS | END_STREAM, ok)];
    for (method, frames, is_right) in
        [(Method::GET, &none[..], false), (Method::GET, &short[..], false), (Method::HEAD, &none[..], true)]
    {
        for errors in [Stream, Connection] {
            let name = format!("{method} {errors:?} {}", frames.len());
            LocalSet::new()
                .run_until(async {
                    let (mut raw, mut client) = raw_server_with(errors).await;
                    raw.send(SETTINGS, 0, 0, &[]).await;
                    let (_outgoing, mut response) = client.send(&request(method.clone(), None), Payload::None).unwrap();
                    raw.frame_of(HEADERS).await;
                    for (kind, flags, payload) in frames {
                        raw.send(*kind, *flags, 1, payload).await;
                    }
                    let came = match response.head().await {
                        Ok((_, mut incoming)) => read_all(&mut incoming).await.map(drop),
                        Err(broken) => Err(broken),
                    };
                    assert_eq!(came.is_ok(), is_right, "{name}: {came:?}");
                    assert!(is_right || matches!(came, Err(ExchangeError::Malformed(_))), "{name}: {came:?}");
                    assert_eq!(client.is_available(), is_right || errors == Stream, "{name}");
                })
                .await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn data_before_the_head_of_a_response_is_malformed() {
    LocalSet::new()
        .run_until(async {
            for (errors, ends) in [(Stream, RST_STREAM), (Connection, GOAWAY)] {
                let (mut raw, mut client) = raw_server_with(errors).await;
                raw.send(SETTINGS, 0, 0, &[]).await;
                let (_outgoing, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
                raw.frame_of(HEADERS).await;
                raw.send(DATA, 0, 1, b"abc").await;
                let came = response.head().await.map(drop);
                assert!(matches!(came, Err(ExchangeError::Malformed(_))), "{errors:?}: {came:?}");
                let sent = raw.frame_of(ends).await;
                assert!(errors == Stream || sent.payload.ends_with(b"DATA: stream not opened"));
            }
        })
        .await;
}
