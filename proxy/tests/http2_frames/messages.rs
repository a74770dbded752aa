//! RFC 9113 8: what makes a request malformed. Each is a stream error; the proxy may give up the connection instead, as Envoy does.

use super::frame::{END_HEADERS, END_STREAM, NONE, PROTOCOL_ERROR, WHOLE, block, data, get, headers, post, with};
use super::peer::Expect;
use super::{Case, case};

const METHOD: (&str, &str) = (":method", "GET");
const SCHEME: (&str, &str) = (":scheme", "http");
const PATH: (&str, &str) = (":path", "/");
const AUTHORITY: (&str, &str) = (":authority", "here");
const MALFORMED: Expect = Expect::StreamError(1, &[PROTOCOL_ERROR]);

pub(crate) fn cases() -> Vec<Case> {
    [framing(), names_and_values(), connection_fields(), pseudo_fields(), request_fields(), lengths()]
        .into_iter()
        .flatten()
        .collect()
}

/// A request without a body, with one more field.
fn with_field(section: &'static str, name: &'static str, field: (&str, &str), expected: Expect) -> Case {
    case(section, name, [headers(1, WHOLE, &with(get(), &[field]))], expected)
}

/// A request of these fields alone.
fn of_fields(section: &'static str, name: &'static str, fields: &[(&str, &str)], expected: Expect) -> Case {
    case(section, name, [headers(1, WHOLE, &block(fields))], expected)
}

fn framing() -> Vec<Case> {
    let trailers = block(&[("x-test", "ok")]);
    vec![
        case(
            "8.1",
            "a second HEADERS without END_STREAM",
            [headers(1, END_HEADERS, &post()), data(1, NONE, b"test"), headers(1, END_HEADERS, &trailers)],
            MALFORMED,
        ),
        case(
            "8.1",
            "a pseudo-field in trailers",
            [headers(1, END_HEADERS, &post()), data(1, NONE, b"test"), headers(1, WHOLE, &block(&[METHOD]))],
            MALFORMED,
        ),
        case(
            "8.1",
            "a pseudo-field in trailers that do not end the stream",
            [headers(1, END_HEADERS, &post()), data(1, NONE, b"test"), headers(1, END_HEADERS, &block(&[METHOD]))],
            MALFORMED,
        ),
        case(
            "8.1",
            "a connection's field in trailers",
            [
                headers(1, END_HEADERS, &post()),
                data(1, NONE, b"test"),
                headers(1, WHOLE, &block(&[("transfer-encoding", "chunked")])),
            ],
            MALFORMED,
        ),
    ]
}

fn names_and_values() -> Vec<Case> {
    vec![
        with_field("8.2", "a name in capitals", ("X-TEST", "ok"), MALFORMED),
        with_field("8.2.1", "an empty name", ("", "ok"), MALFORMED),
        with_field("8.2.1", "a space in a name", ("x test", "ok"), MALFORMED),
        with_field("8.2.1", "a colon in a name", ("x:test", "ok"), MALFORMED),
        with_field("8.2.1", "a NUL in a value", ("x-test", "o\0k"), MALFORMED),
        with_field("8.2.1", "a line break in a value", ("x-test", "ok\r\nx-other: smuggled"), MALFORMED),
        with_field("8.2.1", "a line feed in a path", (":path", "/\n"), MALFORMED),
    ]
}

fn connection_fields() -> Vec<Case> {
    vec![
        with_field("8.2.2", "connection", ("connection", "keep-alive"), MALFORMED),
        with_field("8.2.2", "keep-alive", ("keep-alive", "timeout=5"), MALFORMED),
        with_field("8.2.2", "proxy-connection", ("proxy-connection", "keep-alive"), MALFORMED),
        with_field("8.2.2", "transfer-encoding", ("transfer-encoding", "chunked"), MALFORMED),
        with_field("8.2.2", "upgrade", ("upgrade", "websocket"), MALFORMED),
        with_field("8.2.2", "te with more than trailers", ("te", "trailers, deflate"), MALFORMED),
        with_field("8.2.2", "te with trailers is no error", ("te", "trailers"), Expect::Answer(1)),
    ]
}

fn pseudo_fields() -> Vec<Case> {
    vec![
        with_field("8.3", "an unknown pseudo-field", (":test", "ok"), MALFORMED),
        with_field("8.3", "a response's pseudo-field", (":status", "200"), MALFORMED),
        case(
            "8.3",
            "a pseudo-field after a regular one",
            [headers(1, WHOLE, &[block(&[("x-test", "ok")]), get()].concat())],
            MALFORMED,
        ),
    ]
}

fn request_fields() -> Vec<Case> {
    vec![
        of_fields("8.3.1", "an empty :path", &[METHOD, SCHEME, (":path", ""), AUTHORITY], MALFORMED),
        of_fields("8.3.1", "no :method", &[SCHEME, PATH, AUTHORITY], MALFORMED),
        of_fields("8.3.1", "no :scheme", &[METHOD, PATH, AUTHORITY], MALFORMED),
        of_fields("8.3.1", "no :path", &[METHOD, SCHEME, AUTHORITY], MALFORMED),
        with_field("8.3.1", "two :method", METHOD, MALFORMED),
        with_field("8.3.1", "two :scheme", SCHEME, MALFORMED),
        with_field("8.3.1", "two :path", PATH, MALFORMED),
        with_field("8.3.1", "two :authority", AUTHORITY, MALFORMED),
        of_fields(
            "8.3.1",
            "host in the place of :authority is no error",
            &[METHOD, SCHEME, PATH, ("host", "here")],
            Expect::Answer(1),
        ),
        of_fields("8.5", "CONNECT with a :path", &[(":method", "CONNECT"), SCHEME, PATH, AUTHORITY], MALFORMED),
        of_fields("8.5", "CONNECT without :authority", &[(":method", "CONNECT")], MALFORMED),
    ]
}

/// RFC 9113 8.1.1.
fn lengths() -> Vec<Case> {
    let declared = |length| with(post(), &[("content-length", length)]);
    vec![
        case(
            "8.1.1",
            "content-length is less than the one DATA",
            [headers(1, END_HEADERS, &declared("1")), data(1, END_STREAM, b"test")],
            MALFORMED,
        ),
        case(
            "8.1.1",
            "content-length is less than the sum of DATA",
            [headers(1, END_HEADERS, &declared("1")), data(1, NONE, b"test"), data(1, END_STREAM, b"test")],
            MALFORMED,
        ),
        case(
            "8.1.1",
            "content-length is more than the sum of DATA",
            [headers(1, END_HEADERS, &declared("9")), data(1, NONE, b"test"), data(1, END_STREAM, b"test")],
            MALFORMED,
        ),
        case("8.1.1", "content-length without DATA", [headers(1, WHOLE, &declared("4"))], MALFORMED),
        case("8.1.1", "content-length that is no number", [headers(1, WHOLE, &declared("four"))], MALFORMED),
        case(
            "8.1.1",
            "two content-lengths that differ",
            [headers(1, END_HEADERS, &with(declared("4"), &[("content-length", "5")])), data(1, END_STREAM, b"test")],
            MALFORMED,
        ),
    ]
}
