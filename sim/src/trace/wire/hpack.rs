//! HPACK (RFC 7541), decoding only: enough to name the header blocks that crossed a link.
//!
//! h2 keeps its decoder to itself, and a reader independent of the proxy's codec is worth having here.

use std::collections::VecDeque;

/// The largest dynamic table that a header block may set, well above what any host in a simulation announces. Bytes.
const TABLE_BYTES_MAX: usize = 64 * 1024;
/// The fields of one block. A byte may name an entry of the whole table, so a small block could fill the memory. Bytes.
const FIELDS_BYTES_MAX: usize = 1024 * 1024;

/// The decoding state of one direction of a connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    dynamic: VecDeque<(String, String)>,
    bytes: usize,
    bytes_max: usize,
    huffman: Huffman,
}

impl Default for Decoder {
    fn default() -> Self {
        const TABLE_BYTES: usize = 4_096; // SETTINGS_HEADER_TABLE_SIZE's default
        Self { dynamic: VecDeque::new(), bytes: 0, bytes_max: TABLE_BYTES, huffman: Huffman::new() }
    }
}

impl Decoder {
    /// The fields of a whole header block, or nothing if it is malformed or larger than [`FIELDS_BYTES_MAX`].
    pub(crate) fn decode(&mut self, block: &[u8]) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        let mut block = Block(block);
        let mut left = FIELDS_BYTES_MAX;
        while let Some(&first) = block.0.first() {
            // RFC 7541 section 6: the leading ones give the representation.
            let field = if first & 0x80 != 0 {
                let index = block.integer(7)?;
                self.entry(index)?
            } else if first & 0x40 != 0 {
                let field = self.literal(&mut block, 6)?;
                self.insert(field.clone());
                field
            } else if first & 0x20 != 0 {
                self.bytes_max = block.integer(5).filter(|bytes| *bytes <= TABLE_BYTES_MAX)?;
                self.evict();
                continue;
            } else {
                self.literal(&mut block, 4)?
            };
            left = left.checked_sub(cost(&field))?;
            fields.push(field);
        }
        Some(fields)
    }

    fn literal(&self, block: &mut Block<'_>, prefix: u32) -> Option<(String, String)> {
        let name = match block.integer(prefix)? {
            0 => block.string(&self.huffman)?,
            index => self.entry(index)?.0,
        };
        Some((name, block.string(&self.huffman)?))
    }

    fn entry(&self, index: usize) -> Option<(String, String)> {
        let index = index.checked_sub(1)?;
        match STATIC.get(index) {
            Some((name, value)) => Some(((*name).into(), (*value).into())),
            None => self.dynamic.get(index - STATIC.len()).cloned(),
        }
    }

    fn insert(&mut self, field: (String, String)) {
        self.bytes += cost(&field);
        self.dynamic.push_front(field);
        self.evict();
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.dynamic.pop_back()
        {
            self.bytes -= cost(&oldest);
        }
    }
}

/// RFC 7541 section 4.1.
fn cost((name, value): &(String, String)) -> usize {
    name.len() + value.len() + 32
}

/// The part of a header block not read yet.
struct Block<'a>(&'a [u8]);

