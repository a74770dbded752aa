//! `hash_balance_factor`: an endpoint that has far more active requests than others is passed over (consistent hashing with
//! bounded loads, Mirrokni and others, 2016; with random jumps, Chen and others, 2019). Pure.

use super::Live;

/// An endpoint, and its part of the requests; those of all are 1.
pub(super) type Share = (u32, f64);

/// Keeps endpoints from having far more requests than others.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    shares: Vec<Share>,
    /// Percent of the average.
    load_max: u32,
    /// Where the order of those that are tried is made; kept so that no choice allocates.
    order: Vec<u32>,
}

impl Bounded {
    pub(super) fn new(shares: Vec<Share>, load_max: Option<u32>) -> Option<Self> {
        load_max.map(|load_max| Self { order: Vec::with_capacity(shares.len()), shares, load_max })
    }

    /// `found`, or if that is overloaded another one, which is always the same one for a hash and these loads.
    pub(super) fn relieve(&mut self, found: u32, hash: u64, live: &Live<'_>) -> u32 {
        let Self { shares, load_max, order } = self;
        let load = |(endpoint, share): Share| overload(endpoint, share, *load_max, live);
        let own = shares.iter().find(|(endpoint, _)| *endpoint == found).map_or(0.0, |share| load(*share));
        if own <= 1.0 {
            return found;
        }
        let (mut best, mut least) = (found, own);
        order.clear();
        order.extend(0..u32::try_from(shares.len()).unwrap_or(u32::MAX));
        let mut random = Twister::new(low_half(hash));
        for at in 0..order.len() {
            let jump = random.below(u32::try_from(order.len() - at).unwrap_or(u32::MAX));
            order.swap(at, at + usize::try_from(jump).unwrap_or(0));
            let share = order.get(at).and_then(|place| shares.get(usize::try_from(*place).ok()?));
            let Some(share) = share.filter(|(endpoint, _)| *endpoint != found) else { continue };
            let load = load(*share);
            if load <= 1.0 {
                return share.0;
            }
            if load < least {
                (best, least) = (share.0, load);
            }
        }
        best
    }
}

/// The active requests of an endpoint by those that it may have.
fn overload(endpoint: u32, share: f64, load_max: u32, live: &Live<'_>) -> f64 {
    let slots = live.all_active.saturating_add(1).saturating_mul(load_max.into()).saturating_add(99) / 100;
    let own = (number(slots) * share).ceil().max(1.0);
    number((live.active)(endpoint)) / own
}

fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[expect(clippy::cast_possible_truncation, reason = "the half that is wanted")]
fn low_half(hash: u64) -> u32 {
    hash as u32
}

/// MT19937 (Matsumoto and Nishimura, 1998): the order has to be Envoy's.
struct Twister {
    state: [u32; WORDS],
    next: usize,
}

const WORDS: usize = 624;
const MIDDLE: usize = 397;

impl Twister {
    fn new(seed: u32) -> Self {
        let mut state = [seed; WORDS];
        let mut before = seed;
        for (at, word) in (0_u32..).zip(&mut state).skip(1) {
            *word = (before ^ (before >> 30)).wrapping_mul(1_812_433_253).wrapping_add(at);
            before = *word;
        }
        Self { state, next: WORDS }
    }

    /// A number below `bound`, which is not 0.
    fn below(&mut self, bound: u32) -> u32 {
        let part = (1_u64 << 32) / u64::from(bound.max(1));
        loop {
            let drawn = u64::from(self.draw()) / part;
            if let Ok(drawn) = u32::try_from(drawn)
                && drawn < bound.max(1)
            {
                return drawn;
            }
        }
    }

    fn draw(&mut self) -> u32 {
        if self.next == WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for at in 0..WORDS {
            let joined = (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % WORDS] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + MIDDLE) % WORDS] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the ten-thousandth number of the C++ standard's `mt19937` with its default seed.
    #[test]
    fn numbers_are_those_of_the_standard() {
        let mut random = Twister::new(5489);
        assert_eq!(random.draw(), 3_499_211_612);
        assert_eq!((1..10_000).map(|_| random.draw()).last(), Some(4_123_659_995));
    }

    #[test]
    fn an_overloaded_endpoint_is_passed_over_by_each_hash_in_its_own_way() {
        let mut bounded = Bounded::new((0..5).map(|endpoint| (endpoint, 0.2)).collect(), Some(150)).unwrap();
        let live = Live { active: &|endpoint| if endpoint == 0 { 10 } else { 2 }, warmth: &|_| 1.0, all_active: 18 };
        let others: std::collections::BTreeSet<u32> = (0..50).map(|hash| bounded.relieve(0, hash, &live)).collect();
        assert_eq!(others, [1, 2, 3, 4].into(), "19 * 1.5 / 5 is 6");
        assert!((0..50).all(|hash| bounded.relieve(3, hash, &live) == 3));
        assert_eq!(bounded.relieve(0, 7, &live), bounded.relieve(0, 7, &live));
        let all_busy = Live { active: &|endpoint| 100 - u64::from(endpoint), ..live };
        assert_eq!(bounded.relieve(0, 7, &all_busy), 4, "the least of all");
    }
}
