//! How long a connection from a client lives, and how its end is prepared.
//!
//! Envoy's drain sequence, for both protocols: the client is notified that the connection will end (on HTTP/2 by GOAWAY, on
//! HTTP/1 by `connection: close` on every response from then on), may go on for `drain_timeout`, and then the
//! connection ends with its last stream. Being idle, old, or used often enough begins it, and so does the server's drain.
//!
//! No timer runs while a stream is under way on HTTP/1: [`Lifecycle`] is consulted when it matters, and then goes through
//! everything that was due since, in order and at the instants when it was due.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use crate::codec::http1::Close;
use crate::config::listener::ConnectionManager as Options;
use crate::drain::ListenerDrain;
use crate::stats::HttpStats;

/// The lifecycle of one connection.
pub(super) struct Lifecycle {
    stats: Rc<HttpStats>,
    phase: Phase,
    idle_timeout: Option<Duration>,
    drain_timeout: Duration,
    /// When the idle timer fires; none while a stream is under way, and once it has fired.
    idle_at: Option<Instant>,
    /// When `max_connection_duration` is over; none once it was.
    old_at: Option<Instant>,
    spares_http1: bool,
    requests: u32,
    requests_max: Option<NonZeroU32>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// No byte was received: no response can announce the close, so there is no drain.
    Fresh,
    /// Requests come and go.
    Serving(Protocol),
    /// Old, but spared: the next request is the last.
    Spared,
    /// The client has been notified, and may go on until this instant.
    Draining(Instant),
    /// The connection ends right behind what is being sent.
    Last,
    /// The connection ends with its last stream, and waits for the client to close first.
    Ending,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The GOAWAY that an HTTP/2 connection sends now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LifecycleStep {
    /// The final GOAWAY.
    End,
    /// GOAWAY with the largest stream id.
    Notice,
}

impl Lifecycle {
    /// A connection that has just been accepted.
    pub(super) fn new(options: &Options, stats: &Rc<HttpStats>) -> Self {
        let now = Instant::now();
        let timeouts = &options.timeouts;
        Self {
            stats: Rc::clone(stats),
            phase: Phase::Fresh,
            idle_timeout: timeouts.idle,
            drain_timeout: timeouts.drain,
            idle_at: timeouts.idle.map(|limit| now + limit),
            old_at: timeouts.connection.map(|limit| now + limit),
            spares_http1: options.http1.safe_max_connection_duration,
            requests: 0,
            requests_max: options.requests_per_connection_max,
        }
    }

    /// The first bytes have come, and this is what they are.
    pub(super) fn first_bytes(&mut self, protocol: Protocol) {
        if self.phase == Phase::Fresh {
            self.phase = Phase::Serving(protocol);
        }
    }

    /// A request begins.
    pub(super) fn request_begins(&mut self, protocol: Protocol) -> Option<LifecycleStep> {
        self.first_bytes(protocol);
        self.idle_at = None;
        self.requests = self.requests.saturating_add(1);
        let used_up = self.requests_max.is_some_and(|max| self.requests >= max.get());
        if used_up {
            self.stats.downstream_cx_max_requests_reached.inc();
        }
        match protocol {
            Protocol::Http1 if used_up || self.phase == Phase::Spared => {
                self.phase = Phase::Last;
                None
            }
            Protocol::Http2 if used_up => self.begin_drain(Instant::now()).then_some(LifecycleStep::Notice),
            Protocol::Http1 | Protocol::Http2 => None,
        }
    }

    /// No stream is left.
    pub(super) fn is_idle(&mut self) {
        self.idle_at = self.idle_timeout.map(|limit| Instant::now() + limit);
    }

    /// An HTTP/1 response is about to leave: does it carry `connection: close`?
    pub(super) fn closes_with_response(&mut self, drain: &ListenerDrain) -> bool {
        self.elapse();
        if drain.sends_away() {
            self.drain_with_server();
        }
        !self.is_unannounced()
    }

    /// The server drains. Did that begin the sequence?
    pub(super) fn drain_with_server(&mut self) -> bool {
        let begins = self.begin_drain(Instant::now());
        if begins {
            self.stats.downstream_cx_drain_close.inc();
        }
        begins
    }

    /// Begins the sequence for a reason of the caller's. Did that begin it?
    pub(super) fn drain(&mut self) -> bool {
        self.begin_drain(Instant::now())
    }

    /// Has the client not been notified yet that the connection will end?
    pub(super) fn is_unannounced(&self) -> bool {
        matches!(self.phase, Phase::Fresh | Phase::Serving(_) | Phase::Spared)
    }

