//! RFC 9113 3.4, 4 and 5.4 to 5.5: how a connection begins, what a frame is, how header blocks travel, what is ignored.

use super::Case;
use super::frame::{
    COMPRESSION_ERROR, END_HEADERS, END_STREAM, FRAME_LEN_MAX, FRAME_SIZE_ERROR, HEADERS, NONE, PING, PREFACE,
    PROTOCOL_ERROR, SETTINGS, UNKNOWN, UNKNOWN_SETTING, WHOLE, continuation, data, frame, get, headers, long_field,
    ping, post, priority, settings,
};
use super::peer::Expect;
use super::{bare, case};

const RESERVED_BIT: u32 = 1 << 31;
const OPAQUE: [u8; 8] = *b"finwait!";

pub(crate) fn cases() -> Vec<Case> {
    [preface(), frame_format(), frame_size(), header_blocks(), errors_and_extensions()].into_iter().flatten().collect()
}

fn preface() -> Vec<Case> {
    let good = [PREFACE, &settings(&[])].concat();
    vec![
        bare("3.4", "the server's first frame is SETTINGS", good, Expect::SettingsFirst),
        // The listener speaks both versions: what is not the preface is taken for HTTP/1, and refused as such.
        bare(
            "3.4",
            "another preface gets no HTTP/2",
            b"INVALID CONNECTION PREFACE\r\n\r\n".to_vec(),
            Expect::TextThenClosed("HTTP/1.1 400 "),
        ),
        bare(
            "3.4",
            "a preface whose second half is wrong gets no HTTP/2",
            b"PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n".to_vec(),
            Expect::Closed,
        ),
        bare(
            "3.4",
            "a first frame other than SETTINGS ends the connection",
            [PREFACE, &headers(1, WHOLE, &get())].concat(),
            Expect::ConnectionError(&[PROTOCOL_ERROR]),
        ),
    ]
}

fn frame_format() -> Vec<Case> {
    vec![
        case(
            "4.1",
            "a frame of an unknown type is ignored",
            [frame(UNKNOWN, NONE, 0, &[0; 8]), ping(NONE, &OPAQUE)],
            Expect::PingAck(OPAQUE),
        ),
        case("4.1", "undefined flags are ignored", [ping(0x16, &OPAQUE)], Expect::PingAck(OPAQUE)),
        case("4.1", "the reserved bit is ignored", [frame(PING, NONE, RESERVED_BIT, &OPAQUE)], Expect::PingAck(OPAQUE)),
        case(
            "4.1",
            "the reserved bit is ignored on a stream",
            [headers(RESERVED_BIT | 1, WHOLE, &get())],
            Expect::Answer(1),
        ),
    ]
}

fn frame_size() -> Vec<Case> {
    let full = vec![b'x'; FRAME_LEN_MAX];
    let over = vec![b'x'; FRAME_LEN_MAX + 1];
    vec![
        case(
            "4.2",
            "DATA of 2^14 bytes is taken",
            [headers(1, END_HEADERS, &post()), data(1, END_STREAM, &full)],
            Expect::Answer(1),
        ),
        case(
            "4.2",
            "DATA longer than SETTINGS_MAX_FRAME_SIZE is an error",
            [headers(1, END_HEADERS, &post()), data(1, END_STREAM, &over)],
            Expect::StreamError(1, &[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.2",
            "HEADERS longer than SETTINGS_MAX_FRAME_SIZE ends the connection",
            [headers(1, WHOLE, &[get(), long_field(FRAME_LEN_MAX)].concat())],
            Expect::ConnectionError(&[FRAME_SIZE_ERROR]),
        ),
        case(
            "4.2",
            "SETTINGS longer than SETTINGS_MAX_FRAME_SIZE ends the connection",
            [frame(SETTINGS, NONE, 0, &over)],
            Expect::ConnectionError(&[FRAME_SIZE_ERROR]),
        ),
    ]
}

fn header_blocks() -> Vec<Case> {
    let protocol_error = Expect::ConnectionError(&[PROTOCOL_ERROR]);
    vec![
        case(
            "4.3",
            "a header block that ends in the middle of a field is a decoding error",
            [headers(1, WHOLE, &[0x40])],
            Expect::ConnectionError(&[COMPRESSION_ERROR]),
        ),
        case(
            "4.3",
            "PRIORITY inside a header block ends the connection",
            [headers(1, NONE, &get()), priority(1, 0, 255), continuation(1, END_HEADERS, &long_field(10))],
            protocol_error.clone(),
        ),
        case(
            "4.3",
            "HEADERS of another stream inside a header block end the connection",
            [headers(1, NONE, &get()), headers(3, WHOLE, &get()), continuation(1, END_HEADERS, &long_field(10))],
            protocol_error,
        ),
    ]
}

fn errors_and_extensions() -> Vec<Case> {
    let misplaced_ping = || frame(PING, NONE, 3, &OPAQUE);
    vec![
        case("5.4.1", "after a connection error the connection is closed", [misplaced_ping()], Expect::Closed),
        case("5.4.1", "a connection error is told with GOAWAY", [misplaced_ping()], Expect::GoAway(PROTOCOL_ERROR)),
        case(
            "5.5",
            "an extension's frame on a stream is ignored",
            [headers(1, END_HEADERS, &post()), frame(UNKNOWN, NONE, 1, &[7; 100]), data(1, END_STREAM, b"test")],
            Expect::Answer(1),
        ),
        case(
            "5.5",
            "an extension's frame inside a header block ends the connection",
            [frame(HEADERS, END_STREAM, 1, &get()), frame(UNKNOWN, NONE, 0, &[0; 8])],
            Expect::ConnectionError(&[PROTOCOL_ERROR]),
        ),
        case(
            "5.5",
            "an extension's setting is ignored",
            [settings(&[(UNKNOWN_SETTING, 7)]), ping(NONE, &OPAQUE)],
            Expect::PingAck(OPAQUE),
        ),
    ]
}
