//! HTTP filters: what happens to a request between its route and its upstream, and to the response on its way back.
//!
//! Which filters act, and with which options, was resolved for each route when the configuration was read. [`Filters`] is
//! such a chain while it serves one stream. Each filter sees the request's head in the order of the file, and the
//! response's head in the opposite order. A filter that waits sees the request's body grow; those after it see nothing
//! until it continues. The router is the end of every chain and no filter here: the stream goes on to it when all others
//! have continued. A chain of the router alone takes no memory and no time.

mod buffer;
mod change;
pub(crate) mod edits;
mod header_mutation;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use crate::access_log::StreamInfo;
use crate::codec::{RequestHead, ResponseHead};
use crate::config::filter;
use crate::config::route::HeaderEdits;
use crate::exchange::BodyProgress;
use buffer::Buffer;
use header_mutation::HeaderMutation;

/// The filters of one stream, without the router.
#[derive(Default)]
pub(crate) struct Filters<'c> {
    filters: Vec<Filter<'c>>,
    /// What the route changes in the response.
    edits: &'c [Arc<HeaderEdits>],
    /// The first that has not continued with the request.
    next: usize,
}

/// A filter while it serves one stream.
enum Filter<'c> {
    Buffer(Buffer),
    HeaderMutation(HeaderMutation<'c>),
}

/// What a filter wants done with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Flow {
    /// It goes on to the next filter, and behind the last to the router.
    Continue,
    /// It ends here, with a response of the filter's own.
    Respond(Refusal),
    /// It waits until more of its body has come.
    Wait {
        /// How much of the body has to find room meanwhile.
        bytes_max: usize,
    },
}

/// A response of a filter's own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// The request's body is larger than it may be.
    PayloadTooLarge,
}

impl<'c> Filters<'c> {
    /// A chain that is about to see a request.
    pub(crate) fn of(chain: &'c filter::Chain) -> Self {
        Self { filters: chain.filters.iter().map(Filter::of).collect(), edits: &[], next: 0 }
    }

    /// The same for a route that changes responses.
    pub(crate) fn with_edits(self, edits: &'c [Arc<HeaderEdits>]) -> Self {
        Self { edits, ..self }
    }

    /// Is the router the only filter?
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Does the route leave responses as they are?
    pub(crate) fn has_no_edits(&self) -> bool {
        self.edits.is_empty()
    }

    /// The router is about to hand on the head of the final response.
    pub(crate) fn edit_response(&self, response: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
        edits::edit_response(self.edits, response, request, info);
    }

    /// The request's head has come.
    pub(crate) fn on_request(&mut self, request: &mut RequestHead, body: BodyProgress, info: &StreamInfo) -> Flow {
        while let Some(filter) = self.filters.get_mut(self.next) {
            match filter.on_request(request, body, info) {
                Flow::Continue => self.next += 1,
                stop @ (Flow::Respond(_) | Flow::Wait { .. }) => return stop,
            }
        }
        Flow::Continue
    }

    /// More of the request's body has come, or its end, after a filter has said that it waits.
    pub(crate) fn on_request_data(&mut self, request: &mut RequestHead, body: BodyProgress, info: &StreamInfo) -> Flow {
        let Some(waiting) = self.filters.get_mut(self.next) else { return Flow::Continue };
        match waiting.on_request_data(request, body) {
            Flow::Continue => {
                self.next += 1;
                self.on_request(request, body, info)
            }
            stop @ (Flow::Respond(_) | Flow::Wait { .. }) => stop,
        }
    }

    /// The head of the final response is there: an upstream's, or one of the proxy's own.
    pub(crate) fn on_response(&mut self, response: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
        for filter in self.filters.iter_mut().rev() {
            filter.on_response(response, request, info);
        }
    }
}

impl<'c> Filter<'c> {
    fn of(options: &'c filter::Filter) -> Self {
        match options {
            filter::Filter::Buffer(options) => Self::Buffer(Buffer::new(*options)),
            filter::Filter::HeaderMutation(options) => Self::HeaderMutation(HeaderMutation::new(options)),
        }
    }

    fn on_request(&mut self, request: &mut RequestHead, body: BodyProgress, info: &StreamInfo) -> Flow {
        match self {
            Self::Buffer(buffer) => buffer.on_request(request, body),
            Self::HeaderMutation(mutation) => mutation.on_request(request, info),
        }
    }

    fn on_request_data(&mut self, request: &mut RequestHead, body: BodyProgress) -> Flow {
        match self {
            Self::Buffer(buffer) => buffer.on_request_data(request, body),
            Self::HeaderMutation(_) => Flow::Continue,
        }
    }

    fn on_response(&mut self, response: &mut ResponseHead, request: &RequestHead, info: &StreamInfo) {
        match self {
            Self::Buffer(_) => {}
            Self::HeaderMutation(mutation) => mutation.on_response(response, request, info),
        }
    }
}
