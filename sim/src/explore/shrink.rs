//! From a run that fails to the smallest one that fails in the same way: fewest departures from the plain course first, then
//! the smallest of them, then the fewest steps of the script.

use std::time::Duration;

use super::outcome::{self, Outcome};
use super::{Cause, course, write};
use crate::check::check;
use crate::course::{Course, PartsPerMillion, Perturbation, Perturbed};
use crate::report::story;
use crate::scenario::{Library, Remedies, Scenario, ScenarioError};
use crate::trace::Trace;

/// Runs that one search may take; what it has found by then is what it reports.
const RUNS_MAX: u32 = 5_000;

/// The smallest run that was found.
#[derive(Debug)]
pub struct Smallest {
    /// What does not hold in it.
    pub failure: String,
    /// The seed of the run.
    pub seed: u64,
    /// How many departures the run had that the search began with.
    pub began_with: usize,
    /// Where it departs from the plain course, each with words about what happened there.
    pub schedule: Vec<(Perturbation<String>, String)>,
    /// A scenario file that shows it.
    pub text: String,
    /// Why it fails.
    pub cause: Cause,
}

/// Looks for the smallest run that fails as the runs with these seeds do.
///
/// # Errors
/// A proxy refuses its configuration; or none of the runs fails like this when it is repeated from its schedule.
pub fn shrink(
    library: &Library,
    scenario: &Scenario,
    seeds: &[u64],
    failing: &Outcome,
) -> Result<Smallest, ScenarioError> {
    let rule = failing.complaints.first().map_or("", String::as_str);
    let mut smallest: Option<(Search<'_>, Vec<_>, usize)> = None;
    for seed in seeds {
        let played = scenario.play_on(*seed, &course(scenario))?;
        let drawn: Vec<_> = played.perturbed.iter().filter_map(|it| named(&it.what, &played.trace)).collect();
        let began_with = drawn.len();
        let mut search = Search { library, scenario, failing, rule, seed: *seed, runs: 0 };
        if !search.fails(&drawn) {
            continue;
        }
        // The author's own seed is one thing less that differs.
        search.seed = scenario.seed;
        if !search.fails(&drawn) {
            search.seed = *seed;
        }
        let schedule = search.fewest(drawn);
        if smallest.as_ref().is_none_or(|(_, before, _)| schedule.len() < before.len()) {
            smallest = Some((search, schedule, began_with));
        }
    }
    let Some((mut search, schedule, began_with)) = smallest else {
        let what = format!("repeated from its schedule, no run breaks `{rule}`");
        return Err(ScenarioError::of_file(&scenario.file, what));
    };
    let schedule = search.smaller(schedule);
    let text = search.shortest_script(&schedule);
    let mut shown = Scenario::read(library, &scenario.file, text.clone())?;
    shown.remedies = Remedies::Named;
    let played = shown.play(None)?;
    let cause = Cause::of(&shown, &played);
    let complaints = check(&shown, &played, &story(&shown, &played));
    let failure = complaints.iter().map(ScenarioError::what).find(|what| outcome::rule(what) == rule).unwrap_or(rule);
    let schedule = words_of(&played.perturbed, &played.trace);
    let text = write::with_words(&text, &schedule);
    Ok(Smallest { failure: failure.into(), seed: search.seed, began_with, schedule, text, cause })
}

fn named(what: &Perturbation, trace: &Trace) -> Option<Perturbation<String>> {
    what.rename(|host| trace.hosts().get(host.index()).cloned())
}

/// Each departure with what it was about.
fn words_of(perturbed: &[Perturbed], trace: &Trace) -> Vec<(Perturbation<String>, String)> {
    let words = |it: &Perturbed| {
        let at = format!("at {} ms", crate::clock::Millis(it.at));
        match it.packet.and_then(|packet| trace.segment(packet)) {
            Some(segment) => format!("{} with {} bytes, sent {at}", segment.flags, segment.payload.len()),
            None => at,
        }
    };
    perturbed.iter().filter_map(|it| Some((named(&it.what, trace)?, words(it)))).collect()
}

struct Search<'a> {
    library: &'a Library,
    scenario: &'a Scenario,
    /// How it fails.
    failing: &'a Outcome,
    /// The first thing that does not hold then.
    rule: &'a str,
    seed: u64,
    runs: u32,
}

