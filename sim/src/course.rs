//! Departures from the plain course of a run: a segment arrives later, a driver looks later, a host gets no processor
//! for a moment, another host runs first, a wall clock is ahead, a clock is slow.
//!
//! None of them is a fault: every network and every machine does these things at times. A [`Course`] sets whether they
//! happen in a run: not at all, drawn from the seed within bounds, or exactly those of a list.

use std::time::Duration;

use crate::trace::HostId;

/// One departure, and where it happens. Everything is counted from 1, from the beginning of the run.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Perturbation<Host = HostId> {
    /// A host's wall clock is ahead of the world's.
    Ahead {
        /// The host of the clock.
        host: Host,
        /// By how much.
        by: Duration,
    },
    /// A segment takes longer. Those behind it wait for it, unless the link reorders.
    Delay {
        /// The host that sends the packet.
        from: Host,
        /// The host that is to receive the packet.
        to: Host,
        /// Which of the segments that went from one to the other.
        segment: u64,
        /// How much longer.
        by: Duration,
    },
    /// Of several hosts that can run at one instant, this one does.
    First {
        /// The host that runs first.
        host: Host,
        /// At which of the choices between hosts.
        choice: u64,
    },
    /// A host's driver looks later at what its kernel has.
    ReadDelay {
        /// The host that is delayed.
        host: Host,
        /// Which of its driver's turns.
        turn: u64,
        /// How much later.
        by: Duration,
    },
    /// A host's clock is slow: its timers go off late, and its wall clock falls behind.
    Slow {
        /// The host of the clock.
        host: Host,
        /// By how much.
        by: PartsPerMillion,
    },
    /// A host's programs get no processor time.
    Stall {
        /// The host that is delayed.
        host: Host,
        /// Before which of its runs.
        run: u64,
        /// For how long.
        by: Duration,
    },
}

impl<Host> Perturbation<Host> {
    /// The same with other names for the hosts; none if one of them has no other name.
    pub fn rename<Name>(&self, name: impl Fn(&Host) -> Option<Name>) -> Option<Perturbation<Name>> {
        Some(match self {
            Self::Ahead { host, by } => Perturbation::Ahead { host: name(host)?, by: *by },
            Self::Delay { from, to, segment, by } => {
                Perturbation::Delay { from: name(from)?, to: name(to)?, segment: *segment, by: *by }
            }
            Self::First { host, choice } => Perturbation::First { host: name(host)?, choice: *choice },
            Self::ReadDelay { host, turn, by } => Perturbation::ReadDelay { host: name(host)?, turn: *turn, by: *by },
            Self::Slow { host, by } => Perturbation::Slow { host: name(host)?, by: *by },
            Self::Stall { host, run, by } => Perturbation::Stall { host: name(host)?, run: *run, by: *by },
        })
    }
}

/// A share of a time, in millionths: how clocks drift. Ten of them are a second a day.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct PartsPerMillion(pub u32);

impl PartsPerMillion {
    /// So many millionths of a time.
    #[must_use]
    pub fn of(self, time: Duration) -> Duration {
        let nanos = time.as_nanos().saturating_mul(self.0.into()) / 1_000_000;
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// How far a run may depart from the plain course. Zero: not at all.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Bounds {
    /// Up to this much is added to a wall clock.
    pub clock: Duration,
    /// A host's clock is slow by up to this much.
    pub drift: PartsPerMillion,
    /// Up to this much is added to a segment's latency.
    pub jitter: Duration,
    /// Up to this much passes before a driver looks.
    pub read_delay: Duration,
    /// Whether another host than the plain course's may run first.
    pub order: bool,
    /// Up to this long a host may get no processor time.
    pub stall: Duration,
}

impl Bounds {
    /// What explores: departures of a size that any data centre shows within a day.
    pub const COMMON: Self = Self {
        clock: Duration::from_millis(20),
        drift: PartsPerMillion(200), // two quartz clocks, each wrong by 100 and in opposite directions
        jitter: Duration::from_millis(2),
        read_delay: Duration::from_millis(1),
        order: true,
        stall: Duration::from_millis(20),
    };
}

/// Whether a run departs from the plain course.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Course<Host = HostId> {
    /// The seed draws departures within these bounds.
    Drawn(Bounds),
    /// These departures and no others.
    Fixed(Vec<Perturbation<Host>>),
    /// No departures: what can happen at once happens at once.
    #[default]
    Plain,
}

/// A departure that has happened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Perturbed {
    /// When it happened, since the run began.
    pub at: Duration,
    /// The delay that was drawn.
    pub what: Perturbation,
    /// The packet number of the segment it is about, if it is about one.
    pub packet: Option<u64>,
}
