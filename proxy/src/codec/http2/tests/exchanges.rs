//! What arrives at the other end, and how fast.

use super::*;

type Fields = &'static [(&'static str, &'static str)];

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

#[tokio::test(start_paused = true)]
async fn a_request_and_its_response_arrive_whole() {
    // A narrow pipe cuts frames anywhere.
    for pipe in [24, 37, PIPE_BYTES_MAX] {
        LocalSet::new()
            .run_until(async move {
                let (mut client, mut requests, _tasks) = both_ends(pipe, &Http2Options::default()).await;
                let (mut body, mut response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
                body.write(Bytes::from_static(b"ping"));
                body.finish(Some(Headers::of(&[("grpc-trailer", "t")])));
                poll_fn(|cx| body.poll_flush(cx)).await.unwrap();

                let (head, mut incoming, responder) = requests.next().await.unwrap();
                assert_eq!((head.method, head.protocol, head.version), (Method::POST, None, Version::HTTP_2));
                assert_eq!(head.headers, Headers::of(&[("x-one", "1"), ("x-two", "2"), ("x-two", "3")]));
                assert_eq!(head.authority.unwrap(), "lab.test");
                assert_eq!(head.path.unwrap(), "/p?q=1");
                assert_eq!(head.scheme.unwrap(), "http");
                assert_eq!(
                    read_all(&mut incoming).await,
                    Ok((b"ping".to_vec(), Some(Headers::of(&[("grpc-trailer", "t")]))))
                );
                assert!(incoming.is_complete());

                let mut outgoing = responder.respond(&ResponseHead::new(StatusCode::CREATED), Payload::Some);
                outgoing.write(Bytes::from_static(b"shutdown_ping"));
                outgoing.finish(None);
                poll_fn(|cx| outgoing.poll_flush(cx)).await.unwrap();
                let (head, mut incoming) = response.head().await.unwrap();
                assert_eq!((head.status, head.version), (StatusCode::CREATED, Version::HTTP_2));
                assert_eq!(read_all(&mut incoming).await, Ok((b"shutdown_ping".to_vec(), None)));

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
            poll_fn(|cx| up.poll_flush(cx)).await.unwrap();
            assert_eq!(data(&mut at_server).await, "up");
            up.finish(None);
            assert!(poll_fn(|cx| at_server.poll_frame(cx)).await.is_none(), "END_STREAM is a half-close");
            down.write(Bytes::from_static(b"down"));
            poll_fn(|cx| down.poll_flush(cx)).await.unwrap();
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
            head.headers = Headers::of(&[
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
            assert_eq!(head.headers, Headers::of(&[("te", "trailers"), ("kept", "1")]));
            assert!(incoming.is_complete(), "Payload::None ends the stream with its head");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_head_arrives_in_our_form() {
    let cases: &[(&str, Fields, Option<&'static str>, Fields)] = &[
        (
            "crumbs",
            &[(":authority", "a"), ("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3")],
            Some("a"),
            &[("cookie", "a=1; b=2; c=3"), ("x", "y")],
        ),
        ("host alone", &[("host", "h"), ("x", "y")], Some("h"), &[("x", "y")]),
        ("host and authority", &[(":authority", "a"), ("host", "h")], Some("a"), &[]),
    ];
    for (name, fields, authority, rest) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        let get = [(":method", "GET"), (":scheme", "http"), (":path", "/")];
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[&get, *fields].concat())).await;
        let (head, incoming, _responder) = server.accept().await.unwrap().unwrap();
        assert_eq!(head.authority, authority.map(HeaderValue::from_static), "{name}");
        assert_eq!(head.scheme.unwrap(), "http", "{name}");
        assert_eq!(head.headers, Headers::of(rest), "{name}");
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
            assert!(timeout(Duration::from_secs(1), response.head()).await.is_err(), "103 is not the final response");
            raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[(":status", "204")])).await;
            let (head, incoming) = response.head().await.unwrap();
            assert_eq!(
                (head.status, head.headers, incoming.is_complete()),
                (StatusCode::NO_CONTENT, Headers::of(&[]), true)
            );
        })
        .await;
}

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
            let most = window + QUEUE_BYTES_MAX + CHUNK;
            assert!((window..=most).contains(&written), "{written} bytes against a window of {window}");

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
    // Windows as wide as they can be, and a peer that does not read.
    raw.send(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).await;
    raw.send(WINDOW_UPDATE, 0, 0, &0x7000_0000_u32.to_be_bytes()).await;
    raw.send(HEADERS, END_HEADERS | END_STREAM, 1, &block(GET)).await;
    let (_, _incoming, responder) = server.accept().await.unwrap().unwrap();
    let mut down = responder.respond(&ResponseHead::new(StatusCode::OK), Payload::Some);
    let mut written = 0;
    loop {
        let waiting = timeout(Duration::from_secs(1), poll_fn(|cx| down.poll_ready(cx)));
        let Ok(ready) = while_serving(&mut server, waiting).await else { break };
        ready.unwrap();
        down.write(Bytes::from(vec![0; CHUNK]));
        written += CHUNK;
        assert!(written <= 2 * STREAM_BUFFER_BYTES_MAX + PIPE_BYTES_MAX, "nothing bounds the writer");
    }
    assert!(written >= PIPE_BYTES_MAX);
}

#[tokio::test(start_paused = true)]
async fn repeated_fields_that_envoy_joins_arrive_as_one() {
    LocalSet::new()
        .run_until(async {
            let (mut client, mut requests, _tasks) = both_ends(PIPE_BYTES_MAX, &Http2Options::default()).await;
            let mut head = request(Method::GET, None);
            head.headers =
                Headers::of(&[("accept", "a"), ("x-one", "1"), ("accept", "b"), ("x-one", "2"), ("via", "")]);
            let (_body, mut response) = client.send(&head, Payload::None).unwrap();
            let (head, _incoming, responder) = requests.next().await.unwrap();
            assert_eq!(head.headers, Headers::of(&[("accept", "a,b"), ("x-one", "1"), ("x-one", "2"), ("via", "")]));
            let mut sent = ResponseHead::new(StatusCode::OK);
            sent.headers = Headers::of(&[("vary", "a"), ("set-cookie", "b"), ("vary", "c"), ("set-cookie", "d")]);
            let _outgoing = responder.respond(&sent, Payload::None);
            let (head, _incoming) = response.head().await.unwrap();
            assert_eq!(head.headers, Headers::of(&[("vary", "a,c"), ("set-cookie", "b"), ("set-cookie", "d")]));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_204_is_sent_without_a_content_length() {
    LocalSet::new()
        .run_until(async {
            let (mut client, mut requests, _tasks) = both_ends(PIPE_BYTES_MAX, &Http2Options::default()).await;
            for (status, fields) in [(204, &[][..]), (200, &[("content-length", "0")])] {
                let (_body, mut response) = client.send(&request(Method::GET, None), Payload::None).unwrap();
                let (_head, _incoming, responder) = requests.next().await.unwrap();
                let mut sent = ResponseHead::new(StatusCode::from_u16(status).unwrap());
                sent.headers = Headers::of(&[("content-length", "0")]);
                let _outgoing = responder.respond(&sent, Payload::None);
                let (received, _incoming) = response.head().await.unwrap();
                assert_eq!(received.headers, Headers::of(fields), "{status}");
            }
        })
        .await;
}
