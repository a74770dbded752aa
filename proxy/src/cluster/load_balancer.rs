//! Choosing one endpoint. Pure over the loads of the endpoints.

use crate::config::cluster::Balancing;

/// The index of the endpoint to use, out of `loads.len()`; `None` when there is none. `turn` is the worker's
/// own counter and `chance` two random numbers.
#[must_use]
pub fn choose(how: Balancing, loads: &[u32], turn: usize, chance: [u64; 2]) -> Option<usize> {
    let count = loads.len();
    if count == 0 {
        return None;
    }
    let random = |bits: u64| usize::try_from(bits % count as u64).unwrap_or(0);
    match how {
        Balancing::RoundRobin => Some(turn % count),
        Balancing::Random => Some(random(chance[0])),
        // Two choices spread load almost as well as looking at all (Mitzenmacher, 2001).
        Balancing::LeastRequest => {
            let (one, other) = (random(chance[0]), random(chance[1]));
            let load = |at: usize| loads.get(at).copied().unwrap_or(u32::MAX);
            Some(if load(other) < load(one) { other } else { one })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_chooses() {
        let cases = [
            (Balancing::RoundRobin, &[0, 0, 0][..], 4, [0, 0], Some(1)),
            (Balancing::Random, &[0, 0, 0], 0, [5, 0], Some(2)),
            (Balancing::LeastRequest, &[9, 1, 0], 0, [0, 1], Some(1)),
            (Balancing::LeastRequest, &[1, 1, 0], 0, [0, 1], Some(0)),
            (Balancing::RoundRobin, &[], 0, [0, 0], None),
        ];
        for (how, loads, turn, chance, expected) in cases {
            assert_eq!(choose(how, loads, turn, chance), expected, "{how:?} {loads:?}");
        }
    }
}
