//! Decides where a run departs from its plain course: as its [`Course`] sets, drawn from the seed or following a list. What
//! happened is kept, so that a run that drew can be repeated from its list.

mod draw;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::course::{Course, PartsPerMillion, Perturbation, Perturbed};
use crate::trace::HostId;
use draw::Draw;

/// Decides at each place where a run can depart, and keeps what happened.
pub(super) struct Steering {
    decide: Decide,
    /// Nothing departs while the world is being set up; places are counted all the same.
    rests: bool,
    segments: BTreeMap<(HostId, HostId), u64>,
    turns: BTreeMap<HostId, u64>,
    runs: BTreeMap<HostId, u64>,
    choices: u64,
    happened: Vec<Perturbed>,
}

enum Decide {
    Draw(Box<Draw>),
    Follow(Box<Schedule>),
    Nothing,
}

/// A list of departures, by place.
#[derive(Default)]
struct Schedule {
    delays: BTreeMap<Place, Duration>,
    firsts: BTreeMap<u64, HostId>,
    slow: BTreeMap<HostId, PartsPerMillion>,
}

/// Where a delay can happen.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Place {
    Clock(HostId),
    Run(HostId, u64),
    Segment(HostId, HostId, u64),
    Turn(HostId, u64),
}

impl Steering {
    pub(super) fn new(course: Course, seed: u64) -> Self {
        let decide = match course {
            Course::Drawn(bounds) => Decide::Draw(Box::new(Draw::new(bounds, seed))),
            Course::Fixed(list) => Decide::Follow(Box::new(Schedule::new(list))),
            Course::Plain => Decide::Nothing,
        };
        Self {
            decide,
            rests: false,
            segments: BTreeMap::new(),
            turns: BTreeMap::new(),
            runs: BTreeMap::new(),
            choices: 0,
            happened: Vec::new(),
        }
    }

    /// How much longer the next segment from one host to another takes.
    pub(super) fn segment(&mut self, from: HostId, to: HostId, packet: u64, now: Duration) -> Duration {
        if let Decide::Nothing = self.decide {
            return Duration::ZERO;
        }
        let segment = count(self.segments.entry((from, to)).or_default());
        let by = self.delay(Place::Segment(from, to, segment));
        self.keep(by, now, Some(packet), Perturbation::Delay { from, to, segment, by });
        by
    }

    /// How much later a host's driver takes its next turn.
    pub(super) fn turn(&mut self, host: HostId, now: Duration) -> Duration {
        if let Decide::Nothing = self.decide {
            return Duration::ZERO;
        }
        let turn = count(self.turns.entry(host).or_default());
        let by = self.delay(Place::Turn(host, turn));
        self.keep(by, now, None, Perturbation::ReadDelay { host, turn, by });
        by
    }

    /// How long a host that could run has to wait instead.
    pub(super) fn run(&mut self, host: HostId, now: Duration) -> Duration {
        if let Decide::Nothing = self.decide {
            return Duration::ZERO;
        }
        let run = count(self.runs.entry(host).or_default());
        let by = self.delay(Place::Run(host, run));
        self.keep(by, now, None, Perturbation::Stall { host, run, by });
        by
    }

    /// How far a host's wall clock is ahead. Called once for each host.
    pub(super) fn clock(&mut self, host: HostId) -> Duration {
        let by = self.delay(Place::Clock(host));
        self.keep(by, Duration::ZERO, None, Perturbation::Ahead { host, by });
        by
    }

    /// How slow a host's clock is. Called once for each host.
    pub(super) fn slow(&mut self, host: HostId) -> PartsPerMillion {
        let by = match &mut self.decide {
            Decide::Draw(draw) => draw.slow(),
            Decide::Follow(schedule) => schedule.slow.get(&host).copied().unwrap_or_default(),
            Decide::Nothing => PartsPerMillion::default(),
        };
        if by != PartsPerMillion::default() {
            let what = Perturbation::Slow { host, by };
            self.happened.push(Perturbed { at: Duration::ZERO, what, packet: None });
        }
        by
    }

    /// Which of the hosts that can run does, if it is not the one that the plain course picks.
    pub(super) fn choice(&mut self, runnable: &[usize], picked: usize, now: Duration) -> usize {
        if runnable.len() < 2 || matches!(self.decide, Decide::Nothing) {
            return picked;
        }
        let choice = count(&mut self.choices);
        let first = match &mut self.decide {
            _ if self.rests => None,
            Decide::Draw(draw) => draw.first(runnable),
            Decide::Follow(schedule) => schedule.firsts.get(&choice).copied().filter(|host| runnable.contains(&host.0)),
            Decide::Nothing => None,
        };
        match first {
            Some(host) if host.0 != picked => {
                let what = Perturbation::First { host, choice };
                self.happened.push(Perturbed { at: now, what, packet: None });
                host.0
            }
            Some(_) | None => picked,
        }
    }

