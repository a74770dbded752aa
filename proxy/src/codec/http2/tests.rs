//! Both ends against each other, and each against frames made by hand.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex};
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::*;
use crate::codec::{Payload, RequestHead, ResponseHead};
use crate::config::listener::Http2Options;
use crate::net::{Address, Conn, Io};

const HEAD_BYTES_MAX: usize = 60 * 1024;
const HEADERS_MAX: usize = 100;
/// What a pipe between two ends holds.
const PIPE_BYTES_MAX: usize = 64 * 1024;

// Frame types and flags, RFC 9113 6.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const GET: &[(&str, &str)] = &[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/")];
const WEBSOCKET: &[(&str, &str)] =
    &[(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "a"), (":path", "/chat")];

// ---- settings ----

#[tokio::test(start_paused = true)]
async fn a_server_announces_what_envoy_announces() {
    for (allow_connect, announced) in [(false, 0), (true, 1)] {
        let (mut raw, _server) = raw_client(&Http2Options { allow_connect, ..Http2Options::default() }).await;
        let settings = raw.frame().await;
        assert_eq!((settings.kind, settings.flags, settings.stream), (SETTINGS, 0, 0));
        assert_eq!(settings.settings(), [(1, 4096), (8, announced), (3, 1024), (4, 16_777_216)]);
        let window = raw.frame_of(WINDOW_UPDATE).await;
        assert_eq!((window.stream, window.code(0)), (0, 25_100_289));
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_announces_the_same_after_no_push() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, _client) = raw_server().await;
            assert_eq!(raw.frame().await.settings(), [(2, 0), (1, 4096), (8, 0), (3, 1024), (4, 16_777_216)]);
            assert_eq!(raw.frame_of(WINDOW_UPDATE).await.code(0), 25_100_289);
        })
        .await;
}

// ---- exchanges ----

