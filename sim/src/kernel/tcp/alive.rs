//! Keep-alive probes (RFC 9293 3.8.4): a silent peer is sent a request for an acknowledgement of what it has acknowledged before.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use finwait::net::TcpKeepalive;

use super::{Failure, Owner, SegmentOutput, State, TcpSocket};
use crate::segment::Flags;

const TIME: Duration = Duration::from_secs(7200); // tcp_keepalive_time
const INTERVAL: Duration = Duration::from_secs(75); // tcp_keepalive_intvl
const PROBES: u32 = 9; // tcp_keepalive_probes

/// When to probe, and how often it was probed in vain.
#[derive(Debug)]
pub(super) struct Alive {
    how: TcpKeepalive,
    due: Duration,
    probes: u32,
}

impl TcpSocket {
    /// From now on, a peer that is silent for too long is probed.
    pub(in crate::kernel) fn keep_alive(&mut self, how: TcpKeepalive, output: &SegmentOutput<'_>) {
        self.alive = Some(Alive { how, due: output.now + how.time.unwrap_or(TIME), probes: 0 });
    }

    /// When [`TcpSocket::on_timer`] is due.
    pub(in crate::kernel) fn next_deadline(&self) -> Option<Duration> {
        let is_open = matches!(self.state, State::CloseWait | State::Established) && self.owner == Owner::Application;
        let alive = self.alive.as_ref().filter(|_| is_open).map(|alive| alive.due);
        self.deadline.into_iter().chain(alive).min()
    }

    /// The peer has sent something.
    pub(super) fn note_life(&mut self, output: &SegmentOutput<'_>) {
        let Some(alive) = &mut self.alive else { return };
        alive.probes = 0;
        alive.due = output.now + alive.how.time.unwrap_or(TIME);
    }

    pub(super) fn probe_peer(&mut self, output: &mut SegmentOutput<'_>) {
        let is_quiet = !self.send.in_flight() && !self.send.has_unsent();
        let Some(alive) = &mut self.alive else { return };
        if !is_quiet {
            // What is in flight calls for an acknowledgement by itself, and has its own limit.
            alive.due = output.now + alive.how.time.unwrap_or(TIME);
            return;
        }
        if alive.probes >= alive.how.probes.unwrap_or(PROBES) {
            self.abort(output);
            return self.fail(Failure::TimedOut, io::ErrorKind::TimedOut);
        }
        alive.probes += 1;
        alive.due = output.now + alive.how.interval.unwrap_or(INTERVAL);
        let probe = self.segment(self.send.una.saturating_sub(1), Flags::ACK, Bytes::new());
        output.out.push(probe);
    }
}
