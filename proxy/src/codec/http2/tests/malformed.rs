//! A malformed message costs its stream, and no other.

use bytes::BytesMut;

use super::*;
use crate::codec::http2::hpack::write_literal;

const STATUS: &[(&str, &str)] = &[(":status", "200")];
const POST: &[(&str, &str)] = &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

/// Requests that get no response, and frames for streams that have had theirs.
#[tokio::test(start_paused = true)]
async fn a_malformed_request_is_reset_and_its_neighbours_are_served() {
    let with = |extra: (&'static str, &'static str)| block(&[GET, &[extra]].concat());
    let of = |fields: &[(&'static str, &'static str)]| block(fields);
    let cases = [
        ("a protocol without CONNECT", with((":protocol", "websocket"))),
        ("connection", with(("connection", "upgrade"))),
        ("te", with(("te", "gzip"))),
        ("upper case", with(("X-Upper", "1"))),
        ("an empty name", with(("", "1"))),
        ("a line break", with(("x", "a\r\nb: c"))),
        ("unknown pseudo-header field", with((":x", "1"))),
        ("status", with((":status", "200"))),
        ("two paths", with((":path", "/"))),
        ("no path", block(&GET[..3])),
        ("neither authority nor host", of(&[GET[0], GET[1], GET[3]])),
        ("user information", of(&[GET[0], GET[1], GET[3], (":authority", "u@a")])),
        ("a space in the path", of(&[GET[0], GET[1], GET[2], (":path", "/a b")])),
        ("a bad method", of(&[(":method", "G\n"), GET[1], GET[2], GET[3]])),
        ("a length without a body", with(("content-length", "4"))),
    ];
    for (name, head) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
        let (_, mut bystander, _responder) = server.accept().await.unwrap().unwrap();
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &head).await;
        raw.send(HEADERS, END_HEADERS | END_STREAM, 5, &block(GET)).await;
        let is_of_the_whole =
            ["a protocol without CONNECT", "no path", "neither authority nor host", "a length without a body"]
                .contains(&name);
        let details = if is_of_the_whole { Violation::MessagingRule } else { Violation::InvalidHeaderField };
        let malformed = ConnectionError::Malformed(details);
        let (one, other) = (server.accept().await.unwrap(), server.accept().await.unwrap());
        let (refused, served) = if one.is_err() { (one, other) } else { (other, one) };
        assert_eq!(refused.map(drop), Err(malformed), "{name}");
        assert!(served.is_ok(), "{name}: the next request is served");
        let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code(0)), (3, 1), "{name}");
        raw.send(DATA, END_STREAM, 1, b"end").await;
        let frame = while_serving(&mut server, poll_fn(|cx| bystander.poll_frame(cx))).await;
        assert!(frame.unwrap().is_ok(), "{name}: the neighbour goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_message_after_its_head_resets_its_stream() {
    let trailers: &[(&str, &str)] = &[("x", "y")];
    let cases: [(&str, u8, u8, Vec<u8>, u32); 8] = [
        ("trailers that do not end the stream", HEADERS, END_HEADERS, block(trailers), 1),
        ("a pseudo-header field in trailers", HEADERS, END_HEADERS | END_STREAM, block(GET), 1),
        ("a connection's field in trailers", HEADERS, END_HEADERS | END_STREAM, block(&[("upgrade", "x")]), 1),
        ("a second length in trailers", HEADERS, END_HEADERS | END_STREAM, block(&[("content-length", "5")]), 1),
        ("a line break in trailers", HEADERS, END_HEADERS | END_STREAM, block(&[("x", "\n")]), 1),
        ("a body too long", DATA, 0, b"123456".to_vec(), 1),
        ("a body too short", DATA, END_STREAM, b"123".to_vec(), 1),
        ("trailers before the body has its length", HEADERS, END_HEADERS | END_STREAM, block(trailers), 1),
    ];
    for (name, kind, flags, payload, code) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(&[POST, &[("content-length", "5")]].concat())).await;
        let (_, mut incoming, _responder) = server.accept().await.unwrap().unwrap();
        raw.send(kind, flags, 1, &payload).await;
        let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code(0)), (1, code), "{name}");
        let end = poll_fn(|cx| incoming.poll_frame(cx)).await.unwrap().unwrap_err();
        assert!(matches!(end, ExchangeError::Malformed(_)), "{name}: {end:?}");
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET)).await;
        assert!(server.accept().await.unwrap().is_ok(), "{name}: the connection goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn frames_after_the_end_of_a_stream_close_it() {
    for (kind, flags, payload) in [(DATA, 0, b"late".to_vec()), (HEADERS, END_HEADERS | END_STREAM, block(GET))] {
        let options = Http2Options { allow_connect: true, ..Http2Options::default() };
        let (mut raw, mut server) = raw_client(&options).await;
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
        let (_, mut incoming, _responder) = server.accept().await.unwrap().unwrap();
        raw.send(kind, flags, 1, &payload).await;
        raw.send(kind, flags, 1, &payload).await;
        let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code(0)), (1, 5), "STREAM_CLOSED, RFC 9113 5.1");
        assert_eq!(poll_fn(|cx| incoming.poll_gone(cx)).await, ExchangeError::Malformed(Violation::Unknown));
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET)).await;
        assert!(server.accept().await.unwrap().is_ok(), "the connection goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn the_tables_stay_in_step_after_a_malformed_head() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    // Literals with indexing: a good one, and a bad one behind it.
    let inserted = [block(GET), b"\x40\x01a\x01b\x40\x01c\x02\r\n".to_vec()].concat();
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &inserted).await;
    assert!(server.accept().await.unwrap().is_err());
    for (stream, index, is_good) in [(3, 0xbf, true), (5, 0xbe, false), (7, 0xbf, true)] {
        raw.send(HEADERS, END_HEADERS | END_STREAM, stream, &[block(GET), vec![index]].concat()).await;
        let accepted = server.accept().await.unwrap().map(|(head, ..)| head.headers);
        assert_eq!(accepted.is_ok(), is_good, "{stream}");
        if let Ok(headers) = accepted {
            let a = HeaderName::from_static("a");
            assert_eq!(headers.get(&a), Some(&HeaderValue::from_static("b")));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_the_http_crate_refuses_arrives_as_it_was_sent() {
    let paths: [&[u8]; 6] = [b"/<x>", b"/`", b"/\x80\xff", b"/a?b=\"c\"", b"/a#b", b"/plain"];
    for path in paths {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        let mut coded = BytesMut::from(&block(&GET[..2])[..]);
        for (name, value) in [(&b":authority"[..], &b"[::1"[..]), (b":path", path), (b"te", b"Trailers")] {
            write_literal(name, value, &mut coded);
        }
        let (begin, end) = coded.split_at(20);
        raw.send(HEADERS, END_STREAM, 1, begin).await;
        raw.send(CONTINUATION, END_HEADERS, 1, end).await;
        let (head, ..) = server.accept().await.unwrap().unwrap();
        assert_eq!(head.path.unwrap().as_bytes(), path);
        assert_eq!(head.authority.unwrap(), "[::1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_malformed_response_resets_its_stream() {
    let with = |extra: (&'static str, &'static str)| block(&[STATUS, &[extra]].concat());
    let cases = [
        ("a line break", with(("x", "a\r\nb: c"))),
        ("connection", with(("connection", "close"))),
        ("upper case", with(("X", "1"))),
        ("two statuses", with((":status", "200"))),
        ("a path", with((":path", "/"))),
        ("no status", block(&[("x", "y")])),
        ("a status that is no number", block(&[(":status", "abc")])),
        ("101", block(&[(":status", "101")])),
        ("an informational response at the end", block(&[(":status", "103")])),
        ("too many fields", block(&[STATUS, &[("x", "y")].repeat(LIMIT.fields)].concat())),
    ];
    LocalSet::new()
        .run_until(async {
            for (name, head) in cases {
                let (mut raw, mut client) = raw_server().await;
                raw.send(SETTINGS, 0, 0, &[]).await;
                let (_, mut bad) = client.send(&request(Method::GET, None), Payload::None).unwrap();
                let (_, mut good) = client.send(&request(Method::GET, None), Payload::None).unwrap();
                raw.frame_of(HEADERS).await;
                raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &head).await;
                let broken = bad.head().await.map(drop).unwrap_err();
                let is_over_limit = matches!(broken, ExchangeError::OverLimit(Violation::TooManyHeaders));
                assert!(matches!(broken, ExchangeError::Malformed(_)) || is_over_limit, "{name}: {broken:?}");
                assert_eq!(is_over_limit, name == "too many fields", "{name}: {broken:?}");
                assert_eq!(raw.frame_of(RST_STREAM).await.stream, 1, "{name}");
                raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(STATUS)).await;
                assert!(good.head().await.is_ok(), "{name}: the neighbour goes on");
                assert!(client.is_available(), "{name}");
            }
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn frames_on_closed_streams_are_dropped_and_credited() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            raw.send(SETTINGS, 0, 0, &[]).await;
            let (mut out, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            raw.frame_of(HEADERS).await;
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(STATUS)).await;
            raw.send(DATA, END_STREAM, 1, &[0; 16_384]).await;
            raw.send(DATA, END_STREAM, 1, &[0; 16_384]).await;
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(STATUS)).await;
            assert!(response.head().await.is_ok());
            assert!(poll_fn(|cx| out.poll_flush(cx)).await.is_ok());
            // The connection's window gets back what both frames took of it; the stream is over.
            let mut credit = 0;
            while credit < 2 * 16_384 {
                let update = raw.frame_of(WINDOW_UPDATE).await;
                assert_eq!(update.stream, 0);
                credit += update.code(0);
            }
            assert_eq!(credit, 2 * 16_384);
            // Before the head of a response there is no body.
            let (_, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            raw.frame_of(HEADERS).await;
            raw.send(DATA, END_STREAM, 3, b"body").await;
            assert_eq!(response.head().await.map(drop), Err(ExchangeError::Malformed(Violation::MessagingRule)));
            assert!(client.is_available());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_malformed_behind_its_head_is_handed_out_once() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[("T", "v")])).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET)).await;
    let (_, mut incoming, first) = server.accept().await.unwrap().unwrap();
    let (_, _, second) = server.accept().await.unwrap().unwrap();
    let broken = while_serving(&mut server, read_all(&mut incoming)).await.unwrap_err();
    assert_eq!(broken, ExchangeError::Malformed(Violation::InvalidHeaderField));
    drop((first, second));
    assert!(timeout(Duration::from_millis(1), server.accept()).await.is_err(), "one request, one record");
}

