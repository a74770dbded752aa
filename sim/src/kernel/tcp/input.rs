//! What an arriving segment does to a socket (RFC 9293 3.10.7).

use std::io;

use super::super::receive::{Arrival, ReceiveSide};
use super::{Failure, Owner, SegmentOutput, State, TcpSocket};
use crate::segment::Segment;

impl TcpSocket {
    /// Takes a segment addressed to this connection.
    pub(in crate::kernel) fn on_segment(&mut self, segment: &Segment, output: &mut SegmentOutput<'_>) {
        self.note_life(output);
        if self.state == State::SynSent {
            self.on_segment_in_syn_sent(segment, output);
        } else {
            self.on_segment_synchronized(segment, output);
        }
    }

    fn on_segment_in_syn_sent(&mut self, segment: &Segment, output: &mut SegmentOutput<'_>) {
        let flags = segment.flags;
        if flags.ack && segment.ack != self.send.nxt {
            output.out.extend(segment.refusal());
            return;
        }
        if flags.rst {
            if flags.ack {
                self.fail(Failure::Refused, io::ErrorKind::ConnectionRefused);
            }
            return;
        }
        if !flags.syn {
            return;
        }
        self.receive = ReceiveSide::new(segment.seq + 1);
        self.set_window(segment);
        if !flags.ack {
            // Both sides called at once (RFC 9293 3.5, figure 8).
            self.state = State::SynReceived;
            self.send_syn(output);
            return;
        }
        self.send.acknowledge(segment.ack);
        self.rto.acknowledged(segment.ack, output.now);
        self.enter_established();
        self.send_ack(output);
    }

    fn on_segment_synchronized(&mut self, segment: &Segment, output: &mut SegmentOutput<'_>) {
        if segment.flags.rst {
            self.on_reset(segment, output);
            return;
        }
        if segment.flags.syn {
            self.on_late_syn(segment, output);
            return;
        }
        let in_window = segment.end() >= self.receive.nxt && segment.seq <= self.receive.nxt + self.receive.window();
        if !in_window {
            self.send_ack(output); // RFC 9293 3.10.7.4: this is also the response to a window probe
            return;
        }
        if !segment.flags.ack || !self.on_acknowledgement(segment, output) {
            return;
        }
        if segment.payload.is_empty() && !segment.flags.fin {
            return;
        }
        if self.owner == Owner::Orphaned && segment.seq + segment.len() > self.receive.nxt {
            // Data that no program will ever read (RFC 9293 3.10.7.4, RFC 1122 4.2.2.13).
            output.out.extend(segment.refusal());
            self.enter_closed();
            return;
        }
        self.on_payload(segment, output);
    }

    fn on_reset(&mut self, segment: &Segment, output: &mut SegmentOutput<'_>) {
        if self.state == State::TimeWait {
            self.enter_closed(); // no program is notified: for it, the connection ended before
            return;
        }
        // A socket that has seen the peer's FIN also takes a reset that does not count it: the peer responded to
        // data that was sent before its FIN was acknowledged.
        let finished = matches!(self.state, State::CloseWait | State::LastAck | State::Closing);
        if segment.seq == self.receive.nxt || (finished && segment.seq + 1 == self.receive.nxt) {
            let kind = match self.state == State::CloseWait {
                true => io::ErrorKind::BrokenPipe,
                false => io::ErrorKind::ConnectionReset,
            };
            self.fail(Failure::Reset, kind);
        } else if segment.seq > self.receive.nxt && segment.seq <= self.receive.nxt + self.receive.window() {
            self.send_ack(output); // RFC 5961 3.2: challenge what could be forged or could have overtaken data
        }
    }

    fn on_late_syn(&mut self, segment: &Segment, output: &mut SegmentOutput<'_>) {
        let again = segment.seq + 1 == self.receive.nxt && !segment.flags.ack;
        if self.state == State::SynReceived && again {
            self.send_syn(output);
        } else {
            self.send_ack(output); // a SYN-ACK again means that our ACK was lost; anything else is challenged
        }
    }

    /// False if the segment ends here.
    fn on_acknowledgement(&mut self, segment: &Segment, output: &mut SegmentOutput<'_>) -> bool {
        let ack = segment.ack;
        if self.state == State::SynReceived {
            if ack != self.send.una + 1 {
                output.out.extend(segment.refusal());
                return false;
            }
            self.set_window(segment);
            self.enter_established();
        }
        if ack > self.send.nxt {
            self.send_ack(output);
            return false;
        }
        self.rto.probes = 0;
        if ack > self.send.una {
            self.on_progress(ack, output);
        } else if ack == self.send.una {
            self.on_duplicate(segment, output);
        }
        let (seq, was) = self.send.window_set_by;
        if segment.seq > seq || (segment.seq == seq && ack >= was) {
            self.set_window(segment);
        }
        self.transmit(output);
        if self.send.fin_acknowledged() {
            self.on_fin_acknowledged(output);
        }
        self.state != State::Closed
    }

    fn on_fin_acknowledged(&mut self, output: &SegmentOutput<'_>) {
        match self.state {
            State::FinWait1 => self.enter_fin_wait2(output),
            State::Closing => self.enter_time_wait(output),
            State::LastAck => self.enter_closed(),
            State::Closed
            | State::CloseWait
            | State::Established
            | State::FinWait2
            | State::SynReceived
            | State::SynSent
            | State::TimeWait => {}
        }
    }

    fn on_progress(&mut self, ack: u64, output: &mut SegmentOutput<'_>) {
        self.rto.acknowledged(ack, output.now);
        self.news |= self.send.acknowledge(ack);
        self.send.duplicates = 0;
        self.deadline = None; // transmit() starts it again for what is still in flight
        match self.send.recover {
            Some(recover) if ack < recover => self.send_again(output), // the next hole (RFC 6582 3.2)
            Some(_) | None => self.send.recover = None,
        }
    }

    fn on_duplicate(&mut self, segment: &Segment, output: &mut SegmentOutput<'_>) {
        const DUPLICATES: u32 = 3; // RFC 5681 3.2: fewer may be mere reordering
        let repeats = segment.payload.is_empty()
            && !segment.flags.fin
            && self.send.in_flight()
            && u64::from(segment.window) == self.send.window;
        if !repeats {
            return;
        }
        self.send.duplicates += 1;
        if self.send.duplicates == DUPLICATES && self.send.recover.is_none() {
            self.send.recover = Some(self.send.nxt);
            self.send_again(output);
        }
    }

    fn on_payload(&mut self, segment: &Segment, output: &mut SegmentOutput<'_>) {
        let was_finished = self.receive.finished;
        match self.receive.accept(segment.seq, &segment.payload, segment.flags.fin) {
            Arrival::Advanced => {
                self.receive.ack_due = true;
                self.news = true;
            }
            // At once and each time: three of these show the sender what is missing.
            Arrival::Early => self.send_ack(output),
            Arrival::Stale => self.receive.ack_due = true,
        }
        if !self.receive.finished {
            return;
        }
        match self.state {
            State::Established | State::SynReceived => self.state = State::CloseWait,
            State::FinWait1 => self.state = State::Closing,
            State::FinWait2 => self.enter_time_wait(output),
            State::TimeWait if was_finished => self.enter_time_wait(output), // the last ACK was lost: wait anew
            State::Closed | State::CloseWait | State::Closing | State::LastAck | State::SynSent | State::TimeWait => {}
        }
    }
}
