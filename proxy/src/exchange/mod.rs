//! The downstream half of one stream while upstreams are at work: the request's body and the stream's timers.
//!
//! Whatever the stream waits for (a connection, a response head, the end of a back-off), its client may go on
//! sending, or go away, and its timers may fire. [`Exchange::alongside`] is that rule in one place.

mod lazy_timer;
mod timers;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::codec::buffer::ByteQueue;
use crate::codec::{Body, Broken, Frame, Headers, Informer, Writer};
pub(crate) use lazy_timer::LazyTimer;
pub(crate) use timers::{Expired, Timers};

/// The request's body on its way, and the stream's timers.
pub(crate) struct Exchange {
    body: Body,
    /// What was read of the body and is kept; what it has given out was written to the attempt under way. At most
    /// `buffer_bytes_max` and one read of payload, and the memory that [`held_max`](crate::codec::buffer::held_max) allows
    /// for it.
    queue: ByteQueue,
    buffer_bytes_max: usize,
    /// What becomes of what was written.
    keeping: Keeping,
    /// Something that was written is gone: what is left is not the whole body.
    forgot: bool,
    /// Payload waits until the upstream has accepted the upgrade.
    withheld: bool,
    /// The payload is a tunnel's on HTTP/1: the client's FIN is no end of a message but the end of everything.
    ends_by_close: bool,
    trailers: Option<Headers>,
    complete: bool,
    finished: bool,
    pub(crate) bytes_received: u64,
    pub(crate) timers: Timers,
    /// Where informational responses go, if they are passed on.
    pub(crate) informer: Option<Informer>,
}

/// What becomes of a chunk that was written to an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Keeping {
    /// It goes.
    Nothing,
    /// It goes, for the body was larger than what may be kept.
    TooMuch,
    /// It stays for another attempt.
    Whole,
}

/// Why the stream ends without its upstream's say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interrupted {
    /// The client sent what is no HTTP body, or its half broke off.
    Downstream(Broken),
    /// A timer fired.
    Timer(Expired),
}

impl Exchange {
    /// `buffer_bytes_max`: how much of the body may wait here before the client is no longer read.
    pub(crate) fn new(body: Body, timers: Timers, buffer_bytes_max: usize) -> Self {
        let complete = body.is_complete();
        let mut exchange = Self {
            body,
            queue: ByteQueue::default(),
            buffer_bytes_max,
            keeping: Keeping::Nothing,
            forgot: false,
            withheld: false,
            ends_by_close: false,
            trailers: None,
            complete: false,
            finished: false,
            bytes_received: 0,
            timers,
            informer: None,
        };
        if complete {
            exchange.completed();
        }
        exchange
    }

    /// The payload has no framing and waits for [`release`](Self::release): the request asks for an upgrade.
    pub(crate) fn withhold(&mut self) {
        self.body.switch_to_raw();
        self.complete = self.body.is_complete();
        self.withheld = true;
        self.ends_by_close = matches!(self.body, Body::Http1(_));
        // The request never ends, so the route's timeout runs from here (Envoy since 1.36).
        self.timers.request_is_complete();
    }

    /// The upgrade was accepted: payload flows.
    pub(crate) fn release(&mut self) {
        self.withheld = false;
        self.keep_nothing();
    }

    /// Keeps the body for another attempt, as far as the buffer reaches.
    pub(crate) fn keep_for_retry(&mut self) {
        self.keeping = Keeping::Whole;
    }

    /// No further attempt will be made.
    pub(crate) fn keep_nothing(&mut self) {
        self.let_go(Keeping::Nothing);
    }

    fn let_go(&mut self, keeping: Keeping) {
        self.keeping = keeping;
        self.forgot |= self.queue.drop_read();
    }

    /// Was the body larger than what may be kept for another attempt?
    pub(crate) fn was_too_much(&self) -> bool {
        self.keeping == Keeping::TooMuch
    }

    /// May the request be sent again, whole?
    pub(crate) fn can_repeat(&self) -> bool {
        !self.forgot
    }

    /// The next attempt begins at the body's first byte.
    pub(crate) fn rewind(&mut self) {
        self.queue.rewind();
        self.finished = false;
    }

    /// Has the whole request been read?
    pub(crate) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Has the whole request been handed to the upstream's writer?
    pub(crate) fn is_finished(&self) -> bool {
        self.finished
    }

    /// Does the request have no body at all?
    pub(crate) fn has_no_body(&self) -> bool {
        self.complete && self.queue.is_empty() && self.trailers.is_none()
    }

