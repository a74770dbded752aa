//! A response whose payload is still to come, and the connection that it comes on.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Method, StatusCode};
use tokio::time::Instant;

use super::tracked::Tracked;
use crate::cluster::{Endpoint, Lease};
use crate::codec::{Body, ExchangeError, RequestHead, ResetReason, ResponseHead, Writer};
use crate::exchange::{Exchange, LazyTimer};

/// A response whose payload has not been read yet.
pub(crate) struct UpstreamResponse {
    pub(crate) head: ResponseHead,
    pub(crate) body: Body,
    /// Where the rest of the request goes; `None` once the upstream stopped taking it.
    pub(crate) writer: Option<Writer>,
    /// When it is ended, whatever it does.
    pub(crate) ends_at: Option<Instant>,
    /// The endpoint that sent it.
    pub(super) endpoint: Rc<Endpoint>,
    /// `None` once the exchange was aborted.
    lease: Option<Lease>,
    /// What is counted of it, if anything is.
    tracked: Option<Box<Tracked>>,
    /// How long the payload may pause, if that is limited.
    idle_timeout: Option<IdleTimeout>,
}

/// `per_try_idle_timeout`, once there is a response head.
struct IdleTimeout {
    limit: Duration,
    since: Instant,
    timer: LazyTimer,
}

impl IdleTimeout {
    fn new(limit: Duration) -> Self {
        Self { limit, since: Instant::now(), timer: LazyTimer::default() }
    }
}

impl UpstreamResponse {
    /// A response of `endpoint`, the rest of whose request goes to `writer`.
    pub(super) fn new(
        head: ResponseHead,
        body: Body,
        writer: Option<Writer>,
        endpoint: Rc<Endpoint>,
        lease: Lease,
    ) -> Self {
        Self { head, body, writer, ends_at: None, endpoint, lease: Some(lease), tracked: None, idle_timeout: None }
    }

    /// The payload may pause for so long, and the response is ended then, whatever it does.
    pub(super) fn limit(&mut self, idle_timeout: Option<Duration>, ends_at: Option<Instant>) {
        self.idle_timeout = idle_timeout.map(IdleTimeout::new);
        self.ends_at = ends_at;
    }

    /// Did the upstream accept an upgrade or CONNECT?
    pub(crate) fn accepts_upgrade(&self, request: &RequestHead) -> bool {
        self.head.status == StatusCode::SWITCHING_PROTOCOLS
            || (request.method == Method::CONNECT && self.head.status.is_success())
    }

    /// Waits until what was written towards the upstream has left.
    pub(crate) async fn flush(&mut self) {
        let Some(writer) = &mut self.writer else { return };
        // A failed write is not an error here: the upstream has closed the connection.
        let _flushed = std::future::poll_fn(|cx| writer.poll_flush(cx)).await;
    }

    /// It is the response of an attempt of which something is counted.
    pub(super) fn track(&mut self, tracked: Option<Box<Tracked>>, informed: &[StatusCode]) {
        self.tracked = tracked;
        if let Some(tracked) = &mut self.tracked {
            tracked.respond(&self.head, informed);
        }
    }

    /// So much of the payload came.
    pub(crate) fn received(&mut self, bytes: usize) {
        self.restart_idle_timeout();
        if let Some(tracked) = &mut self.tracked {
            tracked.receive(bytes);
        }
    }

    /// Part of the payload came, or it was the client that delayed it.
    pub(crate) fn restart_idle_timeout(&mut self) {
        if let Some(idle_timeout) = &mut self.idle_timeout {
            idle_timeout.since = Instant::now();
        }
    }

    /// Ready when the payload has paused for too long: the exchange is aborted then.
    pub(crate) fn poll_idle_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(IdleTimeout { limit, since, timer }) = &mut self.idle_timeout else { return Poll::Pending };
        ready!(timer.poll(cx, *since + *limit));
        self.endpoint.report_idle_timeout();
        if let Some(lease) = self.lease.take() {
            break_off(self.writer.take(), &lease);
        }
        Poll::Ready(())
    }

    /// The exchange is over: gives the connection back if both halves are whole, else closes or resets it.
    pub(crate) fn end(self: Box<Self>, exchange: &Exchange<'_>) {
        let whole = self.body.is_complete() && exchange.is_finished();
        let Some(lease) = self.lease else { return };
        if !whole {
            return break_off(self.writer, &lease);
        }
        drop((self.body, self.writer));
        lease.release();
    }

    /// As [`end`](Self::end), where the peer or the wire broke the response off.
    pub(crate) fn end_broken(self: Box<Self>, by: ExchangeError) {
        let Some(lease) = self.lease else { return };
        // What the wire broke off is counted with the end of the lease.
        if matches!(by, ExchangeError::Closed | ExchangeError::ConnectionReset) {
            lease.count_reset();
        }
        if let Some(writer) = self.writer {
            writer.reset(ResetReason::InternalError);
        }
        lease.close_broken(by);
    }

    /// This response is passed on.
    pub(super) fn settle(&self) {
        let counts = &self.endpoint.counts;
        let by_status = if self.head.status.is_server_error() { &counts.rq_error } else { &counts.rq_success };
        by_status.inc();
    }

    /// This response is not passed on: the request will be tried again.
    pub(super) fn discard(self: Box<Self>, exchange: &Exchange<'_>) {
        self.endpoint.counts.rq_error.inc();
        self.end(exchange);
    }

    /// This response is not passed on: another try of the request is still waited for.
    pub(super) fn drop_beside_others(mut self: Box<Self>) {
        self.endpoint.counts.rq_error.inc();
        if let Some(lease) = self.lease.take() {
            break_off(self.writer.take(), &lease);
        }
    }
}

/// RST_STREAM with INTERNAL_ERROR, as Envoy's upstreams see it when a client has gone.
pub(super) fn break_off(writer: Option<Writer>, lease: &Lease) {
    lease.count_reset();
    if let Some(writer) = writer {
        writer.reset(ResetReason::InternalError);
    }
}
