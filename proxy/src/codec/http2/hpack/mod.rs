//! HPACK (RFC 7541) as far as it takes to read the peer's header blocks beside h2, and to write them anew for it.
//!
//! A [`Decoder`] keeps the dynamic table; a [`Block`] is what one header block held. Fields are judged once, when they are
//! read in full; an index into the table finds the verdict beside the field.

mod huffman;
mod limits;
mod table;

use bytes::{BufMut, BytesMut};

use super::fields::FieldKind;
pub use limits::{HeadLimit, ListLimit};
use table::{STATIC, Table};

// Names in the static table (RFC 7541 A), the first of each.
pub(super) const AUTHORITY_INDEX: usize = 1;
pub(super) const PATH_INDEX: usize = 4;
pub(super) const SCHEME_INDEX: usize = 6;
// Whole fields in it, as they are written.
/// `:path: /`
pub(super) const ROOT: u8 = 0x84;
/// `:scheme: http`
pub(super) const HTTP: u8 = 0x86;
/// `:scheme: https`
pub(super) const HTTPS: u8 = 0x87;

/// The peer's block cannot be read (RFC 9113 4.3): nothing that comes after it on the connection can be either.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct DecodingError;

/// The fields of one header block.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// Names and values, one behind the other.
    bytes: Vec<u8>,
    fields: Vec<Span>,
    /// What would not fit is left out.
    excess: Option<HeadLimit>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    at: usize,
    name_len: usize,
    value_len: usize,
    kind: FieldKind,
    is_valid: bool,
}

/// A field, with what is known of it without its neighbours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'b> {
    pub(super) name: &'b [u8],
    pub(super) value: &'b [u8],
    pub(super) kind: FieldKind,
    pub(super) is_valid: bool,
}

impl Block {
    pub(super) fn fields(&self) -> impl Iterator<Item = Field<'_>> {
        self.fields.iter().map(|span| {
            let bytes = self.bytes.get(span.at..).unwrap_or_default();
            let (name, rest) = bytes.split_at_checked(span.name_len).unwrap_or_default();
            let value = rest.get(..span.value_len).unwrap_or_default();
            Field { name, value, kind: span.kind, is_valid: span.is_valid }
        })
    }

    /// Of names and values.
    pub(super) fn field_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(super) fn excess(&self) -> Option<HeadLimit> {
        self.excess
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.excess = None;
    }

    /// Keeps the field of which `self.bytes` holds name and value from `span.at` on, or takes it back.
    fn keep(&mut self, span: Span, limit: ListLimit) {
        let excess = match () {
            () if self.fields.len() >= limit.fields => Some(HeadLimit::Fields),
            () if self.bytes.len() > limit.bytes => Some(HeadLimit::Bytes),
            () => None,
        };
        if self.excess.is_none() && excess.is_none() {
            self.fields.push(span);
        } else {
            self.excess = self.excess.or(excess);
            self.bytes.truncate(span.at);
        }
    }
}

/// Reads the header blocks of one peer, in their order.
#[derive(Debug)]
pub(super) struct Decoder {
    table: Table,
    limit: ListLimit,
}

impl Decoder {
    /// `table_bytes_max` is our SETTINGS_HEADER_TABLE_SIZE.
    pub(super) fn new(table_bytes_max: u32, limit: ListLimit) -> Self {
        Self { table: Table::new(usize::try_from(table_bytes_max).unwrap_or(usize::MAX)), limit }
    }

    /// Reads a whole block. What [`ListLimit`] leaves out of it still has its effect on the table.
    pub(super) fn decode(&mut self, coded: &[u8], block: &mut Block) -> Result<(), DecodingError> {
        block.clear();
        let mut rest = coded;
        let mut may_resize = true;
        while let Some(first) = rest.first().copied() {
            match first {
                0x80.. => {
                    let index = integer(&mut rest, 7)?;
                    self.take_indexed(index, block)?;
                }
                0x40.. => self.take_literal(&mut rest, 6, true, block)?,
                0x20.. => {
                    let size = integer(&mut rest, 5)?;
                    self.table.resize(size).filter(|()| may_resize).ok_or(DecodingError)?;
                    continue;
                }
                _ => self.take_literal(&mut rest, 4, false, block)?,
            }
            may_resize = false;
        }
        Ok(())
    }

