//! The downstream half of one stream while upstreams are at work: the request's body and the stream's timers.
//!
//! Whatever the stream waits for (a connection, a response head, the end of a back-off), its client may go on
//! sending, or close, and its timers may fire. [`Exchange::alongside`] is that rule in one place.

mod again;
mod filtered;
mod lazy_timer;
mod periodic;
mod replay;
mod rest;
mod timers;
mod try_limit;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::time::Instant;

use crate::codec::{Body, CopiedBody, Copier, ExchangeError, Frame, Headers, InformationalSender, Writer, copied};
use crate::config::route::KeptBody;
use crate::filter::{End, Filters, Flow, Kept, Piece, Refusal};
use crate::net::{Pace, PaceTicket};
use crate::stats::{FlowStats, HttpStats, Pause};
pub(crate) use again::Again;
pub(crate) use lazy_timer::LazyTimer;
pub(crate) use periodic::Periodic;
use replay::Replay;
pub(crate) use rest::Rest;
pub(crate) use timers::{Expired, Timers, percent_used};
pub(crate) use try_limit::{TryExpired, TryLimit};

/// The request's body on its way, and the stream's timers.
pub(crate) struct Exchange<'c> {
    body: Body,
    /// What the body passes on its way, and the response on its.
    pub(crate) filters: Filters<'c>,
    received: Received,
    /// The request ended with its head: no body follows, not even an empty one.
    ended_with_head: bool,
    replay: Replay,
    /// Bytes that the try under way was written, if they are counted.
    sent: Option<Rc<Cell<u64>>>,
    delivery: Delivery,
    pub(crate) bytes_received: u64,
    pub(crate) timers: Timers,
    /// Where informational responses go, if they are passed on.
    pub(crate) informational_sender: Option<InformationalSender>,
    /// Writes lines while the stream is under way, if that is wanted.
    pub(crate) periodic: Option<Box<Periodic<'c>>>,
    stats: Rc<HttpStats>,
    /// Of the cluster that the request is sent to.
    upstream: Option<Rc<FlowStats>>,
    /// While the client is not read, because as much of its request waits here as may.
    paused: Option<Pause>,
    /// How fast those end whose client has gone.
    ends: Rc<Pace>,
    /// The client's half has ended.
    ending: Option<Ending>,
    /// Who gets a copy of what comes.
    copiers: Vec<Copier>,
    /// The request has begun anew, and its filters have not seen the body that waits.
    is_anew: bool,
}

/// How the client's half has ended. The whole ends when it is its turn.
struct Ending {
    broken: ExchangeError,
    turn: PaceTicket,
}

/// How much of the request the client has sent.
enum Received {
    /// The end has not come.
    Open,
    /// All of it, and these trailers.
    Complete { trailers: Option<Headers> },
}

/// How far the request's body is on its way to the try under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Delivery {
    /// The end was handed to the upstream's writer.
    Finished,
    /// Payload is written as the upstream takes it.
    Flowing(PayloadEnd),
    /// Payload waits until the upstream has accepted the upgrade.
    Withheld(PayloadEnd),
}

/// How the upstream learns that the payload has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum PayloadEnd {
    /// Not at all: the client's FIN in an HTTP/1 tunnel ends the whole exchange.
    Close,
    /// By the end of the message.
    Message,
}

/// Why the stream ends, if not by its upstream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interrupted {
    /// The client sent what is no HTTP body, or its half broke off.
    Downstream(ExchangeError),
    /// A filter does not let the body pass.
    Filter(Refusal),
    /// A timer fired.
    Timer(Expired),
}

impl<'c> Exchange<'c> {
    /// `buffer_bytes_max`: how much of the body may wait here before the client is no longer read.
    pub(crate) fn new(
        body: Body,
        filters: Filters<'c>,
        timers: Timers,
        buffer_bytes_max: usize,
        stats: Rc<HttpStats>,
        ends: Rc<Pace>,
    ) -> Self {
        let mut exchange = Self {
            body,
            filters,
            received: Received::Open,
            ended_with_head: false,
            replay: Replay::new(buffer_bytes_max),
            sent: None,
            delivery: Delivery::Flowing(PayloadEnd::Message),
            bytes_received: 0,
            timers,
            informational_sender: None,
            periodic: None,
            stats,
            upstream: None,
            paused: None,
            ends,
            ending: None,
            copiers: Vec::new(),
            is_anew: false,
        };
        if exchange.body.is_complete() {
            exchange.ended_with_head = true;
            exchange.completed(None);
        }
        exchange
    }