/// What a peer sends behind its head on one stream, and what the reader gets.
#[tokio::test(start_paused = true)]
async fn trailers_of_a_request_are_judged_with_what_came_before_them() {
    let too_many = block(&[("x", "y")].repeat(LIMIT.fields + 1));
    let cases = [
        (block(&[("content-length", "3")]), None),
        (block(&[("content-length", "4")]), Some((ExchangeError::Malformed(Violation::MessagingRule), 1))),
        (block(&[("content-length", "x")]), Some((ExchangeError::Malformed(Violation::InvalidHeaderField), 1))),
        (too_many, Some((ExchangeError::OverLimit(Violation::TooManyHeaders), 2))),
    ];
    for (trailers, expected) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(POST)).await;
        let (_, mut incoming, _responder) = server.accept().await.unwrap().unwrap();
        // Three bytes of content and two of padding.
        raw.send(DATA, PADDED, 1, b"\x02abc..").await;
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &trailers).await;
        let broken = while_serving(&mut server, read_all(&mut incoming)).await.err();
        assert_eq!(broken, expected.map(|(broken, _)| broken));
        if let Some((_, code)) = expected {
            assert_eq!(while_serving(&mut server, raw.frame_of(RST_STREAM)).await.code(0), code);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_malformed_behind_its_head_keeps_its_target() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    let odd =
        [(":method", "POST"), (":scheme", "http"), (":path", "/a#b"), (":authority", "[::1]"), ("content-length", "1")];
    // In one read: h2 has the stream reset before it hands the request out.
    raw.send(HEADERS, END_HEADERS, 1, &block(&odd)).await;
    raw.send(DATA, END_STREAM, 1, b"abc").await;
    let (head, ..) = server.accept().await.unwrap().unwrap();
    assert_eq!((head.path.unwrap().as_bytes(), head.authority.unwrap().as_bytes()), (&b"/a#b"[..], &b"[::1]"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_response_without_content_takes_no_data_but_may_have_trailers() {
    LocalSet::new()
        .run_until(async {
            for (status, data, trailers, is_good) in [
                ("204", &b"abc"[..], None, false),
                ("304", b"abc", None, false),
                ("304", b"", None, true),
                ("204", b"", Some(("x", "y")), true),
                ("205", b"abc", None, true),
            ] {
                let (mut raw, mut client) = raw_server().await;
                raw.send(SETTINGS, 0, 0, &[]).await;
                let (_, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
                raw.frame_of(HEADERS).await;
                raw.send(HEADERS, END_HEADERS, 1, &block(&[(":status", status)])).await;
                let (_, mut incoming) = response.head().await.unwrap();
                raw.send(DATA, if trailers.is_none() { END_STREAM } else { 0 }, 1, data).await;
                if let Some(trailer) = trailers {
                    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[trailer])).await;
                }
                let broken = read_all(&mut incoming).await.err();
                assert_eq!(
                    broken,
                    (!is_good).then_some(ExchangeError::Malformed(Violation::RemoteReset)),
                    "{status} {data:?}"
                );
                if !is_good {
                    let reset = raw.frame_of(RST_STREAM).await;
                    assert_eq!((reset.stream, reset.code(0)), (1, 1), "{status}");
                }
                assert!(client.is_available(), "{status}");
            }
        })
        .await;
}