    fn take_indexed(&self, index: usize, block: &mut Block) -> Result<(), DecodingError> {
        let at = block.bytes.len();
        let (name_len, value_len, kind, is_valid) = match index.checked_sub(1).and_then(|at| STATIC.get(at)) {
            Some((name, value)) => {
                block.bytes.extend_from_slice(name);
                block.bytes.extend_from_slice(value);
                let kind = FieldKind::of(name);
                (name.len(), value.len(), kind, kind.allows(value))
            }
            None => {
                let entry = self.table.entry(index).ok_or(DecodingError)?;
                block.bytes.extend_from_slice(&entry.bytes);
                (entry.name_len, entry.bytes.len() - entry.name_len, entry.kind, entry.is_valid)
            }
        };
        block.keep(Span { at, name_len, value_len, kind, is_valid }, self.limit);
        Ok(())
    }

    fn take_literal(
        &mut self,
        rest: &mut &[u8],
        index_bits: u32,
        is_inserted: bool,
        block: &mut Block,
    ) -> Result<(), DecodingError> {
        let at = block.bytes.len();
        let kind = match integer(rest, index_bits)? {
            0 => {
                string(rest, &mut block.bytes)?;
                FieldKind::of(block.bytes.get(at..).unwrap_or_default())
            }
            index => self.table.copy_name(index, &mut block.bytes).ok_or(DecodingError)?,
        };
        let name_len = block.bytes.len() - at;
        string(rest, &mut block.bytes)?;
        let field = block.bytes.get(at..).unwrap_or_default();
        let is_valid = kind.allows(field.get(name_len..).unwrap_or_default());
        let value_len = field.len() - name_len;
        if is_inserted {
            self.table.insert(field, name_len, kind, is_valid);
        }
        block.keep(Span { at, name_len, value_len, kind, is_valid }, self.limit);
        Ok(())
    }
}

/// Does a representation that begins with this byte change the size of the table (RFC 7541 6.3)?
pub(super) fn is_resize(first: u8) -> bool {
    matches!(first, 0x20..=0x3f)
}

/// Steps over one representation (RFC 7541 6) without reading its strings.
pub(super) fn skip(rest: &mut &[u8]) -> Result<(), DecodingError> {
    let index_bits = match rest.first().ok_or(DecodingError)? {
        0x80.. => return integer(rest, 7).map(drop),
        0x20..=0x3f => return integer(rest, 5).map(drop),
        0x40.. => 6,
        _ => 4,
    };
    if integer(rest, index_bits)? == 0 {
        skip_string(rest)?;
    }
    skip_string(rest)
}

fn skip_string(rest: &mut &[u8]) -> Result<(), DecodingError> {
    let len = integer(rest, 7)?;
    *rest = rest.get(len..).ok_or(DecodingError)?;
    Ok(())
}

