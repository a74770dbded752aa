//! What a seed draws: which kinds of departures a run has, how rare they are, and how large each one is.

use std::time::Duration;

use super::Place;
use crate::chance::Chance;
use crate::course::{Bounds, PartsPerMillion};
use crate::trace::HostId;

/// One departure of a kind in so many places; none: the kind does not occur in this run.
type Rarity = Option<u64>;

/// A run's own way of departing. A seed leaves out about half of the kinds: what one kind brings about, another may
/// hide (swarm testing, Groce et al. 2012), and a run with fewer departures is easier to make small.
pub(super) struct Draw {
    bounds: Bounds,
    clock: Rarity,
    drift: Rarity,
    jitter: Rarity,
    read_delay: Rarity,
    order: Rarity,
    stall: Rarity,
    chance: Chance,
    /// Of clocks that drift: a stream of its own, so that a host more does not shift what the others draw.
    clocks: Chance,
}

impl Draw {
    pub(super) fn new(bounds: Bounds, seed: u64) -> Self {
        let (mut chance, mut clocks) = (Chance::new(seed, "perturbations"), Chance::new(seed, "clocks"));
        let rarity = |chance: &mut Chance, commonest: u64| match chance.below(2) {
            0 => None,
            _ => Some(commonest << chance.below(5)),
        };
        let clock = rarity(&mut chance, 1);
        let [jitter, read_delay, order] = [(); 3].map(|()| rarity(&mut chance, 2));
        let stall = rarity(&mut chance, 8); // a host that stalls at every other run does not get anywhere
        let drift = rarity(&mut clocks, 1);
        Self { bounds, clock, drift, jitter, read_delay, order, stall, chance, clocks }
    }

    pub(super) fn delay(&mut self, place: Place) -> Duration {
        let (rarity, most) = match place {
            Place::Clock(_) => (self.clock, self.bounds.clock),
            Place::Run(..) => (self.stall, self.bounds.stall),
            Place::Segment(..) => (self.jitter, self.bounds.jitter),
            Place::Turn(..) => (self.read_delay, self.bounds.read_delay),
        };
        match rarity {
            Some(rarity) if !most.is_zero() && self.chance.below(rarity) == 0 => {
                // Whole microseconds: a person will read them.
                let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
                Duration::from_micros(1 + self.chance.below(micros))
            }
            Some(_) | None => Duration::ZERO,
        }
    }

    /// How slow the next clock is.
    pub(super) fn slow(&mut self) -> PartsPerMillion {
        let most = u64::from(self.bounds.drift.0);
        match self.drift {
            Some(rarity) if most > 0 && self.clocks.below(rarity) == 0 => {
                PartsPerMillion(u32::try_from(1 + self.clocks.below(most)).unwrap_or(u32::MAX))
            }
            Some(_) | None => PartsPerMillion::default(),
        }
    }

    pub(super) fn first(&mut self, runnable: &[usize]) -> Option<HostId> {
        let rarity = self.order.filter(|_| self.bounds.order)?;
        if self.chance.below(rarity) != 0 {
            return None;
        }
        runnable.get(self.chance.index(runnable.len())).copied().map(HostId)
    }
}
