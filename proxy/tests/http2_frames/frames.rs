//! RFC 9113 6 and 7: each type of frame, where it may stand, how long it is, and what its values may be.

use super::frame::{
    ACK, CANCEL, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, GOAWAY, HEADERS,
    INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, NO_ERROR, NONE, PADDED, PING, PRIORITY, PROTOCOL_ERROR, PUSH_PROMISE,
    RST_STREAM, SETTINGS, STREAM_CLOSED, UNKNOWN_ERROR, UNKNOWN_SETTING, WHOLE, WINDOW_MAX, WINDOW_UPDATE,
    continuation, data, frame, get, goaway, headers, long_field, ping, post, priority, rst_stream, settings,
    window_update,
};
use super::peer::Expect;
use super::{Case, Step, case, steps};

const OPAQUE: [u8; 8] = *b"payload!";
const PROTOCOL: Expect = Expect::ConnectionError(&[PROTOCOL_ERROR]);
const FRAME_SIZE: Expect = Expect::ConnectionError(&[FRAME_SIZE_ERROR]);
const FLOW_CONTROL: Expect = Expect::ConnectionError(&[FLOW_CONTROL_ERROR]);

pub(crate) fn cases() -> Vec<Case> {
    let all = [data_frames(), headers_frames(), priority_frames(), resets(), settings_frames(), settings_values()];
    let rest = [settings_order(), push_promises(), pings(), goaways(), window_updates(), windows(), continuations()];
    all.into_iter().chain(rest).chain([error_codes()]).flatten().collect()
}

fn data_frames() -> Vec<Case> {
    vec![
        case("6.1", "DATA on stream 0 ends the connection", [data(0, END_STREAM, b"test")], PROTOCOL),
        case(
            "6.1",
            "DATA on a stream that is not open is an error",
            [headers(1, WHOLE, &post()), data(1, END_STREAM, b"test")],
            Expect::StreamError(1, &[STREAM_CLOSED]),
        ),
        case(
            "6.1",
            "DATA with more padding than payload ends the connection",
            [headers(1, END_HEADERS, &post()), data(1, END_STREAM | PADDED, b"\x06Test")],
            PROTOCOL,
        ),
        case(
            "6.1",
            "padded DATA without room for its pad length ends the connection",
            [headers(1, END_HEADERS, &post()), data(1, END_STREAM | PADDED, b"")],
            Expect::ConnectionError(&[PROTOCOL_ERROR, FRAME_SIZE_ERROR]),
        ),
    ]
}

fn headers_frames() -> Vec<Case> {
    let block = get();
    let more = u8::try_from(block.len() + 1).expect("a short block");
    vec![
        case(
            "6.2",
            "HEADERS without END_HEADERS, then PRIORITY, end the connection",
            [headers(1, NONE, &block), priority(1, 0, 255), continuation(1, END_HEADERS, &long_field(10))],
            PROTOCOL,
        ),
        case(
            "6.2",
            "HEADERS without END_HEADERS, then HEADERS of another stream, end the connection",
            [headers(1, NONE, &block), headers(3, WHOLE, &block), continuation(1, END_HEADERS, &long_field(10))],
            PROTOCOL,
        ),
        case("6.2", "HEADERS on stream 0 end the connection", [headers(0, WHOLE, &block)], PROTOCOL),
        case(
            "6.2",
            "HEADERS with more padding than payload are an error",
            [frame(HEADERS, WHOLE | PADDED, 1, &[&[more], &block[..]].concat())],
            Expect::StreamError(1, &[PROTOCOL_ERROR]),
        ),
    ]
}

fn priority_frames() -> Vec<Case> {
    vec![
        case("6.3", "PRIORITY on stream 0 ends the connection", [priority(0, 0, 255)], PROTOCOL),
        case(
            "6.3",
            "PRIORITY of another length than 5 is an error",
            [headers(1, WHOLE, &get()), frame(PRIORITY, NONE, 1, &[0x80, 0, 0, 1])],
            Expect::StreamError(1, &[FRAME_SIZE_ERROR]),
        ),
    ]
}

fn resets() -> Vec<Case> {
    vec![
        case("6.4", "RST_STREAM on stream 0 ends the connection", [rst_stream(0, CANCEL)], PROTOCOL),
        case("6.4", "RST_STREAM on an idle stream ends the connection", [rst_stream(1, CANCEL)], PROTOCOL),
        case(
            "6.4",
            "RST_STREAM of another length than 4 ends the connection",
            [headers(1, WHOLE, &get()), frame(RST_STREAM, NONE, 1, &[0; 3])],
            FRAME_SIZE,
        ),
    ]
}

