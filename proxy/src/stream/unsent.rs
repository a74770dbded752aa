//! The rest of a response that is over but for its client.
//!
//! The last byte is in the buffer, the upstream is free, and the line in the access log is written: a client that takes its
//! time costs a buffer of bounded size, and no other stream's time.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use crate::codec::{ExchangeError, ResetReason, Writer};
use crate::exchange::LazyTimer;
use crate::stats::Http2Stats;

/// A finished response of which something may not have left.
pub(crate) struct Unsent {
    writer: Writer,
    /// `stream_flush_timeout`: how long the client has to take it.
    limit: Option<Duration>,
}

impl Unsent {
    pub(super) fn new(writer: Writer, limit: Option<Duration>) -> Self {
        Self { writer, limit }
    }

    /// Waits until all has left; if that takes too long, the stream is reset and the rest is lost.
    ///
    /// # Cancellation
    /// Dropped, it gives up what has not left.
    pub(crate) async fn write_out(mut self, mut timer: LazyTimer, stats: &Http2Stats) {
        let due = self.limit.map(|limit| Instant::now() + limit);
        let has_left = tokio::select! {
            // What has left is not late. A client that has gone takes nothing more, and its end is recorded elsewhere.
            biased;
            _ = poll_fn(|cx| self.writer.poll_flush(cx)) => true,
            () = timer.at(due) => false,
        };
        if !has_left {
            stats.tx_flush_timeout.inc();
            self.writer.reset(ResetReason::InternalError);
        }
    }
}

/// Sends what can leave at once. The rest leaves when the client takes it.
pub(super) async fn push_out(writer: &mut Writer) -> Result<(), ExchangeError> {
    poll_fn(|cx| match writer.poll_flush(cx) {
        Poll::Ready(flushed) => Poll::Ready(flushed),
        Poll::Pending => Poll::Ready(Ok(())),
    })
    .await
}