    /// Everything that has happened, in order.
    pub(super) fn happened(&mut self) -> Vec<Perturbed> {
        std::mem::take(&mut self.happened)
    }

    /// From now on nothing departs, or what the course sets.
    pub(super) fn rest(&mut self, rests: bool) {
        self.rests = rests;
    }

    fn delay(&mut self, place: Place) -> Duration {
        if self.rests {
            return Duration::ZERO;
        }
        match &mut self.decide {
            Decide::Draw(draw) => draw.delay(place),
            Decide::Follow(schedule) => schedule.delays.get(&place).copied().unwrap_or_default(),
            Decide::Nothing => Duration::ZERO,
        }
    }

    fn keep(&mut self, by: Duration, at: Duration, packet: Option<u64>, what: Perturbation) {
        if !by.is_zero() {
            self.happened.push(Perturbed { at, what, packet });
        }
    }
}

impl Schedule {
    fn new(list: Vec<Perturbation>) -> Self {
        let mut schedule = Self::default();
        for perturbation in list {
            let (place, by) = match perturbation {
                Perturbation::Ahead { host, by } => (Place::Clock(host), by),
                Perturbation::Delay { from, to, segment, by } => (Place::Segment(from, to, segment), by),
                Perturbation::ReadDelay { host, turn, by } => (Place::Turn(host, turn), by),
                Perturbation::Stall { host, run, by } => (Place::Run(host, run), by),
                Perturbation::First { host, choice } => {
                    schedule.firsts.insert(choice, host);
                    continue;
                }
                Perturbation::Slow { host, by } => {
                    schedule.slow.insert(host, by);
                    continue;
                }
            };
            schedule.delays.insert(place, by);
        }
        schedule
    }
}

fn count(counter: &mut u64) -> u64 {
    *counter += 1;
    *counter
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::course::Bounds;

    const HOSTS: (HostId, HostId) = (HostId(0), HostId(1));

    fn walk(course: Course, seed: u64) -> (Vec<Duration>, Vec<usize>, Vec<Perturbed>) {
        let mut steering = Steering::new(course, seed);
        let (a, b) = HOSTS;
        let mut delays = vec![steering.clock(a), steering.clock(b)];
        delays.extend([a, b].map(|host| steering.slow(host).of(Duration::from_secs(1))));
        let mut picks = Vec::new();
        for nth in 0..200 {
            let now = Duration::from_millis(nth);
            delays.extend([steering.segment(a, b, nth, now), steering.turn(b, now), steering.run(b, now)]);
            picks.push(steering.choice(&[0, 1], 0, now));
        }
        (delays, picks, steering.happened())
    }

    #[test]
    fn what_was_drawn_can_be_followed() {
        let mut departures = 0;
        for seed in 0..20 {
            let (delays, picks, happened) = walk(Course::Drawn(Bounds::COMMON), seed);
            departures += happened.len();
            let list = happened.iter().map(|perturbed| perturbed.what.clone()).collect();
            assert_eq!(walk(Course::Fixed(list), seed), (delays, picks, happened));
        }
        assert!(departures > 100, "{departures}");
    }

    #[test]
    fn the_plain_course_departs_nowhere() {
        let (delays, picks, happened) = walk(Course::Plain, 1);
        assert!(delays.iter().all(Duration::is_zero) && picks.iter().all(|picked| *picked == 0));
        assert_eq!(happened, []);
        assert_eq!(walk(Course::Drawn(Bounds::default()), 1), (delays, picks, happened));
    }

    #[test]
    fn draws_stay_within_their_bounds() {
        for seed in 0..20 {
            for Perturbed { what, .. } in walk(Course::Drawn(Bounds::COMMON), seed).2 {
                let (by, most) = match what {
                    Perturbation::Ahead { by, .. } => (by, Bounds::COMMON.clock),
                    Perturbation::Delay { by, .. } => (by, Bounds::COMMON.jitter),
                    Perturbation::ReadDelay { by, .. } => (by, Bounds::COMMON.read_delay),
                    Perturbation::Stall { by, .. } => (by, Bounds::COMMON.stall),
                    Perturbation::Slow { by, .. } => {
                        (by.of(Duration::from_secs(60)), Bounds::COMMON.drift.of(Duration::from_secs(60)))
                    }
                    Perturbation::First { .. } => continue,
                };
                assert!(by <= most, "{by:?}");
            }
        }
    }
}
