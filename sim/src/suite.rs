//! All runs of one scenario file: every value of a sweep, every variant, both orders of two events, many seeds. Each is
//! played and checked; the story of one is shown: of the run that the file names, or else of the first in which something
//! fails.

use crate::check::{check, expect};
use crate::explain::has_failures;
use crate::left_out;
use crate::proxy;
use crate::report;
use crate::report::histogram::Histogram;
use crate::report::map::OutcomeMap;
use crate::report::page::OtherRun;
use crate::report::table::{Row, frequency_table, outcome, table};
use crate::run::Played;
use crate::scenario::{Family, LeaveOut, Library, Remedies, Role, Scenario, ScenarioError};

/// Runs that a page has beside the one that it shows.
const OTHERS_MAX: usize = 200;

/// What came of a file.
#[derive(Debug)]
pub struct Performance {
    /// The table, if there is more than one run, and the story of one.
    pub text: String,
    /// Which run is shown, by its place among those of the file.
    pub number: usize,
    /// The same, as it was played.
    pub shown: Played,
    /// What came of all runs, if they differ in one or two parameters and in nothing else.
    pub map: Option<OutcomeMap>,
    /// Everything that does not hold, run by run.
    pub complaints: Vec<ScenarioError>,
}

/// The run that is shown, as far as is known.
struct ShownRun {
    number: usize,
    seed: u64,
    story: String,
    played: Played,
    /// Whether something fails in it; not computed if the file names the run.
    fails: bool,
}

/// Loads a file and plays all its runs, with another first seed than its own if one is given.
///
/// # Errors
/// As [`Family::load`]; or a proxy refuses its configuration, and the scenario does not expect that.
pub fn perform(library: &Library, file: &str, seed: Option<u64>) -> Result<Performance, ScenarioError> {
    Family::load(library, file)?.perform(file, seed)
}

impl Family {
    /// Lets every proxy leave out these of what its configuration has and finwait has not.
    ///
    /// # Errors
    /// A name is of nothing in any configuration.
    pub fn leave_out(&mut self, leave_out: &LeaveOut) -> Result<(), ScenarioError> {
        let mut left_out = Vec::new();
        let mut file = String::new();
        for run in &mut self.runs {
            file.clone_from(&run.file);
            for host in &mut run.hosts {
                let Role::Proxy(config) = &mut host.role else { continue };
                config.leave_out = leave_out.clone();
                match proxy::read(config, &host.name) {
                    Ok((_, its)) => left_out.extend(its),
                    // Playing it has the reason.
                    Err(_) => return Ok(()),
                }
            }
        }
        let unused = left_out::unused(leave_out.names(), &left_out.iter().collect::<Vec<_>>());
        if unused.is_empty() { Ok(()) } else { Err(ScenarioError::of_file(&file, left_out::unused_text(&unused))) }
    }

    /// Plays all runs, with another first seed than their own if one is given. `file` is for messages.
    ///
    /// # Errors
    /// A proxy refuses its configuration, and the scenario does not expect that.
    pub fn perform(&self, file: &str, seed: Option<u64>) -> Result<Performance, ScenarioError> {
        self.perform_by(file, seed, |scenario, seed| scenario.play(Some(seed)))
    }

    /// The same, when runs are played in another way.
    ///
    /// # Errors
    /// Those of `play`.
    pub fn perform_by(
        &self,
        file: &str,
        seed: Option<u64>,
        play: impl Fn(&Scenario, u64) -> Result<Played, ScenarioError>,
    ) -> Result<Performance, ScenarioError> {
        let mut rows = Vec::new();
        let mut complaints = Vec::new();
        let mut shown: Option<ShownRun> = None;
        let mut histograms = self.histograms();
        for (number, scenario) in self.runs.iter().enumerate() {
            // For each line of `expect`, in how many runs it held.
            let mut held = vec![0_u32; scenario.expect.len()];
            let first = seed.unwrap_or(scenario.seed);
            for seed in (first..).take(usize::try_from(self.seeds).unwrap_or(usize::MAX)) {
                let played = play(scenario, seed)?;
                // The story of a run takes longer than playing it.
                let watched =
                    (!scenario.never.is_empty()).then(|| Scenario { remedies: Remedies::Named, ..scenario.clone() });
                let story = watched.map_or_else(String::new, |scenario| report::story(&scenario, &played));
                let found = check(scenario, &played, &story);
                let fails = || !found.is_empty() || has_failures(scenario, &played);
                let is_shown = match (&shown, self.shown) {
                    (None, Some(named)) => number == named,
                    (Some(_), Some(_)) => false,
                    (None, None) => true,
                    (Some(shown), None) => !shown.fails && fails(),
                };
                let fails = is_shown && self.shown.is_none() && fails();
                complaints.extend(found.into_iter().map(|complaint| self.of_run(complaint, scenario, seed)));
                for (nth, held) in held.iter_mut().enumerate() {
                    *held += u32::from(expect::holds(scenario, &played, nth));
                }
                rows.push(Row { label: scenario.label.to_string(), seed, outcome: outcome(scenario, &played) });
                if number == self.measured() {
                    for histogram in &mut histograms {
                        let gaps = expect::gaps(&played, histogram.host());
                        histogram.add(&gaps);
                    }
                }
                if is_shown {
                    let story = report::story(scenario, &played);
                    shown = Some(ShownRun { number, seed, story, played, fails });
                }
            }
            complaints.extend(shares(scenario, &held, self.seeds));
        }
        let shown = shown.ok_or_else(|| ScenarioError::of_file(file, "it has no run"))?;
        let map = self.map(&rows);
        let text = self.text(&rows, map.as_ref(), &histograms, &shown);
        Ok(Performance { text, number: shown.number, shown: shown.played, map, complaints })
    }