/// RFC 7541 5.1. More than 28 bits are an error: no index, no length and no size of ours is that large.
fn integer(rest: &mut &[u8], prefix_bits: u32) -> Result<usize, DecodingError> {
    const BITS_MAX: u32 = 28;
    let (first, mut behind) = rest.split_first().ok_or(DecodingError)?;
    let mask = (1_usize << prefix_bits) - 1;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        let mut shift = 0;
        loop {
            let (byte, next) = behind.split_first().filter(|_| shift < BITS_MAX).ok_or(DecodingError)?;
            behind = next;
            value += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *rest = behind;
    Ok(value)
}

/// RFC 7541 5.2.
fn string(rest: &mut &[u8], to: &mut Vec<u8>) -> Result<(), DecodingError> {
    let is_coded = rest.first().is_some_and(|first| first & 0x80 != 0);
    let len = integer(rest, 7)?;
    let (string, behind) = rest.split_at_checked(len).ok_or(DecodingError)?;
    *rest = behind;
    if is_coded {
        return huffman::decode(string, to);
    }
    to.extend_from_slice(string);
    Ok(())
}

/// Writes a field without the table: neither side of the connection changes by it (RFC 7541 6.2.2).
pub(super) fn write_literal(name: &[u8], value: &[u8], to: &mut BytesMut) {
    to.put_u8(0);
    for string in [name, value] {
        write_integer(string.len(), 7, 0, to);
        to.put_slice(string);
    }
}

/// Writes a field whose name is in the static table, without an entry for its value (RFC 7541 6.2.2).
pub(super) fn write_named(name_index: usize, value: &[u8], to: &mut BytesMut) {
    write_integer(name_index, 4, 0, to);
    write_integer(value.len(), 7, 0, to);
    to.put_slice(value);
}

/// RFC 7541 5.1: `value` behind the bits of `pattern`.
pub(super) fn write_integer(value: usize, prefix_bits: u32, pattern: u8, to: &mut BytesMut) {
    let mask = (1_usize << prefix_bits) - 1;
    let low = |value: usize| value.to_le_bytes().first().copied().unwrap_or_default();
    if value < mask {
        return to.put_u8(pattern | low(value));
    }
    to.put_u8(pattern | low(mask));
    let mut left = value - mask;
    while left >= 0x80 {
        to.put_u8(low(left) | 0x80);
        left >>= 7;
    }
    to.put_u8(low(left));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::table::TABLE_BYTES_DEFAULT;
    use super::*;

    const LIMIT: ListLimit = ListLimit { bytes: 1000, fields: 10 };

    fn list(block: &Block) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        block.fields().map(|field| (text(field.name), text(field.value))).collect()
    }

    #[test]
    fn the_requests_of_the_rfcs_appendix_are_read_in_their_order() {
        let blocks: [&[u8]; 3] = [
            b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
            b"\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
            b"\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf",
        ];
        let (mut decoder, mut block) = (Decoder::new(TABLE_BYTES_DEFAULT, LIMIT), Block::default());
        let lists: Vec<_> = blocks
            .iter()
            .map(|coded| {
                decoder.decode(coded, &mut block).unwrap();
                list(&block).into_iter().skip(3).map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(lists[0], [":authority: www.example.com"]);
        assert_eq!(lists[1], [":authority: www.example.com", "cache-control: no-cache"]);
        assert_eq!(lists[2], [":authority: www.example.com", "custom-key: custom-value"]);
    }

    #[test]
    fn a_list_over_its_limit_is_cut_and_keeps_the_table_in_step() {
        let (mut decoder, mut block) = (Decoder::new(TABLE_BYTES_DEFAULT, LIMIT), Block::default());
        let many = [&b"\x40\x01a\x01b"[..], &b"\xbe".repeat(20)].concat();
        decoder.decode(&many, &mut block).unwrap();
        assert_eq!((block.fields().count(), block.excess()), (10, Some(HeadLimit::Fields)));
        let mut large = BytesMut::from(&b"\x40\x01c\x01d"[..]);
        write_literal(b"e", &[b'f'; 1001], &mut large);
        large.put_slice(b"\x40\x01g\x01h");
        decoder.decode(&large, &mut block).unwrap();
        assert_eq!((block.fields().count(), block.excess()), (1, Some(HeadLimit::Bytes)));
        decoder.decode(b"\xbe\xbf\xc0", &mut block).unwrap();
        let names: Vec<_> = list(&block).into_iter().map(|(name, _)| name).collect();
        assert_eq!((names.join(""), block.excess()), ("gca".to_owned(), None));
    }

    proptest! {
        #[test]
        fn literals_are_read_as_they_were_written(
            fields in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), prop::collection::vec(any::<u8>(), 0..300)), 0..5)
        ) {
            let mut coded = BytesMut::new();
            fields.iter().for_each(|(name, value)| write_literal(name, value, &mut coded));
            let limit = ListLimit { bytes: usize::MAX, fields: usize::MAX };
            let (mut decoder, mut block) = (Decoder::new(0, limit), Block::default());
            prop_assert_eq!(decoder.decode(&coded, &mut block), Ok(()));
            let read: Vec<_> = block.fields().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
            prop_assert_eq!(read, fields);
        }

        #[test]
        fn any_block_is_read_or_refused(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5)) {
            let (mut decoder, mut block) = (Decoder::new(TABLE_BYTES_DEFAULT, LIMIT), Block::default());
            for coded in blocks {
                let _either = decoder.decode(&coded, &mut block);
                prop_assert!(block.bytes.len() <= LIMIT.bytes);
                prop_assert!(decoder.table.bytes() <= 4096);
            }
        }
    }
}
