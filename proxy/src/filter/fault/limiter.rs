//! The body of a response at a limited rate: what comes is kept, and goes out in portions, a fixed number in each second.

use std::num::NonZeroU64;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::filter::waiting::Waiting;
use crate::filter::{End, Piece};

/// Between two portions, as in Envoy.
const INTERVAL: Duration = Duration::from_millis(50);

/// What is kept of one response, and when it goes on.
pub(in crate::filter) struct Limiter {
    /// Bytes in a second; as many may go at once after a pause.
    rate: f64,
    /// Bytes that may go, as of `filled`.
    tokens: f64,
    filled: Instant,
    waiting: Waiting,
    /// More than so many, and the upstream is not read.
    bytes_max: usize,
    /// Bytes that are left of the portion on its way.
    portion: usize,
    /// Until the next portion goes.
    due: Option<Pin<Box<Sleep>>>,
}

impl Limiter {
    pub(super) fn new(kilobytes: NonZeroU64, bytes_max: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate of more than 2^53 is no limit")]
        let rate = kilobytes.get() as f64 * 1024.0;
        let tokens = rate * INTERVAL.as_secs_f64();
        Self { rate, tokens, filled: Instant::now(), waiting: Waiting::default(), bytes_max, portion: 0, due: None }
    }

    pub(super) fn keep(&mut self, piece: Piece) {
        self.waiting.keep(piece);
    }

    /// Is nothing kept?
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// May more come?
    pub(in crate::filter) fn has_room(&self) -> bool {
        self.waiting.has_room(self.bytes_max)
    }

    /// The next piece that goes on.
    pub(in crate::filter) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Piece> {
        loop {
            if self.waiting.is_empty() {
                return self.waiting.take_end().map_or(Poll::Pending, |trailers| Poll::Ready(Piece::end(trailers)));
            }
            if let Some(data) = self.next() {
                let end = if self.waiting.is_empty() { self.waiting.take_end() } else { None };
                return Poll::Ready(Piece { data, end: end.map_or(End::Open, End::Complete) });
            }
            if let Some(due) = &mut self.due {
                ready!(due.as_mut().poll(cx));
            }
            self.portion = self.take_tokens();
            self.due = (self.portion < self.waiting.len()).then(|| Box::pin(sleep_until(Instant::now() + INTERVAL)));
        }
    }

    /// The next bytes of the portion on its way.
    fn next(&mut self) -> Option<Bytes> {
        if self.portion == 0 {
            return None;
        }
        let data = self.waiting.take(self.portion)?;
        self.portion -= data.len();
        Some(data)
    }

    /// Tokens for what is kept, or as many as there are.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "between 0 and the size of a buffer"
    )]
    fn take_tokens(&mut self) -> usize {
        let now = Instant::now();
        let come = now.duration_since(self.filled).as_secs_f64() * self.rate;
        self.filled = now;
        self.tokens = (self.tokens + come).min(self.rate);
        let taken = (self.tokens as usize).min(self.waiting.len());
        self.tokens -= taken as f64;
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn limiter(kilobytes: u64) -> Limiter {
        Limiter::new(NonZeroU64::new(kilobytes).unwrap(), 1_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn portions_go_out_evenly_and_the_end_with_the_last() {
        let begun = Instant::now();
        let mut limiter = limiter(10);
        limiter.keep(Piece { data: Bytes::from(vec![b'x'; 1300]), end: End::Complete(None) });
        assert!(!limiter.has_room());
        let mut seen = Vec::new();
        loop {
            let piece = poll_fn(|cx| limiter.poll_piece(cx)).await;
            seen.push((begun.elapsed().as_millis(), piece.data.len(), piece.is_last()));
            if piece.is_last() {
                break;
            }
        }
        assert_eq!(seen, [(0, 512, false), (50, 512, false), (100, 276, true)]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_pause_as_much_may_go_as_in_a_second() {
        let mut limiter = limiter(1);
        tokio::time::advance(Duration::from_secs(60)).await;
        limiter.keep(Piece::data(Bytes::from(vec![b'x'; 2000])));
        let piece = poll_fn(|cx| limiter.poll_piece(cx)).await;
        assert_eq!((piece.data.len(), piece.is_last()), (1024, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_buffer_that_is_full_takes_no_more_and_an_empty_end_goes_at_once() {
        let mut limiter = Limiter::new(NonZeroU64::MIN, 100);
        limiter.keep(Piece::data(Bytes::from_static(&[b'x'; 100])));
        assert!(!limiter.has_room());
        while !limiter.waiting.is_empty() {
            poll_fn(|cx| limiter.poll_piece(cx)).await;
        }
        assert!(limiter.has_room());
        limiter.keep(Piece::end(None));
        assert!(poll_fn(|cx| limiter.poll_piece(cx)).await.is_last());
    }
}