impl Block<'_> {
    /// Section 5.1. None needs more than 32 bits, so one that goes on past them is malformed.
    fn integer(&mut self, prefix: u32) -> Option<usize> {
        let (&first, mut rest) = self.0.split_first()?;
        let full = (1_usize << prefix) - 1;
        let mut value = usize::from(first) & full;
        if value == full {
            let mut shift = 0;
            loop {
                let (&next, after) = rest.split_first()?;
                rest = after;
                if shift > 28 {
                    return None;
                }
                value = value.checked_add(usize::from(next & 0x7f) << shift)?;
                shift += 7;
                if next & 0x80 == 0 {
                    break;
                }
            }
        }
        self.0 = rest;
        Some(value)
    }

    /// Section 5.2.
    fn string(&mut self, huffman: &Huffman) -> Option<String> {
        let coded = self.0.first()? & 0x80 != 0;
        let len = self.integer(7)?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        let bytes = if coded { huffman.decode(bytes)? } else { bytes.to_vec() };
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The Huffman code of appendix B. It is canonical: ordered by length, then by symbol, codes count upwards; so the
/// lengths alone define it.
#[derive(Debug)]
struct Huffman {
    /// All symbols in the order of their codes.
    symbols: Vec<u8>,
    /// For each length from 0 bits: its first code, and how many symbols come before it.
    firsts: Vec<(u32, usize)>,
}

impl Huffman {
    fn new() -> Self {
        let mut symbols: Vec<(u8, u8)> = CODE_BITS.into_iter().zip(0..=u8::MAX).collect();
        symbols.sort_unstable();
        let (mut code, mut before) = (0, 0);
        let firsts = (0..=CODE_BITS_MAX).map(|bits| {
            let first = (code, before);
            let of_this_length = symbols.iter().filter(|(has, _)| *has == bits).count();
            before += of_this_length;
            code = (code + u32::try_from(of_this_length).unwrap_or_default()) << 1;
            first
        });
        let firsts = firsts.collect();
        Self { symbols: symbols.into_iter().map(|(_, symbol)| symbol).collect(), firsts }
    }

    fn decode(&self, coded: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        let (mut code, mut bits) = (0_u32, 0_usize);
        for bit in coded.iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)) {
            code = code << 1 | u32::from(bit);
            bits += 1;
            let (first, before) = *self.firsts.get(bits)?;
            let end = self.firsts.get(bits + 1).map_or(self.symbols.len(), |(_, before)| *before);
            let nth = code.checked_sub(first).and_then(|nth| usize::try_from(nth).ok());
            if let Some(&symbol) = nth.and_then(|nth| self.symbols.get(before + nth..end)?.first()) {
                plain.push(symbol);
                (code, bits) = (0, 0);
            }
        }
        Some(plain)
    }
}

const CODE_BITS_MAX: u8 = 30;

/// Appendix B: how many bits the code of each byte has.
#[rustfmt::skip]
const CODE_BITS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

/// Appendix A.
#[rustfmt::skip]
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // Appendix C.4: three requests on one connection, Huffman coded.
        type Case<'a> = (&'a [u8], &'a [(&'a str, &'a str)]);
        let cases: [Case<'_>; 3] = [
            (
                b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
                &[(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
            ),
            (
                b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
                &[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":path", "/"),
                    (":authority", "www.example.com"),
                    ("cache-control", "no-cache"),
                ],
            ),
            (
                b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
                &[
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":path", "/index.html"),
                    (":authority", "www.example.com"),
                    ("custom-key", "custom-value"),
                ],
            ),
        ];
        let mut decoder = Decoder::default();
        for (block, expected) in cases {
            let fields = decoder.decode(block).unwrap();
            let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            assert_eq!(fields, expected);
        }
    }

    #[test]
    fn a_malformed_block_is_no_block() {
        let above_the_limit = b"\x3f\xe2\xff\x03"; // 64 KiB and one byte
        let past_32_bits = b"\x82\x7f\x81\x80\x80\x80\x80\x80\x00\x01b";
        for block in [&b"\xff"[..], b"\x80", b"\x41\x05abc", b"\xbf", above_the_limit, past_32_bits] {
            assert_eq!(Decoder::default().decode(block), None, "{block:?}");
        }
    }

    #[test]
    fn a_block_that_names_a_large_entry_very_often_is_no_block() {
        let entry = [b"\x40\x01a\x7f\xa1\x1e".as_slice(), &[b'b'; 4000]].concat();
        let times = |count: usize| [entry.as_slice(), &vec![0xbe; count]].concat();
        assert_eq!(Decoder::default().decode(&times(200)).map(|fields| fields.len()), Some(201));
        assert_eq!(Decoder::default().decode(&times(300)), None);
    }
}
