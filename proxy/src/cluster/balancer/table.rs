//! Endpoints of which one is chosen by a hash: rings and Maglev tables. Pure.
//!
//! Both are built as Envoy builds them, so that a key meets the same endpoint there and here.

use super::murmur::murmur2;
use super::overload::{Bounded, Share};
use super::{Live, Member};
use crate::config::balancing::{HashFunction, Maglev, RingHash};
use xxhash_rust::xxh64::xxh64;

/// Endpoints of which one is chosen by a hash.
#[derive(Clone, Debug)]
pub(super) struct Table {
    slots: Slots,
    /// Keeps endpoints from having far more requests than others.
    bounded: Option<Bounded>,
    /// How many slots each endpoint has.
    pub(super) sizes: TableSizes,
}

#[derive(Clone, Debug)]
enum Slots {
    /// The endpoint of the slot that the rest of the hash says.
    Maglev(Box<[u32]>),
    /// That of the first slot with a hash that is no less; behind the last comes the first.
    Ring { hashes: Box<[u64]>, endpoints: Box<[u32]> },
}

/// The size of a table.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TableSizes {
    /// All slots.
    pub all: u64,
    /// Those of the endpoint with the fewest.
    pub least: u64,
    /// Those of the endpoint with the most.
    pub most: u64,
}

impl Table {
    /// A ring of these endpoints.
    pub(super) fn ring(shares: Vec<Share>, members: &[Member], how: &RingHash) -> Self {
        let least = shares.iter().map(|(_, share)| *share).fold(1.0, f64::min);
        // The endpoint with the smallest share gets a whole number of slots.
        let scale = ((least * f64::from(how.size_min)).ceil() / least).min(f64::from(how.size_max));
        let size = whole(scale.ceil());
        let mut ring: Vec<(u64, u32)> = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut sizes = TableSizes { all: size, least: size, most: 0 };
        let (mut made, mut wanted) = (0.0, 0.0);
        let mut text = Vec::new();
        for (endpoint, share) in &shares {
            text.clear();
            text.extend_from_slice(key(members, *endpoint));
            text.push(b'_');
            let begins = text.len();
            wanted += scale * share;
            let mut own: u64 = 0;
            while made < wanted {
                text.truncate(begins);
                text.extend_from_slice(itoa::Buffer::new().format(own).as_bytes());
                let hash = match how.function {
                    HashFunction::Murmur2 => murmur2(&text),
                    HashFunction::Xx => xxh64(&text, 0),
                };
                ring.push((hash, *endpoint));
                own += 1;
                made += 1.0;
            }
            sizes.least = sizes.least.min(own);
            sizes.most = sizes.most.max(own);
        }
        ring.sort_by_key(|(hash, _)| *hash);
        let (hashes, endpoints): (Vec<_>, Vec<_>) = ring.into_iter().unzip();
        let slots = Slots::Ring { hashes: hashes.into(), endpoints: endpoints.into() };
        Self { slots, bounded: Bounded::new(shares, how.load_max), sizes }
    }

    /// A Maglev table of these endpoints (Eisenbud and others, 2016, listing 1, with weights).
    pub(super) fn maglev(shares: Vec<Share>, members: &[Member], how: &Maglev) -> Self {
        let size = u64::from(how.size);
        let most = shares.iter().map(|(_, share)| *share).fold(0.0, f64::max);
        let mut builders: Vec<Permutation<'_>> =
            shares.iter().map(|share| Permutation::new(*share, members, size)).collect();
        // The order of the endpoints in the file must not matter.
        builders.sort_by(|one, other| one.key.cmp(other.key));
        let mut slots = vec![FREE; usize::try_from(size).unwrap_or(0)];
        let mut filled = 0;
        let mut round = 0.0;
        while filled < size && !builders.is_empty() {
            round += 1.0;
            for builder in &mut builders {
                // The endpoint with the greatest share has a turn in each round, one with a third of it in each third.
                if filled == size || round * builder.share < builder.due {
                    continue;
                }
                builder.due += most;
                builder.take(&mut slots, size);
                filled += 1;
            }
        }
        let sizes = TableSizes {
            all: size,
            least: builders.iter().map(|builder| builder.taken).fold(size, u64::min),
            most: builders.iter().map(|builder| builder.taken).max().unwrap_or(0),
        };
        let slots = Slots::Maglev(if builders.is_empty() { Box::default() } else { slots.into() });
        Self { slots, bounded: Bounded::new(shares, how.load_max), sizes }
    }

    /// The endpoint for `hash`. `attempt`: so many that were found for it are not wanted.
    pub(super) fn choose(&mut self, hash: u64, attempt: u32, live: &Live<'_>) -> Option<u32> {
        let found = self.slots.find(hash, attempt)?;
        Some(match &mut self.bounded {
            Some(bounded) => bounded.relieve(found, hash, live),
            None => found,
        })
    }
}

impl Slots {
    fn find(&self, hash: u64, attempt: u32) -> Option<u32> {
        match self {
            Self::Maglev(slots) => {
                let count = u64::try_from(slots.len()).ok().filter(|count| *count > 0)?;
                let hash = if attempt > 0 { hash ^ (u64::MAX - u64::from(attempt) + 1) } else { hash };
                slots.get(usize::try_from(hash % count).ok()?).copied()
            }
            Self::Ring { hashes, endpoints } => {
                let found = hashes.partition_point(|slot| *slot < hash);
                let at = found + usize::try_from(attempt).ok()?;
                endpoints.get(if found == hashes.len() { at - found } else { at % hashes.len() }).copied()
            }
        }
    }
}

const FREE: u32 = u32::MAX;

/// The order in which an endpoint wants the slots of a Maglev table.
struct Permutation<'k> {
    endpoint: u32,
    share: f64,
    key: &'k [u8],
    next: u64,
    skip: u64,
    /// When its next turn is.
    due: f64,
    taken: u64,
}

impl<'k> Permutation<'k> {
    fn new((endpoint, share): Share, members: &'k [Member], size: u64) -> Self {
        let key = key(members, endpoint);
        let (next, skip) = (xxh64(key, 0) % size, xxh64(key, 1) % (size - 1).max(1) + 1);
        Self { endpoint, share, key, next, skip, due: 0.0, taken: 0 }
    }

    /// Takes the first free slot of its order, of which there is one.
    fn take(&mut self, slots: &mut [u32], size: u64) {
        for _ in 0..size {
            let slot = usize::try_from(self.next).ok().and_then(|at| slots.get_mut(at));
            self.next = (self.next + self.skip) % size;
            if let Some(slot) = slot.filter(|slot| **slot == FREE) {
                *slot = self.endpoint;
                break;
            }
        }
        self.taken += 1;
    }
}

fn key(members: &[Member], endpoint: u32) -> &[u8] {
    let member = usize::try_from(endpoint).ok().and_then(|endpoint| members.get(endpoint));
    member.map_or(&[], |member| member.key.as_bytes())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is the size of a ring, which has a bound"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
