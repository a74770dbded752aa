//! The static table and the dynamic table of HPACK (RFC 7541 2.3).

use std::collections::VecDeque;

use crate::codec::http2::fields::FieldKind;

/// SETTINGS_HEADER_TABLE_SIZE before any SETTINGS (RFC 9113 6.5.2). Bytes.
pub(super) const TABLE_BYTES_DEFAULT: u32 = 4096;

/// What an entry costs besides its bytes (RFC 7541 4.1).
pub(super) const ENTRY_BYTES: usize = 32;

/// Names and values of RFC 7541 appendix A; the first has index 1.
#[rustfmt::skip]
pub(super) const STATIC: [(&[u8], &[u8]); 61] = [
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
];

/// A field of the dynamic table.
#[derive(Debug)]
pub(super) struct Entry {
    /// The name, then the value.
    pub(super) bytes: Box<[u8]>,
    pub(super) name_len: usize,
    pub(super) kind: FieldKind,
    pub(super) is_valid: bool,
}

/// The dynamic table, newest entry first.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    /// Of all entries, as RFC 7541 4.1 counts them.
    bytes: usize,
    bytes_max: usize,
    /// How large the peer may make it.
    bytes_max_max: usize,
}

impl Table {
    /// A table that the peer may make as large as `bytes_max_max`. The peer may not have been sent a smaller one than the default
    /// yet.
    pub(super) fn new(bytes_max_max: usize) -> Self {
        let default = usize::try_from(TABLE_BYTES_DEFAULT).unwrap_or(usize::MAX);
        Self { entries: VecDeque::new(), bytes: 0, bytes_max: default, bytes_max_max: bytes_max_max.max(default) }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The dynamic entry with this index; indices go on where the static table ends.
    pub(super) fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index.checked_sub(STATIC.len() + 1)?)
    }

    /// Appends the name that stands at `index` to `to`.
    pub(super) fn copy_name(&self, index: usize, to: &mut Vec<u8>) -> Option<FieldKind> {
        if let Some((name, _)) = index.checked_sub(1).and_then(|at| STATIC.get(at)) {
            to.extend_from_slice(name);
            return Some(FieldKind::of(name));
        }
        let entry = self.entry(index)?;
        to.extend_from_slice(entry.bytes.get(..entry.name_len)?);
        Some(entry.kind)
    }

    /// RFC 7541 4.4: an entry larger than the table empties it.
    pub(super) fn insert(&mut self, field: &[u8], name_len: usize, kind: FieldKind, is_valid: bool) {
        let cost = field.len() + ENTRY_BYTES;
        self.evict(self.bytes_max.saturating_sub(cost));
        if cost <= self.bytes_max {
            self.bytes += cost;
            self.entries.push_front(Entry { bytes: field.into(), name_len, kind, is_valid });
        }
    }

    /// RFC 7541 6.3. `None` if that is larger than allowed.
    pub(super) fn resize(&mut self, bytes_max: usize) -> Option<()> {
        (bytes_max <= self.bytes_max_max).then(|| {
            self.bytes_max = bytes_max;
            self.evict(bytes_max);
        })
    }

    fn evict(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(oldest) = self.entries.pop_back() else { break };
            self.bytes -= oldest.bytes.len() + ENTRY_BYTES;
        }
    }
}