#[tokio::test(start_paused = true)]
async fn a_request_and_its_response_arrive_whole() {
    // A narrow pipe cuts frames anywhere.
    for pipe in [24, 37, PIPE_BYTES_MAX] {
        LocalSet::new()
            .run_until(async move {
                let (mut client, mut requests, _tasks) = both_ends(pipe, &Http2Options::default()).await;
                let (mut body, mut response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
                body.write(Bytes::from_static(b"ping"));
                body.finish(Some(headers(&[("grpc-trailer", "t")])));
                poll_fn(|cx| body.poll_flush(cx)).await.unwrap();

                let (head, mut incoming, responder) = requests.next().await.unwrap();
                assert_eq!((head.method, head.protocol, head.version), (Method::POST, None, Version::HTTP_2));
                assert_eq!(head.headers, headers(&[("x-one", "1"), ("x-two", "2"), ("x-two", "3")]));
                assert_eq!(head.authority.unwrap(), "lab.test");
                assert_eq!(head.path.unwrap(), "/p?q=1");
                assert_eq!(head.scheme.unwrap(), "http");
                assert_eq!(
                    read_all(&mut incoming).await,
                    Ok((b"ping".to_vec(), Some(headers(&[("grpc-trailer", "t")]))))
                );
                assert!(incoming.is_complete());

                let mut answer = responder.respond(&ResponseHead::new(StatusCode::CREATED), Payload::Some);
                answer.write(Bytes::from_static(b"pong"));
                answer.finish(None);
                poll_fn(|cx| answer.poll_flush(cx)).await.unwrap();
                let (head, mut incoming) = response.head().await.unwrap();
                assert_eq!((head.status, head.version), (StatusCode::CREATED, Version::HTTP_2));
                assert_eq!(read_all(&mut incoming).await, Ok((b"pong".to_vec(), None)));

                assert_eq!(client.streams_active(), 1);
                drop((body, response, incoming));
                assert_eq!(client.streams_active(), 0);
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn extended_connect_carries_bytes_both_ways_until_each_side_ends() {
    LocalSet::new()
        .run_until(async {
            let options = Http2Options { allow_connect: true, ..Http2Options::default() };
            let (mut client, mut requests, _tasks) = both_ends(PIPE_BYTES_MAX, &options).await;
            // Sent before the server's SETTINGS can have come.
            let (mut up, mut response) =
                client.send(&request(Method::CONNECT, Some("websocket")), Payload::Raw).unwrap();
            let (head, mut at_server, responder) = requests.next().await.unwrap();
            assert_eq!((head.method, head.protocol.unwrap()), (Method::CONNECT, HeaderValue::from_static("websocket")));
            assert_eq!(head.path.unwrap(), "/p?q=1");
            let mut down = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Raw);
            let (head, mut at_client) = response.head().await.unwrap();
            assert_eq!(head.status, StatusCode::OK);

            up.write(Bytes::from_static(b"up"));
            assert_eq!(data(&mut at_server).await, "up");
            up.finish(None);
            assert!(poll_fn(|cx| at_server.poll_frame(cx)).await.is_none(), "END_STREAM is a half-close");
            down.write(Bytes::from_static(b"down"));
            assert_eq!(data(&mut at_client).await, "down");
            down.finish(None);
            assert!(poll_fn(|cx| at_client.poll_frame(cx)).await.is_none());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn plain_connect_has_an_authority_only() {
    LocalSet::new()
        .run_until(async {
            let (mut client, mut requests, _tasks) = both_ends(PIPE_BYTES_MAX, &Http2Options::default()).await;
            let (_up, _response) = client.send(&request(Method::CONNECT, None), Payload::Raw).unwrap();
            let (head, _incoming, _responder) = requests.next().await.unwrap();
            assert_eq!((head.method, head.authority.unwrap()), (Method::CONNECT, HeaderValue::from_static("lab.test")));
            assert_eq!((head.scheme, head.path, head.protocol), (None, None, None));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn connection_headers_do_not_go_out() {
    LocalSet::new()
        .run_until(async {
            let (mut client, mut requests, _tasks) = both_ends(PIPE_BYTES_MAX, &Http2Options::default()).await;
            let mut head = request(Method::GET, None);
            head.headers = headers(&[
                ("connection", "upgrade"),
                ("upgrade", "x"),
                ("keep-alive", "1"),
                ("transfer-encoding", "chunked"),
                ("te", "gzip"),
                ("host", "other"),
                ("te", "trailers"),
                ("kept", "1"),
            ]);
            let (_up, _response) = client.send(&head, Payload::None).unwrap();
            let (head, incoming, _responder) = requests.next().await.unwrap();
            assert_eq!(head.headers, headers(&[("te", "trailers"), ("kept", "1")]));
            assert!(incoming.is_complete(), "Payload::None ends the stream with its head");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_arrives_in_our_form() {
    let cases: &[(&str, &[(&str, &str)], Option<&str>, &[(&str, &str)])] = &[
        (
            "crumbs",
            &[(":authority", "a"), ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")],
            Some("a"),
            &[("cookie", "a=1; b=2; c=3"), ("x", "y")],
        ),
        ("host alone", &[("host", "h"), ("x", "y")], Some("h"), &[("x", "y")]),
        ("host and authority", &[(":authority", "a"), ("host", "h")], Some("a"), &[]),
        ("neither", &[("x", "y")], None, &[("x", "y")]),
    ];
    for (name, fields, authority, rest) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        let get = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[&get, *fields].concat())).await;
        let (head, incoming, _responder) = server.accept().await.unwrap().unwrap();
        assert_eq!(head.authority, authority.map(HeaderValue::from_static), "{name}");
        assert_eq!(head.scheme.unwrap(), "http", "{name}");
        assert_eq!(head.headers, headers(rest), "{name}");
        assert!(incoming.is_complete(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn informational_responses_are_skipped() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            let (_up, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            raw.frame_of(HEADERS).await;
            raw.send(SETTINGS, 0, 0, &[]).await;
            raw.send(HEADERS, END_HEADERS, 1, &block(&[(":status", "103"), ("link", "x")])).await;
            assert!(timeout(Duration::from_secs(1), response.head()).await.is_err(), "103 is not the answer");
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":status", "204")])).await;
            let (head, incoming) = response.head().await.unwrap();
            assert_eq!(
                (head.status, head.headers, incoming.is_complete()),
                (StatusCode::NO_CONTENT, headers(&[]), true)
            );
        })
        .await;
}

// ---- resets ----

#[tokio::test(start_paused = true)]
async fn the_servers_reset_reaches_both_halves_with_its_code() {
    let cases = [
        (0, ResetReason::NoError),
        (1, ResetReason::ProtocolError),
        (2, ResetReason::InternalError),
        (7, ResetReason::RefusedStream),
        (8, ResetReason::Cancel),
        (10, ResetReason::ConnectError),
        (11, ResetReason::Other(11)),
    ];
    for (code, reason) in cases {
        LocalSet::new()
            .run_until(async move {
                let (mut raw, mut client) = raw_server().await;
                let (mut up, mut response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
                raw.frame_of(HEADERS).await;
                raw.send(SETTINGS, 0, 0, &[]).await;
                raw.send(RST_STREAM, 0, 1, &u32::to_be_bytes(code)).await;
                assert_eq!(response.head().await.unwrap_err(), Broken::StreamReset(reason));
                assert_eq!(poll_fn(|cx| up.poll_ready(cx)).await, Err(Broken::StreamReset(reason)));
                assert!(client.is_available(), "one stream's end is not the connection's");
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_clients_reset_is_noticed_after_the_request_is_complete() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, mut incoming, responder) = server.accept().await.unwrap().unwrap();
    raw.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).await;
    let gone = while_serving(&mut server, poll_fn(|cx| incoming.poll_gone(cx))).await;
    assert_eq!(gone, Broken::StreamReset(ResetReason::Cancel));
    let mut answer = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    assert!(poll_fn(|cx| answer.poll_ready(cx)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_noticed_after_the_request_is_complete() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, mut incoming, responder) = server.accept().await.unwrap().unwrap();
    let _answer = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    drop(raw);
    assert!(server.accept().await.is_none());
    assert!(server.is_peer_gone());
    assert_eq!(poll_fn(|cx| incoming.poll_gone(cx)).await, Broken::Closed);
}

#[tokio::test(start_paused = true)]
async fn our_resets_carry_their_code() {
    let cases = [
        (ResetReason::InternalError, 2),
        (ResetReason::ProtocolError, 1),
        (ResetReason::NoError, 0),
        (ResetReason::Other(11), 11),
    ];
    for (reason, code) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
        let (_, _incoming, responder) = server.accept().await.unwrap().unwrap();
        responder.reset(reason);
        let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code(0)), (1, code), "{reason:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_writer_resets_with_cancel_when_dropped() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, _incoming, responder) = server.accept().await.unwrap().unwrap();
    let answer = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    while_serving(&mut server, raw.frame_of(HEADERS)).await;
    drop(answer);
    assert_eq!(while_serving(&mut server, raw.frame_of(RST_STREAM)).await.code(0), 8);
}

// ---- drains ----

#[tokio::test(start_paused = true)]
async fn a_drain_has_two_steps_and_the_time_between_is_ours() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    server.go_away_gently();
    let first = while_serving(&mut server, raw.frame_of(GOAWAY)).await;
    assert_eq!((first.code(0), first.code(4)), (0x7fff_ffff, 0));

    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, incoming, responder) = server.accept().await.unwrap().unwrap();
    let quiet = while_serving(&mut server, timeout(Duration::from_secs(5), raw.frame_of(GOAWAY))).await;
    assert!(quiet.is_err(), "neither PING nor a second GOAWAY by itself");
    assert!(raw.seen.iter().all(|frame| frame.kind != PING));

    server.go_away_now();
    let second = while_serving(&mut server, raw.frame_of(GOAWAY)).await;
    assert_eq!((second.code(0), second.code(4)), (1, 0));
    drop((responder.respond(&ResponseHead::new(StatusCode::OK), Payload::None), incoming));
    assert!(server.accept().await.is_none(), "the last stream has ended");
    assert!(!server.is_peer_gone());
    assert_eq!(raw.frame_of(HEADERS).await.stream, 1);
}

#[tokio::test(start_paused = true)]
async fn the_second_step_may_come_at_once_and_closes_an_idle_connection() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    server.go_away_now();
    assert!(server.accept().await.is_none());
    assert_eq!(raw.frame_of(GOAWAY).await.code(0), 0x7fff_ffff);
    assert_eq!(raw.frame_of(GOAWAY).await.code(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refused_upgrade_sends_goaway_then_the_answer_then_no_error() {
    let (mut raw, mut server) = raw_client(&Http2Options { allow_connect: true, ..Http2Options::default() }).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(WEBSOCKET)).await;
    let (_, incoming, responder) = server.accept().await.unwrap().unwrap();
    server.go_away_gently();
    drop((responder.respond(&ResponseHead::new(StatusCode::FORBIDDEN), Payload::None), incoming));
    while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
    let kinds = raw.seen.iter().skip_while(|frame| frame.kind != GOAWAY).map(|frame| (frame.kind, frame.flags));
    assert_eq!(kinds.collect::<Vec<_>>(), [(GOAWAY, 0), (HEADERS, END_HEADERS | END_STREAM), (RST_STREAM, 0)]);
    assert_eq!(raw.seen.back().unwrap().code(0), 0);
}

#[tokio::test(start_paused = true)]
async fn goaway_takes_the_connection_out_of_use_and_refuses_what_was_not_processed() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            let (_up, mut first) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            let (_up, mut second) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            raw.frame_of(HEADERS).await;
            raw.frame_of(HEADERS).await;
            raw.send(SETTINGS, 0, 0, &[]).await;
            raw.send(GOAWAY, 0, 0, &[1_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat()).await;
            assert_eq!(second.head().await.unwrap_err(), Broken::StreamReset(ResetReason::RefusedStream));
            assert!(client.goaway_received() && !client.is_available());
            let refused = client.send(&request(Method::GET, None), Payload::None).map(drop);
            assert_eq!(refused, Err(Broken::StreamReset(ResetReason::RefusedStream)));
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":status", "200")])).await;
            assert_eq!(first.head().await.unwrap().0.status, StatusCode::OK);
            drop((first, second));
            assert_eq!(raw.driver.take().unwrap().await.unwrap(), DriverEnd::Drained);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_servers_limit_of_streams_is_kept() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            raw.send(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).await;
            raw.frame_of(SETTINGS).await;
            while raw.frame_of(SETTINGS).await.flags == 0 {} // ours is acknowledged
            assert!(client.is_available());
            let stream = client.send(&request(Method::GET, None), Payload::None).unwrap();
            assert!(!client.is_available());
            drop(stream);
            assert!(client.is_available());
        })
        .await;
}

// ---- back-pressure ----

#[tokio::test(start_paused = true)]
async fn a_reader_that_stops_stops_the_writer() {
    const WINDOW: u32 = 65_535;
    const CHUNK: usize = 16 * 1024;
    LocalSet::new()
        .run_until(async {
            let options = Http2Options { initial_stream_window_size: WINDOW, ..Http2Options::default() };
            let (mut client, mut requests, _tasks) = both_ends(PIPE_BYTES_MAX, &options).await;
            let (mut up, _response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
            let (_, mut incoming, _responder) = requests.next().await.unwrap();
            let mut written = 0;
            while let Ok(ready) = timeout(Duration::from_secs(1), poll_fn(|cx| up.poll_ready(cx))).await {
                ready.unwrap();
                up.write(Bytes::from(vec![0; CHUNK]));
                written += CHUNK;
            }
            let window = usize::try_from(WINDOW).unwrap();
            assert!((window..=window + CHUNK).contains(&written), "{written} bytes against a window of {window}");

            // What is read, and followed by a further poll, is credited.
            let mut read = 0;
            while read < window {
                read += data(&mut incoming).await.len();
            }
            assert!(poll_fn(|cx| Poll::Ready(incoming.poll_frame(cx).is_pending())).await);
            assert_eq!(timeout(Duration::from_secs(1), poll_fn(|cx| up.poll_ready(cx))).await, Ok(Ok(())));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_that_stops_stops_the_writer() {
    const CHUNK: usize = 16 * 1024;
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    // Windows as wide as they can be, and nobody who reads.
    raw.send(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
    raw.send(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, _incoming, responder) = server.accept().await.unwrap().unwrap();
    let mut down = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    let mut written = 0;
    let ready = |down: &mut Outgoing, cx: &mut Context<'_>| down.poll_ready(cx);
    loop {
        let waiting = timeout(Duration::from_secs(1), poll_fn(|cx| ready(&mut down, cx)));
        let Ok(ready) = while_serving(&mut server, waiting).await else { break };
        ready.unwrap();
        down.write(Bytes::from(vec![0; CHUNK]));
        written += CHUNK;
        assert!(written <= 2 * STREAM_BUFFER_BYTES_MAX + PIPE_BYTES_MAX, "nothing bounds the writer");
    }
    assert!(written >= PIPE_BYTES_MAX);
}

// ---- malformed messages ----

#[tokio::test(start_paused = true)]
async fn a_malformed_message_ends_the_connection_without_a_word() {
    let with = |extra: (&'static str, &'static str)| block(&[GET, &[extra]].concat());
    let cases = [
        ("protocol without allow_connect", block(WEBSOCKET), "http2.invalid.header.field"),
        ("connection", with(("connection", "upgrade")), "http2.invalid.header.field"),
        ("upgrade", with(("upgrade", "websocket")), "http2.invalid.header.field"),
        ("transfer-encoding", with(("transfer-encoding", "chunked")), "http2.invalid.header.field"),
        ("upper case", with(("X-Upper", "1")), "http2.invalid.header.field"),
        ("no path", block(&GET[..3]), "http2.invalid.header.field"),
    ];
    for (name, head, details) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
        let (_, mut bystander, _responder) = server.accept().await.unwrap().unwrap();
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &head).await;
        let error = server.accept().await.unwrap().map(drop).unwrap_err();
        assert_eq!(error, ConnectionError::InvalidMessage { details }, "{name}");
        assert_eq!(error.details(), details);
        assert!(poll_fn(|cx| bystander.poll_frame(cx)).await.unwrap().is_err(), "{name}: every stream ends");

        let mut waiting = Box::pin(server.wait_for_peer());
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err(), "{name}: the socket stays open");
        drop(waiting);
        raw.until_closed().await;
        let said = raw.seen.iter().filter(|frame| [RST_STREAM, GOAWAY].contains(&frame.kind)).count();
        assert_eq!(said, 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_its_content_length_does_the_same() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(&[GET, &[("content-length", "5")]].concat())).await;
    let (_, mut incoming, _responder) = server.accept().await.unwrap().unwrap();
    raw.send(DATA, 0, 1, b"123456").await;
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert_eq!(error, ConnectionError::InvalidMessage { details: "http2.violation.of.messaging.rule" });
    assert!(matches!(poll_fn(|cx| incoming.poll_frame(cx)).await, Some(Err(Broken::Malformed(_)))));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_peer_ends_when_it_closes() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(WEBSOCKET)).await;
    assert!(server.accept().await.unwrap().is_err());
    drop(raw);
    assert!(timeout(Duration::from_secs(1), server.wait_for_peer()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn data_after_the_end_of_a_stream_is_stream_closed() {
    let (mut raw, mut server) = raw_client(&Http2Options { allow_connect: true, ..Http2Options::default() }).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(WEBSOCKET)).await;
    let (_, incoming, responder) = server.accept().await.unwrap().unwrap();
    assert!(incoming.is_complete());
    let _answer = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Raw);
    raw.send(DATA, 0, 1, b"late").await;
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert!(matches!(error, ConnectionError::Protocol(_)));
    assert_eq!(error.details(), "codec_error:The_user_callback_function_failed");
    let goaway = raw.frame_of(GOAWAY).await;
    assert_eq!((goaway.code(0), goaway.code(4)), (1, 5));
    assert_eq!(&goaway.payload[8..], b"DATA: stream in half-closed(remote)");
}

#[tokio::test(start_paused = true)]
async fn broken_framing_is_answered_with_goaway() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(WINDOW_UPDATE, 0, 0, &[0; 4]).await;
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert!(matches!(error, ConnectionError::Protocol(_)));
    assert_eq!(raw.frame_of(GOAWAY).await.code(4), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_over_the_limit_loses_its_stream_only() {
    let many: Vec<_> = GET.iter().copied().chain((0..HEADERS_MAX).map(|_| ("x", "y"))).collect();
    let filler = "f".repeat(100);
    let large: Vec<_> = GET.iter().copied().chain((0..3).map(|_| ("x", filler.as_str()))).collect();
    let cases = [(HEAD_BYTES_MAX, many, "http2.too_many_headers"), (300, large, "http2.header_list_size_too_large")];
    for (head_bytes_max, fields, details) in cases {
        let (mut raw, mut server) = raw_client_with(&Http2Options::default(), head_bytes_max).await;
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields)).await;
        let error = server.accept().await.unwrap().map(drop).unwrap_err();
        assert_eq!(error, ConnectionError::HeadTooLarge { details });
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET)).await;
        assert!(server.accept().await.unwrap().is_ok(), "{details}: the connection goes on");
        let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code(0)), (1, 2), "{details}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_preface_is_no_connection() {
    for (sent, expected) in
        [(&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], Broken::Malformed(CODEC_ERROR)), (b"", Broken::Closed)]
    {
        let (mut client, server) = duplex(PIPE_BYTES_MAX);
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let options = Http2Options::default();
        let shaken =
            ServerConnection::handshake(conn(server), Bytes::new(), &options, HEAD_BYTES_MAX, HEADERS_MAX).await;
        assert_eq!(shaken.map(drop), Err(expected));
    }
}

// ---- what upstreams do instead of HTTP/2 ----

#[tokio::test(start_paused = true)]
async fn a_peer_that_fails_to_speak_http2_is_told_apart() {
    let cases: [(&str, &[u8], Broken); 4] = [
        ("HTTP/1", b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n", Broken::Malformed(NOT_HTTP2)),
        ("not a byte", b"", Broken::Closed),
        ("SETTINGS, then FIN", b"\0\0\0\x04\0\0\0\0\0", Broken::Closed),
        ("SETTINGS, then half a frame", b"\0\0\0\x04\0\0\0\0\0\0\0\x05", Broken::Closed),
    ];
    for (name, said, expected) in cases {
        LocalSet::new()
            .run_until(async move {
                let (mut raw, mut client) = raw_server().await;
                let (mut up, mut response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
                raw.frame_of(HEADERS).await;
                raw.io.write_all(said).await.unwrap();
                raw.io.shutdown().await.unwrap();
                assert_eq!(response.head().await.unwrap_err(), expected, "{name}");
                assert_eq!(poll_fn(|cx| up.poll_ready(cx)).await, Err(expected), "{name}");
                assert_eq!(raw.driver.take().unwrap().await.unwrap(), DriverEnd::Broken(expected), "{name}");
                assert!(!client.is_available(), "{name}");
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_connection_is_told_from_a_closed_one() {
    LocalSet::new()
        .run_until(async {
            let conn = Conn::new(Box::new(ResetByPeer), address(), address());
            let (mut client, driver) = ClientConnection::handshake(conn, &Http2Options::default()).await.unwrap();
            let (_up, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            assert_eq!(driver.await, DriverEnd::Broken(Broken::ConnectionReset));
            assert_eq!(response.head().await.unwrap_err(), Broken::ConnectionReset);
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_ends_every_stream() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            let (_up, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            raw.driver.take().unwrap().abort();
            assert_eq!(response.head().await.unwrap_err(), Broken::Closed);
            assert!(!client.is_available());
            raw.until_closed().await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_malformed_response_is_an_error_of_its_stream() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            let (_up, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            raw.frame_of(HEADERS).await;
            raw.send(SETTINGS, 0, 0, &[]).await;
            raw.send(HEADERS, END_HEADERS, 1, &block(&[(":status", "200"), ("connection", "close")])).await;
            assert!(matches!(response.head().await.unwrap_err(), Broken::Malformed(_)));
        })
        .await;
}

// ---- what the tests are made of ----

/// A socket whose peer has sent RST.
struct ResetByPeer;

impl Io for ResetByPeer {
    fn abort_on_drop(&mut self) {}
}

impl AsyncRead for ResetByPeer {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl AsyncWrite for ResetByPeer {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

struct Pipe(DuplexStream);

impl Io for Pipe {
    fn abort_on_drop(&mut self) {}
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

fn address() -> Address {
    Address::Socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
}

fn conn(io: DuplexStream) -> Conn {
    Conn::new(Box::new(Pipe(io)), address(), address())
}

fn headers(fields: &[(&'static str, &'static str)]) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in fields {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn request(method: Method, protocol: Option<&'static str>) -> RequestHead {
    RequestHead {
        method,
        scheme: None,
        authority: Some(HeaderValue::from_static("lab.test")),
        path: Some(HeaderValue::from_static("/p?q=1")),
        protocol: protocol.map(HeaderValue::from_static),
        version: Version::HTTP_11,
        headers: headers(&[("x-one", "1"), ("x-two", "2"), ("x-two", "3")]),
    }
}

async fn data(incoming: &mut Incoming) -> Bytes {
    match poll_fn(|cx| incoming.poll_frame(cx)).await {
        Some(Ok(Frame::Data(data))) => data,
        other => panic!("expected data, not {other:?}"),
    }
}

async fn read_all(incoming: &mut Incoming) -> Result<(Vec<u8>, Option<Headers>), Broken> {
    let mut body = Vec::new();
    let mut last = None;
    while let Some(frame) = poll_fn(|cx| incoming.poll_frame(cx)).await {
        match frame? {
            Frame::Data(data) => body.extend_from_slice(&data),
            Frame::Trailers(trailers) => last = Some(trailers),
        }
    }
    Ok((body, last))
}

/// Keeps a server's bytes moving while `work` is done; nothing may be accepted meanwhile.
async fn while_serving<T>(server: &mut ServerConnection, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut accept = pin!(server.accept());
    poll_fn(|cx| {
        // Serving first, so that `work` sees what it led to.
        assert!(accept.as_mut().poll(cx).is_pending(), "nothing is expected meanwhile");
        work.as_mut().poll(cx)
    })
    .await
}

type Accepted = (RequestHead, Incoming, Responder);

/// What a spawned server has accepted.
struct Requests(tokio::sync::mpsc::UnboundedReceiver<Accepted>);

impl Requests {
    async fn next(&mut self) -> Option<Accepted> {
        self.0.recv().await
    }
}

/// A client and a server with a pipe between, both driven for as long as the test runs.
async fn both_ends(pipe: usize, options: &Http2Options) -> (ClientConnection, Requests, [JoinHandle<()>; 2]) {
    let (left, right) = duplex(pipe);
    let (client, driver) = ClientConnection::handshake(conn(left), options).await.unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let options = *options;
    let serving = spawn_local(async move {
        let shaken =
            ServerConnection::handshake(conn(right), Bytes::new(), &options, HEAD_BYTES_MAX, HEADERS_MAX).await;
        let mut server = shaken.unwrap();
        while let Some(accepted) = server.accept().await {
            drop(sender.send(accepted.unwrap()));
        }
    });
    let driving = spawn_local(async move {
        driver.await;
    });
    (client, Requests(receiver), [serving, driving])
}

/// A server, and its client made by hand, which has sent its preface and its SETTINGS.
async fn raw_client(options: &Http2Options) -> (Raw, ServerConnection) {
    raw_client_with(options, HEAD_BYTES_MAX).await
}

async fn raw_client_with(options: &Http2Options, head_bytes_max: usize) -> (Raw, ServerConnection) {
    let (io, server) = duplex(PIPE_BYTES_MAX);
    let mut raw = Raw { io, seen: VecDeque::new(), driver: None };
    // The sniffer has read a part of the preface.
    let (sniffed, rest) = wire::PREFACE.split_at(10);
    raw.io.write_all(rest).await.unwrap();
    raw.send(SETTINGS, 0, 0, &[]).await;
    let sniffed = Bytes::from_static(sniffed);
    let shaken = ServerConnection::handshake(conn(server), sniffed, options, head_bytes_max, HEADERS_MAX).await;
    let mut server = shaken.unwrap();
    assert!(timeout(Duration::from_millis(1), server.accept()).await.is_err(), "nothing was asked yet");
    (raw, server)
}

/// A client, and its server made by hand, which has read the preface and has yet to send its SETTINGS.
async fn raw_server() -> (Raw, ClientConnection) {
    let (io, client) = duplex(PIPE_BYTES_MAX);
    let (client, driver) = ClientConnection::handshake(conn(client), &Http2Options::default()).await.unwrap();
    let mut raw = Raw { io, seen: VecDeque::new(), driver: Some(spawn_local(driver)) };
    let mut preface = vec![0; wire::PREFACE.len()];
    raw.io.read_exact(&mut preface).await.unwrap();
    assert_eq!(preface, wire::PREFACE);
    (raw, client)
}

/// An end that writes frames by hand and keeps those it has read.
struct Raw {
    io: DuplexStream,
    seen: VecDeque<RawFrame>,
    /// The task that drives the other end, where that is a client.
    driver: Option<JoinHandle<DriverEnd>>,
}

#[derive(Clone, Debug)]
struct RawFrame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Raw {
    async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let frame = [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat();
        self.io.write_all(&frame).await.unwrap();
    }

    async fn frame(&mut self) -> RawFrame {
        self.next().await.expect("the connection ended")
    }

    async fn frame_of(&mut self, kind: u8) -> RawFrame {
        loop {
            let frame = self.frame().await;
            if frame.kind == kind {
                return frame;
            }
        }
    }

    async fn until_closed(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn next(&mut self) -> Option<RawFrame> {
        let mut head = [0; 9];
        self.io.read_exact(&mut head).await.ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.io.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let frame = RawFrame { kind: head[3], flags: head[4], stream, payload };
        self.seen.push_back(frame.clone());
        Some(frame)
    }
}

impl RawFrame {
    /// The number at `at` in the payload.
    fn code(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }

    fn settings(&self) -> Vec<(u16, u32)> {
        let setting =
            |raw: &[u8]| (u16::from_be_bytes([raw[0], raw[1]]), u32::from_be_bytes(raw[2..6].try_into().unwrap()));
        self.payload.chunks(6).map(setting).collect()
    }
}

/// A header block of literals without indexing, RFC 7541 6.2.2.
fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).ok().filter(|len| *len < 127).expect("short enough for one byte"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
