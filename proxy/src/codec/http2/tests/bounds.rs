//! What one peer can make us hold, and that nothing which it does often ends its connection.

use std::cell::Cell;

use super::super::bounds::{
    CONNECTION_BUFFER_BYTES_MAX, CONNECTION_QUEUE_BYTES_MAX, PENDING_REPLIES_MAX, SMALL_PIECES_MAX, TURN_FRAMES_MAX,
    TURN_STREAMS_MAX,
};
use super::super::frames::PADDED;
use super::*;

const POST: &[(&str, &str)] = &[(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")];

/// Drives a server whose requests are kept in `accepted`, until it has nothing more to do.
async fn settle(server: &mut ServerConnection, accepted: &mut Vec<Accepted>) {
    while let Ok(Some(next)) = timeout(Duration::from_millis(1), server.accept()).await {
        accepted.push(next.unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn small_pieces_that_lie_unread_are_copied_together_and_give_no_credit() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    let mut accepted = Vec::new();
    raw.send(SETTINGS, ACK, 0, &[]).await; // until it is acknowledged the window is 65,535
    raw.send(HEADERS, END_HEADERS, 1, &block(POST)).await;
    // The first hundred thousand alone are twice what h2 itself would take.
    for _ in 0..200 {
        for _ in 0..1000 {
            raw.send(DATA, 0, 1, b"m").await;
        }
        settle(&mut server, &mut accepted).await;
    }
    raw.send(DATA, END_STREAM, 1, b"end").await;
    settle(&mut server, &mut accepted).await;
    let (_, mut incoming, _responder) = accepted.remove(0);
    let (mut pieces, mut bytes) = (0, 0);
    while let Some(frame) = poll_fn(|cx| incoming.poll_frame(cx)).await {
        let Frame::Data(data) = frame.unwrap() else { panic!("no trailers were sent") };
        pieces += 1;
        bytes += data.len();
    }
    assert_eq!(bytes, 200_003);
    assert!(pieces < 2 * usize::try_from(TURN_FRAMES_MAX).unwrap(), "{pieces} pieces");
    assert!(!raw.seen.iter().any(|frame| frame.kind == GOAWAY));
}

#[tokio::test(start_paused = true)]
async fn empty_data_frames_do_not_add_up_and_their_padding_is_given_back() {
    let options = Http2Options { initial_stream_window_size: 65_535, ..Http2Options::default() };
    let (mut raw, mut server) = raw_client(&options).await;
    let mut accepted = Vec::new();
    raw.send(SETTINGS, ACK, 0, &[]).await;
    raw.send(HEADERS, END_HEADERS, 1, &block(POST)).await;
    for _ in 0..500 {
        raw.send(DATA, 0, 1, b"m").await;
        raw.send(DATA, PADDED, 1, &[&[250], &[0; 250][..]].concat()).await;
        settle(&mut server, &mut accepted).await;
    }
    drop((server, accepted));
    raw.until_closed().await;
    let given = |stream| {
        let updates = raw.seen.iter().filter(|frame| frame.kind == WINDOW_UPDATE && frame.stream == stream);
        updates.map(|frame| frame.code(0)).sum::<u32>()
    };
    let padding = 500 * 251;
    assert!(given(1) <= padding && given(1) > padding - 20_000, "{}", given(1));
    assert!(!raw.seen.iter().any(|frame| frame.kind == GOAWAY && frame.code(4) != 0));
}

#[tokio::test(start_paused = true)]
async fn streams_opened_together_are_handed_out_in_turns() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    let opened = 5 * TURN_STREAMS_MAX;
    for number in 0..opened {
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * number, &block(GET)).await;
    }
    let accepted = Cell::new(0);
    let mut accept = pin!(async {
        while server.accept().await.is_some() {
            accepted.set(accepted.get() + 1);
        }
    });
    let mut turns = Vec::new();
    while turns.iter().sum::<u32>() < opened {
        poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx).is_pending())).await;
        turns.push(accepted.replace(0));
        tokio::task::yield_now().await;
    }
    assert_eq!(turns, [TURN_STREAMS_MAX; 5]);
}

