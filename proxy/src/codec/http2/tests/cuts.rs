//! A client's bytes mean the same wherever they are cut, and whether the connection's end comes with them or behind them.

use super::super::frames::{FrameHead, put_frame_head};
use super::*;
use bytes::BytesMut;

const POST: &[(&str, &str)] = &[(":method", "POST"), GET[1], GET[2], GET[3]];

/// What came of a client's bytes.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    handshake: Option<Broken>,
    requests: usize,
    /// Of requests that were refused, and at last of the connection.
    errors: Vec<ConnectionError>,
    has_client_closed: bool,
    /// Type, stream and code of RST_STREAM and GOAWAY.
    sent: Vec<(u8, u32, u32)>,
}

async fn serve(io: DuplexStream) -> Outcome {
    let mut outcome =
        Outcome { handshake: None, requests: 0, errors: Vec::new(), has_client_closed: true, sent: Vec::new() };
    let options = Http2Options::default();
    let shaken = ServerConnection::handshake(conn(io), Bytes::new(), &options, EndStreams, LIMIT, &stats()).await;
    let mut server = match shaken {
        Ok(server) => server,
        Err(broken) => return Outcome { handshake: Some(broken), ..outcome },
    };
    let mut held = Vec::new();
    while let Some(next) = server.accept().await {
        match next {
            Ok(request) => held.push(request),
            Err(error) => outcome.errors.push(error),
        }
    }
    Outcome { requests: held.len(), has_client_closed: server.is_peer_gone(), ..outcome }
}

/// The client sends these bytes in two pieces, then closes its direction at once.
async fn outcome(first: &[u8], last: &[u8]) -> Outcome {
    let (mut io, server) = duplex(PIPE_BYTES_MAX);
    let sending = async {
        io.write_all(first).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        // The server may have gone already.
        drop(io.write_all(last).await);
        drop(io.shutdown().await);
        let mut raw = Raw { io, seen: VecDeque::new(), driver: None };
        raw.until_closed().await;
        let ends = raw.seen.into_iter().filter(|frame| [GOAWAY, RST_STREAM].contains(&frame.kind));
        ends.map(|frame| (frame.kind, frame.stream, frame.code(if frame.kind == GOAWAY { 4 } else { 0 }))).collect()
    };
    let (outcome, sent) = tokio::join!(serve(server), sending);
    Outcome { sent, ..outcome }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    put_frame_head(FrameHead { len: payload.len(), kind, flags, stream }, &mut frame);
    [&frame[..], payload].concat()
}

fn get(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(GET))
}

fn post(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &block(POST))
}

/// A block that is small and whose fields are far over every limit: one field of 4,000 bytes, named again and again.
fn bomb() -> Vec<u8> {
    let field = [b"\x40\x01a\x7f\xa1\x1e".to_vec(), vec![b'y'; 4000]].concat();
    [block(GET), field, vec![0xbe; 4000]].concat()
}

const FLOODED: ConnectionError = ConnectionError::Flooded { unread: None };
const INVALID: ConnectionError = ConnectionError::InvalidMessage { unread: Some(Violation::InvalidHeaderField) };
const MALFORMED: ConnectionError = ConnectionError::Malformed(Violation::InvalidHeaderField);

#[tokio::test(start_paused = true)]
async fn what_came_before_the_end_is_handed_out_wherever_the_bytes_are_cut() {
    let sized = |len: usize| FrameHead { len, kind: DATA, flags: 0, stream: 1 };
    let mut too_long = BytesMut::new();
    put_frame_head(sized(1 << 15), &mut too_long);
    let unread = Some(Violation::EmptyFramesFlood);
    let cases: [(&str, Vec<u8>, usize, Option<ConnectionError>); 12] = [
        ("requests", [get(1), get(3), get(5)].concat(), 3, None),
        ("a body", [post(1), frame(DATA, END_STREAM, 1, b"body")].concat(), 1, None),
        (
            "a request that is malformed",
            [get(1), frame(HEADERS, 5, 3, &block(&[("T", "v")])), get(5)].concat(),
            2,
            Some(MALFORMED),
        ),
        ("empty DATA", [post(1), frame(DATA, 0, 1, b""), frame(DATA, 0, 1, b"")].concat(), 1, Some(FLOODED)),
        (
            "empty CONTINUATION",
            [get(1), frame(HEADERS, 0, 3, &block(GET)), frame(CONTINUATION, 0, 3, b""), frame(CONTINUATION, 0, 3, b"")]
                .concat(),
            1,
            Some(ConnectionError::Flooded { unread }),
        ),
        ("a stray CONTINUATION", [get(1), frame(CONTINUATION, 4, 1, b"")].concat(), 1, Some(INVALID)),
        (
            "a section cut off",
            [get(1), frame(HEADERS, 0, 3, &block(GET)), frame(PING, 0, 0, &[7; 8])].concat(),
            1,
            Some(INVALID),
        ),
        ("a block that is none", [get(1), frame(HEADERS, 5, 3, &[0x80])].concat(), 1, Some(INVALID)),
        ("a section on no stream", [get(1), frame(HEADERS, 5, 0, &block(GET))].concat(), 1, Some(INVALID)),
        ("a section on an even stream", [get(1), frame(HEADERS, 5, 2, &block(GET))].concat(), 1, Some(INVALID)),
        (
            "a frame that is too long",
            [&get(1)[..], &too_long].concat(),
            1,
            Some(ConnectionError::Protocol { unread: None }),
        ),
        ("a padded section without padding", [get(1), frame(HEADERS, 13, 3, b"\x09")].concat(), 1, Some(INVALID)),
    ];
    for (name, bytes, requests, error) in cases {
        let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &bytes].concat();
        let whole = outcome(&bytes, b"").await;
        assert_eq!((whole.handshake, whole.requests, whole.errors.first()), (None, requests, error.as_ref()), "{name}");
        for cut in 0..bytes.len() {
            let (first, last) = bytes.split_at(cut);
            assert_eq!(outcome(first, last).await, whole, "{name}, cut at {cut}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_block_that_decodes_hugely_and_is_cut_off_is_broken_framing() {
    let cut_off = [get(1), frame(HEADERS, END_STREAM, 3, &bomb()), frame(PING, 0, 0, &[7; 8])].concat();
    let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &cut_off].concat();
    let came = outcome(&bytes, b"").await;
    assert_eq!((came.requests, came.errors), (1, vec![INVALID]));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_settings_frame_is_refused_wherever_it_is_cut() {
    let bytes = [PREFACE, &frame(PING, 0, 0, &[7; 8])].concat();
    for cut in 0..bytes.len() {
        let (first, last) = bytes.split_at(cut);
        let came = outcome(first, last).await;
        assert_eq!(
            (came.errors, came.sent),
            (vec![ConnectionError::Protocol { unread: None }], vec![(GOAWAY, 0, 1)]),
            "{cut}"
        );
    }
}
