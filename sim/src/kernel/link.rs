//! The wire between two hosts: latency, jitter, bandwidth, loss and order.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::chance::Chance;

/// What the wire between two hosts is like, the same in both directions.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// From one kernel to the other.
    pub latency: Duration,
    /// Up to this much more, drawn for each segment.
    pub jitter: Duration,
    /// Bytes per second in each direction; none: as many as you like.
    pub bandwidth: Option<NonZeroU64>,
    /// The part of the segments that vanishes, 0 to 1.
    pub loss: f64,
    /// Whether jitter may let a segment overtake another. Real paths keep the order nearly always.
    pub reorder: bool,
}

impl Default for Link {
    /// Two machines in one data centre.
    fn default() -> Self {
        Self { latency: Duration::from_micros(250), jitter: Duration::ZERO, bandwidth: None, loss: 0.0, reorder: false }
    }
}

impl Link {
    /// Within one host.
    #[must_use]
    pub fn loopback() -> Self {
        Self { latency: Duration::from_micros(10), ..Self::default() }
    }
}

/// One direction of a link: what is on its way decides when the next segment arrives.
#[derive(Debug, Default)]
pub(crate) struct Direction {
    /// When the last segment has left completely.
    sending_until: Duration,
    /// When the last segment arrives.
    last_arrival: Duration,
}

impl Direction {
    /// When a segment of `bytes` that leaves at `now`, and takes `late` longer than others, arrives; none if it is lost.
    pub(crate) fn carry(
        &mut self,
        link: &Link,
        bytes: usize,
        now: Duration,
        late: Duration,
        chance: &mut Chance,
    ) -> Option<Duration> {
        let sent = now.max(self.sending_until) + transmission(link, bytes);
        self.sending_until = sent; // a segment that gets lost has used the wire all the same
        let jitter = chance.duration(&(Duration::ZERO..=link.jitter));
        if chance.happens(link.loss) {
            return None;
        }
        let arrival = sent + link.latency + jitter + late;
        let arrival = if link.reorder { arrival } else { arrival.max(self.last_arrival) };
        self.last_arrival = self.last_arrival.max(arrival);
        Some(arrival)
    }
}

fn transmission(link: &Link, bytes: usize) -> Duration {
    let Some(bandwidth) = link.bandwidth else { return Duration::ZERO };
    let nanos = (bytes as u64).saturating_mul(1_000_000_000) / bandwidth;
    Duration::from_nanos(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn bandwidth_spaces_segments_and_latency_moves_them() {
        let link = Link { latency: MS(5), bandwidth: NonZeroU64::new(1_000_000), ..Link::default() };
        let mut direction = Direction::default();
        let mut chance = Chance::new(1, "link");
        assert_eq!(direction.carry(&link, 1000, MS(0), MS(0), &mut chance), Some(MS(6)));
        assert_eq!(direction.carry(&link, 2000, MS(0), MS(0), &mut chance), Some(MS(8)));
        assert_eq!(direction.carry(&link, 1000, MS(9), MS(0), &mut chance), Some(MS(15)));
    }

    #[test]
    fn jitter_keeps_the_order_without_reorder() {
        let arrivals = |reorder| {
            let link = Link { jitter: MS(10), reorder, ..Link::default() };
            let (mut direction, mut chance) = (Direction::default(), Chance::new(3, "link"));
            (0..50).filter_map(|at| direction.carry(&link, 40, MS(at), MS(0), &mut chance)).collect::<Vec<_>>()
        };
        assert!(arrivals(false).is_sorted());
        assert!(!arrivals(true).is_sorted());
    }

    #[test]
    fn loss_drops_about_its_share() {
        let link = Link { loss: 0.25, ..Link::default() };
        let (mut direction, mut chance) = (Direction::default(), Chance::new(3, "link"));
        let arrived = (0..4000).filter_map(|at| direction.carry(&link, 40, MS(at), MS(0), &mut chance)).count();
        assert!((2900..=3100).contains(&arrived), "{arrived}");
    }
}
