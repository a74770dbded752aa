//! RFC 9113 5.1 to 5.3: the life of a stream, its number, how many there may be, and what is left of priorities.

use super::frame::{
    CANCEL, CONTINUATION, END_HEADERS, END_STREAM, INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, NONE, PRIORITISED,
    PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED, WHOLE, continuation, data, frame, get, headers, long_field, ping,
    priority, priority_fields, rst_stream, settings, window_update,
};
use super::peer::Expect;
use super::{Case, STREAMS_MAX, Step, case, steps};

const OPAQUE: [u8; 8] = [7; 8];

pub(crate) fn cases() -> Vec<Case> {
    [idle(), half_closed(), reset(), closed(), identifiers(), concurrency(), priorities()]
        .into_iter()
        .flatten()
        .collect()
}

fn idle() -> Vec<Case> {
    let protocol_error = Expect::ConnectionError(&[PROTOCOL_ERROR]);
    vec![
        // 6.1 asks for a stream error of STREAM_CLOSED, 5.1 for this.
        case(
            "5.1",
            "idle: DATA ends the connection",
            [data(1, END_STREAM, b"test")],
            Expect::StreamError(1, &[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
        case("5.1", "idle: RST_STREAM ends the connection", [rst_stream(1, CANCEL)], protocol_error.clone()),
        case("5.1", "idle: WINDOW_UPDATE ends the connection", [window_update(1, 100)], protocol_error.clone()),
        case("5.1", "idle: CONTINUATION ends the connection", [continuation(1, END_HEADERS, &get())], protocol_error),
        case("5.1", "idle: PRIORITY is taken", [priority(1, 0, 255), ping(NONE, &OPAQUE)], Expect::PingAck(OPAQUE)),
    ]
}

/// The client has ended its half; the answer is still to come.
fn half_closed() -> Vec<Case> {
    let no_credit = || settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    let ask = || headers(1, WHOLE, &get());
    vec![
        case(
            "5.1",
            "half-closed: DATA is an error",
            [ask(), data(1, END_STREAM, b"test")],
            Expect::StreamError(1, &[STREAM_CLOSED]),
        ),
        case("5.1", "half-closed: HEADERS are an error", [ask(), ask()], Expect::StreamError(1, &[STREAM_CLOSED])),
        case(
            "5.1",
            "half-closed: CONTINUATION is an error",
            [ask(), continuation(1, END_HEADERS, &get())],
            Expect::StreamError(1, &[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        case(
            "5.1",
            "half-closed: WINDOW_UPDATE is taken",
            [no_credit(), ask(), window_update(1, 1)],
            Expect::DataOf(1, 1),
        ),
        case(
            "5.1",
            "half-closed: PRIORITY is taken",
            [no_credit(), ask(), priority(1, 0, 255), window_update(1, 1)],
            Expect::DataOf(1, 1),
        ),
        case(
            "5.1",
            "half-closed: RST_STREAM is taken",
            [ask(), rst_stream(1, CANCEL), ping(NONE, &OPAQUE)],
            Expect::PingAckOrClosed(OPAQUE),
        ),
    ]
}

/// The client has reset the stream.
fn reset() -> Vec<Case> {
    let begin_and_reset = || [headers(1, END_HEADERS, &get()), rst_stream(1, CANCEL)].concat();
    vec![
        case(
            "5.1",
            "reset: DATA is an error",
            [begin_and_reset(), data(1, END_STREAM, b"test")],
            Expect::StreamError(1, &[STREAM_CLOSED]),
        ),
        case(
            "5.1",
            "reset: HEADERS are an error",
            [begin_and_reset(), headers(1, WHOLE, &get())],
            Expect::StreamError(1, &[STREAM_CLOSED]),
        ),
        case(
            "5.1",
            "reset: CONTINUATION is an error",
            [begin_and_reset(), continuation(1, END_HEADERS, &long_field(10))],
            Expect::StreamError(1, &[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
    ]
}

/// Both halves have ended.
fn closed() -> Vec<Case> {
    let after_the_answer = |section, name, sent: Vec<u8>, expected| {
        let ask = Step::Send(headers(1, WHOLE, &get()));
        steps(section, name, vec![ask, Step::Await(Expect::AnswerEnds(1)), Step::Send(sent), Step::Await(expected)])
    };
    vec![
        after_the_answer(
            "5.1",
            "closed: DATA is an error",
            data(1, END_STREAM, b"test"),
            Expect::StreamError(1, &[STREAM_CLOSED]),
        ),
        after_the_answer(
            "5.1",
            "closed: HEADERS end the connection",
            headers(1, WHOLE, &get()),
            Expect::ConnectionError(&[STREAM_CLOSED]),
        ),
        after_the_answer(
            "5.1",
            "closed: CONTINUATION ends the connection",
            continuation(1, END_HEADERS, &long_field(10)),
            Expect::ConnectionError(&[STREAM_CLOSED, PROTOCOL_ERROR]),
        ),
        after_the_answer(
            "5.1",
            "closed: PRIORITY is taken",
            [priority(1, 0, 255), ping(NONE, &OPAQUE)].concat(),
            Expect::PingAck(OPAQUE),
        ),
        after_the_answer(
            "5.1",
            "closed: WINDOW_UPDATE and RST_STREAM that were under way are taken",
            [window_update(1, 1), rst_stream(1, CANCEL), ping(NONE, &OPAQUE)].concat(),
            Expect::PingAck(OPAQUE),
        ),
    ]
}

fn identifiers() -> Vec<Case> {
    vec![
        case(
            "5.1.1",
            "an even stream ends the connection",
            [headers(2, WHOLE, &get())],
            Expect::ConnectionError(&[PROTOCOL_ERROR]),
        ),
        case(
            "5.1.1",
            "a stream below one that has been opened ends the connection",
            [headers(5, WHOLE, &get()), headers(3, WHOLE, &get())],
            Expect::ConnectionError(&[PROTOCOL_ERROR, STREAM_CLOSED]),
        ),
    ]
}

fn concurrency() -> Vec<Case> {
    let too_many = 1 + 2 * STREAMS_MAX;
    // Without credit no stream ends.
    let mut sent = settings(&[(INITIAL_WINDOW_SIZE, 0)]);
    for stream in (1..=too_many).step_by(2) {
        sent.extend(headers(stream, WHOLE, &get()));
    }
    vec![
        case(
            "5.1.2",
            "a stream above SETTINGS_MAX_CONCURRENT_STREAMS is refused",
            [sent],
            Expect::StreamError(too_many, &[PROTOCOL_ERROR, REFUSED_STREAM]),
        ),
        case(
            "5.1.2",
            "the client's own limit does not concern its requests",
            [settings(&[(MAX_CONCURRENT_STREAMS, 0)]), headers(1, WHOLE, &get())],
            Expect::Answer(1),
        ),
    ]
}

/// Deprecated, but still parsed (RFC 9113 5.3.2).
fn priorities() -> Vec<Case> {
    let of_itself = [priority_fields(1, 255), get()].concat();
    vec![
        case(
            "5.3.1",
            "HEADERS that depend on their own stream are an error",
            [headers(1, WHOLE | PRIORITISED, &of_itself)],
            Expect::StreamError(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "5.3.1",
            "PRIORITY that depends on its own stream is an error",
            [priority(1, 1, 255)],
            Expect::StreamError(1, &[PROTOCOL_ERROR]),
        ),
        case(
            "5.3.2",
            "CONTINUATION does not take the fields of a priority",
            [headers(1, END_STREAM, &get()), frame(CONTINUATION, END_HEADERS | PRIORITISED, 1, &long_field(3))],
            Expect::Answer(1),
        ),
    ]
}
