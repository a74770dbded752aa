//! What a run came to, as far as clients and operators can see: statuses and response flags, and what did not hold.
//! No times: two runs in which the same happened have one outcome.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use crate::actor;
use crate::check::check;
use crate::course::Course;
use crate::report::story;
use crate::run::Played;
use crate::scenario::{Role, Scenario, ScenarioError};
use crate::trace::flags;
use crate::words::counted;

/// What a run came to.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Outcome {
    /// What each client got and each proxy logged, on one line.
    pub summary: String,
    /// What did not hold, the author's expectations first.
    pub complaints: Vec<String>,
}

/// Plays a scenario and judges the run, whose requests count in any order. A panic is an outcome too.
///
/// # Errors
/// A proxy refuses its configuration.
pub fn play(scenario: &Scenario, seed: u64, course: &Course<String>) -> Result<Outcome, ScenarioError> {
    // Unwind safe: nothing of the run is left when it has panicked.
    match catch_unwind(AssertUnwindSafe(|| scenario.play_on(seed, course))) {
        Ok(played) => Ok(Outcome::in_any_order(scenario, &played?)),
        Err(panic) => {
            Ok(Outcome { summary: "a panic".into(), complaints: vec![format!("panicked: {}", words(&*panic))] })
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

impl Outcome {
    /// Judges a run.
    #[must_use]
    pub fn of(scenario: &Scenario, played: &Played) -> Self {
        Self::with(scenario, played, |_| {})
    }

    /// Judges a run among many: which of a client's requests came to what is left out, so that runs that differ in nothing
    /// else have one outcome.
    #[must_use]
    pub fn in_any_order(scenario: &Scenario, played: &Played) -> Self {
        Self::with(scenario, played, <[String]>::sort)
    }

    fn with(scenario: &Scenario, played: &Played, arrange: fn(&mut [String])) -> Self {
        // The story is rendered only for `never`: rendering takes a tenth of a run's time.
        let story = if scenario.never.is_empty() { String::new() } else { story(scenario, played) };
        let complaints = check(scenario, played, &story);
        let complaints = complaints.iter().map(|complaint| rule(complaint.what()).to_owned()).collect();
        Self { summary: summary(scenario, played, arrange), complaints }
    }
}

/// What was expected, without what was there instead: that may be a time, and differ from run to run.
pub(super) fn rule(complaint: &str) -> &str {
    let end = [", got ", ", but: "].iter().filter_map(|but| complaint.find(but)).min();
    end.and_then(|end| complaint.get(..end)).unwrap_or(complaint)
}

fn summary(scenario: &Scenario, played: &Played, arrange: fn(&mut [String])) -> String {
    let log = played.trace.log();
    let mut parts = Vec::new();
    for host in &scenario.hosts {
        let mut saw: Vec<String> = match host.role {
            Role::Client(_) => played
                .sightings
                .exchanges
                .iter()
                .filter(|exchange| exchange.host == host.name)
                .map(outcome_text)
                .collect(),
            Role::Proxy { .. } => {
                log.iter().filter(|(_, at, _)| *at == host.name).map(|(_, _, line)| flags(line)).collect()
            }
            Role::Alb(_) | Role::App(_) => continue, // what reached them shows in the responses
        };
        arrange(&mut saw);
        let saw = if saw.is_empty() { "nothing".into() } else { counted(&saw) };
        parts.push(format!("{} {saw}", host.name));
    }
    parts.join("; ")
}

fn outcome_text(exchange: &actor::Exchange) -> String {
    match &exchange.outcome {
        actor::Outcome::Response { status, .. } => status.to_string(),
        actor::Outcome::Failed(why) => format!("({})", why.split(':').next().unwrap_or(why)),
        actor::Outcome::Waiting => "(no response)".into(),
    }
}
