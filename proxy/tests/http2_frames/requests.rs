//! What every client does: requests of all shapes are answered, and frames in their right places are taken.

use super::frame::{
    CANCEL, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE, NO_ERROR, NONE, PADDED, PRIORITISED, WHOLE, block, continuation, data, frame, get, goaway, headers,
    ping, post, priority, priority_fields, rst_stream, settings, window_update, with,
};
use super::peer::Expect;
use super::{Case, case};

const OPAQUE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const ANSWER: Expect = Expect::Answer(1);
const EXCLUSIVE: u32 = 1 << 31;
/// SETTINGS_HEADER_TABLE_SIZE and SETTINGS_MAX_HEADER_LIST_SIZE.
const HEADER_TABLE_SIZE: u16 = 1;
const MAX_HEADER_LIST_SIZE: u16 = 6;

pub(crate) fn cases() -> Vec<Case> {
    [exchanges(), bodies(), heads(), priorities(), control()].into_iter().flatten().collect()
}

fn exchanges() -> Vec<Case> {
    let head = block(&[(":method", "HEAD"), (":scheme", "http"), (":path", "/"), (":authority", "here")]);
    let trailers = block(&[("x-test", "ok")]);
    vec![
        case("8.1", "GET is answered", [headers(1, WHOLE, &get())], ANSWER),
        case("8.1", "HEAD is answered, without a body", [headers(1, WHOLE, &head)], Expect::AnswerEnds(1)),
        case("8.1", "POST is answered", [headers(1, END_HEADERS, &post()), data(1, END_STREAM, b"test")], ANSWER),
        case(
            "8.1",
            "POST with trailers is answered",
            [
                headers(1, END_HEADERS, &with(post(), &[("trailer", "x-test")])),
                data(1, NONE, b"test"),
                headers(1, WHOLE, &trailers),
            ],
            ANSWER,
        ),
        case(
            "8.1.1",
            "content-length that is right is answered",
            [
                headers(1, END_HEADERS, &with(post(), &[("content-length", "8")])),
                data(1, NONE, b"test"),
                data(1, END_STREAM, b"test"),
            ],
            ANSWER,
        ),
        case(
            "5.1.1",
            "numbers may be left out",
            [headers(1, WHOLE, &get()), headers(77, WHOLE, &get())],
            Expect::Answer(77),
        ),
    ]
}

fn bodies() -> Vec<Case> {
    let ask = || headers(1, END_HEADERS, &post());
    vec![
        case("6.1", "one DATA is taken", [ask(), data(1, END_STREAM, b"test")], ANSWER),
        case(
            "6.1",
            "more than one DATA is taken",
            [ask(), data(1, NONE, b"test"), data(1, END_STREAM, b"test")],
            ANSWER,
        ),
        case("6.1", "an empty DATA ends a stream", [ask(), data(1, NONE, b"test"), data(1, END_STREAM, b"")], ANSWER),
        case(
            "6.1",
            "padded DATA is taken",
            [ask(), frame(DATA, END_STREAM | PADDED, 1, b"\x05test\0\0\0\0\0")],
            ANSWER,
        ),
    ]
}

fn heads() -> Vec<Case> {
    let block = get();
    let (begin, rest) = block.split_at(5);
    let (middle, end) = rest.split_at(5);
    let padded = [&[8][..], &block, &[0; 8]].concat();
    let with_priority = [priority_fields(0, 255), block.clone()].concat();
    vec![
        case("6.2", "HEADERS are taken", [headers(1, WHOLE, &block)], ANSWER),
        case("6.2", "padded HEADERS are taken", [frame(HEADERS, WHOLE | PADDED, 1, &padded)], ANSWER),
        case("6.2", "HEADERS with priority are taken", [headers(1, WHOLE | PRIORITISED, &with_priority)], ANSWER),
        case(
            "6.10",
            "one CONTINUATION is taken",
            [headers(1, END_STREAM, begin), continuation(1, END_HEADERS, rest)],
            ANSWER,
        ),
        case(
            "6.10",
            "more than one CONTINUATION is taken",
            [headers(1, END_STREAM, begin), continuation(1, NONE, middle), continuation(1, END_HEADERS, end)],
            ANSWER,
        ),
    ]
}

fn priorities() -> Vec<Case> {
    let ask = || headers(1, WHOLE, &get());
    vec![
        case("6.3", "PRIORITY of weight 1 is taken", [priority(1, 0, 0), ask()], ANSWER),
        case("6.3", "PRIORITY of weight 256 is taken", [priority(1, 0, 255), ask()], ANSWER),
        case("6.3", "PRIORITY with a dependency is taken", [priority(3, 1, 0), ask()], ANSWER),
        case("6.3", "exclusive PRIORITY is taken", [priority(1, EXCLUSIVE, 0), ask()], ANSWER),
        case("6.3", "PRIORITY of a later stream does not open it", [priority(3, 0, 255), ask()], ANSWER),
    ]
}

fn control() -> Vec<Case> {
    let all = settings(&[
        (HEADER_TABLE_SIZE, 4096),
        (ENABLE_PUSH, 1),
        (MAX_CONCURRENT_STREAMS, 100),
        (INITIAL_WINDOW_SIZE, 65_535),
        (MAX_FRAME_SIZE, 16_384),
        (MAX_HEADER_LIST_SIZE, 100),
    ]);
    vec![
        case(
            "6.4",
            "RST_STREAM is taken",
            [headers(1, END_HEADERS, &get()), rst_stream(1, CANCEL), ping(NONE, &OPAQUE)],
            Expect::PingAck(OPAQUE),
        ),
        case("6.5", "every setting is taken", [all], Expect::SettingsAck),
        case("6.7", "PING is taken", [ping(NONE, &OPAQUE)], Expect::PingAck(OPAQUE)),
        case("6.8", "GOAWAY is taken", [goaway(0, NO_ERROR), ping(NONE, &OPAQUE)], Expect::PingAckOrClosed(OPAQUE)),
        case(
            "6.9",
            "WINDOW_UPDATE of the connection is taken",
            [window_update(0, 1), ping(NONE, &OPAQUE)],
            Expect::PingAck(OPAQUE),
        ),
        case("6.9", "WINDOW_UPDATE of a stream is taken", [headers(1, WHOLE, &get()), window_update(1, 1)], ANSWER),
    ]
}
