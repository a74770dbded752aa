//! Bytes both ways, until both directions have ended.
//!
//! Each direction has a buffer of its own, which is empty and takes no memory while the receiver takes what comes. A sender is
//! not read while as much waits as may, and read again when half of that has gone. FIN is passed on behind the last byte;
//! the other direction goes on. RST is passed on as RST, before whatever still waits.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::takes_nothing::TakesNothing;
use super::tunnel::note_trailers;
use super::upstream::Upstream;
use super::{End, TcpProxyParts};
use crate::access_log::StreamInfo;
use crate::cluster::Cluster;
use crate::codec::Headers;
use crate::exchange::LazyTimer;
use crate::gate::{CountsFin, Denial, Verdict};
use crate::net::Conn;
use crate::stats::{Counter, FlowStats, Held, Pause, TcpStats};

/// Most bytes of one read.
const READ_BYTES: usize = 16 * 1024;

/// When a connection is looked at though nothing comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Without a byte for so long, it is ended.
    pub(super) idle: Option<Duration>,
    /// Then it is ended.
    pub(super) old_at: Option<Instant>,
    /// So often it gets a line in the access log.
    pub(super) log: Option<Duration>,
}

/// What is to be done for a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// The client's connection is over, and the endpoint has not taken yet what it sent.
    ClientGone,
    /// It is over.
    End(End),
    /// It is time for a line in the access log.
    Log,
}

/// A connection of a client and one of an endpoint, and what passes between them.
pub(super) struct Relay {
    /// `None` once it is over.
    client: Option<Conn>,
    /// What network filters decide of the client, until its first byte has come.
    verdict: Option<Box<Verdict>>,
    /// The policy that has denied it.
    denied: Option<Box<Denial>>,
    /// When it is closed because it was denied.
    denied_at: Option<Instant>,
    /// `None` once it is over.
    upstream: Option<Upstream>,
    request: Direction,
    response: Direction,
    limits: Limits,
    /// When the last byte moved.
    active_at: Instant,
    log_at: Option<Instant>,
    timer: LazyTimer,
    stats: TcpStats,
    flushing: Option<Held>,
    /// Those of a tunnel, where they are wanted, until they are put down.
    trailers: Option<Headers>,
}

/// The bytes of one direction, from where they are read to where they are written.
struct Direction {
    /// Bytes that the receiver has not taken.
    waiting: BytesMut,
    waiting_bytes_max: usize,
    state: State,
    /// Bytes that have come.
    bytes: u64,
    /// Bytes that have come and bytes that have gone, and FIN: it changes whenever something moves.
    moved: u64,
    /// While the sender is not read.
    paused: Option<Pause>,
    pauses: (Counter, Counter),
}

/// How far a direction has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// More may come.
    Open,
    /// FIN has come.
    Ended,
    /// FIN has been passed on.
    Closed,
}

/// Which end of a direction is broken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ExchangeError {
    Receiver,
    Sender,
}

impl Relay {
    pub(super) fn new(
        client: Conn,
        verdict: Option<Box<Verdict>>,
        upstream: Upstream,
        limits: Limits,
        proxy: &TcpProxyParts,
        cluster: &Rc<Cluster>,
    ) -> Self {
        let (stats, now) = (proxy.stats.clone(), Instant::now());
        let FlowStats { paused_reading, resumed_reading, .. } = &*cluster.flow;
        let to_upstream = (
            stats.downstream_flow_control_paused_reading_total.clone(),
            stats.downstream_flow_control_resumed_reading_total.clone(),
        );
        Self {
            client: Some(client),
            verdict,
            denied: None,
            denied_at: None,
            upstream: Some(upstream),
            request: Direction::new(cluster.shared.config.buffer_bytes_max, to_upstream),
            response: Direction::new(proxy.buffer_bytes_max, (paused_reading.clone(), resumed_reading.clone())),
            limits,
            active_at: now,
            log_at: limits.log.map(|interval| now + interval),
            timer: LazyTimer::default(),
            stats,
            flushing: None,
            trailers: None,
        }
    }