fn settings_frames() -> Vec<Case> {
    vec![
        case("6.5", "SETTINGS with ACK and payload end the connection", [frame(SETTINGS, ACK, 0, &[0])], FRAME_SIZE),
        case(
            "6.5",
            "SETTINGS on a stream end the connection",
            [frame(SETTINGS, NONE, 1, &[0, 3, 0, 0, 0, 100])],
            PROTOCOL,
        ),
        case(
            "6.5",
            "SETTINGS of another length than a multiple of 6 end the connection",
            [frame(SETTINGS, NONE, 0, &[0, 3, 0])],
            FRAME_SIZE,
        ),
    ]
}

fn settings_values() -> Vec<Case> {
    vec![
        case("6.5.2", "ENABLE_PUSH of 2 ends the connection", [settings(&[(ENABLE_PUSH, 2)])], PROTOCOL),
        case(
            "6.5.2",
            "INITIAL_WINDOW_SIZE of 2^31 ends the connection",
            [settings(&[(INITIAL_WINDOW_SIZE, WINDOW_MAX + 1)])],
            FLOW_CONTROL,
        ),
        case(
            "6.5.2",
            "MAX_FRAME_SIZE below 2^14 ends the connection",
            [settings(&[(MAX_FRAME_SIZE, 16_383)])],
            PROTOCOL,
        ),
        case("6.5.2", "MAX_FRAME_SIZE of 2^24 ends the connection", [settings(&[(MAX_FRAME_SIZE, 1 << 24)])], PROTOCOL),
        case(
            "6.5.2",
            "an unknown setting is ignored",
            [settings(&[(UNKNOWN_SETTING, 1)]), ping(NONE, &OPAQUE)],
            Expect::PingAck(OPAQUE),
        ),
    ]
}

fn settings_order() -> Vec<Case> {
    vec![
        steps(
            "6.5.3",
            "of two values for one setting the second counts",
            vec![
                Step::Send(settings(&[(INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)])),
                Step::Await(Expect::SettingsAck),
                Step::Send(headers(1, WHOLE, &get())),
                Step::Await(Expect::DataOf(1, 1)),
            ],
        ),
        case("6.5.3", "SETTINGS are acknowledged", [settings(&[(ENABLE_PUSH, 0)])], Expect::SettingsAck),
    ]
}

fn push_promises() -> Vec<Case> {
    let promise = [&3_u32.to_be_bytes()[..], &get()].concat();
    vec![
        case(
            "6.6",
            "PUSH_PROMISE from a client ends the connection",
            [frame(PUSH_PROMISE, END_HEADERS, 1, &promise)],
            PROTOCOL,
        ),
        case(
            "8.4",
            "PUSH_PROMISE on an open stream ends the connection",
            [headers(1, END_HEADERS, &post()), frame(PUSH_PROMISE, END_HEADERS, 1, &promise)],
            PROTOCOL,
        ),
    ]
}

fn pings() -> Vec<Case> {
    vec![
        case("6.7", "PING is answered with its own payload", [ping(NONE, &OPAQUE)], Expect::PingAck(OPAQUE)),
        case(
            "6.7",
            "PING with ACK is not answered",
            [ping(ACK, b"unasked!"), ping(NONE, &OPAQUE)],
            Expect::PingAck(OPAQUE),
        ),
        case("6.7", "PING on a stream ends the connection", [frame(PING, NONE, 1, &OPAQUE)], PROTOCOL),
        case("6.7", "PING of another length than 8 ends the connection", [ping(NONE, &[0; 6])], FRAME_SIZE),
    ]
}

fn goaways() -> Vec<Case> {
    vec![
        case("6.8", "GOAWAY on a stream ends the connection", [goaway(1, NO_ERROR)], PROTOCOL),
        case(
            "6.8",
            "GOAWAY too short for its fields ends the connection",
            [frame(GOAWAY, NONE, 0, &[0; 7])],
            FRAME_SIZE,
        ),
    ]
}

