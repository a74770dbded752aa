//! What must hold: what the author of a scenario expects, and what is true of every run.

mod exchange;
pub(crate) mod expect;
mod quiescence;

use crate::run::Played;
use crate::scenario::{Invariant, Scenario, ScenarioError};

/// Everything that does not hold, the author's expectations first, in the order of the file.
#[must_use]
pub fn check(scenario: &Scenario, played: &Played, story: &str) -> Vec<ScenarioError> {
    let mut complaints = Vec::new();
    if let Some((at, why)) = &played.stuck {
        complaints.push(scenario.complain(*at, why));
    }
    complaints.extend(expect::check(scenario, played));
    for phrase in &scenario.never {
        if let Some(line) = story.lines().find(|line| line.contains(phrase.value.as_str())) {
            complaints.push(scenario.complain(phrase.referenced, format!("never, but: {}", line.trim())));
        }
    }
    complaints
        .extend(invariants(scenario, played).into_iter().map(|what| ScenarioError::of_file(&scenario.file, what)));
    complaints
}

/// Gives one complaint for each way in which an invariant does not hold.
type Check = fn(&Scenario, &Played) -> Vec<String>;

/// What does not hold though it should in every run, but for what the scenario excepts.
#[must_use]
pub fn invariants(scenario: &Scenario, played: &Played) -> Vec<String> {
    let checks: [(Invariant, Check); 6] = [
        (Invariant::EveryHostProgresses, quiescence::progress),
        (Invariant::GaugesAtZero, quiescence::gauges),
        (Invariant::NothingLeftOpen, quiescence::sockets),
        (Invariant::OneResponse, exchange::one_response),
        (Invariant::OneDelivery, exchange::deliveries),
        (Invariant::TunnelsKeepOrder, exchange::tunnels),
    ];
    let held = checks.into_iter().filter(|(invariant, _)| !scenario.except.contains(invariant));
    held.flat_map(|(_, check)| check(scenario, played)).collect()
}
