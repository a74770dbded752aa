//! Streams that are reset: by the application, or because of what their peer sent.

use super::shared::Shared;
use crate::codec::Violation;
use crate::codec::http2::frames::{INTERNAL_ERROR, PROTOCOL_ERROR};
use crate::codec::http2::{Broken, HeadLimit};

/// Streams remembered as reset by us. A reset leaves with the next flush, so few are ever waiting.
const RESETS_REMEMBERED_MAX: usize = 1024;

/// Why a stream's peer gets RST_STREAM for what it sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::codec::http2) enum Refusal {
    /// The message breaks the rules; `code` is that of the RST_STREAM.
    Malformed { violation: Violation, code: u32 },
    /// A header section is over a limit of ours.
    TooLarge(HeadLimit),
    /// DATA for a message that has no content.
    Content,
}

impl Refusal {
    fn code(self) -> u32 {
        match self {
            Self::Malformed { code, .. } => code,
            Self::TooLarge(_) => INTERNAL_ERROR,
            Self::Content => PROTOCOL_ERROR,
        }
    }

    /// What the reader of the stream is told.
    fn broken(self) -> Broken {
        match self {
            Self::Malformed { violation, .. } => Broken::Malformed(violation),
            Self::TooLarge(limit) => Broken::OverLimit(limit.violation()),
            Self::Content => Broken::Malformed(Violation::RemoteReset),
        }
    }
}

impl Shared {
    /// h2 resets the stream, for what the peer sent. The first reason counts.
    pub(super) fn note_malformed(&self, stream: u32, violation: Violation) {
        if let Some(sent) = self.sent.borrow_mut().get_mut(&stream) {
            sent.malformed.get_or_insert(Broken::Malformed(violation));
        }
    }

    /// What the reader of the stream is told, if it was reset for what its peer sent.
    pub(in crate::codec::http2) fn malformed(&self, stream: u32) -> Option<Broken> {
        self.sent.borrow().get(&stream).and_then(|sent| sent.malformed)
    }

    /// h2 is made to reset a stream, for what the peer sent on it: behind its head, or as its head.
    pub(super) fn refuse(&self, stream: u32, refusal: Refusal, had_head: bool) {
        if refusal.code() != PROTOCOL_ERROR {
            self.reset_codes.borrow_mut().insert(stream, refusal.code());
        }
        match refusal {
            // It was no message that was malformed, but a frame.
            Refusal::Malformed { violation: Violation::Unknown, .. } => {}
            Refusal::Malformed { .. } => self.stats.rx_messaging_error.inc(),
            Refusal::TooLarge(limit) if had_head => self.count_over(limit),
            // Of a request it is counted with its record.
            Refusal::TooLarge(_) | Refusal::Content => {}
        }
        match self.sent.borrow_mut().get_mut(&stream) {
            Some(sent) => drop(sent.malformed.get_or_insert(refusal.broken())),
            None if !had_head => self.refused.borrow_mut().push_back(refusal),
            None if stream > self.last_watched.get() => {
                self.malformed_early.borrow_mut().entry(stream).or_insert(refusal.broken());
            }
            None => {}
        }
    }

    fn count_over(&self, limit: HeadLimit) {
        match limit {
            HeadLimit::Fields => self.stats.header_overflow.inc(),
            HeadLimit::Bytes => self.stats.header_list_size_too_large.inc(),
        }
    }

    /// The code for a reset that h2 writes with its own.
    pub(super) fn reset_code(&self, stream: u32) -> Option<u32> {
        self.reset_codes.borrow().get(&stream).copied()
    }

    /// The next request that was refused and is not handed out.
    pub(in crate::codec::http2) fn take_refused(&self) -> Option<Refusal> {
        self.refused.borrow_mut().pop_front()
    }

    /// Notes that the application resets `stream` itself, so that the frame is not taken for h2's verdict.
    pub(in crate::codec::http2) fn expect_reset(&self, stream: u32) {
        let mut reset_by_us = self.reset_by_us.borrow_mut();
        if reset_by_us.len() == RESETS_REMEMBERED_MAX {
            reset_by_us.pop_first();
        }
        reset_by_us.insert(stream);
    }

    /// Has the application reset `stream`, by a frame that has yet to leave?
    pub(super) fn is_reset_by_us(&self, stream: u32) -> bool {
        self.reset_by_us.borrow().contains(&stream)
    }
}
