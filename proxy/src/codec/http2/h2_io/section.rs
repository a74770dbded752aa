//! The frames of one header section (RFC 9113 4.3), and where its block stands in them.

use std::ops::Range;

use crate::codec::http2::frames::{
    CONTINUATION, END_HEADERS, FRAME_HEAD_LEN, FrameHead, PADDED, PRIORITISED, STREAM_ID_MAX, be_u32,
};

/// SETTINGS_MAX_FRAME_SIZE, which we leave at its default (RFC 9113 6.5.2). Bytes.
pub(super) const FRAME_BYTES_MAX: usize = 1 << 14;
/// Length of the fields of a priority (RFC 9113 6.2, 6.3).
pub(super) const PRIORITY_LEN: usize = 5;

/// The frames of one header section, as far as they have come. Each is added as soon as it is whole, so that what is
/// behind is read once.
#[derive(Debug)]
pub(super) struct Section {
    /// Of the first.
    pub(super) head: FrameHead,
    /// Of all so far.
    pub(super) len: usize,
    pub(super) continuations: usize,
    block: HeaderBlock,
    progress: Progress,
    /// A stream that depends on itself (RFC 9113 5.3.1), for which h2 would not read the block.
    pub(super) depends_on_itself: bool,
}

#[derive(Debug)]
enum HeaderBlock {
    /// This range of the section's bytes.
    Here(Range<usize>),
    /// Put together from more than one frame.
    Joined(Vec<u8>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// No frame has ended it.
    Open,
    Whole,
}

/// What a section may have at most.
#[derive(Clone, Copy, Debug)]
pub(super) struct SectionLimit {
    /// In all of its frames.
    pub(super) bytes: usize,
    pub(super) continuations: usize,
}

/// What a peer does wrong with the frames of a section.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BrokenFraming {
    /// Another frame stands between them.
    CutOff,
    /// The fields of the priority have no room.
    NoPriority,
    /// The length of the padding has no room.
    NoPadding,
    /// There are too many of them.
    TooMany,
    /// More padding than payload.
    TooMuchPadding,
}

impl Section {
    /// With a HEADERS frame.
    pub(super) fn begin(head: FrameHead, payload: &[u8]) -> Result<Self, BrokenFraming> {
        let (range, depends_on_itself) = fragment(head, payload)?;
        let block = HeaderBlock::Here(range.start + FRAME_HEAD_LEN..range.end + FRAME_HEAD_LEN);
        let len = FRAME_HEAD_LEN + head.len;
        Ok(Self { head, len, continuations: 0, block, progress: Progress::after(head), depends_on_itself })
    }

    /// With the frame that comes next, where `bytes` are those of the section and of that frame.
    pub(super) fn go_on(&mut self, bytes: &[u8], next: FrameHead, limit: SectionLimit) -> Result<(), BrokenFraming> {
        if next.kind != CONTINUATION || next.stream != self.head.stream {
            return Err(BrokenFraming::CutOff);
        }
        let begin = self.len + FRAME_HEAD_LEN;
        let payload = bytes.get(begin..begin + next.len).ok_or(BrokenFraming::CutOff)?;
        match &mut self.block {
            HeaderBlock::Here(range) => {
                let first = bytes.get(range.clone()).unwrap_or_default();
                self.block = HeaderBlock::Joined([first, payload].concat());
            }
            HeaderBlock::Joined(joined) => joined.extend_from_slice(payload),
        }
        self.len = begin + next.len;
        self.continuations += 1;
        self.progress = Progress::after(next);
        let is_within = self.len <= limit.bytes && self.continuations <= limit.continuations;
        is_within.then_some(()).ok_or(BrokenFraming::TooMany)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.progress == Progress::Whole
    }

    pub(super) fn block<'b>(&'b self, bytes: &'b [u8]) -> &'b [u8] {
        match &self.block {
            HeaderBlock::Here(range) => bytes.get(range.clone()).unwrap_or_default(),
            HeaderBlock::Joined(joined) => joined,
        }
    }
}

impl Progress {
    fn after(frame: FrameHead) -> Self {
        if frame.flags & END_HEADERS == 0 { Self::Open } else { Self::Whole }
    }
}

/// Where the block stands in a HEADERS frame's payload (RFC 9113 6.2), and whether the stream depends on itself.
fn fragment(head: FrameHead, payload: &[u8]) -> Result<(Range<usize>, bool), BrokenFraming> {
    let (mut begin, mut end) = (0, payload.len());
    let padding = match head.flags & PADDED {
        0 => 0,
        _ => usize::from(*payload.first().ok_or(BrokenFraming::NoPadding)?),
    };
    begin += usize::from(head.flags & PADDED != 0);
    let mut depends_on_itself = false;
    if head.flags & PRIORITISED != 0 {
        let fields = payload.get(begin..begin + PRIORITY_LEN);
        let dependency = fields.and_then(be_u32).ok_or(BrokenFraming::NoPriority)?;
        depends_on_itself = dependency & STREAM_ID_MAX == head.stream;
        begin += PRIORITY_LEN;
    }
    end = end.checked_sub(padding).filter(|end| *end >= begin).ok_or(BrokenFraming::TooMuchPadding)?;
    Ok((begin..end, depends_on_itself))
}
