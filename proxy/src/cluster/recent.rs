//! Requests that began of late, for a budget of retries that is a share of them (`budget_interval`).

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The parts of an interval that are counted each for itself: a request counts for the interval, or for a part more.
const SLICES: u32 = 20;

/// How many requests began within the last interval. Holds a number for each of the slices in which any did.
#[derive(Debug)]
pub(super) struct RecentRequests {
    since: Instant,
    interval: Duration,
    /// The number of a slice, and how many began in it.
    slices: VecDeque<(u64, u32)>,
}

impl RecentRequests {
    pub(super) fn within(interval: Duration, now: Instant) -> Self {
        Self { since: now, interval, slices: VecDeque::new() }
    }

    /// A request begins.
    pub(super) fn note(&mut self, now: Instant) {
        let slice = self.slice(now);
        self.forget(slice);
        match self.slices.back_mut() {
            Some((last, count)) if *last == slice => *count = count.saturating_add(1),
            Some(_) | None => self.slices.push_back((slice, 1)),
        }
    }

    /// How many began within the interval.
    pub(super) fn count(&mut self, now: Instant) -> u64 {
        let slice = self.slice(now);
        self.forget(slice);
        self.slices.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    fn slice(&self, now: Instant) -> u64 {
        let each = (self.interval / SLICES).max(Duration::from_nanos(1));
        let slices = now.saturating_duration_since(self.since).as_nanos() / each.as_nanos();
        u64::try_from(slices).unwrap_or(u64::MAX)
    }

    fn forget(&mut self, now: u64) {
        while self.slices.front().is_some_and(|(slice, _)| now.saturating_sub(*slice) > u64::from(SLICES)) {
            self.slices.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_for_an_interval() {
        let begin = Instant::now();
        let mut recent = RecentRequests::within(Duration::from_secs(2), begin);
        let at = |millis| begin + Duration::from_millis(millis);
        recent.note(at(0));
        recent.note(at(0));
        recent.note(at(1500));
        for (millis, expected) in [(1500, 3), (2000, 3), (2099, 3), (2100, 1), (3500, 1), (3700, 0)] {
            assert_eq!(recent.count(at(millis)), expected, "{millis}");
        }
        for millis in 0..100_000 {
            recent.note(at(4000 + millis));
        }
        assert!(recent.slices.len() <= usize::try_from(SLICES).unwrap() + 1);
    }
}