/// Frames for a stream that we have reset are read in turns like any others, whether h2 sees them or not.
#[tokio::test(start_paused = true)]
async fn late_frames_are_read_in_turns() {
    const FRAMES: usize = 100_000;
    let frames: [(&str, u8, Vec<u8>); 4] = [
        ("DATA", DATA, b"late".to_vec()),
        ("HEADERS", HEADERS, block(POST)),
        ("RST_STREAM", RST_STREAM, vec![0; 4]),
        ("an unknown type", 0xbe, Vec::new()),
    ];
    for (name, kind, payload) in frames {
        let (io, served) = duplex(FRAMES * (9 + payload.len()) + 1000);
        let mut raw = Raw { io, seen: VecDeque::new(), driver: None };
        raw.io.write_all(PREFACE).await.unwrap();
        raw.send(SETTINGS, 0, 0, &[]).await;
        let options = Http2Options::default();
        let shaken =
            ServerConnection::handshake(conn(served), Bytes::new(), &options, Stream, LIMIT, &stats(), Counting::Off)
                .await;
        let mut server = shaken.unwrap();
        raw.send(HEADERS, END_HEADERS, 1, &block(POST)).await;
        let (_, _, responder) = server.accept().await.unwrap().unwrap();
        responder.reset(ResetReason::Cancel);
        settle(&mut server, &mut Vec::new()).await;
        for _ in 0..FRAMES {
            raw.send(kind, END_HEADERS, 1, &payload).await;
        }
        let traffic = server.pinger().unwrap().traffic();
        let frame_bytes = u64::try_from(9 + payload.len()).unwrap();
        // What comes on top of a turn is the rest of its last read.
        let turn_bytes = u64::from(TURN_FRAMES_MAX) * frame_bytes + 2 * 16 * 1024;
        let mut turns = 0;
        loop {
            tokio::task::yield_now().await; // tokio lets a task do only so much at a time
            let before = traffic.rx_bytes();
            let mut accept = pin!(server.accept());
            poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx).is_pending())).await;
            let read = traffic.rx_bytes() - before;
            if read == 0 {
                break;
            }
            assert!(read <= turn_bytes, "{name}: {read} bytes in one turn");
            turns += 1;
        }
        assert!(turns >= FRAMES / 4000, "{name}: {turns} turns");
        raw.send(HEADERS, END_HEADERS, 3, &block(POST)).await;
        assert!(server.accept().await.unwrap().is_ok(), "{name}: the next request is served");
    }
}

