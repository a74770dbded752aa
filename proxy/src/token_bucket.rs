//! A bucket of tokens that fills up evenly, shared by all workers: the first `max` come at once, and then as many as it is given.
//!
//! What is kept is not the number of tokens but the instant at which the bucket would have been empty, so that nothing has to run
//! for it to fill up.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::rate_limit::{BucketSize, Descriptor, RateLimit};

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
        self.take_all(1)
    }

    /// Takes so many tokens, if there are as many.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a bucket has fewer tokens than an f64 counts exactly")]
    pub fn take_all(&self, count: u64) -> bool {
        let (now, count) = (self.now(), count as f64);
        let without = |empty_at| {
            let tokens = self.tokens(now, f64::from_bits(empty_at));
            (tokens >= count).then(|| (now - (tokens - count) / self.rate).to_bits())
        };
        self.empty_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, without).is_ok()
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

/// Buckets that filters of several listeners share, for as long as one of them has it: those with one key and one size.
#[derive(Debug, Default)]
pub struct SharedBuckets(Mutex<Vec<(String, BucketSize, Weak<TokenBucket>)>>);

impl SharedBuckets {
    /// The bucket of this key and size; without a key a new one.
    #[must_use]
    pub fn of(&self, key: Option<&str>, size: BucketSize) -> Arc<TokenBucket> {
        let Some(key) = key else { return Arc::new(TokenBucket::new(size)) };
        // Nothing in between the steps of a change panics.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, _, bucket)| bucket.strong_count() > 0);
        let same = known.iter().find(|(of, other, _)| of == key && *other == size);
        if let Some(bucket) = same.and_then(|(_, _, bucket)| bucket.upgrade()) {
            return bucket;
        }
        let bucket = Arc::new(TokenBucket::new(size));
        known.push((key.to_owned(), size, Arc::downgrade(&bucket)));
        bucket
    }
}

/// The buckets of a descriptor that takes any value: one for each, of as many values as it may have. That which was not used for
/// the longest time goes first, and what was taken from it is forgotten.
#[derive(Debug)]
pub struct ValueBuckets {
    size: BucketSize,
    values_max: usize,
    known: Mutex<KnownValues>,
}

/// Keys and values of a request, in their order.
type Entries = Vec<(String, String)>;

#[derive(Debug, Default)]
struct KnownValues {
    /// With the number of their last use.
    buckets: BTreeMap<Entries, (u64, Arc<TokenBucket>)>,
    by_use: BTreeMap<u64, Entries>,
    uses: u64,
}

impl ValueBuckets {
    /// None yet.
    #[must_use]
    pub fn new(size: BucketSize, values_max: NonZeroU32) -> Self {
        let values_max = usize::try_from(values_max.get()).unwrap_or(usize::MAX);
        Self { size, values_max, known: Mutex::default() }
    }

    /// The bucket of a request with these keys and values, which is used now.
    #[must_use]
    pub fn of(&self, entries: &[(String, String)]) -> Arc<TokenBucket> {
        // A panic elsewhere leaves at worst a bucket that is never the oldest; none happens between the two insertions.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.uses += 1;
        let now = known.uses;
        let before =
            known.buckets.get_mut(entries).map(|(used, bucket)| (std::mem::replace(used, now), Arc::clone(bucket)));
        if let Some((used, bucket)) = before {
            if let Some(entries) = known.by_use.remove(&used) {
                known.by_use.insert(now, entries);
            }
            return bucket;
        }
        while known.buckets.len() >= self.values_max
            && let Some((_, oldest)) = known.by_use.pop_first()
        {
            known.buckets.remove(&oldest);
        }
        let bucket = Arc::new(TokenBucket::new(self.size));
        known.buckets.insert(entries.to_vec(), (now, Arc::clone(&bucket)));
        known.by_use.insert(now, entries.to_vec());
        bucket
    }
}

/// What requests of one descriptor take tokens from.
#[derive(Clone, Debug)]
pub enum DescriptorBuckets {
    /// Its values are given.
    One(Arc<TokenBucket>),
    /// It takes any value for one of its keys.
    ByValue(Arc<ValueBuckets>),
}

impl DescriptorBuckets {
    /// That of a request with these keys and values.
    #[must_use]
    pub fn of(&self, entries: &[(String, String)]) -> Arc<TokenBucket> {
        match self {
            Self::ByValue(buckets) => buckets.of(entries),
            Self::One(bucket) => Arc::clone(bucket),
        }
    }
}