    /// The stories of the runs that a performance does not show, one of each outcome first, for a page with a map. Without
    /// remedies, which would be tried for each.
    ///
    /// # Errors
    /// A proxy refuses its configuration.
    pub fn others(&self, performance: &Performance, seed: Option<u64>) -> Result<Vec<OtherRun>, ScenarioError> {
        let numbers = performance.map.as_ref().map(OutcomeMap::runs).unwrap_or_default();
        let mut others = Vec::new();
        for number in numbers.into_iter().filter(|number| *number != performance.number).take(OTHERS_MAX) {
            let Some(scenario) = self.runs.get(number) else { continue };
            let scenario = Scenario { remedies: Remedies::Named, ..scenario.clone() };
            let played = scenario.play(seed)?;
            let (label, story) = (scenario.label.to_string(), report::story(&scenario, &played));
            others.push(OtherRun { number, label, story });
        }
        Ok(others)
    }

    /// The run that is shown of a performance of this family.
    #[must_use]
    pub fn shown_in(&self, performance: &Performance) -> &Scenario {
        self.runs.get(performance.number).expect("a performance shows a run of its family")
    }

    /// The run whose seeds are measured: that which the file names, or the first.
    fn measured(&self) -> usize {
        self.shown.unwrap_or(0)
    }

    /// One for each app whose `gaps` are expected, if many seeds are played.
    fn histograms(&self) -> Vec<Histogram> {
        let measured = self.runs.get(self.measured()).filter(|_| self.seeds > 1);
        let expected = measured.into_iter().flat_map(|scenario| &scenario.expect);
        expected.filter_map(|line| Some(Histogram::new(&line.value.host, line.value.seen.gaps.as_deref()?))).collect()
    }

    fn map(&self, rows: &[Row]) -> Option<OutcomeMap> {
        if self.seeds > 1 {
            return None; // a cell would need several outcomes
        }
        let of_run = |(run, row): (&Scenario, &Row)| (run.label.0.clone(), row.outcome.clone());
        OutcomeMap::new(&self.runs.iter().zip(rows).map(of_run).collect::<Vec<_>>())
    }

    /// The table, if there is anything to compare; and a story.
    fn text(&self, rows: &[Row], map: Option<&OutcomeMap>, histograms: &[Histogram], shown: &ShownRun) -> String {
        let ShownRun { number, seed, story, .. } = shown;
        let [_, _, ..] = rows else { return story.clone() };
        let run = self.runs.get(*number).map(|run| run.label.to_string()).unwrap_or_default();
        let (table, run) = match self.seeds {
            1 => (table(rows, map), run),
            _ => (frequency_table(rows, histograms), format!("{run} seed {seed}")),
        };
        format!("{table}\nTHE RUN WITH {}\n\n{story}", run.trim())
    }

    /// Names which of several runs a complaint is about.
    fn of_run(&self, complaint: ScenarioError, scenario: &Scenario, seed: u64) -> ScenarioError {
        let run = match self.seeds {
            1 => scenario.label.to_string(),
            _ => format!("{} seed {seed}", scenario.label).trim().to_owned(),
        };
        if run.is_empty() { complaint } else { complaint.of_run(&run) }
    }
}

/// One complaint for each line of `expect` that held in too few or too many runs.
fn shares(scenario: &Scenario, held: &[u32], runs: u32) -> Vec<ScenarioError> {
    let mut complaints = Vec::new();
    for (line, held) in scenario.expect.iter().zip(held) {
        if let Some(share) = line.value.share.filter(|share| !share.contains(*held, runs)) {
            let what = format!("expected in {share} of the runs, held in {held} of {runs}");
            complaints.push(scenario.complain(line.referenced, what));
        }
    }
    complaints
}