    /// Drives `work`; meanwhile moves the body along to `writer`, watches the client and the timers.
    pub(crate) async fn alongside<T>(
        &mut self,
        writer: &mut Option<Writer>,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            // The work first: an answer that is there counts, even if the client has just left.
            if let Poll::Ready(done) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            self.poll_interrupted(cx, writer).map(Err)
        })
        .await
    }

    /// As [`alongside`](Self::alongside), for as long as one try may take.
    pub(crate) async fn alongside_try<T>(
        &mut self,
        writer: &mut Option<Writer>,
        limit: &mut TryLimit,
        work: impl Future<Output = T>,
    ) -> Result<Result<T, TryExpired>, Interrupted> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            // A client that does not read makes the upstream wait: its response stays in the system's buffer.
            if self.body.poll_response_room(cx).is_ready()
                && let Poll::Ready(done) = work.as_mut().poll(cx)
            {
                let reset = self.poll_reset(cx);
                return Poll::Ready(if let Poll::Ready(reset) = reset { Err(reset) } else { Ok(Ok(done)) });
            }
            // The stream's own timers first: of two that fire together the one that ends all tries is told.
            if let Poll::Ready(interrupted) = self.poll_interrupted(cx, writer) {
                return Poll::Ready(Err(interrupted));
            }
            limit.poll(cx, self.timers.completed_at()).map(|expired| Ok(Err(expired)))
        })
        .await
    }

    /// Has an HTTP/2 client reset its stream? No response can reach it any more, so one that came in the same turn does not
    /// count, as in Envoy. A connection that was closed is another matter: the response may have been on its way.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Interrupted> {
        match &mut self.body {
            Body::Http2(incoming) if self.complete => match ready!(incoming.poll_gone(cx)) {
                broken @ Broken::StreamReset(_) => Poll::Ready(Interrupted::Downstream(broken)),
                Broken::Closed | Broken::ConnectionReset | Broken::Malformed(_) => Poll::Pending,
            },
            Body::Empty | Body::Http1(_) | Body::Http2(_) => Poll::Pending,
        }
    }

    /// Moves the body along; ready when the client or a timer ends the stream.
    pub(crate) fn poll_interrupted(&mut self, cx: &mut Context<'_>, writer: &mut Option<Writer>) -> Poll<Interrupted> {
        if let Poll::Ready(broken) = self.poll_pump(cx, writer) {
            return Poll::Ready(Interrupted::Downstream(broken));
        }
        self.timers.poll(cx).map(Interrupted::Timer)
    }

    /// Reads what the client sends and writes what `writer` takes. Ready only when the client is gone or
    /// talks nonsense. A writer that fails is dropped: the upstream's reading half tells why.
    fn poll_pump(&mut self, cx: &mut Context<'_>, writer: &mut Option<Writer>) -> Poll<Broken> {
        loop {
            if self.poll_write(cx, writer).is_err() {
                *writer = None;
            }
            if self.complete {
                return self.body.poll_gone(cx);
            }
            // A body that is kept and fills the buffer may be complete: one look more will tell.
            if self.queue.len() >= self.buffer_bytes_max && self.keeping != Keeping::Whole {
                return Poll::Pending; // the writer wakes us
            }
            match self.body.poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.completed(),
                Poll::Ready(Some(Err(broken))) => return Poll::Ready(broken),
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                    self.trailers = Some(trailers);
                    self.completed();
                }
                Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                    self.bytes_received += chunk.len() as u64;
                    self.queue.push(chunk);
                    self.timers.progress();
                    if self.keeping == Keeping::Whole && self.queue.len() > self.buffer_bytes_max {
                        self.let_go(Keeping::TooMuch);
                    }
                }
            }
        }
    }

    fn completed(&mut self) {
        self.complete = true;
        self.timers.request_is_complete();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, writer: &mut Option<Writer>) -> Result<(), Broken> {
        let Some(writer) = writer else { return Ok(()) };
        while !self.withheld && !self.queue.is_read() {
            match writer.poll_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(ready) => ready?,
            }
            let Some(chunk) = self.next_chunk() else { break };
            writer.write(chunk);
            self.timers.progress();
        }
        let all_written = !self.withheld && self.queue.is_read();
        if self.complete && !self.finished && !self.ends_by_close && all_written {
            writer.finish(self.trailers.clone());
            self.finished = true;
        }
        match writer.poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    fn next_chunk(&mut self) -> Option<Bytes> {
        if self.keeping == Keeping::Whole {
            return self.queue.read();
        }
        self.forgot = true;
        self.queue.take()
    }

    /// When the request was complete; for `x-envoy-upstream-service-time`.
    pub(crate) fn completed_at(&self) -> Option<Instant> {
        self.timers.completed_at()
    }
}

/// How long one try may take: from the moment it has its connection and the request is complete.
pub(crate) struct TryLimit {
    /// `None` if nothing limits it.
    limit: Option<(Duration, TryExpired)>,
    assigned: Instant,
    timer: LazyTimer,
}

/// A limit of one try that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum TryExpired {
    /// `per_try_idle_timeout`: nothing came for so long.
    Idle,
    /// `per_try_timeout`
    Timeout,
}

impl TryLimit {
    /// Begins with the connection's assignment. Before its response head a try is idle all the time.
    pub(crate) fn new(timeout: Option<Duration>, idle: Option<Duration>) -> Self {
        let timeout = timeout.map(|limit| (limit, TryExpired::Timeout));
        let idle = idle.map(|limit| (limit, TryExpired::Idle));
        let limit = timeout.into_iter().chain(idle).min_by_key(|(limit, _)| *limit);
        Self { limit, assigned: Instant::now(), timer: LazyTimer::default() }
    }

    fn poll(&mut self, cx: &mut Context<'_>, completed_at: Option<Instant>) -> Poll<TryExpired> {
        let (Some((limit, which)), Some(completed)) = (self.limit, completed_at) else { return Poll::Pending };
        self.timer.poll(cx, completed.max(self.assigned) + limit).map(|()| which)
    }
}
