//! Histograms of whole numbers, in a fixed amount of memory.
//!
//! Buckets are log-linear with two significant decimal digits, as in the library Envoy uses: 0, 1 to 9,
//! 10 to 99, then 90 buckets for each further power of ten. A quantile is therefore at most 10 % off, and
//! the figures here and in Envoy agree to the last digit.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// 0, then 1 to 99, then two digits times 10^1 to 10^8: up to 9.9e9, which in milliseconds is 115 days.
const BUCKETS: usize = 100 + 90 * POWERS;
const POWERS: usize = 8;

/// The quantiles that the text and JSON forms show.
pub const QUANTILES: [f64; 10] = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 1.0];

/// Counts values by size.
#[derive(Clone, Default)]
pub struct Histogram(Arc<Cells>);

struct Cells {
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
    interval: Mutex<Interval>,
}

/// The last whole interval, and the totals at its end.
#[derive(Default)]
struct Interval {
    ended_at: Distribution,
    last: Distribution,
}

impl Default for Cells {
    fn default() -> Self {
        let buckets = (0..BUCKETS).map(|_| AtomicU64::new(0)).collect();
        Self { buckets, sum: AtomicU64::new(0), interval: Mutex::default() }
    }
}

impl Histogram {
    /// Counts `value`, in the unit the histogram's name ends in.
    pub fn record(&self, value: u64) {
        if let Some(bucket) = self.0.buckets.get(bucket_of(value)) {
            bucket.fetch_add(1, Relaxed);
        }
        self.0.sum.fetch_add(value, Relaxed);
    }

    /// Counts a duration in milliseconds, rounded down.
    pub fn record_ms(&self, duration: std::time::Duration) {
        self.record(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    }

    pub(super) fn end_interval(&self) {
        let total = self.total();
        let mut interval = self.0.interval.lock().unwrap_or_else(PoisonError::into_inner);
        interval.last = total.since(&interval.ended_at);
        interval.ended_at = total;
    }

    pub(super) fn recorded(&self, name: String) -> Recorded {
        let interval = self.0.interval.lock().unwrap_or_else(PoisonError::into_inner);
        Recorded { name, total: self.total(), interval: interval.last.clone(), sum: self.0.sum.load(Relaxed) }
    }

    fn total(&self) -> Distribution {
        let counts = self.0.buckets.iter().map(|bucket| bucket.load(Relaxed));
        Distribution(counts.enumerate().filter(|(_, count)| *count > 0).collect())
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Histogram").field(&self.total()).finish()
    }
}

/// A histogram at one moment.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// With the prefix of its scope.
    pub name: String,
    /// Since the start.
    pub total: Distribution,
    /// In the last whole interval.
    pub interval: Distribution,
    /// Sum of all values.
    pub sum: u64,
}

/// How many values fell into which bucket: only buckets that have any, smallest first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Distribution(Vec<(usize, u64)>);

impl Distribution {
    /// Has no value been recorded?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Where each bucket with values begins, its width, and how many they are.
    pub fn bins(&self) -> impl Iterator<Item = (f64, f64, u64)> {
        self.0.iter().map(|(bucket, count)| {
            let (begin, width) = range_of(*bucket);
            (begin, width, *count)
        })
    }

    /// How many values lie in buckets that begin at or below `limit`.
    #[must_use]
    pub fn count_up_to(&self, limit: f64) -> u64 {
        self.0.iter().filter(|(bucket, _)| range_of(*bucket).0 <= limit).map(|(_, count)| count).sum()
    }

    /// The value that a share of `quantile` (0 to 1) of all values does not exceed; `None` without values.
    /// The values of one bucket are taken to lie evenly inside it.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank lies between 1 and a count, and an estimate does not miss the digits beyond 2^53"
    )]
    pub fn quantile(&self, quantile: f64) -> Option<f64> {
        let rank = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in &self.0 {
            if below + count >= rank {
                let (from, width) = range_of(*bucket);
                return Some(from + width * (rank - below) as f64 / (count + 1) as f64);
            }
            below += count;
        }
        None
    }

    fn since(&self, earlier: &Self) -> Self {
        let before = |bucket: usize| earlier.0.iter().find(|(b, _)| *b == bucket).map_or(0, |(_, count)| *count);
        let grown = self.0.iter().map(|(bucket, count)| (*bucket, count.saturating_sub(before(*bucket))));
        Self(grown.filter(|(_, count)| *count > 0).collect())
    }
}

fn bucket_of(value: u64) -> usize {
    let mut digits = value;
    let mut power = 0;
    while digits >= 100 {
        digits /= 10;
        power += 1;
    }
    let bucket = usize::try_from(digits).unwrap_or(BUCKETS) + 90 * power;
    bucket.min(BUCKETS - 1)
}

/// Where a bucket begins and how wide it is.
#[expect(clippy::cast_precision_loss, reason = "bucket numbers are below 820")]
fn range_of(bucket: usize) -> (f64, f64) {
    match bucket {
        0 => (0.0, 0.0),
        // Two significant digits: 3 stands for 3.0 up to 3.1.
        1..10 => (bucket as f64, 0.1),
        10..100 => (bucket as f64, 1.0),
        _ => {
            let width = (0..(bucket - 10) / 90).fold(1.0, |width, _| width * 10.0);
            (((bucket - 10) % 90 + 10) as f64 * width, width)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_into_the_bucket_that_holds_them() {
        let cases = [0, 1, 9, 10, 57, 99, 100, 109, 110, 999, 1000, 1099, 1100, 3_600_000, 9_800_000_001, u64::MAX];
        for value in cases {
            let (from, width) = range_of(bucket_of(value));
            let inside = from <= value as f64 && (value as f64) < from + width.max(1.0);
            assert!(inside || value > 9_900_000_000, "{value} in {from}+{width}");
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_envoy() {
        // Values and answers as Envoy 1.40 printed them.
        let cases: [(&[u64], f64, f64); 8] = [
            (&[1, 43], 0.0, 1.05),
            (&[1, 43], 0.5, 1.05),
            (&[1, 43], 0.75, 43.5),
            (&[1, 1, 1, 1, 1, 1, 1], 0.0, 1.0125),
            (&[1, 1, 1, 1, 1, 1, 1], 0.25, 1.025),
            (&[1, 1, 1, 1, 1, 1, 1], 0.9, 1.0875),
            (&[13], 1.0, 13.5),
            (&[0], 0.5, 0.0),
        ];
        for (values, quantile, want) in cases {
            let histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            let got = histogram.total().quantile(quantile).unwrap();
            assert!((got - want).abs() < 1e-9, "P{quantile} of {values:?}: {got}, not {want}");
        }
        assert_eq!(Histogram::default().total().quantile(0.5), None);
    }

    #[test]
    fn an_interval_holds_what_came_since_the_last() {
        let histogram = Histogram::default();
        histogram.record(5);
        histogram.end_interval();
        histogram.record(7);
        assert_eq!(histogram.recorded(String::new()).interval.count(), 1);
        histogram.end_interval();
        let recorded = histogram.recorded(String::new());
        assert_eq!((recorded.interval.count(), recorded.total.count(), recorded.sum), (1, 2, 12));
        histogram.end_interval();
        assert!(histogram.recorded(String::new()).interval.is_empty());
    }
}
