//! `envoy.filters.http.buffer`: a request goes on when all of it has come.
//!
//! An upstream then never waits for a slow client, and learns the length of a body that came without one.

use http::HeaderValue;
use http::header::CONTENT_LENGTH;

use super::{FilterReply, Flow, Piece, Refusal};
use crate::codec::{Payload, RequestHead};
use crate::config::filter;

pub(super) struct Buffer {
    /// A body may have as many.
    bytes_max: usize,
    /// Of the body, so far.
    bytes: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// The whole body is there.
    Complete,
    /// More of the body may come.
    Waiting,
}

impl Buffer {
    pub(super) fn new(options: filter::Buffer) -> Self {
        // A usize has at least 32 bits wherever this runs.
        let bytes_max = usize::try_from(options.request_bytes_max.get()).unwrap_or(usize::MAX);
        Self { bytes_max, bytes: 0, state: State::Waiting }
    }

    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn on_request(&self, request: &mut RequestHead, payload: Payload) -> Flow<FilterReply> {
        match (payload, self.state) {
            // What ends with its head has no length to be announced.
            (Payload::None, _) => Flow::Continue,
            (Payload::Raw | Payload::Some, State::Waiting) => Flow::Wait,
            (Payload::Raw | Payload::Some, State::Complete) => {
                request.headers.set_if_absent(CONTENT_LENGTH, HeaderValue::from(self.bytes));
                Flow::Continue
            }
        }
    }

    pub(super) fn on_request_data(&mut self, piece: &Piece) -> Flow<Refusal> {
        self.bytes = self.bytes.saturating_add(piece.data.len());
        if self.bytes > self.bytes_max {
            return Flow::Respond(Refusal::RequestTooLarge);
        }
        if !piece.is_last() {
            return Flow::Wait;
        }
        self.state = State::Complete;
        Flow::Continue
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_body_waits_for_its_end_and_one_above_the_limit_is_refused() {
        const TOO_LARGE: Flow<Refusal> = Flow::Respond(Refusal::RequestTooLarge);
        for (pieces, last, length) in [
            (&[][..], Flow::Continue, Some("0")),
            (&["abcd"], Flow::Continue, Some("4")),
            (&["ab", "cd"], Flow::Continue, Some("4")),
            (&["abcde"], TOO_LARGE, None),
            (&["ab", "cde"], TOO_LARGE, None),
        ] {
            let mut buffer = Buffer::new(filter::Buffer { request_bytes_max: NonZeroU32::new(4).unwrap() });
            let mut request = RequestHead::default();
            assert_eq!(buffer.on_request(&mut request, Payload::Some), Flow::Wait);
            let mut flow = Flow::Wait;
            for text in pieces {
                assert_eq!(flow, Flow::Wait);
                flow = buffer.on_request_data(&Piece::data(Bytes::from_static(text.as_bytes())));
            }
            if flow == Flow::Wait {
                flow = buffer.on_request_data(&Piece::end(None));
            }
            assert_eq!(flow, last, "{pieces:?}");
            if flow == Flow::Continue {
                assert_eq!(buffer.on_request(&mut request, Payload::Some), Flow::Continue);
            }
            let announced = request.headers.get(&CONTENT_LENGTH).map(|length| length.to_str().unwrap());
            assert_eq!(announced, length, "{pieces:?}");
        }
    }

    #[test]
    fn a_request_without_a_body_does_not_wait() {
        let buffer = Buffer::new(filter::Buffer { request_bytes_max: NonZeroU32::MIN });
        let mut request = RequestHead::default();
        assert_eq!(buffer.on_request(&mut request, Payload::None), Flow::Continue);
        assert!(request.headers.is_empty());
    }
}
