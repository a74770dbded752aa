//! An upstream's response before its client gets the head: it may wait in a filter until more of the body has come.

use std::future::poll_fn;
use std::task::Poll;

use super::relay::{RelayEnd, failure_after_response};
use super::{StreamContext, call};
use crate::cluster::Failure;
use crate::codec::{Frame, Payload, ResponseHead};
use crate::exchange::Exchange;
use crate::filter::{Flow, Kept, Piece, Refusal};
use crate::upstream::UpstreamResponse;

/// Why no client gets the head of a response.
pub(super) enum Stopped {
    /// The exchange has ended.
    Ended(RelayEnd),
    /// A filter does not let the body pass.
    Refused(Refusal),
}

/// Lets the filters see the head of a response, which `payload` follows. Returns the piece of the body with which the last wait
/// ended, if a filter has waited.
///
/// # Cancellation
/// Safe to drop: both halves are broken off.
pub(super) async fn filter_response(
    stream: &mut StreamContext<'_>,
    response: &mut UpstreamResponse,
    head: &mut ResponseHead,
    mut payload: Payload,
) -> Result<Option<Piece>, Stopped> {
    let StreamContext { service, request, exchange, info, .. } = stream;
    if exchange.filters.is_empty() {
        return Ok(None);
    }
    info.bytes_received = exchange.bytes_received;
    info.response_code = Some(head.status.as_u16());
    let mut waited: Option<Piece> = None;
    loop {
        let before = exchange.filters.undecided();
        let flow = exchange.filters.on_response(head, payload, request, info);
        call::detach(service, exchange.filters.take_detached(), info);
        if let Flow::Respond(refusal) = flow {
            return Err(Stopped::Refused(refusal));
        }
        // The filter that waited for the body has seen the piece; those behind it have not.
        let mut below = before.saturating_sub(1);
        if let Some((index, released)) = exchange.filters.take_released() {
            // A filter may give a body to a response that had none.
            payload = released.payload(payload);
            released.replace(waited.get_or_insert_default());
            below = index;
        }
        if let Some(piece) = &mut waited
            && exchange.filters.undecided() < before
        {
            match exchange.filters.on_held_response_data(below, piece) {
                Flow::Continue if flow == Flow::Wait => continue,
                Flow::Continue | Flow::Wait => {}
                Flow::Respond(refusal) => return Err(Stopped::Refused(refusal)),
            }
        }
        if flow == Flow::Continue {
            return Ok(waited);
        }
        if let Some(call) = exchange.filters.take_call_of_response() {
            let called = exchange.alongside(&mut response.writer, call::make(service, *call, info)).await;
            let called = called.map_err(|interrupted| Stopped::Ended(RelayEnd::Interrupted(interrupted)))?;
            exchange.filters.end_call_of_response(called);
            response.restart_idle_timeout(); // it is a filter that delays, not the upstream
            continue;
        }
        waited = Some(wait(exchange, response, payload).await?);
    }
}

/// Gives the body to the filter that waits until it lets the head go on. Returns the piece with which that was.
async fn wait(
    exchange: &mut Exchange<'_>,
    response: &mut UpstreamResponse,
    payload: Payload,
) -> Result<Piece, Stopped> {
    loop {
        let (mut piece, flow) = receive(exchange, response, payload).await.map_err(Stopped::Ended)?;
        match flow.unwrap_or_else(|| exchange.filters.on_response_data(&mut piece)) {
            Flow::Continue => return Ok(piece),
            Flow::Wait => {}
            Flow::Respond(refusal) => return Err(Stopped::Refused(refusal)),
        }
    }
}

/// The next piece of a response's body, while the request goes on. One that a filter has kept comes with what those before it
/// want done.
async fn receive(
    exchange: &mut Exchange<'_>,
    response: &mut UpstreamResponse,
    payload: Payload,
) -> Result<(Piece, Option<Flow<Refusal>>), RelayEnd> {
    poll_fn(|cx| {
        let kept = exchange.filters.poll_kept(cx);
        if let Kept::Due(piece, flow) = kept {
            return Poll::Ready(Ok((piece, Some(flow))));
        }
        if matches!(kept, Kept::Full) {
            response.restart_idle_timeout();
        } else if let Poll::Ready(frame) = response.body.poll_frame(cx) {
            response.restart_idle_timeout();
            exchange.timers.progress();
            return Poll::Ready(match frame {
                None => Ok((Piece::end(None), None)),
                Some(Ok(Frame::Data(chunk))) => {
                    response.received(chunk.len());
                    Ok((Piece::data(chunk), None))
                }
                Some(Ok(Frame::Trailers(trailers))) => Ok((Piece::end(Some(trailers)), None)),
                Some(Err(broken)) => {
                    let failure = failure_after_response(broken, &response.body, payload);
                    Err(RelayEnd::Upstream { failure, broken: Some(broken) })
                }
            });
        }
        if response.poll_idle_timeout(cx).is_ready() {
            return Poll::Ready(Err(RelayEnd::Upstream { failure: Failure::TryIdle, broken: None }));
        }
        exchange.poll_interrupted(cx, &mut response.writer).map(|interrupted| Err(RelayEnd::Interrupted(interrupted)))
    })
    .await
}
