//! Responses of the proxy's own, to requests that were read and to bytes that are none.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::{Method, Version};

use super::local_reply::{Content, Form, LocalReply, Row};
use super::respond::{Remaining, Responder, Response, after_response, begin_response, edit_response, tell_attempts};
use super::service::Service;
use super::unsent::push_out;
use super::{After, Persistence, StreamContext, call};
use crate::access_log::{ResponseFlag, StreamInfo};
use crate::codec::http1::{Close, Refusal as HeadRefusal};
use crate::codec::{Payload, RequestHead, ResetReason, ResponseHead, Writer};
use crate::exchange::{Exchange, Interrupted};
use crate::filter::edits::add_to_response;
use crate::filter::{End, Filters, Kept, Piece, Refusal};

/// Sends one of the proxy's own responses. Returns the writer to the client, if the client is still there.
pub(super) async fn reply_locally(
    stream: &mut StreamContext<'_>,
    reply: &LocalReply,
    responder: Responder<'_>,
) -> (After, Option<Writer>) {
    let row = reply.row();
    record_reply(&row, &stream.request, stream.info);
    let form = if reply.is_of_filter() { Form::Http } else { stream.form };
    let mut head = reply.head(&row);
    let mut content = Content::of(&row);
    if !reply.is_of_filter() {
        edit(stream, reply, &mut head);
        stream.rewrite_reply(&mut head, &mut content);
    }
    let body = reply.describe_body(content, form, &mut head);
    let StreamContext { service, request, exchange, client_persistence, info, .. } = stream;
    let data = if request.method == Method::HEAD { Bytes::new() } else { body };
    let mut piece = Piece { data, end: End::Complete(None) };
    if filter(service, exchange, (&mut head, &mut piece), request, info).await.is_err() {
        return (After::Gone, None);
    }
    // A request to switch protocols has no end before the protocol is switched, at least on HTTP/1.
    let is_endless = request.upgrade().is_some() && request.version != Version::HTTP_2;
    // An HTTP/1 body that is too large is not read to its end, however much of it came at once.
    let is_too_large = matches!(reply, LocalReply::Filtered(Refusal::RequestTooLarge));
    let is_cut = is_too_large && request.version != Version::HTTP_2;
    let complete = exchange.is_complete() && !is_endless && !is_cut;
    let persistence = if complete && !row.closes { *client_persistence } else { Persistence::Close };
    // The connection belongs to other requests too. Envoy drains it for a refused upgrade, and for nothing else that closes
    // an HTTP/1 connection.
    if let (Responder::Http2 { go_away, .. }, LocalReply::UpgradeRefused) = (&responder, reply) {
        go_away.request();
    }
    let payload = if piece.data.is_empty() && piece.is_last() { Payload::None } else { Payload::Some };
    let mut down = begin_response(service, request, Response { head, payload, persistence }, responder, info);
    if send(piece, exchange, &mut down, &mut info.bytes_sent).await.is_err() {
        return (After::Gone, None);
    }
    if !complete {
        set_tunnel_error(&mut down, request, info);
        service.stats.downstream_rq_response_before_rq_complete.inc();
        service.stats.downstream_rq_rx_reset.inc();
    }
    let remaining = match client_persistence {
        Persistence::Close if complete && !row.closes => Remaining::Nothing,
        Persistence::Close | Persistence::KeepAlive => Remaining::Possible,
    };
    match push_out(&mut down).await {
        Ok(()) => (after_response(persistence, remaining), Some(down)),
        Err(_gone) => (After::Gone, None),
    }
}

/// Takes the response through the filters, and makes the calls that they wait for.
///
/// # Errors
/// The client has gone, or a timer ends the stream.
async fn filter(
    service: &Service,
    exchange: &mut Exchange<'_>,
    (head, piece): (&mut ResponseHead, &mut Piece),
    request: &RequestHead,
    info: &mut StreamInfo,
) -> Result<(), Interrupted> {
    if exchange.filters.is_empty() {
        return Ok(());
    }
    info.bytes_received = exchange.bytes_received;
    info.response_code = Some(head.status.as_u16());
    let mut below = usize::MAX;
    while let Some(call) = exchange.filters.on_whole_response(head, piece, request, info, &mut below) {
        let end = exchange.alongside(&mut None, call::make(service, *call, info)).await?;
        exchange.filters.end_call_of_response(end);
    }
    call::detach(service, exchange.filters.take_detached(), info);
    Ok(())
}