impl Search<'_> {
    /// Whether this schedule comes to the same outcome; what cannot be tried any more does not.
    fn fails(&mut self, schedule: &[Perturbation<String>]) -> bool {
        self.outcome(self.scenario, schedule).is_some_and(|outcome| outcome == *self.failing)
    }

    fn outcome(&mut self, scenario: &Scenario, schedule: &[Perturbation<String>]) -> Option<Outcome> {
        self.runs += 1;
        if self.runs > RUNS_MAX {
            return None;
        }
        outcome::play(scenario, self.seed, &Course::Fixed(schedule.to_vec())).ok()
    }

    /// Leaves out halves, quarters, and so on down to single departures, as long as the failure stays (Zeller and
    /// Hildebrandt 2002). What is left cannot lose any one of them.
    fn fewest(&mut self, mut schedule: Vec<Perturbation<String>>) -> Vec<Perturbation<String>> {
        if self.fails(&[]) {
            return Vec::new();
        }
        let mut size = schedule.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            let before = schedule.len();
            while at < schedule.len() {
                let end = (at + size).min(schedule.len());
                let rest: Vec<_> = schedule.iter().take(at).chain(schedule.iter().skip(end)).cloned().collect();
                if self.fails(&rest) {
                    schedule = rest;
                } else {
                    at = end;
                }
            }
            // Leaving one out can make another one superfluous: single ones are tried until none goes.
            size = if size == 1 && schedule.len() < before { 1 } else { size / 2 };
        }
        schedule
    }

    /// Halves each delay as long as the failure stays.
    fn smaller(&mut self, mut schedule: Vec<Perturbation<String>>) -> Vec<Perturbation<String>> {
        for place in 0..schedule.len() {
            while let Some(halved) = schedule.get(place).and_then(halved) {
                let mut candidate = schedule.clone();
                candidate.splice(place..=place, [halved]);
                if !self.fails(&candidate) {
                    break;
                }
                schedule = candidate;
            }
        }
        schedule
    }

    /// The scenario file with the schedule in it, without the expectations and steps that the failure does not need: the
    /// same thing must fail, for the same cause.
    fn shortest_script(&mut self, schedule: &[Perturbation<String>]) -> String {
        // A run's text has its values in place, so that the sweep they came from can go, unless something else needs it.
        let whole = write::with_schedule(self.scenario.document.as_read(), &self.scenario.label.0, self.seed, schedule);
        let text = write::without_conditions(self.scenario.document.as_read(), &self.scenario.expect);
        let alone = write::with_schedule(&text, &[], self.seed, schedule);
        let begin = [alone, whole.clone()].into_iter().find_map(|text| Some((self.complaints(&text, schedule)?, text)));
        let Some((mut complaints, mut text)) = begin else { return whole };
        let plain_fails = self.plain_fails(&text);
        let cause = self.cause(&text, schedule);
        loop {
            let Ok(scenario) = Scenario::read(self.library, &self.scenario.file, text.clone()) else { return text };
            let shorter = write::shorter(&text, &scenario).into_iter().find_map(|candidate| {
                let fewer = self.complaints(&candidate, schedule).filter(|number| *number <= complaints)?;
                // Without its schedule it must go on to hold: else the text that was cut shows another failure.
                let is_same = plain_fails || !self.plain_fails(&candidate);
                (is_same && self.cause(&candidate, schedule) == cause).then_some((candidate, fewer))
            });
            let Some((candidate, fewer)) = shorter else { return text };
            (text, complaints) = (candidate, fewer);
        }
    }

    /// How much does not hold, if the failure is part of it.
    fn complaints(&mut self, text: &str, schedule: &[Perturbation<String>]) -> Option<usize> {
        let scenario = Scenario::read(self.library, &self.scenario.file, text.into()).ok()?;
        let outcome = self.outcome(&scenario, schedule)?;
        outcome.complaints.iter().any(|complaint| complaint == self.rule).then_some(outcome.complaints.len())
    }

    /// Why the text fails with the schedule; none if it is no scenario.
    fn cause(&self, text: &str, schedule: &[Perturbation<String>]) -> Option<Cause> {
        let mut scenario = Scenario::read(self.library, &self.scenario.file, text.into()).ok()?;
        scenario.remedies = Remedies::Named;
        let played = scenario.play_on(self.seed, &Course::Fixed(schedule.to_vec())).ok()?;
        Some(Cause::of(&scenario, &played))
    }

    fn plain_fails(&mut self, text: &str) -> bool {
        self.complaints(text, &[]).is_some()
    }
}

/// Half the delay, in whole microseconds or millionths; none if it cannot be halved.
fn halved(perturbation: &Perturbation<String>) -> Option<Perturbation<String>> {
    let mut halved = perturbation.clone();
    match &mut halved {
        Perturbation::First { .. } => return None,
        Perturbation::Slow { by: PartsPerMillion(by), .. } if *by > 1 => *by /= 2,
        Perturbation::Slow { .. } => return None,
        Perturbation::Ahead { by, .. }
        | Perturbation::Delay { by, .. }
        | Perturbation::ReadDelay { by, .. }
        | Perturbation::Stall { by, .. } => {
            let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX) / 2;
            if micros == 0 {
                return None;
            }
            *by = Duration::from_micros(micros);
        }
    }
    Some(halved)
}
