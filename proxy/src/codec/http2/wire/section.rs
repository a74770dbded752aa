//! The frames of one header section (RFC 9113 4.3), and where its block stands in them.

use std::ops::Range;

use crate::codec::http2::frames::{
    CONTINUATION, END_HEADERS, FRAME_HEAD_LEN, FrameHead, PADDED, PRIORITISED, STREAM_ID_MAX, be_u32,
};

/// SETTINGS_MAX_FRAME_SIZE, which we leave at its default (RFC 9113 6.5.2). Bytes.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 14;
/// Length of the fields of a priority (RFC 9113 6.2).
pub(super) const PRIORITY_LEN: usize = 5;

/// The frames of one header section.
pub(super) struct Section {
    /// Of the first.
    pub(super) head: FrameHead,
    /// Of all.
    pub(super) len: usize,
    block: HeaderBlock,
    /// Nonsense of RFC 9113 5.3.1, for which h2 would not read the block.
    pub(super) depends_on_itself: bool,
}

enum HeaderBlock {
    /// This range of the bytes at hand.
    Here(Range<usize>),
    /// Put together from more than one frame.
    Joined(Vec<u8>),
}

/// The frames are such that h2 ends the connection for them.
pub(super) struct BrokenFraming;

impl Section {
    /// `None` if more has to come.
    pub(super) fn parse(bytes: &[u8], continuations_max: usize) -> Result<Option<Self>, BrokenFraming> {
        let head = FrameHead::parse(bytes).ok_or(BrokenFraming)?;
        let mut len = FRAME_HEAD_LEN + head.len;
        let Some(payload) = bytes.get(FRAME_HEAD_LEN..len) else { return Ok(None) };
        let (range, depends_on_itself) = fragment(head, payload)?;
        let range = range.start + FRAME_HEAD_LEN..range.end + FRAME_HEAD_LEN;
        if head.flags & END_HEADERS != 0 {
            return Ok(Some(Self { head, len, block: HeaderBlock::Here(range), depends_on_itself }));
        }
        let mut joined = bytes.get(range).unwrap_or_default().to_vec();
        for _ in 0..=continuations_max {
            let Some(next) = bytes.get(len..).and_then(FrameHead::parse) else { return Ok(None) };
            if next.kind != CONTINUATION || next.stream != head.stream || next.len > FRAME_BYTES_MAX {
                return Err(BrokenFraming);
            }
            let begin = len + FRAME_HEAD_LEN;
            len = begin + next.len;
            let Some(payload) = bytes.get(begin..len) else { return Ok(None) };
            joined.extend_from_slice(payload);
            if next.flags & END_HEADERS != 0 {
                return Ok(Some(Self { head, len, block: HeaderBlock::Joined(joined), depends_on_itself }));
            }
        }
        Err(BrokenFraming)
    }

    pub(super) fn block<'b>(&'b self, bytes: &'b [u8]) -> &'b [u8] {
        match &self.block {
            HeaderBlock::Here(range) => bytes.get(range.clone()).unwrap_or_default(),
            HeaderBlock::Joined(joined) => joined,
        }
    }
}

/// Where the block stands in a HEADERS frame's payload (RFC 9113 6.2), and whether the stream depends on itself.
fn fragment(head: FrameHead, payload: &[u8]) -> Result<(Range<usize>, bool), BrokenFraming> {
    let (mut begin, mut end) = (0, payload.len());
    let padding = match head.flags & PADDED {
        0 => 0,
        _ => usize::from(*payload.first().ok_or(BrokenFraming)?),
    };
    begin += usize::from(head.flags & PADDED != 0);
    let mut depends_on_itself = false;
    if head.flags & PRIORITISED != 0 {
        let dependency = payload.get(begin..begin + PRIORITY_LEN).and_then(be_u32).ok_or(BrokenFraming)?;
        depends_on_itself = dependency & STREAM_ID_MAX == head.stream;
        begin += PRIORITY_LEN;
    }
    end = end.checked_sub(padding).filter(|end| *end >= begin).ok_or(BrokenFraming)?;
    Ok((begin..end, depends_on_itself))
}