    /// Moves bytes until something else is to be done. How many have come stands in `info` at every moment.
    ///
    /// # Cancellation
    /// Safe to drop.
    pub(super) async fn step(&mut self, info: &mut StreamInfo) -> Step {
        poll_fn(|cx| {
            let step = self.poll(cx);
            (info.bytes_received, info.bytes_sent) = (self.request.bytes, self.response.bytes);
            if let Some(trailers) = self.trailers.take() {
                note_trailers(&trailers, info);
            }
            if let Some(policy) = self.denied.take() {
                info.denied_by = Some(policy);
            }
            step
        })
        .await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let before = self.moved();
        if let Some(upstream) = &mut self.upstream {
            upstream.push(cx);
        }
        let passed = self.poll_request(cx).and_then(|()| self.poll_response(cx));
        self.trailers = self.upstream.as_mut().and_then(Upstream::take_trailers);
        if let Err(end) = passed {
            return Poll::Ready(Step::End(end));
        }
        if self.moved() != before {
            self.active_at = Instant::now();
        }
        if let Some(step) = self.drop_what_is_over() {
            return Poll::Ready(step);
        }
        self.poll_timer(cx)
    }

    fn moved(&self) -> u64 {
        self.request.moved.wrapping_add(self.response.moved)
    }

    fn poll_request(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        if self.denied_at.is_some() || (self.verdict.is_some() && !self.poll_first(cx)?) {
            return Ok(());
        }
        let Some(upstream) = &mut self.upstream else { return Ok(()) };
        let moved = self.request.poll(cx, self.client.as_mut(), upstream);
        moved.map_err(|broken| match broken {
            ExchangeError::Sender => self.reset_upstream(),
            ExchangeError::Receiver => self.reset_client(),
        })
    }

    /// Waits for the first byte of a client that network filters have judged. Has it come?
    fn poll_first(&mut self, cx: &mut Context<'_>) -> Result<bool, End> {
        let Some(client) = &mut self.client else { return Ok(true) };
        match self.request.read(cx, client, &mut TakesNothing) {
            Ok(Poll::Pending) => return Ok(false),
            Ok(Poll::Ready(())) => {}
            Err(_) => return Err(self.reset_upstream()),
        }
        let Some(verdict) = self.verdict.take() else { return Ok(true) };
        let denial = match (verdict.enforce(), self.client.take()) {
            (Ok(recount), client) => {
                self.client = client.map(|conn| conn.over(|io| recount.over(io, CountsFin::Yes)));
                return Ok(true);
            }
            (Err(denial), client) => {
                self.client = client;
                denial
            }
        };
        self.denied_at = Some(denial.after).filter(|after| !after.is_zero()).map(|after| Instant::now() + after);
        self.denied = Some(denial);
        if self.denied_at.is_some() { Ok(false) } else { Err(End::Denied) }
    }

    fn poll_response(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Some(client) = &mut self.client else { return Ok(()) };
        let from = self.upstream.as_mut();
        let was_open = self.response.state == State::Open;
        let moved = self.response.poll(cx, from, client);
        let ends_last = self.request.state == State::Closed;
        if let Some(upstream) = &mut self.upstream
            && was_open
            && self.response.state != State::Open
            && ends_last
        {
            upstream.ended_by_peer();
        }
        moved.map_err(|broken| match broken {
            ExchangeError::Sender => self.reset_client(),
            ExchangeError::Receiver => self.reset_upstream(),
        })
    }

    /// The client has reset its connection.
    fn reset_upstream(&mut self) -> End {
        if let Some(upstream) = &mut self.upstream {
            upstream.abort_on_drop();
        }
        End::DownstreamReset
    }

    /// The endpoint has reset its connection.
    fn reset_client(&mut self) -> End {
        if let Some(upstream) = &mut self.upstream {
            upstream.ended_by_peer();
            if !upstream.passes_resets() {
                return End::Complete;
            }
        }
        if let Some(client) = &mut self.client {
            client.abort_on_drop();
        }
        End::UpstreamReset
    }

