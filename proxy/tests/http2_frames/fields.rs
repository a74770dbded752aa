//! RFC 7541: how fields are written, which ways are right, and which are decoding errors (RFC 9113 4.3).

use super::frame::{COMPRESSION_ERROR, WHOLE, get, headers, integer, post};
use super::peer::Expect;
use super::{Case, Step, case, steps};

const DECODING_ERROR: Expect = Expect::ConnectionError(&[COMPRESSION_ERROR]);
/// `user-agent` in the static table.
const USER_AGENT: usize = 58;
/// The last of the static table (RFC 7541 appendix A).
const STATIC_LAST: usize = 61;
/// SETTINGS_HEADER_TABLE_SIZE where it is not given.
const TABLE_SIZE_MAX: usize = 4096;

// `x-test: test` in Huffman's code (RFC 7541 appendix B).
const X_TEST: &[u8] = b"\x85\xf2\xb2\x4a\x84\xff";
const TEST: &[u8] = b"\x83\x49\x50\x9f";
const PLAIN_X_TEST: &[u8] = b"\x06x-test";
const PLAIN_TEST: &[u8] = b"\x04test";

pub(crate) fn cases() -> Vec<Case> {
    [indexed(), literals(), sizes(), wrong()].into_iter().flatten().collect()
}

/// A request with one more field, written so.
fn with_field(section: &'static str, name: &'static str, field: &[&[u8]], expected: Expect) -> Case {
    case(section, name, [headers(1, WHOLE, &[get(), field.concat()].concat())], expected)
}

fn indexed() -> Vec<Case> {
    let index = |at| integer(0x80, 7, at);
    let inserted = [&[0x40][..], PLAIN_X_TEST, PLAIN_TEST].concat();
    vec![
        with_field("HPACK 6.1", "an index into the static table", &[&index(USER_AGENT)], Expect::Answer(1)),
        with_field(
            "HPACK 6.1",
            "an index into the dynamic table",
            &[&inserted, &index(STATIC_LAST + 1)],
            Expect::Answer(1),
        ),
        steps(
            "HPACK 2.3.2",
            "the dynamic table outlives its request",
            vec![
                Step::Send(headers(1, WHOLE, &[get(), inserted].concat())),
                Step::Await(Expect::Answer(1)),
                Step::Send(headers(3, WHOLE, &[get(), index(STATIC_LAST + 1)].concat())),
                Step::Await(Expect::Answer(3)),
            ],
        ),
    ]
}

/// Each of the three representations, with its name from the static table, plain, and in Huffman's code.
fn literals() -> Vec<Case> {
    let user_agent = |pattern, bits| integer(pattern, bits, USER_AGENT);
    let answer = Expect::Answer(1);
    let plain = |pattern: u8| [&[pattern][..], PLAIN_X_TEST, PLAIN_TEST].concat();
    let coded = |pattern: u8| [&[pattern][..], X_TEST, TEST].concat();
    vec![
        with_field("HPACK 6.2.1", "indexing, indexed name", &[&user_agent(0x40, 6), PLAIN_TEST], answer.clone()),
        with_field("HPACK 6.2.1", "indexing, indexed name, Huffman", &[&user_agent(0x40, 6), TEST], answer.clone()),
        with_field("HPACK 6.2.1", "indexing, new name", &[&plain(0x40)], answer.clone()),
        with_field("HPACK 6.2.1", "indexing, new name, Huffman", &[&coded(0x40)], answer.clone()),
        with_field("HPACK 6.2.2", "no indexing, indexed name", &[&user_agent(0, 4), PLAIN_TEST], answer.clone()),
        with_field("HPACK 6.2.2", "no indexing, indexed name, Huffman", &[&user_agent(0, 4), TEST], answer.clone()),
        with_field("HPACK 6.2.2", "no indexing, new name", &[&plain(0)], answer.clone()),
        with_field("HPACK 6.2.2", "no indexing, new name, Huffman", &[&coded(0)], answer.clone()),
        with_field("HPACK 6.2.3", "never indexed, indexed name", &[&user_agent(0x10, 4), PLAIN_TEST], answer.clone()),
        with_field(
            "HPACK 6.2.3",
            "never indexed, indexed name, Huffman",
            &[&user_agent(0x10, 4), TEST],
            answer.clone(),
        ),
        with_field("HPACK 6.2.3", "never indexed, new name", &[&plain(0x10)], answer.clone()),
        with_field("HPACK 6.2.3", "never indexed, new name, Huffman", &[&coded(0x10)], answer),
    ]
}

/// RFC 7541 4.2 and 6.3: updates of the dynamic table's size come first, and stay within the setting.
fn sizes() -> Vec<Case> {
    let update = |size| integer(0x20, 5, size);
    let after = |updates: &[Vec<u8>]| headers(1, WHOLE, &[updates.concat(), get()].concat());
    vec![
        case("HPACK 6.3", "one size update", [after(&[update(0)])], Expect::Answer(1)),
        case("HPACK 6.3", "two size updates", [after(&[update(0), update(TABLE_SIZE_MAX)])], Expect::Answer(1)),
        case("HPACK 6.3", "a size update above the setting", [after(&[update(TABLE_SIZE_MAX + 1)])], DECODING_ERROR),
        with_field("HPACK 4.2", "a size update after a field", &[&update(1)], DECODING_ERROR),
    ]
}

fn wrong() -> Vec<Case> {
    let too_long = [&[0x80][..], &[0xff; 10]].concat();
    vec![
        with_field("HPACK 2.3.3", "an index past both tables", &[&integer(0x80, 7, 70)], DECODING_ERROR),
        with_field("HPACK 2.3.3", "a name's index past both tables", &[&integer(0x40, 6, 70), b"\0"], DECODING_ERROR),
        with_field("HPACK 6.1", "index 0", &[b"\x80"], DECODING_ERROR),
        with_field("HPACK 5.1", "an integer that does not end", &[b"\xff", &too_long], DECODING_ERROR),
        with_field("HPACK 5.2", "a string longer than its block", &[b"\0\x06x-test\x7f", b"short"], DECODING_ERROR),
        with_field(
            "HPACK 5.2",
            "Huffman's code padded with more than 7 bits",
            &[b"\0", X_TEST, b"\x84\x49\x50\x9f\xff"],
            DECODING_ERROR,
        ),
        with_field(
            "HPACK 5.2",
            "Huffman's code padded with zeros",
            &[b"\0", X_TEST, b"\x83\x49\x50\x90"],
            DECODING_ERROR,
        ),
        with_field(
            "HPACK 5.2",
            "Huffman's code of EOS",
            &[b"\0", X_TEST, b"\x87\x49\x51\xff\xff\xff\xfa\x7f"],
            DECODING_ERROR,
        ),
        case(
            "HPACK 5.1",
            "a block that ends inside an integer",
            [headers(1, WHOLE, &[post(), vec![0xff]].concat())],
            DECODING_ERROR,
        ),
    ]
}