#[tokio::test(start_paused = true)]
async fn floods_of_late_frames_end_the_connection_like_any_others() {
    let cases: [(&str, u8, &[u8], usize); 3] = [
        ("empty DATA", DATA, b"", 2),
        ("PRIORITY", PRIORITY, &[0, 0, 0, 0, 7], 201),
        ("WINDOW_UPDATE", WINDOW_UPDATE, &[0, 0, 0, 1], 4),
    ];
    for (name, kind, payload, one_too_many) in cases {
        let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
        raw.send(HEADERS, END_HEADERS, 1, &block(POST)).await;
        let (_, _, responder) = server.accept().await.unwrap().unwrap();
        responder.reset(ResetReason::Cancel);
        settle(&mut server, &mut Vec::new()).await;
        for _ in 1..one_too_many {
            raw.send(kind, 0, 1, payload).await;
        }
        assert!(timeout(Duration::from_millis(1), server.accept()).await.is_err(), "{name}: still served");
        raw.send(kind, 0, 1, payload).await;
        let flooded = Err(ConnectionError::Flooded { unread: None });
        assert_eq!(server.accept().await.unwrap().map(drop), flooded, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_read() {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    let (mut accepted, mut responses) = (Vec::new(), Vec::new());
    let mut stream = 1;
    while timeout(Duration::from_millis(1), raw.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(GET)))
        .await
        .is_ok()
    {
        stream += 2;
        settle(&mut server, &mut accepted).await;
        for (_, _, responder) in accepted.drain(..) {
            // So short that the number of heads is what counts, and each another, or HPACK would make a byte of it.
            let mut head = ResponseHead::new(StatusCode::OK);
            let value = format!("{:0400}", responses.len());
            head.headers.append(HeaderName::from_static("x"), HeaderValue::from_str(&value).unwrap());
            responses.push(responder.respond(&head, Payload::None));
        }
        assert!(responses.len() < 3000, "requests are read for ever");
    }
    let fit = u32::try_from(PIPE_BYTES_MAX / 200).unwrap();
    let responded = u32::try_from(responses.len()).unwrap();
    assert!(
        (PENDING_REPLIES_MAX..=PENDING_REPLIES_MAX + 2 * fit + TURN_FRAMES_MAX).contains(&responded),
        "{responded}"
    );
    // A client that reads again gets every response.
    for _ in 0..responded {
        let reading = raw.frame_of(HEADERS);
        tokio::select! { biased; _ = reading => {}, _ = server.accept() => {} }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_peer_makes_h2_hold_few_small_pieces() {
    LocalSet::new()
        .run_until(async {
            let (mut client, mut requests, _tasks) = both_ends(64, &Http2Options::default()).await;
            let (mut body, _response) = client.send(&request(Method::POST, None), Payload::Some).unwrap();
            let (_, mut incoming, _responder) = requests.next().await.unwrap();
            let mut written = 0;
            while written < 300_000 {
                match poll_fn(|cx| Poll::Ready(body.poll_ready(cx))).await {
                    Poll::Ready(ready) => ready.unwrap(),
                    Poll::Pending => break,
                }
                body.write(Bytes::from_static(b"m"));
                written += 1;
            }
            assert!(
                written <= QUEUE_BYTES_MAX + usize::try_from(SMALL_PIECES_MAX).unwrap() + 1,
                "{written} pieces of one byte"
            );
            body.finish(None);
            let (sent, read) = tokio::join!(poll_fn(|cx| body.poll_flush(cx)), read_all(&mut incoming));
            sent.unwrap();
            assert_eq!(read.unwrap().0.len(), written);
        })
        .await;
}

/// Ready without waiting?
async fn is_ready<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> bool {
    poll_fn(|cx| Poll::Ready(poll(cx).is_ready())).await
}

#[tokio::test(start_paused = true)]
async fn response_heads_for_a_client_that_does_not_read_are_held_back_by_their_memory() {
    const HEAD_BYTES: usize = 2 * 10_000;
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    let mut accepted = Vec::new();
    let streams: Vec<u32> = (0..100).map(|number| 1 + 2 * number).collect();
    for stream in &streams {
        raw.send(HEADERS, END_HEADERS | END_STREAM, *stream, &block(GET)).await;
    }
    settle(&mut server, &mut accepted).await;
    let mut head = ResponseHead::new(StatusCode::OK);
    head.headers.append(HeaderName::from_static("x"), HeaderValue::from_str(&"v".repeat(HEAD_BYTES / 2)).unwrap());
    let (mut waiting, mut responses) = (VecDeque::from(accepted), Vec::new());
    // Each is sent as the connection manager does: once there is room for it.
    while let Some((_, incoming, _)) = waiting.front()
        && is_ready(|cx| incoming.poll_response_room(cx)).await
    {
        let (_, incoming, responder) = waiting.pop_front().unwrap();
        responses.push((incoming, responder.respond(&head, Payload::None)));
        settle(&mut server, &mut Vec::new()).await;
    }
    // A value takes half of that on the I/O layer, at most, and h2 has begun with some.
    let in_pipe = 3 * PIPE_BYTES_MAX / HEAD_BYTES;
    let most = CONNECTION_BUFFER_BYTES_MAX / HEAD_BYTES + in_pipe + 2;
    assert!((2..=most).contains(&responses.len()), "{} of {} heads are held", responses.len(), streams.len());
    // A client that reads gets all of them.
    let mut none = Vec::new();
    for _ in &streams {
        let reading = raw.frame_of(HEADERS);
        tokio::pin!(reading);
        loop {
            tokio::select! { biased; _ = &mut reading => break, () = settle(&mut server, &mut none) => {} }
            if let Some((_, incoming, _)) = waiting.front()
                && is_ready(|cx| incoming.poll_response_room(cx)).await
            {
                let (_, incoming, responder) = waiting.pop_front().unwrap();
                responses.push((incoming, responder.respond(&head, Payload::None)));
            }
        }
    }
}

/// Writes pieces on every stream for as long as they are taken. How many bytes that were.
async fn fill(bodies: &mut [Outgoing], server: &mut ServerConnection) -> usize {
    let mut written = 0;
    loop {
        let mut is_full = true;
        for body in &mut *bodies {
            if is_ready(|cx| body.poll_ready(cx)).await {
                body.write(vec![b'x'; PIECE_BYTES].into());
                written += PIECE_BYTES;
                is_full = false;
            }
        }
        settle(server, &mut Vec::new()).await;
        if is_full {
            return written;
        }
    }
}

const PIECE_BYTES: usize = 16 * 1024;

/// A server with so many responses under way, and their client, who has opened each window that far.
async fn responses(streams: u32, window: u32) -> (Raw, ServerConnection, Vec<Incoming>, Vec<Outgoing>) {
    let (mut raw, mut server) = raw_client(&Http2Options::default()).await;
    let initial_window_size = [&[0, 4][..], &window.to_be_bytes()].concat();
    raw.send(SETTINGS, 0, 0, &initial_window_size).await;
    raw.send(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()).await;
    let mut accepted = Vec::new();
    for number in 0..streams {
        raw.send(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * number, &block(GET)).await;
    }
    settle(&mut server, &mut accepted).await;
    let head = ResponseHead::new(StatusCode::OK);
    let both = accepted.into_iter().map(|(_, incoming, responder)| (incoming, responder.respond(&head, Payload::Some)));
    let (incoming, outgoing) = both.unzip();
    (raw, server, incoming, outgoing)
}

#[tokio::test(start_paused = true)]
async fn payload_of_many_streams_within_open_windows_is_bounded_for_the_connection() {
    let (_raw, mut server, _incoming, mut bodies) = responses(100, 1 << 30).await;
    let written = fill(&mut bodies, &mut server).await;
    // Behind what h2 holds, each stream queues one piece; so many have two that their sum is the bound.
    let most = CONNECTION_BUFFER_BYTES_MAX + CONNECTION_QUEUE_BYTES_MAX + (bodies.len() + 10) * PIECE_BYTES;
    assert!(written <= most + 2 * PIPE_BYTES_MAX, "{written} bytes");
}

#[tokio::test(start_paused = true)]
async fn payload_of_many_streams_without_a_window_is_bounded_for_the_connection() {
    let (mut raw, mut server, _incoming, mut bodies) = responses(100, 1).await;
    let written = fill(&mut bodies, &mut server).await;
    let most = CONNECTION_QUEUE_BYTES_MAX + bodies.len() * PIECE_BYTES;
    assert!(written <= most + PIECE_BYTES, "{written} bytes");
    // A stream whose window opens goes on, whatever the others hold.
    raw.send(WINDOW_UPDATE, 0, 1, &(1_u32 << 29).to_be_bytes()).await;
    settle(&mut server, &mut Vec::new()).await;
    let reading = async {
        while !raw.seen.iter().any(|frame| frame.stream == 1 && frame.payload.len() > 10_000) {
            raw.frame().await;
        }
    };
    tokio::select! {
        biased;
        () = reading => {}
        () = async { loop { settle(&mut server, &mut Vec::new()).await; fill(&mut bodies[..1], &mut server).await; } } => {}
    }
}
