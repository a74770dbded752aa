//! `envoy.filters.http.buffer`: a request goes on when all of it has come.
//!
//! An upstream then never waits for a slow client, and learns the length of a body that came without one.

use http::HeaderValue;
use http::header::CONTENT_LENGTH;

use super::{Flow, Refusal};
use crate::codec::RequestHead;
use crate::config::filter;
use crate::exchange::BodyProgress;

pub(super) struct Buffer {
    /// A body may have as many.
    bytes_max: usize,
}

impl Buffer {
    pub(super) fn new(options: filter::Buffer) -> Self {
        // A usize has at least 32 bits wherever this runs.
        Self { bytes_max: usize::try_from(options.request_bytes_max.get()).unwrap_or(usize::MAX) }
    }

    pub(super) fn on_request(&self, request: &mut RequestHead, body: BodyProgress) -> Flow {
        match body {
            // What ends with its head has no length to be told.
            BodyProgress::None => Flow::Continue,
            BodyProgress::Complete { .. } | BodyProgress::Open { .. } => self.on_request_data(request, body),
        }
    }

    pub(super) fn on_request_data(&self, request: &mut RequestHead, body: BodyProgress) -> Flow {
        let (BodyProgress::Complete { bytes } | BodyProgress::Open { bytes }) = body else { return Flow::Continue };
        if bytes > u64::try_from(self.bytes_max).unwrap_or(u64::MAX) {
            return Flow::Respond(Refusal::PayloadTooLarge);
        }
        if let BodyProgress::Open { .. } = body {
            return Flow::Wait { bytes_max: self.bytes_max };
        }
        request.headers.set_if_absent(CONTENT_LENGTH, HeaderValue::from(bytes));
        Flow::Continue
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_body_waits_for_its_end_and_one_above_the_limit_is_refused() {
        let wait = Flow::Wait { bytes_max: 4 };
        for (body, flow, length) in [
            (BodyProgress::None, Flow::Continue, None),
            (BodyProgress::Open { bytes: 0 }, wait, None),
            (BodyProgress::Open { bytes: 4 }, wait, None),
            (BodyProgress::Open { bytes: 5 }, Flow::Respond(Refusal::PayloadTooLarge), None),
            (BodyProgress::Complete { bytes: 0 }, Flow::Continue, Some("0")),
            (BodyProgress::Complete { bytes: 4 }, Flow::Continue, Some("4")),
            (BodyProgress::Complete { bytes: 5 }, Flow::Respond(Refusal::PayloadTooLarge), None),
        ] {
            let buffer = Buffer::new(filter::Buffer { request_bytes_max: NonZeroU32::new(4).unwrap() });
            let mut request = RequestHead::default();
            assert_eq!(buffer.on_request(&mut request, body), flow, "{body:?}");
            let told = request.headers.get(&CONTENT_LENGTH).map(|length| length.to_str().unwrap());
            assert_eq!(told, length, "{body:?}");
        }
    }
}