    /// Closes connections that nothing more passes over.
    fn drop_what_is_over(&mut self) -> Option<Step> {
        let has_ended = self.response.state == State::Closed
            || (self.request.state == State::Closed && self.response.waiting.is_empty());
        if has_ended && self.upstream.as_ref().is_some_and(Upstream::ends_as_a_whole) {
            return Some(Step::End(End::Complete));
        }
        if self.response.state != State::Open && self.request.state == State::Closed {
            self.upstream = None;
        }
        if self.request.state != State::Open && self.response.state == State::Closed && self.client.take().is_some() {
            if self.upstream.is_none() {
                return Some(Step::End(End::Complete));
            }
            self.stats.upstream_flush_total.inc();
            self.flushing = Some(self.stats.upstream_flush_active.enter());
            return Some(Step::ClientGone);
        }
        (self.client.is_none() && self.upstream.is_none()).then_some(Step::End(End::Complete))
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        let Limits { idle, old_at, log } = self.limits;
        // Of a client that has gone, only the idle timer counts.
        let is_there = self.client.is_some();
        let idle_at = idle.map(|limit| (self.active_at + limit, Step::End(End::Idle)));
        let old_at = old_at.filter(|_| is_there).map(|at| (at, Step::End(End::TooOld)));
        let log_at = self.log_at.filter(|_| is_there).map(|at| (at, Step::Log));
        let denied_at = self.denied_at.map(|at| (at, Step::End(End::Denied)));
        let next = [denied_at, old_at, idle_at, log_at].into_iter().flatten().min_by_key(|(at, _)| *at);
        let Some((due, step)) = next else { return Poll::Pending };
        if self.timer.poll(cx, due).is_pending() {
            return Poll::Pending;
        }
        if step == Step::Log {
            self.log_at = self.log_at.zip(log).map(|(at, interval)| at + interval);
        }
        Poll::Ready(step)
    }
}

impl Direction {
    fn new(waiting_bytes_max: usize, pauses: (Counter, Counter)) -> Self {
        Self {
            waiting: BytesMut::new(),
            waiting_bytes_max,
            state: State::Open,
            bytes: 0,
            moved: 0,
            paused: None,
            pauses,
        }
    }