/// The buckets of one limit.
#[derive(Debug)]
pub struct BucketSet {
    /// `None` refuses no request.
    pub default: Option<Arc<TokenBucket>>,
    /// Of its descriptors, in their order.
    pub descriptors: Vec<DescriptorBuckets>,
}

impl BucketSet {
    /// New ones, which nothing else shares.
    #[must_use]
    pub fn new(limit: &RateLimit) -> Self {
        Self::with(limit, |_, of| of.buckets())
    }

    /// Those of a limit: `buckets` makes or finds each, of which the descriptors' are numbered from 1 on.
    fn with(limit: &RateLimit, buckets: impl Fn(usize, Sizes) -> DescriptorBuckets) -> Self {
        let of_descriptor = |(nth, descriptor): (usize, &Descriptor)| {
            let values_max = descriptor.has_any_value().then_some(limit.values_max);
            buckets(nth + 1, Sizes { bucket: descriptor.bucket, values_max })
        };
        let default = limit.bucket.map(|bucket| buckets(0, Sizes { bucket, values_max: None }).of(&[]));
        Self { default, descriptors: limit.descriptors.iter().enumerate().map(of_descriptor).collect() }
    }
}

/// What buckets are made from: others are made only for other sizes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Sizes {
    bucket: BucketSize,
    /// For as many values each has one; `None` is one for all.
    values_max: Option<NonZeroU32>,
}

impl Sizes {
    fn buckets(self) -> DescriptorBuckets {
        match self.values_max {
            None => DescriptorBuckets::One(Arc::new(TokenBucket::new(self.bucket))),
            Some(most) => DescriptorBuckets::ByValue(Arc::new(ValueBuckets::new(self.bucket, most))),
        }
    }
}

/// The name of what the bucket is of, and its place there.
type BucketKey = (String, usize);

/// The buckets of a listener, which all workers share: by the place of their limits in the file, and their numbers.
#[derive(Debug, Default)]
pub struct Buckets(Mutex<BTreeMap<BucketKey, (Sizes, DescriptorBuckets)>>);

impl Buckets {
    /// The buckets of a limit. Each stays for as long as its place has one of that size.
    #[must_use]
    pub fn of(&self, limit: &RateLimit) -> BucketSet {
        BucketSet::with(limit, |number, sizes| self.find(&limit.place, number, sizes))
    }

    fn find(&self, place: &str, number: usize, sizes: Sizes) -> DescriptorBuckets {
        // No insertion is done in two steps: a panic elsewhere leaves the map whole.
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (place.to_owned(), number);
        match buckets.get(&key) {
            Some((known, buckets)) if *known == sizes => buckets.clone(),
            Some(_) | None => {
                let new = sizes.buckets();
                buckets.insert(key, (sizes, new.clone()));
                new
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

    #[tokio::test(start_paused = true)]
    async fn filters_with_one_key_and_size_share_a_bucket() {
        let size = |tokens_max| BucketSize {
            tokens_max,
            tokens_per_fill: NonZeroU32::MIN,
            fill_interval: Duration::from_secs(3600),
        };
        let shared = SharedBuckets::default();
        let (one, same) = (shared.of(Some("k"), size(1)), shared.of(Some("k"), size(1)));
        assert_eq!((one.take(), same.take()), (true, false));
        let others = [shared.of(Some("k"), size(2)), shared.of(Some("l"), size(1)), shared.of(None, size(1))];
        assert_eq!(others.map(|bucket| bucket.take()), [true; 3]);
        drop((one, same));
        assert!(shared.of(Some("k"), size(1)).take(), "nothing has it any more");
    }

    /// As measured on Envoy 1.40 with `max_dynamic_descriptors: 2`.
    #[tokio::test(start_paused = true)]
    async fn the_value_that_was_not_used_for_the_longest_time_goes_first() {
        let size =
            BucketSize { tokens_max: 1, tokens_per_fill: NonZeroU32::MIN, fill_interval: Duration::from_secs(3600) };
        let buckets = ValueBuckets::new(size, NonZeroU32::new(2).unwrap());
        let taken = ["a", "b", "a", "c", "a", "b", "c"].map(|value| {
            let entries = [("k".to_owned(), value.to_owned())];
            buckets.of(&entries).take()
        });
        assert_eq!(taken, [true, true, false, true, false, true, true]);
        let known = buckets.known.lock().unwrap();
        assert_eq!((known.buckets.len(), known.by_use.len()), (2, 2));
    }
}