    /// Tries begin: a client that has to wait, waits for this cluster.
    pub(crate) fn begin_tries(&mut self, upstream: &Rc<FlowStats>) {
        self.upstream = Some(Rc::clone(upstream));
    }

    /// A try begins, and this counts the bytes of the body that it is written.
    pub(crate) fn count_sent(&mut self) -> Rc<Cell<u64>> {
        Rc::clone(self.sent.insert(Rc::default()))
    }

    /// The payload has no framing and waits for [`release`](Self::release): the request has an upgrade. Before the
    /// body is first polled.
    pub(crate) fn withhold(&mut self) {
        self.body.switch_to_raw();
        if !self.body.is_complete() {
            self.received = Received::Open;
            self.ended_with_head = false;
        }
        let is_http1 = matches!(self.body, Body::Http1(_));
        self.delivery = Delivery::Withheld(if is_http1 { PayloadEnd::Close } else { PayloadEnd::Message });
        // The request never ends, so the route's timeout runs from here (Envoy since 1.36).
        self.timers.request_is_complete();
    }

    /// The upgrade was accepted: payload flows.
    pub(crate) fn release(&mut self) {
        if let Delivery::Withheld(end) = self.delivery {
            self.delivery = Delivery::Flowing(end);
        }
        self.replay.keep_nothing();
    }

    /// Keeps the body for another attempt, as far as the buffer reaches, or `limit`.
    pub(crate) fn keep_for_retry(&mut self, limit: Option<KeptBody>) {
        self.replay.keep_whole(limit);
    }

    /// A copy of the body, of which `bytes_max` may wait for its reader. Before the first try.
    pub(crate) fn copy(&mut self, bytes_max: usize) -> CopiedBody {
        let (copier, copied) = copied(bytes_max);
        self.replay.pieces().into_iter().for_each(|piece| copier.push(piece));
        match &self.received {
            Received::Complete { trailers } => copier.finish(trailers.clone()),
            Received::Open => self.copiers.push(copier),
        }
        copied
    }

    /// No further attempt will be made.
    pub(crate) fn keep_nothing(&mut self) {
        self.replay.keep_nothing();
    }

    /// Was the body larger than what may be kept for another attempt?
    pub(crate) fn was_too_much(&self) -> bool {
        self.replay.was_too_much()
    }

    /// May the request be sent again, whole?
    pub(crate) fn can_repeat(&self) -> bool {
        self.replay.is_whole()
    }

    /// The next attempt begins at the body's first byte.
    pub(crate) fn rewind(&mut self) {
        self.replay.rewind();
        if self.delivery == Delivery::Finished {
            self.delivery = Delivery::Flowing(PayloadEnd::Message);
        }
    }

    /// What the try under way has not got yet of a request that is complete and kept whole, for a try that goes on beside the next.
    pub(crate) fn rest(&mut self) -> Rest {
        match &self.received {
            Received::Complete { trailers } if self.delivery != Delivery::Finished => {
                Rest::Unsent { queue: self.replay.unread(), trailers: trailers.clone() }
            }
            Received::Complete { .. } | Received::Open => Rest::Sent,
        }
    }

    /// The try that has this rest before it is the one whose response counts.
    pub(crate) fn resume(&mut self, rest: Rest) {
        self.delivery = match rest {
            Rest::Sent => Delivery::Finished,
            Rest::Unsent { queue, .. } => {
                self.replay.replace(queue);
                Delivery::Flowing(PayloadEnd::Message)
            }
        };
    }

