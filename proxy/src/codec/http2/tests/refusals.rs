//! What a server does with a client that breaks the rules.

use super::*;

#[tokio::test(start_paused = true)]
async fn with_connection_scope_a_malformed_message_ends_the_connection_without_goaway() {
    let with = |extra: (&'static str, &'static str)| block(&[GET, &[extra]].concat());
    let cases = [
        ("protocol without allow_connect", block(WEBSOCKET)),
        ("connection", with(("connection", "upgrade"))),
        ("upgrade", with(("upgrade", "websocket"))),
        ("transfer-encoding", with(("transfer-encoding", "chunked"))),
        ("upper case", with(("X-Upper", "1"))),
        ("no path", block(&GET[..3])),
    ];
    for (name, head) in cases {
        let (mut raw, mut server) = raw_client_with(&Http2Options::default(), Connection, LIMIT).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
        let (_, mut bystander, _responder) = server.accept().await.unwrap().unwrap();
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &head).await;
        let error = server.accept().await.unwrap().map(drop).unwrap_err();
        let details = if name == "no path" { Violation::MessagingRule } else { Violation::InvalidHeaderField };
        assert_eq!(error, ConnectionError::InvalidMessage { unread: Some(details) }, "{name}");
        let end = poll_fn(|cx| bystander.poll_frame(cx)).await.unwrap().unwrap_err();
        assert_eq!(end, ExchangeError::Malformed(Violation::Protocol), "{name}: every stream ends");

        let mut waiting = Box::pin(server.wait_for_peer());
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err(), "{name}: the socket stays open");
        drop(waiting);
        raw.until_closed().await;
        let sent = raw.seen.iter().filter(|frame| [RST_STREAM, GOAWAY].contains(&frame.kind)).count();
        assert_eq!(sent, 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_its_content_length_ends_its_stream() {
    for (payload, flags) in [(&b"123456"[..], 0), (b"123", END_STREAM)] {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(&[GET, &[("content-length", "5")]].concat())).await;
        let (_, mut incoming, _responder) = server.accept().await.unwrap().unwrap();
        raw.send(DATA, flags, 1, payload).await;
        let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code(0)), (1, 1));
        let end = poll_fn(|cx| incoming.poll_frame(cx)).await;
        assert_eq!(end.unwrap().unwrap_err(), ExchangeError::Malformed(Violation::RemoteReset));
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET)).await;
        assert!(server.accept().await.unwrap().is_ok(), "the connection goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn with_connection_scope_trailers_without_end_stream_end_the_connection() {
    let (mut raw, mut server) = raw_client_with(&Http2Options::default(), Connection, LIMIT).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
    let (_, mut incoming, _responder) = server.accept().await.unwrap().unwrap();
    raw.send(HEADERS, END_HEADERS, 1, &block(&[("a", "b")])).await;
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert_eq!(error, ConnectionError::InvalidMessage { unread: None });
    let end = poll_fn(|cx| incoming.poll_frame(cx)).await;
    assert_eq!(end.unwrap().unwrap_err(), ExchangeError::Malformed(Violation::MessagingRule));
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_peer_ends_when_it_closes() {
    let (mut raw, mut server) = raw_client_with(&Http2Options::default(), Connection, LIMIT).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(WEBSOCKET)).await;
    assert!(server.accept().await.unwrap().is_err());
    drop(raw);
    assert!(timeout(Duration::from_secs(1), server.wait_for_peer()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn with_connection_scope_data_after_end_stream_ends_the_connection() {
    let options = Http2Options { allow_connect: true, ..Http2Options::default() };
    let (mut raw, mut server) = raw_client_with(&options, Connection, LIMIT).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(WEBSOCKET)).await;
    let (_, mut incoming, responder) = server.accept().await.unwrap().unwrap();
    assert!(incoming.is_complete());
    let _outgoing = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Raw);
    raw.send(DATA, 0, 1, b"late").await;
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert_eq!(error, ConnectionError::Protocol { unread: None });
    assert_eq!(poll_fn(|cx| incoming.poll_gone(cx)).await, ExchangeError::Malformed(Violation::Protocol));
    let goaway = raw.frame_of(GOAWAY).await;
    assert_eq!((goaway.code(0), goaway.code(4)), (1, 5));
    assert_eq!(&goaway.payload[8..], b"DATA: stream in half-closed(remote)");
}

#[tokio::test(start_paused = true)]
async fn broken_framing_gets_goaway() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(WINDOW_UPDATE, 0, 0, &[0; 4]).await;
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert_eq!(error, ConnectionError::Protocol { unread: None });
    assert_eq!(raw.frame_of(GOAWAY).await.code(4), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_over_the_limit_loses_its_stream_only() {
    let many: Vec<_> = GET.iter().copied().chain((0..LIMIT.fields).map(|_| ("x", "y"))).collect();
    let filler = "f".repeat(100);
    let large: Vec<_> = GET.iter().copied().chain((0..3).map(|_| ("x", filler.as_str()))).collect();
    let cases = [(LIMIT.bytes, many, HeadLimit::Fields), (300, large, HeadLimit::Bytes)];
    for (bytes, fields, limit) in cases {
        let (mut raw, mut server) =
            raw_client_with(&Http2Options::default(), Stream, ListLimit { bytes, ..LIMIT }).await;
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields)).await;
        let error = server.accept().await.unwrap().map(drop).unwrap_err();
        assert_eq!(error, ConnectionError::HeadTooLarge(limit));
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET)).await;
        assert!(server.accept().await.unwrap().is_ok(), "{limit}: the connection goes on");
        let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code(0)), (1, 2), "{limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_preface_is_no_connection() {
    for (sent, expected) in [
        (&b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"[..], ExchangeError::Malformed(Violation::Protocol)),
        (b"", ExchangeError::Closed),
    ] {
        let (mut client, server) = duplex(PIPE_BYTES_MAX);
        client.write_all(sent).await.unwrap();
        client.shutdown().await.unwrap();
        let options = Http2Options::default();
        let shaken =
            ServerConnection::handshake(conn(server), Bytes::new(), &options, Stream, LIMIT, &stats(), Counting::Off)
                .await;
        assert_eq!(shaken.map(drop), Err(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn frame_floods_are_counted() {
    let priority: &[u8] = &[0, 0, 0, 0, 7];
    let cases: [(&str, u8, &[u8], usize); 3] = [
        ("empty frames", DATA, b"", 2),
        ("priorities", PRIORITY, priority, 201),
        ("window updates", WINDOW_UPDATE, &[0, 0, 0, 1], 4),
    ];
    for (name, kind, payload, one_too_many) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
        let (_, mut bystander, _responder) = server.accept().await.unwrap().unwrap();
        for _ in 1..one_too_many {
            raw.send(kind, 0, 1, payload).await;
            assert!(timeout(Duration::from_millis(1), server.accept()).await.is_err(), "{name}: still served");
        }
        raw.send(kind, 0, 1, payload).await;
        let flooded = Err(ConnectionError::Flooded { unread: None });
        assert_eq!(server.accept().await.unwrap().map(drop), flooded, "{name}");
        assert!(poll_fn(|cx| bystander.poll_frame(cx)).await.unwrap().is_err(), "{name}: every stream ends");
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_acknowledged_or_not() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    let mut pinger = server.pinger().unwrap();
    let seen = pinger.traffic().rx_bytes();
    let mut ponged = Box::pin(pinger.ping());
    tokio::select! {
        biased;
        () = &mut ponged => panic!("no response has been sent"),
        _ = timeout(Duration::from_secs(1), server.accept()) => {}
    }
    let ping = raw.frame_of(PING).await;
    raw.send(PING, ACK, 0, &ping.payload).await;
    while_serving(&mut server, ponged).await;
    assert!(pinger.traffic().rx_bytes() > seen);
}

#[tokio::test(start_paused = true)]
async fn a_head_in_too_many_frames_ends_the_connection() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
    let (_, mut bystander, _responder) = server.accept().await.unwrap().unwrap();
    raw.send(HEADERS, 0, 3, &block(GET)).await;
    for _ in 0..1000 {
        raw.send(CONTINUATION, 0, 3, &block(&[("a", "b")])).await;
    }
    let error = server.accept().await.unwrap().map(drop).unwrap_err();
    assert_eq!(error, ConnectionError::Protocol { unread: Some(Violation::TooManyContinuations) });
    let end = poll_fn(|cx| bystander.poll_frame(cx)).await.unwrap().unwrap_err();
    assert_eq!(end, ExchangeError::Malformed(Violation::TooManyContinuations));
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_reset_at_once_are_all_handed_out() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    for stream in (1..200).step_by(2) {
        raw.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(GET)).await;
        raw.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()).await;
    }
    for stream in 0..100 {
        assert!(server.accept().await.unwrap().is_ok(), "{stream}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_stream_does_not_affect_others() {
    let good: &[(&str, &str)] = &[("x", "y")];
    for trailers in [good, &[("T", "v")], &[(":path", "/")]] {
        let options = Http2Options { max_concurrent_streams: std::num::NonZeroU32::MIN, ..Http2Options::default() };
        let (mut raw, mut server) = raw_client(&options).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
        raw.send(HEADERS, END_HEADERS, 3, &block(GET)).await;
        raw.send(DATA, 0, 3, b"refused").await;
        raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(trailers)).await;
        raw.send(DATA, END_STREAM, 1, b"body").await;
        let (_, mut incoming, responder) = server.accept().await.unwrap().unwrap();
        assert_eq!(while_serving(&mut server, read_all(&mut incoming)).await, Ok((b"body".to_vec(), None)));
        drop((responder.respond(&ResponseHead::new(StatusCode::OK), Payload::None), incoming));
        let reset = while_serving(&mut server, raw.frame_of(RST_STREAM)).await;
        assert_eq!((reset.stream, reset.code(0)), (3, 7), "{trailers:?}");
        raw.send(HEADERS, END_HEADERS | END_STREAM, 5, &block(GET)).await;
        assert!(server.accept().await.unwrap().is_ok(), "{trailers:?}: the connection goes on");
    }
}
