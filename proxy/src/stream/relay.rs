//! Payload both ways, until the exchange is over.
//!
//! The same loop serves a response with a body, an upload that goes on while the response comes, and a tunnel:
//! a tunnel merely has no length in either direction, and ends when either side does.

use std::task::{Context, Poll};

use crate::cluster::Failure;
use crate::codec::{Body, ExchangeError, Frame, Headers, Payload, Writer};
use crate::exchange::{Exchange, Interrupted};
use crate::filter::{End, Flow, Kept, Piece, Refusal};
use crate::stats::{FlowStats, Pause};
use crate::upstream::UpstreamResponse;

/// How an exchange that had a response ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum RelayEnd {
    /// The response is whole; what has not left yet is in the client's buffer, and no upstream waits for it.
    Complete,
    /// A tunnel that the proxy's drain ended.
    Drained,
    /// The client or a timer ended it.
    Interrupted(Interrupted),
    /// The upstream broke off, or ended a tunnel.
    Upstream {
        /// As logged.
        failure: Failure,
        /// As it came, if it was no ordinary end of a tunnel.
        broken: Option<ExchangeError>,
    },
}

/// Moves payload between a client and its upstream.
pub(super) struct Relay<'a, 's> {
    pub(super) exchange: &'a mut Exchange<'s>,
    pub(super) response: &'a mut UpstreamResponse,
    pub(super) down: &'a mut Writer,
    pub(super) payload: Payload,
    /// Counts body bytes towards the client.
    pub(super) sent: &'a mut u64,
    /// Where the trailers go besides, if a log reads them.
    pub(super) trailers: Option<&'a mut Option<Headers>>,
    pub(super) state: State,
    pub(super) flow: &'a FlowStats,
    /// While the upstream is not read, because as much waits for the client as may.
    pub(super) paused: Option<Pause>,
}

/// Whether more of the response's payload may come.
pub(super) enum State {
    /// More may come.
    Open,
    /// The last byte is queued for the client; the exchange ends like this.
    Ending(RelayEnd),
}

impl Relay<'_, '_> {
    /// Ready when the exchange has ended.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        let ended = self.poll_response(cx);
        self.exchange.note_sent(*self.sent);
        // Polled in any case: what a client sent before it closed is still passed on.
        let interrupted = self.exchange.poll_interrupted(cx, &mut self.response.writer).map(RelayEnd::Interrupted);
        if ended.is_ready() { ended } else { interrupted }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Poll<RelayEnd> {
        if let State::Open = self.state
            && let Err(broken) = self.read_response(cx)
        {
            return Poll::Ready(RelayEnd::Interrupted(Interrupted::Downstream(broken)));
        }
        if let State::Open = self.state
            && self.response.poll_idle_timeout(cx).is_ready()
        {
            let end = RelayEnd::Upstream { failure: Failure::TryIdle, broken: None };
            self.state = State::Ending(end);
        }
        // What came before the end reaches the client, also before a reset. A response that is whole does so by itself: a
        // slow reader neither holds its upstream nor is cut by a timeout that is the upstream's.
        match (self.down.poll_flush(cx), &self.state) {
            (Poll::Ready(Err(broken)), _) => Poll::Ready(RelayEnd::Interrupted(Interrupted::Downstream(broken))),
            (Poll::Pending, State::Ending(RelayEnd::Complete)) => Poll::Ready(RelayEnd::Complete),
            (Poll::Ready(Ok(())), State::Ending(end)) => Poll::Ready(end.clone()),
            (Poll::Ready(Ok(())), State::Open) | (Poll::Pending, _) => Poll::Pending,
        }
    }

    /// Passes on what has come of the response, as far as the client takes it.
    ///
    /// # Errors
    /// The client's side is broken.
    fn read_response(&mut self, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        while let State::Open = self.state {
            match self.down.poll_ready(cx) {
                Poll::Pending => {
                    let FlowStats { paused_reading, resumed_reading, .. } = self.flow;
                    self.paused.get_or_insert_with(|| Pause::begin(&[(paused_reading, resumed_reading)]));
                    self.response.restart_idle_timeout(); // it is the client that delays, not the upstream
                    return Ok(());
                }
                Poll::Ready(ready) => ready?,
            }
            self.paused = None;
            match self.exchange.filters.poll_kept(cx) {
                Kept::Nothing => {}
                Kept::Due(piece, flow) => {
                    self.pass_on(piece, flow);
                    continue;
                }
                Kept::Full => {
                    self.response.restart_idle_timeout(); // it is a filter that delays, not the upstream
                    return Ok(());
                }
            }
            match self.response.body.poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                    self.response.received(chunk.len());
                    self.exchange.timers.progress();
                    self.pass(Piece::data(chunk));
                }
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => self.pass(Piece::end(Some(trailers))),
                // An HTTP/1 peer has no half-close in a tunnel: its FIN ends the tunnel (Envoy's rule). END_STREAM of an HTTP/2
                // peer is an ordinary end.
                Poll::Ready(None) if self.payload == Payload::Raw && matches!(self.response.body, Body::Http1(_)) => {
                    let end = RelayEnd::Upstream { failure: Failure::Terminated, broken: None };
                    self.state = State::Ending(end);
                }
                Poll::Ready(None) => self.pass(Piece::end(None)),
                Poll::Ready(Some(Err(broken))) => {
                    let failure = failure_after_response(broken, &self.response.body, self.payload);
                    self.state = State::Ending(RelayEnd::Upstream { failure, broken: Some(broken) });
                }
            }
        }
        Ok(())
    }

    /// A piece of the response has come.
    fn pass(&mut self, mut piece: Piece) {
        let flow = self.exchange.filters.on_response_data(&mut piece);
        self.pass_on(piece, flow);
    }

    /// A piece of the response has come through the filters.
    fn pass_on(&mut self, piece: Piece, flow: Flow<Refusal>) {
        match flow {
            // All filters have continued with the head: none of them waits.
            Flow::Continue | Flow::Wait => self.write(piece),
            Flow::Respond(refusal) => {
                self.state = State::Ending(RelayEnd::Interrupted(Interrupted::Filter(refusal)));
            }
        }
    }

    /// A piece of the response has passed the filters.
    pub(super) fn write(&mut self, piece: Piece) {
        if !piece.data.is_empty() {
            *self.sent += piece.data.len() as u64;
            self.down.write(piece.data);
        }
        if let End::Complete(trailers) = piece.end {
            if let (Some(kept), Some(trailers)) = (&mut self.trailers, &trailers) {
                **kept = Some(trailers.clone());
            }
            self.down.finish(trailers);
            self.state = State::Ending(RelayEnd::Complete);
        }
    }
}

/// An HTTP/1 body cut short is a protocol error of the upstream's. A tunnel or an HTTP/2 stream that is cut short has lost
/// its connection.
pub(super) fn failure_after_response(broken: ExchangeError, body: &Body, payload: Payload) -> Failure {
    let connection_lost = matches!(broken, ExchangeError::Closed | ExchangeError::ConnectionReset);
    let is_cut_short = connection_lost && payload != Payload::Raw && matches!(body, Body::Http1(_));
    if is_cut_short { Failure::Protocol } else { Failure::from(broken) }
}
