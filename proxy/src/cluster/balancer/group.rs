//! Endpoints of which one is chosen by a policy that looks at nothing but them: turns, chance, active requests. Pure.

use std::collections::VecDeque;

use super::edf::Edf;
use super::{Live, Member};
use crate::config::balancing::{Compared, LeastRequest, Policy};
use crate::net::Random;

/// A group of endpoints, by their numbers in the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Group {
    members: Box<[u32]>,
    /// Whose turn it is, where all weights are equal.
    turn: usize,
    /// Turns by weights, where these differ or grow.
    weighted: Option<Edf>,
    /// Those whose turns were looked at ahead, no more than there are members.
    peeked: VecDeque<u32>,
}

impl Group {
    /// These endpoints, whose turns begin after `turn`.
    pub(super) fn new(members: Vec<u32>, all: &[Member], policy: &Policy, live: &Live<'_>, turn: usize) -> Self {
        let members = members.into_boxed_slice();
        let weight = |entry: &u32| weight(policy, *entry, all, live);
        let first = members.first().map(|first| weight_of(all, *first));
        let differ = members.iter().any(|entry| Some(weight_of(all, *entry)) != first);
        let grow = || slow_starts(policy) && members.iter().any(|entry| (live.warmth)(*entry) < 1.0);
        let takes_turns = matches!(policy, Policy::LeastRequest(_) | Policy::RoundRobin(_));
        let weighted = (takes_turns && (differ || grow())).then(|| {
            let entries: Vec<(u32, f64)> = members.iter().map(|entry| (*entry, weight(entry))).collect();
            Edf::new(&entries, u32::try_from(turn & 0x7fff_ffff).unwrap_or(0))
        });
        Self { members, turn, weighted, peeked: VecDeque::new() }
    }

    /// Whose turn it is, for a group that takes the place of this one.
    pub(super) fn turn(&self) -> usize {
        self.turn.wrapping_sub(self.peeked.len())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The endpoint to use, if there is any.
    pub(super) fn choose(
        &mut self,
        all: &[Member],
        policy: &Policy,
        live: &Live<'_>,
        random: &dyn Random,
    ) -> Option<u32> {
        self.peeked.pop_front().or_else(|| self.draw(all, policy, live, random))
    }

    /// The endpoint that [`Self::choose`] will return behind those that were looked at, unless active requests decide.
    pub(super) fn peek(
        &mut self,
        all: &[Member],
        policy: &Policy,
        live: &Live<'_>,
        random: &dyn Random,
    ) -> Option<u32> {
        let depends = matches!(policy, Policy::LeastRequest(_)) && self.weighted.is_none();
        if depends || self.peeked.len() >= self.members.len() {
            return None;
        }
        let drawn = self.draw(all, policy, live, random)?;
        self.peeked.push_back(drawn);
        Some(drawn)
    }

    fn draw(&mut self, all: &[Member], policy: &Policy, live: &Live<'_>, random: &dyn Random) -> Option<u32> {
        if let Some(weighted) = &mut self.weighted {
            self.turn = self.turn.wrapping_add(1);
            return weighted.pick(|entry| weight(policy, entry, all, live));
        }
        let count = self.members.len();
        if count < 2 {
            self.turn = self.turn.wrapping_add(1);
            return self.members.first().copied();
        }
        let drawn = || usize::try_from(random.next_u64() % count as u64).unwrap_or(0);
        let at = match policy {
            // Where hashes choose, no group is asked.
            Policy::Maglev(_) | Policy::Random | Policy::RingHash(_) => drawn(),
            Policy::RoundRobin(_) => {
                let turn = self.turn;
                self.turn = turn.wrapping_add(1);
                turn % count
            }
            Policy::LeastRequest(LeastRequest { compared, .. }) => {
                let load = |at: usize| self.members.get(at).map_or(u64::MAX, |entry| (live.active)(*entry));
                match compared {
                    Compared::Random(choices) => {
                        // Two choices spread load almost as well as looking at all (Mitzenmacher, 2001).
                        let mut best = drawn();
                        for _ in 1..*choices {
                            let other = drawn();
                            best = if load(other) < load(best) { other } else { best };
                        }
                        best
                    }
                    Compared::All => least_of_all(count, load, random),
                }
            }
        };
        self.members.get(at).copied()
    }
}

/// One of those with the least load, each with the same chance.
fn least_of_all(count: usize, load: impl Fn(usize) -> u64, random: &dyn Random) -> usize {
    let (mut best, mut least, mut alike) = (0, u64::MAX, 0_u64);
    for at in 0..count {
        let load = load(at);
        if load < least {
            (best, least, alike) = (at, load, 1);
        } else if load == least {
            alike += 1;
            if random.next_u64().is_multiple_of(alike) {
                best = at;
            }
        }
    }
    best
}

fn slow_starts(policy: &Policy) -> bool {
    matches!(policy, Policy::RoundRobin(Some(_)) | Policy::LeastRequest(LeastRequest { slow_start: Some(_), .. }))
}

fn weight_of(all: &[Member], entry: u32) -> u32 {
    usize::try_from(entry).ok().and_then(|entry| all.get(entry)).map_or(1, |member| member.weight)
}

/// The weight of an endpoint at this moment.
fn weight(policy: &Policy, entry: u32, all: &[Member], live: &Live<'_>) -> f64 {
    let own = f64::from(weight_of(all, entry));
    let warm = if slow_starts(policy) { (live.warmth)(entry) } else { 1.0 };
    match policy {
        Policy::Maglev(_) | Policy::Random | Policy::RingHash(_) | Policy::RoundRobin(_) => own * warm,
        Policy::LeastRequest(LeastRequest { bias, .. }) => {
            let active = u32::try_from((live.active)(entry)).unwrap_or(u32::MAX);
            own / (f64::from(active) + 1.0).powf(*bias) * warm
        }
    }
}
