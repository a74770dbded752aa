//! Payload both ways, until the exchange is over.
//!
//! The same loop serves a response with a body, an upload that goes on while the answer comes, and a tunnel:
//! a tunnel merely has no length in either direction, and ends when either side does.

use std::task::{Context, Poll};

use crate::cluster::Failure;
use crate::codec::{Body, Broken, Frame, Writer};
use crate::exchange::{Exchange, Interrupted};
use crate::upstream::Answer;

/// How an exchange that had a response ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum RelayEnd {
    /// The response is whole; what has not left yet is in the client's buffer, and nobody needs to wait for it.
    Complete,
    /// A tunnel that the proxy's drain ended.
    Drained,
    /// The client or a timer ended it.
    Interrupted(Interrupted),
    /// The upstream broke off, or ended a tunnel.
    Upstream {
        /// As the log says it.
        failure: Failure,
        /// As it came, if it was no ordinary end of a tunnel.
        broken: Option<Broken>,
    },
}

/// Moves payload until the exchange ends. `sent` counts body bytes towards the client.
///
/// # Cancellation
/// Safe to drop: both halves are broken off.
pub(super) async fn relay(
    exchange: &mut Exchange,
    answer: &mut Answer,
    down: &mut Writer,
    is_tunnel: bool,
    sent: &mut u64,
) -> RelayEnd {
    let mut response = Response::Open;
    std::future::poll_fn(|cx| {
        let ended = poll_response(cx, exchange, answer, down, is_tunnel, &mut response, sent);
        // Polled in any case: what a client sent before it went away is still passed on.
        let interrupted = exchange.poll_interrupted(cx, &mut answer.writer).map(RelayEnd::Interrupted);
        if ended.is_ready() { ended } else { interrupted }
    })
    .await
}

/// Where the response's payload is.
enum Response {
    /// More may come.
    Open,
    /// The last byte is queued for the client; the exchange ends like this.
    Ending(RelayEnd),
}

fn poll_response(
    cx: &mut Context<'_>,
    exchange: &mut Exchange,
    answer: &mut Answer,
    down: &mut Writer,
    is_tunnel: bool,
    response: &mut Response,
    sent: &mut u64,
) -> Poll<RelayEnd> {
    while let Response::Open = response {
        match down.poll_ready(cx) {
            Poll::Pending => {
                answer.heard(); // for all we know: it is the client that keeps it waiting
                break;
            }
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(broken)) => return Poll::Ready(RelayEnd::Interrupted(Interrupted::Downstream(broken))),
        }
        match answer.body.poll_frame(cx) {
            Poll::Pending => break,
            Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                answer.heard();
                *sent += chunk.len() as u64;
                down.write(chunk);
                exchange.timers.progress();
            }
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                down.finish(Some(trailers));
                *response = Response::Ending(RelayEnd::Complete);
            }
            Poll::Ready(None) if is_tunnel && matches!(answer.body, Body::Http1(_)) => {
                // An HTTP/1 peer has no half-close in a tunnel: its FIN ends the tunnel (Envoy's rule). END_STREAM
                // of an HTTP/2 peer is an ordinary end.
                let end = RelayEnd::Upstream { failure: Failure::Terminated, broken: None };
                *response = Response::Ending(end);
            }
            Poll::Ready(None) => {
                down.finish(None);
                *response = Response::Ending(RelayEnd::Complete);
            }
            Poll::Ready(Some(Err(broken))) => {
                let failure = failure_after_response(broken, &answer.body, is_tunnel);
                *response = Response::Ending(RelayEnd::Upstream { failure, broken: Some(broken) });
            }
        }
    }
    if let Response::Open = response
        && answer.poll_silence(cx).is_ready()
    {
        *response = Response::Ending(RelayEnd::Upstream { failure: Failure::TryIdle, broken: None });
    }
    // Whatever came before the end reaches the client, also before a reset. An answer that is whole does so by itself: a
    // slow reader neither holds its upstream nor is cut by a timeout that is the upstream's.
    match (down.poll_flush(cx), response) {
        (Poll::Ready(Err(broken)), _) => Poll::Ready(RelayEnd::Interrupted(Interrupted::Downstream(broken))),
        (Poll::Pending, Response::Ending(RelayEnd::Complete)) => Poll::Ready(RelayEnd::Complete),
        (Poll::Ready(Ok(())), Response::Ending(end)) => Poll::Ready(end.clone()),
        (Poll::Ready(Ok(())), Response::Open) | (Poll::Pending, _) => Poll::Pending,
    }
}

/// An HTTP/1 body cut short is a protocol error of the upstream's. A tunnel or an HTTP/2 stream that is cut short has lost
/// its connection.
fn failure_after_response(broken: Broken, body: &Body, is_tunnel: bool) -> Failure {
    let connection_lost = matches!(broken, Broken::Closed | Broken::ConnectionReset);
    let is_cut_short = connection_lost && !is_tunnel && matches!(body, Body::Http1(_));
    if is_cut_short { Failure::Protocol } else { Failure::from(broken) }
}
