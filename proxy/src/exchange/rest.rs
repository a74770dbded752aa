//! The part of a request that a try has not got yet when the next try begins beside it.

use std::task::{Context, Poll};

use crate::codec::buffer::ByteQueue;
use crate::codec::{ExchangeError, Headers, Writer};

/// The part of a complete request that is still to be written to one try. The exchange writes the same request to the next.
pub(crate) enum Rest {
    /// The whole request has been sent.
    Sent,
    /// The part that has yet to be sent.
    Unsent {
        /// Payload: no more than is kept of a request for another try.
        queue: ByteQueue,
        /// What follows it.
        trailers: Option<Headers>,
    },
}

impl Rest {
    /// Writes as much as `writer` takes. A writer that fails is dropped: the upstream's reading half has the cause.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>, writer: &mut Option<Writer>) {
        if let Some(open) = writer
            && self.write_to(cx, open).is_err()
        {
            *writer = None;
        }
    }

    fn write_to(&mut self, cx: &mut Context<'_>, writer: &mut Writer) -> Result<(), ExchangeError> {
        if let Self::Unsent { queue, trailers } = self {
            while let Poll::Ready(ready) = writer.poll_ready(cx) {
                ready?;
                let Some(piece) = queue.take() else { break };
                writer.write(piece);
            }
            if queue.is_empty() {
                writer.finish(trailers.take());
                *self = Self::Sent;
            }
        }
        match writer.poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }
}