fn window_updates() -> Vec<Case> {
    vec![
        case("6.9", "an increment of 0 for the connection ends it", [window_update(0, 0)], PROTOCOL),
        case(
            "6.9",
            "an increment of 0 for a stream is an error",
            [headers(1, END_HEADERS, &get()), window_update(1, 0)],
            Expect::StreamError(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "6.9",
            "WINDOW_UPDATE of another length than 4 ends the connection",
            [frame(WINDOW_UPDATE, NONE, 0, &[0, 0, 1])],
            FRAME_SIZE,
        ),
    ]
}

fn windows() -> Vec<Case> {
    let ask = || headers(1, WHOLE, &get());
    let window_of = |bytes| Step::Send(settings(&[(INITIAL_WINDOW_SIZE, bytes)]));
    let one_byte = || Step::Await(Expect::DataOf(1, 1));
    let acknowledged = || Step::Await(Expect::SettingsAck);
    let twice_the_most = |stream| [window_update(stream, WINDOW_MAX), window_update(stream, WINDOW_MAX)].concat();
    vec![
        steps(
            "6.9.1",
            "a window of 1 lets one byte pass",
            vec![window_of(1), acknowledged(), Step::Send(ask()), one_byte()],
        ),
        case(
            "6.9.1",
            "the connection's window grows past its limit at once",
            [twice_the_most(0)],
            Expect::GoAway(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.1",
            "the connection's window grows past its limit",
            [headers(1, END_HEADERS, &post()), twice_the_most(0)],
            Expect::GoAway(FLOW_CONTROL_ERROR),
        ),
        case(
            "6.9.1",
            "a stream's window grows past its limit",
            [headers(1, END_HEADERS, &get()), twice_the_most(1)],
            Expect::Reset(1, FLOW_CONTROL_ERROR),
        ),
        steps(
            "6.9.2",
            "a change of INITIAL_WINDOW_SIZE changes the windows of open streams",
            vec![window_of(0), acknowledged(), Step::Send(ask()), window_of(1), one_byte()],
        ),
        steps(
            "6.9.2",
            "a window below zero is kept",
            vec![
                window_of(3),
                acknowledged(),
                Step::Send(ask()),
                Step::Await(Expect::DataOf(1, 3)),
                window_of(2),
                acknowledged(),
                Step::Send(window_update(1, 2)),
                one_byte(),
            ],
        ),
        case(
            "6.9.2",
            "an INITIAL_WINDOW_SIZE that makes a stream's window too large ends the connection",
            [
                headers(1, END_HEADERS, &post()),
                window_update(1, WINDOW_MAX - 65_535),
                settings(&[(INITIAL_WINDOW_SIZE, 65_536)]),
            ],
            FLOW_CONTROL,
        ),
    ]
}

fn continuations() -> Vec<Case> {
    let more = || long_field(10);
    vec![
        case(
            "6.10",
            "any number of CONTINUATION makes one header block",
            [headers(1, END_STREAM, &get()), continuation(1, NONE, &more()), continuation(1, END_HEADERS, &more())],
            Expect::Answer(1),
        ),
        case(
            "6.10",
            "CONTINUATION, then another frame, ends the connection",
            [headers(1, NONE, &post()), continuation(1, NONE, &more()), frame(DATA, END_STREAM, 1, b"test")],
            PROTOCOL,
        ),
        case(
            "6.10",
            "CONTINUATION on stream 0 ends the connection",
            [headers(1, END_STREAM, &get()), continuation(0, END_HEADERS, &more())],
            PROTOCOL,
        ),
        case(
            "6.10",
            "CONTINUATION after HEADERS with END_HEADERS ends the connection",
            [headers(1, WHOLE, &get()), continuation(1, END_HEADERS, &more())],
            PROTOCOL,
        ),
        case(
            "6.10",
            "CONTINUATION after CONTINUATION with END_HEADERS ends the connection",
            [
                headers(1, END_STREAM, &get()),
                continuation(1, END_HEADERS, &more()),
                continuation(1, END_HEADERS, &more()),
            ],
            PROTOCOL,
        ),
        case(
            "6.10",
            "CONTINUATION after DATA ends the connection",
            [headers(1, NONE, &post()), data(1, END_STREAM, b"test"), continuation(1, END_HEADERS, &more())],
            PROTOCOL,
        ),
    ]
}

fn error_codes() -> Vec<Case> {
    vec![
        case(
            "7",
            "GOAWAY with an unknown code is like any other",
            [goaway(0, UNKNOWN_ERROR), ping(NONE, &OPAQUE)],
            Expect::PingAckOrClosed(OPAQUE),
        ),
        case(
            "7",
            "RST_STREAM with an unknown code is like any other",
            [headers(1, END_HEADERS, &post()), rst_stream(1, UNKNOWN_ERROR), ping(NONE, &OPAQUE)],
            Expect::PingAck(OPAQUE),
        ),
    ]
}