    /// Moves what there is, as far as the receiver takes it. `from` is `None` once the sender's connection is over.
    ///
    /// # Errors
    /// An end is broken.
    fn poll<F, T>(&mut self, cx: &mut Context<'_>, from: Option<&mut F>, to: &mut T) -> Result<(), ExchangeError>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        if self.state == State::Closed {
            return Ok(());
        }
        self.write(cx, to)?;
        if let Some(from) = from {
            while self.state == State::Open && !self.is_full() && self.read(cx, from, to)?.is_ready() {
                // What is left of it is tried again: only then the receiver's readiness wakes the task.
                self.write(cx, to)?;
            }
        }
        if self.state == State::Ended && self.waiting.is_empty() {
            match Pin::new(to).poll_shutdown(cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.state = State::Closed,
                Poll::Ready(Err(_)) => return Err(ExchangeError::Receiver),
            }
        }
        Ok(())
    }

    /// Waits as much as may? Once it does, it counts as much until half of it has gone.
    fn is_full(&mut self) -> bool {
        let (waiting, max) = (self.waiting.len(), self.waiting_bytes_max);
        if self.paused.is_some() && waiting <= max / 2 {
            self.paused = None;
        }
        if self.paused.is_none() && waiting >= max {
            let (begun, ended) = &self.pauses;
            self.paused = Some(Pause::begin(&[(begun, ended)]));
        }
        self.paused.is_some()
    }

    /// Writes what waits, as far as the receiver takes it.
    fn write(&mut self, cx: &mut Context<'_>, to: &mut (impl AsyncWrite + Unpin)) -> Result<(), ExchangeError> {
        while !self.waiting.is_empty() {
            match Pin::new(&mut *to).poll_write(cx, &self.waiting) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(written)) => {
                    self.moved = self.moved.wrapping_add(written as u64);
                    self.waiting.advance(written);
                }
                Poll::Ready(Err(_)) => return Err(ExchangeError::Receiver),
            }
        }
        // A direction that is silent keeps no buffer.
        self.waiting = BytesMut::new();
        Ok(())
    }

    /// Ready if something has come, FIN among it; what the receiver does not take at once waits.
    fn read<F, T>(&mut self, cx: &mut Context<'_>, from: &mut F, to: &mut T) -> Result<Poll<()>, ExchangeError>
    where
        F: AsyncRead + Unpin,
        T: AsyncWrite + Unpin,
    {
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let room = self.waiting_bytes_max.saturating_sub(self.waiting.len()).min(READ_BYTES);
        let mut read = ReadBuf::uninit(space.get_mut(..room).unwrap_or_default());
        match Pin::new(from).poll_read(cx, &mut read) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Err(ExchangeError::Sender),
        }
        let mut data = read.filled();
        self.moved = self.moved.wrapping_add(1 + data.len() as u64);
        if data.is_empty() {
            self.state = State::Ended;
            return Ok(Poll::Ready(()));
        }
        self.bytes += data.len() as u64;
        if self.waiting.is_empty() {
            match Pin::new(to).poll_write(cx, data) {
                Poll::Pending => {}
                Poll::Ready(Ok(written)) => data.advance(written),
                Poll::Ready(Err(_)) => return Err(ExchangeError::Receiver),
            }
        }
        self.waiting.extend_from_slice(data);
        Ok(Poll::Ready(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::net::{Address, Io, Peek};

    /// One end of a pipe that takes only so many bytes.
    struct PipeEnd(DuplexStream);

    impl Io for PipeEnd {
        fn abort_on_drop(&mut self) {}

        fn peek(&self) -> Peek {
            Peek::Open
        }
    }

    impl AsyncRead for PipeEnd {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().0).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for PipeEnd {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().0).poll_flush(cx)
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
        }
    }

    fn conn(end: DuplexStream) -> Conn {
        let at = Address::Internal("here".into());
        Conn::new(Box::new(PipeEnd(end)), at.clone(), at)
    }

    /// Passes `sent` on to a receiver that takes `takes_bytes` at a time, with room for `room_bytes` in between; what arrives, and
    /// how often the sender was not read.
    async fn passed(sent: &[u8], room_bytes: usize, takes_bytes: usize) -> (Vec<u8>, u64) {
        let ((mut sender, from), (to, mut receiver)) = (duplex(64), duplex(takes_bytes));
        let (mut from, mut to) = (conn(from), conn(to));
        let pauses = (Counter::default(), Counter::default());
        let mut direction = Direction::new(room_bytes, pauses.clone());
        let passes = poll_fn(|cx| {
            direction.poll(cx, Some(&mut from), &mut to).unwrap();
            assert!(direction.waiting.len() <= room_bytes);
            if direction.state == State::Closed { Poll::Ready(()) } else { Poll::Pending }
        });
        let sends = async {
            sender.write_all(sent).await.unwrap();
            sender.shutdown().await.unwrap();
        };
        let mut arrived = Vec::new();
        let ((), (), received) = tokio::join!(passes, sends, receiver.read_to_end(&mut arrived));
        received.unwrap();
        assert_eq!(direction.bytes, sent.len() as u64);
        drop(direction);
        assert_eq!(pauses.0.value(), pauses.1.value(), "each pause ends");
        (arrived, pauses.0.value())
    }

    #[tokio::test]
    async fn bytes_arrive_in_order_however_little_the_receiver_takes_at_once() {
        let sent: Vec<u8> = (0..=u8::MAX).cycle().take(10_000).collect();
        for room_bytes in [1, 7, 100, 1 << 20] {
            for takes_bytes in [1, 10, 1 << 20] {
                let (arrived, pauses) = passed(&sent, room_bytes, takes_bytes).await;
                assert!(arrived == sent, "room for {room_bytes}, {takes_bytes} at a time");
                assert!(pauses > 0 || room_bytes > 64 || takes_bytes > 1, "room for {room_bytes}");
            }
        }
    }
}
