//! How streams and connections end: resets, drains, and a socket that is gone.

use super::*;

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
                assert_eq!(response.head().await.unwrap_err(), ExchangeError::StreamReset(reason));
                assert_eq!(poll_fn(|cx| up.poll_ready(cx)).await, Err(ExchangeError::StreamReset(reason)));
                assert!(client.is_available(), "one stream's end is not the connection's");
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_complete_response_survives_the_reset_behind_it() {
    // RFC 9113 8.1: a server that needs no more of the request responds, then resets with NO_ERROR.
    for body in [&b""[..], b"enough"] {
        LocalSet::new()
            .run_until(async move {
                let (mut raw, mut client) = raw_server().await;
                let (mut up, mut response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
                raw.frame_of(HEADERS).await;
                raw.send(SETTINGS, 0, 0, &[]).await;
                let ends_at_once = if body.is_empty() { END_STREAM } else { 0 };
                raw.send(HEADERS, END_HEADERS | ends_at_once, 1, &block(&[(":status", "403")])).await;
                if !body.is_empty() {
                    raw.send(DATA, END_STREAM, 1, body).await;
                }
                raw.send(RST_STREAM, 0, 1, &[0; 4]).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
                let (head, mut incoming) = response.head().await.unwrap();
                assert_eq!(head.status, StatusCode::FORBIDDEN);
                assert_eq!(read_all(&mut incoming).await, Ok((body.to_vec(), None)));
                let error = poll_fn(|cx| up.poll_ready(cx)).await;
                assert_eq!(error, Err(ExchangeError::StreamReset(ResetReason::NoError)));
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_of_the_whole_response_resets_before_the_reset_behind_it_is_read() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            let (up, mut response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
            raw.frame_of(HEADERS).await;
            raw.send(SETTINGS, 0, 0, &[]).await;
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":status", "403")])).await;
            raw.send(RST_STREAM, 0, 1, &[0; 4]).await;
            // A task, as streams are: the future of a LocalSet itself has no turn of its own among the tasks.
            spawn_local(async move {
                assert_eq!(response.head().await.unwrap().0.status, StatusCode::FORBIDDEN);
                up.reset(ResetReason::InternalError);
            });
            let reset = raw.frame_of(RST_STREAM).await;
            assert_eq!((reset.stream, &reset.payload[..]), (1, &2_u32.to_be_bytes()[..]));
            let (_up, mut next) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            raw.frame_of(HEADERS).await;
            raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(&[(":status", "200")])).await;
            assert_eq!(next.head().await.unwrap().0.status, StatusCode::OK, "what follows is read");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_body_that_a_reset_cuts_short_is_broken() {
    LocalSet::new()
        .run_until(async {
            let (mut raw, mut client) = raw_server().await;
            let (_up, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            raw.frame_of(HEADERS).await;
            raw.send(SETTINGS, 0, 0, &[]).await;
            raw.send(HEADERS, END_HEADERS, 1, &block(&[(":status", "200")])).await;
            raw.send(DATA, 0, 1, b"half").await;
            raw.send(RST_STREAM, 0, 1, &2_u32.to_be_bytes()).await;
            let (_, mut incoming) = response.head().await.unwrap();
            assert_eq!(data(&mut incoming).await, "half");
            let broken = ExchangeError::StreamReset(ResetReason::InternalError);
            assert_eq!(read_all(&mut incoming).await, Err(broken));
            assert_eq!(poll_fn(|cx| incoming.poll_gone(cx)).await, broken);
            assert!(!incoming.is_complete());
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_clients_reset_is_detected_after_the_request_is_complete() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, mut incoming, responder) = server.accept().await.unwrap().unwrap();
    raw.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).await;
    let gone = while_serving(&mut server, poll_fn(|cx| incoming.poll_gone(cx))).await;
    assert_eq!(gone, ExchangeError::StreamReset(ResetReason::Cancel));
    let mut outgoing = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    assert!(poll_fn(|cx| outgoing.poll_ready(cx)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_clients_goaway_changes_nothing() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(GET)).await;
    let (_, mut incoming, _responder) = server.accept().await.unwrap().unwrap();
    raw.send(GOAWAY, 0, 0, &[0; 8]).await;
    raw.send(DATA, END_STREAM, 1, b"still served").await;
    assert_eq!(while_serving(&mut server, read_all(&mut incoming)).await, Ok((b"still served".to_vec(), None)));
    raw.send(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 3, &block(GET)).await;
    assert!(server.accept().await.unwrap().is_ok(), "it spoke of streams that we would open");
    assert_eq!(poll_fn(|cx| incoming.poll_gone(cx)).await, ExchangeError::StreamReset(ResetReason::Cancel));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_detected_after_the_request_is_complete() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, mut incoming, responder) = server.accept().await.unwrap().unwrap();
    let _outgoing = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    drop(raw);
    assert!(server.accept().await.is_none());
    assert!(server.is_peer_gone());
    assert_eq!(poll_fn(|cx| incoming.poll_gone(cx)).await, ExchangeError::Closed);
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
    let outgoing = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    while_serving(&mut server, raw.frame_of(HEADERS)).await;
    drop(outgoing);
    assert_eq!(while_serving(&mut server, raw.frame_of(RST_STREAM)).await.code(0), 8);
}

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
async fn a_refused_upgrade_sends_goaway_then_the_response_then_no_error() {
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
            let (mut up, mut second) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
            raw.frame_of(HEADERS).await;
            raw.frame_of(HEADERS).await;
            raw.send(SETTINGS, 0, 0, &[]).await;
            raw.send(GOAWAY, 0, 0, &[1_u32.to_be_bytes(), 0_u32.to_be_bytes()].concat()).await;
            assert_eq!(second.head().await.unwrap_err(), ExchangeError::StreamReset(ResetReason::RefusedStream));
            let refused = ExchangeError::StreamReset(ResetReason::RefusedStream);
            assert_eq!(poll_fn(|cx| up.poll_ready(cx)).await, Err(refused));
            assert!(client.goaway_received() && !client.is_available());
            let refused = client.send(&request(Method::GET, None), Payload::None).map(drop);
            assert_eq!(refused, Err(ExchangeError::StreamReset(ResetReason::RefusedStream)));
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

#[tokio::test(start_paused = true)]
async fn a_peer_without_http2_is_distinguished_from_a_closed_connection() {
    let cases: [(&str, &[u8], ExchangeError); 4] = [
        (
            "HTTP/1",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            ExchangeError::Malformed(Violation::NotHttp2),
        ),
        ("not a byte", b"", ExchangeError::Closed),
        ("SETTINGS, then FIN", b"\0\0\0\x04\0\0\0\0\0", ExchangeError::Closed),
        ("SETTINGS, then half a frame", b"\0\0\0\x04\0\0\0\0\0\0\0\x05", ExchangeError::Closed),
    ];
    for (name, sent, expected) in cases {
        LocalSet::new()
            .run_until(async move {
                let (mut raw, mut client) = raw_server().await;
                let (mut up, mut response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
                raw.frame_of(HEADERS).await;
                raw.io.write_all(sent).await.unwrap();
                raw.io.shutdown().await.unwrap();
                assert_eq!(response.head().await.unwrap_err(), expected, "{name}");
                assert_eq!(poll_fn(|cx| up.poll_ready(cx)).await, Err(expected), "{name}");
                assert_eq!(raw.driver.take().unwrap().await.unwrap(), DriverEnd::ExchangeError(expected), "{name}");
                assert!(!client.is_available(), "{name}");
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_connection_is_distinguished_from_a_closed_one() {
    LocalSet::new()
        .run_until(async {
            let conn = Conn::new(Box::new(TakesAll(ResetByPeer)), address(), address());
            let (mut client, driver) =
                ClientConnection::handshake(conn, &Http2Options::default(), Stream, &stats()).await.unwrap();
            let (_up, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
            assert_eq!(driver.await, DriverEnd::ExchangeError(ExchangeError::ConnectionReset));
            assert_eq!(response.head().await.unwrap_err(), ExchangeError::ConnectionReset);
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
            assert_eq!(response.head().await.unwrap_err(), ExchangeError::Closed);
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
            assert!(matches!(response.head().await.unwrap_err(), ExchangeError::Malformed(_)));
        })
        .await;
}
