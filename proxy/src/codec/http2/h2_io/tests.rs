//! What h2 is shown of frames, wherever they are cut.

use proptest::prelude::*;

use super::frame_reader::{FrameReader, ReadEnd};
use super::*;
use crate::codec::http2::flood::Flood;
use crate::codec::http2::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, IGNORED, PRIORITY, SETTINGS, WINDOW_UPDATE,
    put_frame_head,
};
use crate::codec::http2::hpack::write_literal;
use crate::codec::http2::tests::{GET, LIMIT, ResetByPeer, address, block, stats};
use crate::net::testing::TakesAll;

/// What became of a peer's bytes.
#[derive(Debug, PartialEq)]
struct Outcome {
    shown: Vec<u8>,
    ended: Option<ReadEnd>,
    goaway_last: Option<u32>,
    credit: u32,
    resets: u64,
    is_between_frames: bool,
}

/// Takes `bytes` in pieces of these lengths, over and over.
fn taken(role: Role, bytes: &[u8], pieces: &[usize]) -> Outcome {
    let stats = stats();
    let state = ConnectionState::new(Conn::new(Box::new(TakesAll(ResetByPeer)), address(), address()), 0, &stats);
    let mut frame_reader = FrameReader::new(role, MessageErrorScope::Stream, &Http2Options::default(), LIMIT);
    let (mut shown, mut rest) = (Vec::new(), bytes);
    for len in pieces.iter().cycle() {
        if rest.is_empty() || frame_reader.ended().is_some() {
            break;
        }
        let piece;
        (piece, rest) = rest.split_at(rest.len().min(*len));
        let mut piece = piece.to_vec();
        let passed = frame_reader.take(&mut piece, &state);
        shown.extend_from_slice(&piece[..passed]);
        shown.extend_from_slice(&mem::take(frame_reader.ready()));
    }
    Outcome {
        shown,
        ended: frame_reader.ended(),
        goaway_last: state.goaway_last.get(),
        credit: state.credit.get(),
        resets: stats.rx_reset.value(),
        is_between_frames: frame_reader.is_between_frames(),
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = BytesMut::new();
    put_frame_head(FrameHead { len: payload.len(), kind, flags, stream }, &mut frame);
    frame.extend_from_slice(payload);
    frame.to_vec()
}

fn begin(role: Role) -> Vec<u8> {
    let preface = if role == Role::Server { PREFACE } else { &[] };
    [preface, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// Frames of every type with any flags, and sections that are sections.
fn frames() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let payload = || prop::collection::vec(any::<u8>(), 0..40);
    let any_frame = (0_u8..12, any::<u8>(), 0_u32..8, payload())
        .prop_map(|(kind, flags, stream, payload)| frame(kind, flags, stream, &payload));
    let request = (0_u32..8, any::<bool>(), 0_usize..4).prop_map(|(stream, is_end, pieces)| {
        let flags = if is_end { END_STREAM } else { 0 };
        let coded = block(GET);
        let mut pieces: Vec<_> = coded.chunks(coded.len().div_ceil(pieces + 1)).collect();
        let last = pieces.pop().unwrap();
        let mut frames = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            frames.extend(frame(if at == 0 { HEADERS } else { CONTINUATION }, flags, 2 * stream + 1, piece));
        }
        let kind = if pieces.is_empty() { HEADERS } else { CONTINUATION };
        frames.extend(frame(kind, flags | END_HEADERS, 2 * stream + 1, last));
        frames
    });
    prop::collection::vec(prop_oneof![any_frame, request], 1..12)
}

proptest! {
    #[test]
    fn what_h2_is_shown_does_not_depend_on_where_the_bytes_are_cut(
        frames in frames(),
        pieces in prop::collection::vec(1_usize..50, 1..20),
        role in prop_oneof![Just(Role::Client), Just(Role::Server)],
    ) {
        let bytes = [begin(role), frames.concat()].concat();
        prop_assert_eq!(taken(role, &bytes, &pieces), taken(role, &bytes, &[bytes.len()]));
    }

    #[test]
    fn any_bytes_can_be_taken(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let first = FrameHead::parse(&bytes).map(|head| head.kind == SETTINGS && head.flags & ACK == 0);
        let ended = taken(Role::Client, &bytes, &[7]).ended;
        prop_assert_eq!(ended == Some(ReadEnd::NotSettings), first == Some(false));
    }
}

#[test]
fn a_clients_goaway_is_hidden_wherever_it_is_cut() {
    let goaway = frame(GOAWAY, 0, 0, &[0; 8]);
    let bytes = [begin(Role::Server), goaway.clone(), frame(PRIORITY, 0, 1, &[0; 5]), goaway].concat();
    let at = begin(Role::Server).len();
    for cut in 1..bytes.len() {
        let outcome = taken(Role::Server, &bytes, &[cut, bytes.len()]);
        let changed: Vec<_> = (0..bytes.len()).filter(|at| outcome.shown[*at] != bytes[*at]).collect();
        assert_eq!((changed, outcome.shown[at + 3]), (vec![at + 3, at + 17 + 14 + 3], IGNORED), "{cut}");
        assert_eq!(outcome.goaway_last, None, "{cut}: it names pushed streams");
    }
}

#[test]
fn the_second_goaway_of_a_server_counts_once_it_has_come() {
    let [first, second] = [7_u32, 5].map(|last| frame(GOAWAY, 0, 0, &[last.to_be_bytes(), [0; 4]].concat()));
    for cut in 0..second.len() {
        let bytes = [begin(Role::Client), first.clone(), second[..cut].to_vec()].concat();
        let last = if cut < FRAME_HEAD_LEN + 4 { 7 } else { 5 };
        assert_eq!(taken(Role::Client, &bytes, &[3]).goaway_last, Some(last), "{cut}");
    }
}

#[test]
fn a_goaway_on_a_stream_and_a_short_one_are_shown_to_no_one() {
    for role in [Role::Client, Role::Server] {
        let bytes = [begin(role), frame(GOAWAY, 0, 1, &[0; 8])].concat();
        let outcome = taken(role, &bytes, &[bytes.len()]);
        assert_eq!((outcome.shown, outcome.ended, outcome.goaway_last), (begin(role), Some(ReadEnd::FrameError), None));
        let bytes = [begin(role), frame(GOAWAY, 0, 0, &[0; 7])].concat();
        let outcome = taken(role, &bytes, &[bytes.len()]);
        assert_eq!((outcome.shown, outcome.ended, outcome.goaway_last), (begin(role), Some(ReadEnd::FrameError), None));
    }
}

#[test]
fn a_section_in_more_frames_than_h2_takes_is_put_together() {
    let mut coded = BytesMut::from(&block(GET)[..]);
    write_literal(b"x", &[b'v'; 600], &mut coded);
    for (continuations, is_put_together, ended) in [
        (5, false, None),
        (6, true, None),
        (512, true, None),
        (513, true, Some(ReadEnd::Flooded { flood: Flood::Continuations, stream: 1 })),
    ] {
        let (first, rest) = coded.split_at(coded.len() - continuations);
        let mut bytes = [begin(Role::Server), frame(HEADERS, END_STREAM, 1, first)].concat();
        for (at, byte) in rest.iter().enumerate() {
            let flags = if at + 1 == continuations { END_HEADERS } else { 0 };
            bytes.extend(frame(CONTINUATION, flags, 1, &[*byte]));
        }
        let outcome = taken(Role::Server, &bytes, &[bytes.len()]);
        assert_eq!(outcome.ended, ended, "{continuations}");
        let shown = kinds(&outcome.shown[PREFACE.len()..]).len();
        let expected = if ended.is_some() {
            1
        } else if is_put_together {
            2
        } else {
            2 + continuations
        };
        assert_eq!(shown, expected, "{continuations}");
    }
}

fn kinds(mut bytes: &[u8]) -> Vec<u8> {
    let mut kinds = Vec::new();
    while let Some(head) = FrameHead::parse(bytes) {
        kinds.push(head.kind);
        bytes = &bytes[frame_len(bytes)..];
    }
    kinds
}

/// A stream that we have reset, by the frame reader's record.
#[test]
fn late_frames_are_dropped_and_counted_like_any_others() {
    for (kind, payload, is_shown) in
        [(DATA, vec![7; 20], false), (HEADERS, block(GET), false), (WINDOW_UPDATE, vec![0, 0, 0, 1], true)]
    {
        let state = ConnectionState::new(Conn::new(Box::new(TakesAll(ResetByPeer)), address(), address()), 0, &stats());
        let mut frame_reader =
            FrameReader::new(Role::Server, MessageErrorScope::Stream, &Http2Options::default(), LIMIT);
        let mut opened = [begin(Role::Server), frame(HEADERS, END_HEADERS, 1, &block(GET))].concat();
        assert_eq!(frame_reader.take(&mut opened, &state), opened.len());
        let reset = frame(RST_STREAM, 0, 1, &[0; 4]);
        frame_reader.streams.note_sent(FrameHead::parse(&reset).unwrap());
        let before = state.read_budget.frames();
        for _ in 0..3 {
            let mut late = frame(kind, END_HEADERS, 1, &payload);
            assert_eq!(frame_reader.take(&mut late, &state) > 0, is_shown, "type {kind}");
            assert!(frame_reader.ready().is_empty(), "type {kind}");
        }
        assert_eq!(state.read_budget.frames() - before, 3, "type {kind}");
    }
}