    /// Has the whole request been read?
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.received, Received::Complete { .. })
    }

    /// Has the whole request been handed to the upstream's writer?
    pub(crate) fn is_finished(&self) -> bool {
        self.delivery == Delivery::Finished
    }

    /// Reads the body without an upstream, until the filter that holds the request lets it go on.
    ///
    /// # Errors
    /// The client, a timer or a filter ends the stream.
    pub(crate) async fn receive(&mut self) -> Result<(), Interrupted> {
        self.replay.make_room(self.filters.request_bytes_max());
        std::future::poll_fn(|cx| {
            if let Poll::Ready(interrupted) = self.poll_interrupted(cx, &mut None) {
                return Poll::Ready(Err(interrupted));
            }
            if self.filters.holds_request() { Poll::Pending } else { Poll::Ready(Ok(())) }
        })
        .await
    }

    /// Does the request have no body at all? One that the client frames is framed for the upstream too, though it is empty.
    pub(crate) fn has_no_body(&self) -> bool {
        self.ended_with_head && self.replay.is_empty()
    }

    /// Drives `work`; meanwhile moves the body along to `writer`, watches the client and the timers.
    pub(crate) async fn alongside<T>(
        &mut self,
        writer: &mut Option<Writer>,
        work: impl Future<Output = T>,
    ) -> Result<T, Interrupted> {
        let mut work = pin!(work);
        std::future::poll_fn(|cx| {
            // The work first: a response that is there counts, even if the client has just disconnected.
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
                let is_received = matches!(self.received, Received::Complete { .. });
                let reset = if is_received { self.poll_reset(cx) } else { Poll::Pending };
                return Poll::Ready(if let Poll::Ready(reset) = reset { Err(reset) } else { Ok(Ok(done)) });
            }
            // The stream's own timers first: of two that fire together the one that ends all tries is reported.
            if let Poll::Ready(interrupted) = self.poll_interrupted(cx, writer) {
                return Poll::Ready(Err(interrupted));
            }
            limit.poll(cx, self.timers.completed_at()).map(|expired| Ok(Err(expired)))
        })
        .await
    }

    /// Nothing is to be begun for a stream that its client has reset already: clients that open streams in order to reset
    /// them (CVE-2023-44487) would have an upstream connection opened and closed for each.
    ///
    /// # Errors
    /// An HTTP/2 client has reset the stream.
    pub(crate) async fn check_reset(&mut self) -> Result<(), Interrupted> {
        std::future::poll_fn(|cx| match self.poll_reset(cx) {
            Poll::Ready(reset) => Poll::Ready(Err(reset)),
            Poll::Pending => Poll::Ready(Ok(())),
        })
        .await
    }

    /// Has an HTTP/2 client reset its stream? No response can reach it any more, so one that came in the same turn does not
    /// count, as in Envoy. A connection that was closed is another matter: the response may have been on its way.
    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Interrupted> {
        match &mut self.body {
            Body::Http2(incoming) => match ready!(incoming.poll_gone(cx)) {
                broken @ ExchangeError::StreamReset(_) => Poll::Ready(Interrupted::Downstream(broken)),
                ExchangeError::Closed
                | ExchangeError::ConnectionReset
                | ExchangeError::Malformed(_)
                | ExchangeError::OverLimit(_) => Poll::Pending,
            },
            Body::Copied(_) | Body::Empty | Body::Http1(_) | Body::Tcp(_) => Poll::Pending,
        }
    }

    /// Moves the body along; ready when the client, a filter or a timer ends the stream.
    pub(crate) fn poll_interrupted(&mut self, cx: &mut Context<'_>, writer: &mut Option<Writer>) -> Poll<Interrupted> {
        if let Some(periodic) = &mut self.periodic {
            periodic.poll(cx, self.bytes_received, self.timers.completed_at());
        }
        if self.ending.is_none() {
            match self.poll_pump(cx, writer) {
                Poll::Pending => {}
                Poll::Ready(Interrupted::Downstream(broken)) => {
                    self.ending = Some(Ending { broken, turn: PaceTicket::Unused });
                }
                Poll::Ready(interrupted @ (Interrupted::Filter(_) | Interrupted::Timer(_))) => {
                    return Poll::Ready(interrupted);
                }
            }
        }
        if let Some(Ending { broken, turn }) = &mut self.ending {
            return self.ends.poll_turn(turn, cx).map(|()| Interrupted::Downstream(*broken));
        }
        self.timers.poll(cx).map(Interrupted::Timer)
    }

    /// Reads what the client sends and writes what `writer` takes. Ready only when the client is gone or
    /// violates the protocol. A writer that fails is dropped: the upstream's reading half has the cause.
    fn poll_pump(&mut self, cx: &mut Context<'_>, writer: &mut Option<Writer>) -> Poll<Interrupted> {
        loop {
            if self.poll_write(cx, writer).is_err() {
                *writer = None;
            }
            if self.is_complete() {
                return self.body.poll_gone(cx).map(Interrupted::Downstream);
            }
            if !self.replay.has_room() {
                self.pause();
                return Poll::Pending; // the writer wakes us
            }
            self.paused = None;
            match self.filters.poll_kept_request(cx) {
                Kept::Nothing => {}
                // The filter wakes us.
                Kept::Full => return Poll::Pending,
                Kept::Due(_, Flow::Respond(refusal)) => return Poll::Ready(Interrupted::Filter(refusal)),
                Kept::Due(piece, Flow::Continue | Flow::Wait) => {
                    self.keep(piece);
                    continue;
                }
            }
            let mut piece = match ready!(self.body.poll_frame(cx)) {
                None => Piece::end(None),
                Some(Err(broken)) => return Poll::Ready(Interrupted::Downstream(broken)),
                Some(Ok(Frame::Trailers(trailers))) => Piece::end(Some(trailers)),
                Some(Ok(Frame::Data(chunk))) => {
                    self.bytes_received += chunk.len() as u64;
                    self.timers.progress();
                    Piece::data(chunk)
                }
            };
            if let Err(refusal) = self.filters.on_request_data(&mut piece) {
                // END_STREAM is a part of the last DATA frame (RFC 9113 8.1).
                if matches!(self.body, Body::Http2(_)) && matches!(self.body.poll_frame(cx), Poll::Ready(None)) {
                    self.completed(None);
                }
                return Poll::Ready(Interrupted::Filter(refusal));
            }
            self.keep(piece);
        }
    }

    /// A piece has passed the filters.
    fn keep(&mut self, piece: Piece) {
        if !piece.data.is_empty() {
            self.copiers.iter().for_each(|copier| copier.push(piece.data.clone()));
            self.replay.push(piece.data);
        }
        if let End::Complete(trailers) = piece.end {
            self.completed(trailers);
        }
    }

    /// The client is not read any more.
    fn pause(&mut self) {
        let Self { stats, upstream, paused, .. } = self;
        paused.get_or_insert_with(|| {
            let of_client = (
                &stats.downstream_flow_control_paused_reading_total,
                &stats.downstream_flow_control_resumed_reading_total,
            );
            let of_upstream = upstream.iter().map(|flow| (&flow.backed_up, &flow.drained));
            Pause::begin(&of_upstream.chain([of_client]).collect::<Vec<_>>())
        });
    }

    fn completed(&mut self, trailers: Option<Headers>) {
        self.copiers.drain(..).for_each(|copier| copier.finish(trailers.clone()));
        self.received = Received::Complete { trailers };
        self.timers.request_is_complete();
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, writer: &mut Option<Writer>) -> Result<(), ExchangeError> {
        let Some(writer) = writer else { return Ok(()) };
        if let Delivery::Flowing(end) = self.delivery {
            while !self.replay.is_read() {
                match writer.poll_ready(cx) {
                    Poll::Pending => break,
                    Poll::Ready(ready) => ready?,
                }
                let Some(chunk) = self.replay.next() else { break };
                if let Some(sent) = &self.sent {
                    sent.set(sent.get() + chunk.len() as u64);
                }
                writer.write(chunk);
                self.timers.progress();
            }
            if let (Received::Complete { trailers }, PayloadEnd::Message) = (&self.received, end)
                && self.replay.is_read()
            {
                writer.finish(trailers.clone());
                self.delivery = Delivery::Finished;
            }
        }
        match writer.poll_flush(cx) {
            Poll::Ready(flushed) => flushed,
            Poll::Pending => Ok(()),
        }
    }

    /// When the request was complete.
    pub(crate) fn completed_at(&self) -> Option<Instant> {
        self.timers.completed_at()
    }
}
