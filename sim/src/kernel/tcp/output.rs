//! What a socket sends: data as the window allows, acknowledgements, and everything again when time passes
//! without a response.

use bytes::Bytes;

use super::super::retransmit;
use super::super::send::{Fin, MSS};
use super::{Owner, SegmentOutput, State, TcpSocket};
use crate::segment::{Flags, Segment};

impl TcpSocket {
    /// [`TcpSocket::next_deadline`] has come.
    pub(in crate::kernel) fn on_timer(&mut self, output: &mut SegmentOutput<'_>) {
        if self.deadline.is_none_or(|deadline| deadline > output.now) {
            return self.probe_peer(output);
        }
        self.deadline = None;
        match self.state {
            State::Closed => {}
            State::FinWait2 | State::TimeWait => self.enter_closed(),
            State::SynReceived if self.rto.retries >= retransmit::RETRIES_SYN_ACK_MAX => self.time_out(),
            State::SynReceived | State::SynSent => {
                self.rto.retries += 1;
                self.send_syn(output);
            }
            State::CloseWait | State::Closing | State::Established | State::FinWait1 | State::LastAck => {
                self.on_silence(output);
            }
        }
    }

    fn on_silence(&mut self, output: &mut SegmentOutput<'_>) {
        let (retries_max, tries) = match self.owner {
            // Acknowledged probes are tries, too: an orphaned socket does not wait for its last bytes for ever.
            Owner::Orphaned => (retransmit::RETRIES_ORPHAN_MAX, self.rto.retries),
            Owner::Application | Owner::Backlog(_) if self.send.in_flight() => {
                (retransmit::RETRIES_MAX, self.rto.retries)
            }
            // A program may leave its peer's window closed for as long as it likes, if the peer is there.
            Owner::Application | Owner::Backlog(_) => (retransmit::RETRIES_MAX, self.rto.probes),
        };
        if tries >= retries_max {
            self.time_out();
            return;
        }
        self.rto.retries += 1;
        if self.send.in_flight() {
            self.send.recover = Some(self.send.nxt);
            self.send_again(output);
        } else {
            self.probe_window(output);
        }
    }

    /// The window is closed, and the update that opened it may have been lost: requests an acknowledgement.
    fn probe_window(&mut self, output: &mut SegmentOutput<'_>) {
        self.rto.probes += 1;
        let probe = self.segment(self.send.una.saturating_sub(1), Flags::ACK, Bytes::new());
        output.out.push(probe);
        self.deadline = Some(output.now + self.rto.interval());
    }

    /// Sends what the window allows, then sets the timer for what is in flight.
    pub(super) fn transmit(&mut self, output: &mut SegmentOutput<'_>) {
        if !self.can_send() {
            return;
        }
        let idle = !self.send.in_flight();
        while self.send.has_unsent() {
            let unsent = self.send.data_end() - self.send.nxt;
            let room = (self.send.una + self.send.window).saturating_sub(self.send.nxt);
            let len = unsent.min(room).min(MSS as u64);
            // A crumb that only a nearly closed window calls for waits (RFC 9293 3.8.6.2.1); a FIN needs room for one.
            let crumb = len < unsent.min(MSS as u64) && self.send.in_flight();
            if room == 0 || crumb {
                break;
            }
            self.send_next(usize::try_from(len).unwrap_or(MSS), output);
        }
        if idle && self.send.in_flight() {
            self.rto.retries = 0; // if the window was being probed, it has opened
            self.deadline = None;
        }
        if self.deadline.is_none() && (self.send.in_flight() || self.send.has_unsent()) {
            self.deadline = Some(output.now + self.rto.interval());
        }
    }

    fn send_next(&mut self, len: usize, output: &mut SegmentOutput<'_>) {
        let payload = self.send.bytes_at(self.send.nxt, len);
        let last = self.send.nxt + payload.len() as u64 == self.send.data_end();
        let fin = last && self.send.fin == Fin::Queued;
        let flags = Flags { ack: true, psh: last && !payload.is_empty(), fin, ..Flags::default() };
        let segment = self.segment(self.send.nxt, flags, payload);
        if fin {
            self.send.fin = Fin::Sent;
        }
        self.send.nxt = segment.end();
        self.rto.sent(segment.end(), output.now);
        output.out.push(segment);
    }

    /// Sends the oldest unacknowledged segment once more.
    pub(super) fn send_again(&mut self, output: &mut SegmentOutput<'_>) {
        self.rto.sent_again();
        let payload = self.send.bytes_at(self.send.una, MSS);
        let end = self.send.una + payload.len() as u64;
        let sent = end.min(self.send.nxt); // never what the window has not allowed yet
        let payload = payload.slice(..usize::try_from(sent - self.send.una).unwrap_or(0).min(payload.len()));
        let fin = self.send.fin == Fin::Sent && sent == self.send.data_end();
        let flags = Flags { ack: true, psh: !payload.is_empty(), fin, ..Flags::default() };
        let segment = self.segment(self.send.una, flags, payload);
        output.out.push(segment);
        self.deadline = Some(output.now + self.rto.interval());
    }

    /// Sends SYN or SYN-ACK, for the first time or again, and sets its timer.
    pub(super) fn send_syn(&mut self, output: &mut SegmentOutput<'_>) {
        let (flags, pause) = match self.state == State::SynSent {
            true => (Flags::SYN, retransmit::syn_pause(self.rto.retries)),
            false => (Flags::SYN_ACK, Some(self.rto.interval())),
        };
        let Some(pause) = pause else { return self.time_out() };
        match self.rto.retries {
            0 => self.rto.sent(self.send.nxt, output.now),
            _ => self.rto.sent_again(),
        }
        let segment = self.segment(self.send.una, flags, Bytes::new());
        output.out.push(segment);
        self.deadline = Some(output.now + pause);
    }

    /// Sends the acknowledgement that is owed, if nothing else carried it.
    pub(in crate::kernel) fn send_due_ack(&mut self, output: &mut SegmentOutput<'_>) {
        if self.receive.ack_due {
            self.send_ack(output);
        }
    }

    pub(in crate::kernel) fn ack_due(&self) -> bool {
        self.receive.ack_due
    }

    pub(super) fn send_ack(&mut self, output: &mut SegmentOutput<'_>) {
        let ack = self.segment(self.send.nxt, Flags::ACK, Bytes::new());
        output.out.push(ack);
    }

    pub(super) fn segment(&mut self, seq: u64, flags: Flags, payload: Bytes) -> Segment {
        let ack = if flags.ack { self.receive.nxt } else { 0 };
        self.receive.ack_due = false;
        Segment { from: self.local, to: self.peer, flags, seq, ack, window: self.receive.advertise(), payload }
    }
}
