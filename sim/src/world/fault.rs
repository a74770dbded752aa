//! Faults that pick single segments: the lost SYN-ACK, the FIN that arrives after the RST.

use std::time::Duration;

use crate::segment::{Segment, SegmentKind};

/// What happens to some of the segments of one direction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// The kind of segment it is about.
    pub which: SegmentKind,
    /// The connection it is about, counted from 1 between the two hosts as they were opened; every one if absent.
    pub connection: Option<u32>,
    /// How many of them pass first.
    pub skip: u32,
    /// How many of them it then takes; it is over after that.
    pub times: u32,
    /// What it does to them.
    pub effect: Effect,
}

/// What a fault does to a segment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// It arrives later by this much; segments behind it may overtake it.
    Delay(Duration),
    /// It never arrives.
    Drop,
}

impl Fault {
    /// What it does to this segment, if anything.
    fn take(&mut self, segment: &Segment, connection: u32) -> Option<Effect> {
        let concerned = self.connection.is_none_or(|wanted| wanted == connection);
        if self.times == 0 || !concerned || !self.which.includes(segment) {
            return None;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return None;
        }
        self.times -= 1;
        Some(self.effect)
    }
}

/// The faults of one direction. Each sees every segment; of those that take it, the first decides.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What happens to this segment of the connection with that number.
    pub(super) fn take(&mut self, segment: &Segment, connection: u32) -> Option<Effect> {
        let mut effect = None;
        for fault in &mut self.0 {
            effect = effect.or(fault.take(segment, connection));
        }
        self.0.retain(|fault| fault.times > 0);
        effect
    }
}
