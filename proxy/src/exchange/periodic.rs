//! Lines of the access logs while a stream is under way: `access_log_flush_interval`.
//!
//! Whoever waits for a stream polls its [`Exchange`], and with it this. Everything else that is known of the
//! stream is elsewhere at that time, so it is copied here whenever the stream has come a step further.

use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;

use super::Exchange;
use super::lazy_timer::LazyTimer;
use crate::access_log::StreamInfo;
use crate::codec::RequestHead;

/// Writes a line of a stream that is under way.
pub(crate) type WriteLine<'c> = Box<dyn Fn(&StreamInfo) + 'c>;

/// The lines of a stream before its last.
pub(crate) struct Periodic<'c> {
    every: Duration,
    /// When the next line is due.
    due: Instant,
    timer: LazyTimer,
    /// What was known at the last step.
    info: StreamInfo,
    write: WriteLine<'c>,
}

impl<'c> Periodic<'c> {
    /// A line each time that `every` has passed since the beginning of the stream.
    pub(crate) fn new(every: Duration, info: &StreamInfo, write: WriteLine<'c>) -> Box<Self> {
        // What is read before there is an exchange has lines of its own.
        let passed = info.times.begin.elapsed().as_nanos() % every.as_nanos().max(1);
        let left = every.saturating_sub(Duration::from_nanos(u64::try_from(passed).unwrap_or(u64::MAX)));
        Box::new(Self { every, due: Instant::now() + left, timer: LazyTimer::default(), info: info.clone(), write })
    }

    /// The stream has come a step further.
    pub(super) fn set(&mut self, info: StreamInfo) {
        self.info = info;
    }

    /// So much of the response's body has been passed on.
    pub(super) fn set_sent(&mut self, bytes: u64) {
        self.info.bytes_sent = bytes;
    }

    /// The stream begins anew.
    pub(super) fn begin_again(&mut self, now: Instant) {
        self.due = now + self.every;
    }

    /// Writes a line if one is due.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, bytes_received: u64, completed_at: Option<Instant>) {
        while self.timer.poll(cx, self.due).is_ready() {
            let now = Instant::now();
            self.info.bytes_received = bytes_received;
            self.info.times.request_end = completed_at;
            self.info.times.end = Some(now);
            (self.write)(&self.info);
            self.due = now + self.every;
        }
    }
}

impl Exchange<'_> {
    /// The stream has come a step further: the lines before its last say so.
    pub(crate) fn note(&mut self, request: &RequestHead, info: &StreamInfo) {
        if let Some(periodic) = &mut self.periodic {
            periodic.set(StreamInfo { request: Some(request.clone()), ..info.clone() });
        }
    }

    /// So much of the response's body has been passed on.
    pub(crate) fn note_sent(&mut self, bytes: u64) {
        if let Some(periodic) = &mut self.periodic {
            periodic.set_sent(bytes);
        }
    }
}
