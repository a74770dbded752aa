//! What must hold: what the author of a scenario expects, and what is true of every run.

mod exchange;
mod expect;
mod quiescence;

use crate::play::Played;
use crate::scenario::{Scenario, ScenarioError};

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
    let invariants = exchange::check(played).into_iter().chain(quiescence::check(played));
    complaints.extend(invariants.map(|what| ScenarioError::of_file(&scenario.file, what)));
    complaints
}
