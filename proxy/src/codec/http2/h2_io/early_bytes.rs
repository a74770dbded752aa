//! The bytes of streams, for logs: of what comes before a stream is handed out, and of frames that leave.

use crate::codec::WireBytes;
use crate::codec::http2::frames::{CONTINUATION, DATA, FRAME_HEAD_LEN, FrameHead, HEADERS};

/// What has come of a request that was not handed out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EarlyBytes {
    /// Of the frames of its header sections, with their heads.
    pub(super) sections: usize,
    /// Of the names and values in these.
    pub(super) fields: u64,
    /// Of its DATA frames, with their heads.
    pub(super) data: usize,
}

/// Counts a frame that begins to leave.
pub(super) fn count_sent(counted: &WireBytes, frame: FrameHead) {
    let len = FRAME_HEAD_LEN + frame.len;
    match frame.kind {
        HEADERS | CONTINUATION => counted.section_frame_sent(len),
        DATA => counted.frame_sent(len),
        _ => {}
    }
}
