//! Streams that are reset: by the application, or because of what their peer sent.

use super::connection_state::ConnectionState;
use super::stream_error::StreamError;
use crate::codec::Violation;
use crate::codec::http2::frames::PROTOCOL_ERROR;
use crate::codec::http2::{ExchangeError, HeadLimit};

/// Streams remembered as reset by us. A reset leaves with the next flush, so few are ever waiting.
const RESETS_REMEMBERED_MAX: usize = 1024;

impl ConnectionState {
    /// h2 resets the stream, for what the peer sent. The first reason counts.
    pub(super) fn note_malformed(&self, stream: u32, violation: Violation) {
        if let Some(sent) = self.streams.borrow_mut().get_mut(&stream) {
            sent.malformed.get_or_insert(ExchangeError::Malformed(violation));
        }
    }

    /// The error that the reader of the stream gets, if it was reset for what its peer sent.
    pub(in crate::codec::http2) fn malformed(&self, stream: u32) -> Option<ExchangeError> {
        self.streams.borrow().get(&stream).and_then(|sent| sent.malformed)
    }

    /// h2 is made to reset a stream, for what the peer sent on it: behind its head, or as its head.
    pub(super) fn note_stream_error(&self, stream: u32, error: StreamError, had_head: bool) {
        if error.code() != PROTOCOL_ERROR {
            self.reset_codes.borrow_mut().insert(stream, error.code());
        }
        match error {
            // It was no message that was malformed, but a frame.
            StreamError::Malformed { violation: Violation::Unknown, .. } => {}
            StreamError::Malformed { .. } => self.stats.rx_messaging_error.inc(),
            StreamError::HeaderListTooLarge(limit) if had_head => self.count_over(limit),
            // Of a request it is counted with its record.
            StreamError::HeaderListTooLarge(_) | StreamError::UnexpectedContent => {}
        }
        match self.streams.borrow_mut().get_mut(&stream) {
            Some(sent) => drop(sent.malformed.get_or_insert(error.broken())),
            None if !had_head => self.rejected_requests.borrow_mut().push_back(error),
            None if stream > self.last_accepted_stream.get() => {
                self.malformed_before_accept.borrow_mut().entry(stream).or_insert(error.broken());
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

    /// If h2 resets the stream, because its response is whole and its request is not, then with this code.
    pub(in crate::codec::http2) fn set_reset_code(&self, stream: u32, code: u32) {
        let mut codes = self.reset_codes.borrow_mut();
        if codes.len() == RESETS_REMEMBERED_MAX {
            codes.pop_first(); // of a stream that has ended without
        }
        codes.insert(stream, code);
    }

    /// The next request that was refused and is not handed out.
    pub(in crate::codec::http2) fn take_rejected_request(&self) -> Option<StreamError> {
        self.rejected_requests.borrow_mut().pop_front()
    }

    /// Notes that the application resets `stream` itself, so that the frame is not taken for one of h2's own.
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
