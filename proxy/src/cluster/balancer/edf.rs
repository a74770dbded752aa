//! Earliest deadline first: turns in proportion to weights. Pure.
//!
//! An entry of weight w has its next turn 1/w after the one before. Weights may change between turns.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Who has the next turn.
#[derive(Clone, Debug)]
pub(super) struct Edf {
    queue: BinaryHeap<Turn>,
    now: f64,
    /// Turns that have been queued, so that of two that are due at the same time the older one comes first.
    queued: u64,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    due: f64,
    queued: u64,
    entry: u32,
}

/// Turns that are skipped at the start, at most: more would have the time lose its precision.
const SKIPPED_MAX: u32 = u32::MAX / 10;

impl Edf {
    /// Of these entries, in the order of their numbers, and their weights, which are not 0; after `skipped` turns.
    pub(super) fn new(entries: &[(u32, f64)], skipped: u32) -> Self {
        let skipped = skipped % SKIPPED_MAX;
        let sum: f64 = entries.iter().map(|(_, weight)| weight).sum();
        let mut edf = Self { queue: BinaryHeap::with_capacity(entries.len()), now: 0.0, queued: 0 };
        let mut made = 0;
        for (entry, weight) in entries {
            // So many of the skipped turns are certainly its own.
            let own = whole(weight * f64::from(skipped) / sum);
            made += own;
            edf.now = edf.now.max(f64::from(own) / weight);
            edf.queue(*entry, f64::from(own + 1) / weight);
        }
        for _ in made..skipped {
            let weight_of = |wanted| {
                let found = entries.binary_search_by_key(&wanted, |(entry, _)| *entry);
                found.ok().and_then(|at| entries.get(at)).map_or(1.0, |(_, weight)| *weight)
            };
            edf.pick(weight_of);
        }
        edf
    }

    /// The entry whose turn it is. `weight` is its weight by now.
    pub(super) fn pick(&mut self, weight: impl FnOnce(u32) -> f64) -> Option<u32> {
        let Turn { due, entry, .. } = self.queue.pop()?;
        self.now = due;
        self.queue(entry, due + 1.0 / weight(entry).max(f64::MIN_POSITIVE));
        Some(entry)
    }

    fn queue(&mut self, entry: u32, due: f64) {
        self.queue.push(Turn { due, queued: self.queued, entry });
        self.queued += 1;
    }
}

/// The first in the queue is the greatest.
impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        other.due.total_cmp(&self.due).then(other.queued.cmp(&self.queued))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Turn {}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is a part of a u32")]
fn whole(number: f64) -> u32 {
    number as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[f64], skipped: u32, count: usize) -> String {
        let entries: Vec<_> = (0_u32..).zip(weights.iter().copied()).collect();
        let mut edf = Edf::new(&entries, skipped);
        let weight = |entry: u32| weights[usize::try_from(entry).unwrap()];
        (0..count).map(|_| edf.pick(weight).unwrap().to_string()).collect()
    }

    /// As Envoy 1.40 takes turns.
    #[test]
    fn turns_follow_weights() {
        assert_eq!(turns(&[3.0, 1.0], 0, 8), "00100001");
        assert_eq!(turns(&[1.0, 1.0, 1.0], 0, 6), "012012");
        assert_eq!(turns(&[5.0, 1.0, 1.0], 0, 7), "0000120");
        assert_eq!(turns(&[0.5, 0.25], 0, 6), "010010");
    }

    #[test]
    fn what_is_skipped_is_what_would_have_come() {
        for weights in [&[3.0, 1.0][..], &[1.0, 1.0], &[7.0, 2.0, 5.0]] {
            for skipped in 0..40 {
                let whole = turns(weights, 0, skipped + 20);
                let shares = |text: &str| {
                    weights.iter().enumerate().map(|(at, _)| text.matches(&at.to_string()).count()).collect::<Vec<_>>()
                };
                let rest = turns(weights, u32::try_from(skipped).unwrap(), 20);
                for (one, other) in shares(&rest).iter().zip(shares(&whole[skipped..])) {
                    assert!(one.abs_diff(other) <= 1, "{weights:?} {skipped}");
                }
            }
        }
    }

    #[test]
    fn there_is_no_turn_without_entries() {
        assert_eq!(Edf::new(&[], 7).pick(|_| 1.0), None);
    }
}