/// Sends the body of one of the proxy's own responses, which filters may keep for a time.
///
/// # Errors
/// The client has gone, or a timer ends the stream.
async fn send(
    mut piece: Piece,
    exchange: &mut Exchange<'_>,
    down: &mut Writer,
    sent: &mut u64,
) -> Result<(), Interrupted> {
    loop {
        if !piece.data.is_empty() {
            *sent += piece.data.len() as u64;
            down.write(piece.data);
        }
        if let End::Complete(_) = piece.end {
            down.finish(None);
            return Ok(());
        }
        push_out(down).await.map_err(Interrupted::Downstream)?;
        let kept = poll_fn(|cx| match exchange.filters.poll_kept(cx) {
            Kept::Due(piece, _passed) => Poll::Ready(Ok(piece)),
            Kept::Full | Kept::Nothing => exchange.poll_interrupted(cx, &mut None).map(Err),
        });
        piece = kept.await?;
    }
}

/// Changes the head as the route wants, and then as the reply itself does.
fn edit(stream: &mut StreamContext<'_>, reply: &LocalReply, head: &mut ResponseHead) {
    edit_response(stream, head);
    if reply.is_of_router() {
        tell_attempts(stream, head);
    }
    if let Some(edits) = reply.edits() {
        add_to_response(edits, head, &stream.request, stream.info);
    }
    if let Some(own) = reply.headers().filter(|own| !own.is_empty()) {
        head.headers.retain(|name, _| !own.contains(name));
        own.iter().for_each(|(name, value)| head.headers.append(name.clone(), value.clone()));
    }
}

/// Where a tunnel is refused for want of a connection, an HTTP/2 client learns it from the code of the stream's end too (RFC 9113
/// 8.5).
fn set_tunnel_error(down: &mut Writer, request: &RequestHead, info: &StreamInfo) {
    let is_tunnel = request.method == Method::CONNECT || request.upgrade().is_some();
    if let Writer::Http2(outgoing) = down
        && is_tunnel
        && (info.flags.contains(ResponseFlag::UF) || info.flags.contains(ResponseFlag::UC))
    {
        outgoing.set_end(ResetReason::ConnectError);
    }
}

/// A request whose head cannot be read: the reply is sent and the connection ends.
pub(crate) async fn refuse_head(
    service: &Service,
    responder: Responder<'_>,
    reply: &LocalReply,
    info: &mut StreamInfo,
) -> After {
    let row = reply.row();
    let mut head = reply.head(&row);
    let mut content = Content::of(&row);
    let request = RequestHead::default(); // there is none: GET, HTTP/1.1
    info.detail(row.details.clone());
    service.local_replies.rewrite(&request, &mut head, &mut content, &*service.outside.random, info);
    let body = reply.describe_body(content, Form::Http, &mut head);
    info.response_code = Some(head.status.as_u16());
    let mut piece = Piece { data: body, end: End::Complete(None) };
    let mut filters = Filters::of(&service.options.filters.default, &service.filters);
    let mut below = usize::MAX;
    while let Some(call) = filters.on_whole_response(&mut head, &mut piece, &request, info, &mut below) {
        filters.end_call_of_response(call::make(service, *call, info).await);
    }
    call::detach(service, filters.take_detached(), info);
    let body = piece.data;
    record_reply(&row, &request, info);
    if !matches!(reply, LocalReply::BadMessage(HeadRefusal::LowVersion)) {
        service.stats.downstream_rq_response_before_rq_complete.inc();
        service.stats.downstream_rq_rx_reset.inc();
    }
    let payload = if body.is_empty() { Payload::None } else { Payload::Some };
    let response = Response { head, payload, persistence: Persistence::Close };
    let mut down = begin_response(service, &request, response, responder, info);
    info.bytes_sent = body.len() as u64;
    if !body.is_empty() {
        down.write(body);
    }
    down.finish(None);
    match push_out(&mut down).await {
        Ok(()) => After::Close(Close::FlushThenWaitForPeer),
        Err(_gone) => After::Gone,
    }
}

/// Notes the flag and the details of a response of the proxy's own, and writes one line to the process log.
fn record_reply(row: &Row, request: &RequestHead, info: &mut StreamInfo) {
    if let Some(flag) = row.flag {
        info.flag(flag);
    }
    info.detail(row.details.clone());
    tracing::debug!(
        connection = info.downstream.connection_id,
        status = row.status.as_u16(),
        details = %row.details,
        method = %request.method,
        path = request.path.as_ref().and_then(|path| path.to_str().ok()).unwrap_or_default(),
        "local reply"
    );
}
