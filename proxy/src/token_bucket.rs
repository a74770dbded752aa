//! A bucket of tokens that fills up evenly, shared by all workers: the first `max` come at once, and then as many as it is given.
//!
//! What is kept is not the number of tokens but the instant at which the bucket would have been empty, so that nothing has to run
//! for it to fill up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::rate_limit::{BucketSize, RateLimit};

/// A bucket of tokens.
#[derive(Debug)]
pub struct TokenBucket {
    begun: Instant,
    max: u32,
    /// Tokens in a second. Positive.
    rate: f64,
    /// Seconds from `begun` to the instant at which there were no tokens, as the bits of a float. Negative while it is filled as at
    /// its beginning.
    empty_at: AtomicU64,
}

impl TokenBucket {
    /// A full bucket.
    #[must_use]
    pub fn new(size: BucketSize) -> Self {
        let rate = f64::from(size.tokens_per_fill.get()) / size.fill_interval.as_secs_f64().max(f64::MIN_POSITIVE);
        let empty_at = -f64::from(size.tokens_max) / rate;
        Self { begun: Instant::now(), max: size.tokens_max, rate, empty_at: AtomicU64::new(empty_at.to_bits()) }
    }

    /// The most tokens there can be.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.max
    }

    /// Takes a token, if there is one.
    #[must_use]
    pub fn take(&self) -> bool {
        let now = self.now();
        let without_one = |empty_at| {
            let tokens = self.tokens(now, f64::from_bits(empty_at));
            (tokens >= 1.0).then(|| (now - (tokens - 1.0) / self.rate).to_bits())
        };
        self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, without_one).is_ok()
    }

    /// Whole tokens that there are now.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and a u32")]
    pub fn left(&self) -> u32 {
        self.tokens_now().max(0.0) as u32
    }

    /// How long until there is a token.
    #[must_use]
    pub fn next_in(&self) -> Duration {
        let missing = (1.0 - self.tokens_now()).max(0.0);
        Duration::try_from_secs_f64(missing / self.rate).unwrap_or(Duration::MAX)
    }

    fn tokens_now(&self) -> f64 {
        self.tokens(self.now(), f64::from_bits(self.empty_at.load(Ordering::Relaxed)))
    }

    fn tokens(&self, now: f64, empty_at: f64) -> f64 {
        ((now - empty_at) * self.rate).min(f64::from(self.max))
    }

    fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

/// The buckets of one limit.
#[derive(Debug)]
pub struct BucketSet {
    /// `None` refuses no request.
    pub default: Option<Arc<TokenBucket>>,
    /// Of its descriptors, in their order.
    pub descriptors: Vec<Arc<TokenBucket>>,
}

impl BucketSet {
    /// Those of a limit: `bucket` makes each, of which the descriptors' are numbered from 1 on.
    #[must_use]
    pub fn of(limit: &RateLimit, bucket: impl Fn(usize, BucketSize) -> Arc<TokenBucket>) -> Self {
        let descriptors = limit.descriptors.iter().enumerate();
        Self {
            default: limit.bucket.map(|size| bucket(0, size)),
            descriptors: descriptors.map(|(nth, descriptor)| bucket(nth + 1, descriptor.bucket)).collect(),
        }
    }
}

/// The name of what the bucket is of, and its place there.
type BucketKey = (String, usize);

/// The buckets of a listener, which all workers share: by the place of their limits in the file, and their numbers.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<BTreeMap<BucketKey, (BucketSize, Arc<TokenBucket>)>>);

impl Buckets {
    /// The bucket of a limit. It stays for as long as its place has a bucket of that size.
    #[must_use]
    pub fn of(&self, place: &str, number: usize, size: BucketSize) -> Arc<TokenBucket> {
        // No insertion is done in two steps: a panic elsewhere leaves the map whole.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (place.to_owned(), number);
        match buckets.get(&key) {
            Some((known, bucket)) if *known == size => Arc::clone(bucket),
            Some(_) | None => {
                let bucket = Arc::new(TokenBucket::new(size));
                buckets.insert(key, (size, Arc::clone(&bucket)));
                bucket
            }
        }
    }

    /// Forgets those that stand at no place for which `is_kept` holds.
    pub fn retain(&self, is_kept: impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(place, _), _| is_kept(place));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use tokio::time::advance;

    use super::*;

    fn bucket(tokens_max: u32, tokens_per_fill: u32, fill_interval: Duration) -> TokenBucket {
        let tokens_per_fill = NonZeroU32::new(tokens_per_fill).unwrap();
        TokenBucket::new(BucketSize { tokens_max, tokens_per_fill, fill_interval })
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_come_evenly_up_to_the_most_there_can_be() {
        let bucket = bucket(2, 3, Duration::from_secs(3));
        advance(Duration::from_secs(60)).await;
        assert_eq!((bucket.left(), bucket.take(), bucket.take(), bucket.take()), (2, true, true, false));
        assert_eq!((bucket.left(), bucket.next_in()), (0, Duration::from_secs(1)));
        advance(Duration::from_millis(999)).await;
        assert!(!bucket.take());
        advance(Duration::from_millis(2)).await;
        assert_eq!((bucket.take(), bucket.take()), (true, false));
        advance(Duration::from_secs(3)).await;
        assert_eq!((bucket.left(), bucket.next_in()), (2, Duration::ZERO));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_for_no_tokens_never_has_one() {
        let bucket = bucket(0, 1, Duration::from_millis(50));
        advance(Duration::from_secs(60)).await;
        assert_eq!((bucket.left(), bucket.take()), (0, false));
    }
}