    /// The next instant at which [`Self::elapse`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let drained = match self.phase {
            Phase::Draining(until) => Some(until),
            Phase::Fresh | Phase::Serving(_) | Phase::Spared | Phase::Last | Phase::Ending => None,
        };
        self.idle_at.into_iter().chain(self.old_at).chain(drained).min()
    }

    /// Goes through everything that is due, and returns what it came to last.
    pub(super) fn elapse(&mut self) -> Option<LifecycleStep> {
        self.due()?; // the clock is read only where something may be due
        let now = Instant::now();
        let mut turn = None;
        while let Some(due) = self.due().filter(|due| *due <= now) {
            turn = self.step(due).or(turn);
        }
        turn
    }

    /// How the connection ends, if no stream is under way and its time has come.
    pub(super) fn close(&self) -> Option<Close> {
        match self.phase {
            Phase::Last => Some(Close::Flush),
            Phase::Ending => Some(Close::FlushThenWaitForPeer),
            Phase::Fresh | Phase::Serving(_) | Phase::Spared | Phase::Draining(_) => None,
        }
    }

    fn step(&mut self, due: Instant) -> Option<LifecycleStep> {
        if self.old_at == Some(due) {
            self.old_at = None;
            self.stats.downstream_cx_max_duration_reached.inc();
            return self.grown_old(due);
        }
        if self.idle_at == Some(due) {
            self.idle_at = None;
            self.stats.downstream_cx_idle_timeout.inc();
            return self.was_idle(due);
        }
        self.phase = Phase::Ending;
        Some(LifecycleStep::End)
    }

    fn grown_old(&mut self, at: Instant) -> Option<LifecycleStep> {
        match self.phase {
            Phase::Serving(Protocol::Http1) if self.spares_http1 => {
                self.phase = Phase::Spared;
                None
            }
            Phase::Fresh | Phase::Serving(_) | Phase::Spared | Phase::Draining(_) | Phase::Last | Phase::Ending => {
                self.was_idle(at)
            }
        }
    }

    fn was_idle(&mut self, at: Instant) -> Option<LifecycleStep> {
        if self.phase == Phase::Fresh {
            self.phase = Phase::Last;
            return Some(LifecycleStep::End);
        }
        self.begin_drain(at).then_some(LifecycleStep::Notice)
    }

    fn begin_drain(&mut self, at: Instant) -> bool {
        let begins = self.is_unannounced();
        if begins {
            self.phase = Phase::Draining(at + self.drain_timeout);
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Registry;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        FirstBytes(Protocol),
        Request(Protocol),
        Idle,
        ServerDrains,
        /// So many seconds pass.
        Pass(u64),
    }

    /// Idle after 10 s, old after 100 s, drained after 5 s; the third request of a connection is its last.
    #[tokio::test(start_paused = true)]
    async fn each_event_leads_to_its_phase() {
        use Event::{FirstBytes, Idle, Pass, Request, ServerDrains};
        use Protocol::{Http1, Http2};
        for (spares_http1, events, turn, close) in [
            (false, &[Pass(9)][..], None, None),
            (false, &[Pass(10)], Some(LifecycleStep::End), Some(Close::Flush)),
            (false, &[FirstBytes(Http1), Pass(10)], Some(LifecycleStep::Notice), None),
            (false, &[FirstBytes(Http1), Pass(15)], Some(LifecycleStep::End), Some(Close::FlushThenWaitForPeer)),
            (false, &[Request(Http2), Pass(99)], None, None),
            (false, &[Request(Http2), Pass(100)], Some(LifecycleStep::Notice), None),
            (false, &[Request(Http2), Pass(105)], Some(LifecycleStep::End), Some(Close::FlushThenWaitForPeer)),
            (false, &[Request(Http1), Idle, Pass(9), Request(Http1), Pass(20)], None, None),
            (false, &[Request(Http1), Request(Http1), Request(Http1)], None, Some(Close::Flush)),
            (false, &[Request(Http2), Request(Http2), Request(Http2)], Some(LifecycleStep::Notice), None),
            (true, &[Request(Http1), Pass(100)], None, None),
            (true, &[Request(Http1), Pass(100), Request(Http1)], None, Some(Close::Flush)),
            (true, &[Request(Http2), Pass(100)], Some(LifecycleStep::Notice), None),
            (false, &[Request(Http1), ServerDrains, Pass(4)], None, None),
            (
                false,
                &[Request(Http1), ServerDrains, Pass(5)],
                Some(LifecycleStep::End),
                Some(Close::FlushThenWaitForPeer),
            ),
        ] {
            let mut lifecycle = lifecycle(spares_http1);
            let mut last = None;
            for event in events {
                last = take(&mut lifecycle, *event).await;
            }
            assert_eq!((last, lifecycle.close()), (turn, close), "{spares_http1} {events:?}");
        }
    }

    async fn take(lifecycle: &mut Lifecycle, event: Event) -> Option<LifecycleStep> {
        match event {
            Event::FirstBytes(protocol) => lifecycle.first_bytes(protocol),
            Event::Request(protocol) => return lifecycle.request_begins(protocol),
            Event::Idle => lifecycle.is_idle(),
            Event::ServerDrains => {
                assert!(lifecycle.drain_with_server() && !lifecycle.drain_with_server(), "it begins once")
            }
            Event::Pass(seconds) => {
                tokio::time::advance(Duration::from_secs(seconds)).await;
                return lifecycle.elapse();
            }
        }
        None
    }

    fn lifecycle(spares_http1: bool) -> Lifecycle {
        let (now, seconds) = (Instant::now(), Duration::from_secs);
        Lifecycle {
            stats: Rc::new(HttpStats::new(&Registry::new(), "test")),
            phase: Phase::Fresh,
            idle_timeout: Some(seconds(10)),
            drain_timeout: seconds(5),
            idle_at: Some(now + seconds(10)),
            old_at: Some(now + seconds(100)),
            spares_http1,
            requests: 0,
            requests_max: NonZeroU32::new(3),
        }
    }
}
