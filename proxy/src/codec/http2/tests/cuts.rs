//! A client's bytes mean the same wherever they are cut, and whether the connection's end comes with them or behind them.

use super::super::frames::{FrameHead, put_frame_head};
use super::*;
use bytes::BytesMut;

const POST: &[(&str, &str)] = &[(":method", "POST"), GET[1], GET[2], GET[3]];

/// What came of a client's bytes.
#[derive(Clone, Debug, PartialEq)]
struct Outcome {
    handshake: Option<ExchangeError>,
    requests: usize,
    /// Of requests that were refused, and at last of the connection.
    errors: Vec<ConnectionError>,
    has_client_closed: bool,
    /// The last stream, the code and the text of GOAWAY.
    goaway: Option<(u32, u32, String)>,
    resets: usize,
}

async fn serve(io: DuplexStream) -> Outcome {
    let mut outcome =
        Outcome { handshake: None, requests: 0, errors: Vec::new(), has_client_closed: true, goaway: None, resets: 0 };
    let options = Http2Options::default();
    let shaken =
        ServerConnection::handshake(conn(io), Bytes::new(), &options, Stream, LIMIT, &stats(), Counting::Off).await;
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
        let goaway = raw.seen.iter().find(|frame| frame.kind == GOAWAY);
        let goaway = goaway
            .map(|frame| (frame.code(0), frame.code(4), String::from_utf8_lossy(&frame.payload[8..]).into_owned()));
        (goaway, raw.seen.iter().filter(|frame| frame.kind == RST_STREAM).count())
    };
    let (outcome, (goaway, resets)) = tokio::join!(serve(server), sending);
    Outcome { goaway, resets, ..outcome }
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

/// What a client sends behind its SETTINGS, how many requests come of it, and how the connection ends.
type Case = (&'static str, Vec<u8>, usize, Option<ConnectionError>, Option<(u32, u32, &'static str)>);

const FLOODED: ConnectionError = ConnectionError::Flooded { unread: None };
const FRAMING: ConnectionError = ConnectionError::Protocol { unread: None };
const UNREAD: ConnectionError = ConnectionError::Protocol { unread: Some(Violation::Protocol) };
const MALFORMED: ConnectionError = ConnectionError::Malformed(Violation::InvalidHeaderField);

#[tokio::test(start_paused = true)]
async fn what_came_before_the_end_is_handed_out_wherever_the_bytes_are_cut() {
    let sized = |len: usize| FrameHead { len, kind: DATA, flags: 0, stream: 1 };
    let mut too_long = BytesMut::new();
    put_frame_head(sized(1 << 15), &mut too_long);
    let request = |flags, stream| frame(HEADERS, flags, stream, &block(GET));
    let empty = |kind, stream| frame(kind, 0, stream, b"");
    let ping = || frame(PING, 0, 0, &[7; 8]);
    let unread = Some(Violation::EmptyFramesFlood);
    let cut_off = Some((3, 1, "unexpected non-CONTINUATION frame or stream_id is invalid"));
    let cases: [Case; 18] = [
        ("requests", [get(1), get(3), get(5)].concat(), 3, None, None),
        ("a body", [post(1), frame(DATA, END_STREAM, 1, b"body")].concat(), 1, None, None),
        (
            "a request that is malformed",
            [get(1), frame(HEADERS, 5, 3, &block(&[("T", "v")])), get(5)].concat(),
            2,
            Some(MALFORMED),
            None,
        ),
        ("empty DATA", [post(1), empty(DATA, 1), empty(DATA, 1)].concat(), 1, Some(FLOODED), None),
        (
            "empty CONTINUATION",
            [get(1), request(0, 3), empty(CONTINUATION, 3), empty(CONTINUATION, 3)].concat(),
            1,
            Some(ConnectionError::Flooded { unread }),
            None,
        ),
        (
            "a stray CONTINUATION",
            [get(1), empty(CONTINUATION, 1)].concat(),
            1,
            Some(FRAMING),
            Some((1, 1, "CONTINUATION: unexpected")),
        ),
        ("a section cut off", [get(1), request(0, 3), ping()].concat(), 1, Some(UNREAD), cut_off),
        ("a section cut off by another", [get(1), request(0, 3), get(5)].concat(), 1, Some(UNREAD), cut_off),
        ("a block that is none", [get(1), frame(HEADERS, 5, 3, &[0x80])].concat(), 1, Some(UNREAD), Some((3, 9, ""))),
        ("a section on no stream", [get(1), request(5, 0)].concat(), 1, Some(FRAMING), Some((1, 1, ""))),
        ("a section on an even stream", [get(1), request(5, 2)].concat(), 1, Some(FRAMING), Some((1, 1, ""))),
        (
            "a setting that has no such value",
            [get(1), frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2])].concat(),
            1,
            Some(FRAMING),
            Some((1, 1, "")),
        ),
        (
            "an idle stream's window",
            [get(1), frame(WINDOW_UPDATE, 0, 3, &[0, 0, 0, 1])].concat(),
            1,
            Some(FRAMING),
            Some((1, 1, "")),
        ),
        (
            "an idle stream's end",
            [get(1), frame(RST_STREAM, 0, 3, &[0, 0, 0, 8])].concat(),
            1,
            Some(FRAMING),
            Some((1, 1, "")),
        ),
        (
            "a frame that is too long",
            [&get(1)[..], &too_long].concat(),
            1,
            Some(FRAMING),
            Some((1, 6, "too large frame size")),
        ),
        (
            "a padded section without padding",
            [get(1), frame(HEADERS, 13, 3, b"\x09")].concat(),
            1,
            Some(FRAMING),
            Some((1, 1, "HEADERS: invalid padding")),
        ),
        (
            "a section without room for its priority",
            [get(1), frame(HEADERS, 0x25, 3, b"\0\0")].concat(),
            1,
            Some(FRAMING),
            Some((1, 6, "")),
        ),
        (
            "PRIORITY of another length on a stream that was not opened",
            [get(1), frame(PRIORITY, 0, 7, &[0; 4])].concat(),
            1,
            Some(FRAMING),
            Some((1, 6, "")),
        ),
    ];
    for (name, bytes, requests, error, goaway) in cases {
        let bytes = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &bytes].concat();
        let whole = outcome(&bytes, b"").await;
        assert_eq!((whole.handshake, whole.requests, whole.errors.first()), (None, requests, error.as_ref()), "{name}");
        let received = whole.goaway.as_ref().map(|(last, code, text)| (*last, *code, text.as_str()));
        assert_eq!(received.filter(|(_, code, _)| *code != 0), goaway, "{name}");
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
    assert_eq!((came.requests, came.errors), (1, vec![UNREAD]));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_settings_frame_is_refused_wherever_it_is_cut() {
    let bytes = [PREFACE, &frame(PING, 0, 0, &[7; 8])].concat();
    for cut in 0..bytes.len() {
        let (first, last) = bytes.split_at(cut);
        let came = outcome(first, last).await;
        assert_eq!((came.errors, came.goaway), (vec![FRAMING], Some((0, 1, "SETTINGS expected".to_owned()))), "{cut}");
    }
}
