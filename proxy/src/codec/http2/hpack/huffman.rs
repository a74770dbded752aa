//! Huffman's code of RFC 7541 appendix B, read back.
//!
//! The code is canonical: codes of one length follow each other in the order of their symbols, so the lengths say it all.

use super::DecodingError;

/// Bits of the longest code.
const BITS_MAX: usize = 30;
/// Codes up to this length are found by one look into a table.
const SHORT_BITS: usize = 8;
/// The symbol that ends a string, which no string may hold (RFC 7541 5.2).
const EOS: usize = 256;

/// Bits of each symbol's code.
#[rustfmt::skip]
const LENGTHS: [u8; EOS + 1] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28,
    28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6,
    12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15,
    5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20,
    22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22,
    23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24,
    21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26,
    27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

/// The code that the lengths define.
struct Code {
    /// For each first byte: symbol and length of the code that it begins with, or length 0 if that code is longer.
    short: [(u8, u8); 1 << SHORT_BITS],
    /// For each length: its first code, how many codes have it, and where their symbols stand in `symbols`.
    first: [u32; BITS_MAX + 1],
    count: [u32; BITS_MAX + 1],
    offset: [usize; BITS_MAX + 1],
    /// In the order of their codes.
    symbols: [u16; EOS + 1],
}

static CODE: Code = Code::new();

impl Code {
    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which stops at an index out of bounds")]
    #[expect(clippy::cast_possible_truncation, reason = "symbols end at 256")]
    #[expect(clippy::as_conversions, reason = "TryFrom is not const")]
    const fn new() -> Self {
        let mut code = Self {
            short: [(0, 0); 1 << SHORT_BITS],
            first: [0; BITS_MAX + 1],
            count: [0; BITS_MAX + 1],
            offset: [0; BITS_MAX + 1],
            symbols: [0; EOS + 1],
        };
        let (mut next, mut len, mut placed) = (0_u32, 1, 0);
        while len <= BITS_MAX {
            next <<= 1;
            code.first[len] = next;
            code.offset[len] = placed;
            let mut symbol = 0;
            while symbol <= EOS {
                if LENGTHS[symbol] as usize == len {
                    code.symbols[placed] = symbol as u16;
                    code.place_short(symbol, len, next);
                    placed += 1;
                    next += 1;
                }
                symbol += 1;
            }
            code.count[len] = next - code.first[len];
            len += 1;
        }
        code
    }

    #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which stops at an index out of bounds")]
    #[expect(clippy::cast_possible_truncation, reason = "short codes are those of bytes, at most 8 bits long")]
    #[expect(clippy::as_conversions, reason = "TryFrom is not const")]
    const fn place_short(&mut self, symbol: usize, len: usize, code: u32) {
        if len > SHORT_BITS {
            return;
        }
        let free = SHORT_BITS - len;
        let mut rest = 0;
        while rest < 1 << free {
            self.short[((code as usize) << free) | rest] = (symbol as u8, len as u8);
            rest += 1;
        }
    }

    /// The symbol whose code these bits begin with, left-aligned, and the length of that code.
    fn find(&self, bits: u64) -> Option<(usize, u32)> {
        let byte = usize::try_from(bits >> (u64::BITS - 8)).ok()?;
        match *self.short.get(byte)? {
            (symbol, len) if len > 0 => Some((usize::from(symbol), u32::from(len))),
            _ => (SHORT_BITS + 1..=BITS_MAX).find_map(|len| self.find_long(bits, len)),
        }
    }

    fn find_long(&self, bits: u64, len: usize) -> Option<(usize, u32)> {
        let len_bits = u32::try_from(len).ok()?;
        let code = u32::try_from(bits >> (u64::BITS - len_bits)).ok()?;
        let at = code.checked_sub(*self.first.get(len)?).filter(|at| Some(at) < self.count.get(len))?;
        let symbol = self.symbols.get(self.offset.get(len)? + usize::try_from(at).ok()?)?;
        Some((usize::from(*symbol), len_bits))
    }
}

/// Appends the string that `coded` stands for to `to`.
pub(super) fn decode(coded: &[u8], to: &mut Vec<u8>) -> Result<(), DecodingError> {
    let (mut bits, mut held) = (0_u64, 0_u32);
    let mut bytes = coded.iter();
    loop {
        while held <= u64::BITS - 8 {
            let Some(byte) = bytes.next() else { break };
            bits |= u64::from(*byte) << (u64::BITS - 8 - held);
            held += 8;
        }
        if held == 0 {
            return Ok(());
        }
        match CODE.find(bits) {
            Some((symbol, len)) if len <= held => {
                // Nothing but EOS is no byte.
                to.push(u8::try_from(symbol).map_err(|_| DecodingError)?);
                bits <<= len;
                held -= len;
            }
            // Less than a byte of EOS's code pads the last one.
            _ if held < 8 && bits.leading_ones() >= held => return Ok(()),
            _ => return Err(DecodingError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut to = Vec::new();
        decode(coded, &mut to).is_ok().then_some(to)
    }

    #[test]
    fn strings_of_the_rfcs_appendix_are_read() {
        let coded = b"\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff";
        assert_eq!(decoded(coded).as_deref(), Some(&b"www.example.com"[..]));
        let date = b"\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff";
        assert_eq!(decoded(date).as_deref(), Some(&b"Mon, 21 Oct 2013 20:13:21 GMT"[..]));
        assert_eq!(decoded(b"").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn padding_is_less_than_a_byte_of_ones() {
        assert_eq!(decoded(b"\x1f").as_deref(), Some(&b"a"[..]));
        for wrong in [&b"\x18"[..], b"\x1f\xff", b"\xff", b"\xff\xff\xff\xff"] {
            assert_eq!(decoded(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn every_symbol_but_the_end_of_string_is_found_by_its_code() {
        for (at, symbol) in CODE.symbols.iter().enumerate() {
            let len = usize::from(LENGTHS[usize::from(*symbol)]);
            let code = u64::from(CODE.first[len]) + u64::try_from(at - CODE.offset[len]).unwrap();
            let bits = code << (64 - len);
            assert_eq!(CODE.find(bits), Some((usize::from(*symbol), u32::try_from(len).unwrap())), "{symbol}");
        }
    }
}
