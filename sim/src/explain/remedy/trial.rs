//! Whether a remedy helps: the change is made, the run is played again with the same seed, and the same request is looked
//! for in it.
//!
//! A change that makes the request succeed comes first, and with it what it costs: a request that reached an app more
//! often. One without effect is left out where another helps; where none does, it says what stops the request next, and
//! that is tried as well on top of it.

use std::collections::BTreeMap;
use std::fmt;

use super::edit::Edit;
use crate::explain::failed::{Request, RequestId};
use crate::explain::proposal::Proposal;
use crate::explain::{Change, Explanation, examine};
use crate::run::Played;
use crate::scenario::{Remedies, Scenario};

/// Runs that are played for the remedies of one run. Failures that come after have their remedies named only.
const REPLAYS_MAX: usize = 32;

/// Second changes that are tried on top of one that is not enough.
const SECONDS_MAX: usize = 2;

/// Changes that are made together: one for each hop of a request that crosses three or four.
const TOGETHER_MAX: usize = 4;

/// What came of a change.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trial {
    /// Whether it helps.
    pub verdict: Verdict,
    /// What was changed, as the configuration would have it.
    pub what: String,
    /// What the request came to; or why it was not tried.
    pub came: String,
    /// What it costs.
    pub harm: Option<String>,
}

/// Whether a change helps.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Verdict {
    /// The request succeeds.
    Effective,
    /// It succeeds, and reaches an app more often than before.
    Harmful,
    /// No run can show it.
    Untried,
    /// The request fails all the same.
    Ineffective,
}

/// Plays again with every change that `explained` names.
pub(in crate::explain) fn try_all(scenario: &Scenario, played: &Played, explained: &mut [Explanation]) {
    let mut replays = Replays { scenario, played, done: Vec::new(), before: deliveries(played) };
    for explanation in explained {
        let Explanation { id, outcome_in_short, because, .. } = &*explanation;
        let because = because.as_ref().map(|it| (it.host.clone(), it.name.clone()));
        let failed = Failed { id: id.clone(), short: outcome_in_short.clone(), because };
        let mut changes = std::mem::take(&mut explanation.changes);
        for change in &mut changes {
            change.trial = replays.of(change, &failed);
        }
        let helps = |it: &Change| it.trial.as_ref().is_some_and(Trial::helps);
        if !changes.iter().any(helps) {
            replays.try_on_top(&mut changes, &failed);
        }
        if changes.iter().any(helps) {
            changes.retain(|it| it.trial.as_ref().is_none_or(|trial| trial.verdict != Verdict::Ineffective));
        }
        changes.sort_by_key(|it| it.trial.as_ref().map_or(Verdict::Untried, |trial| trial.verdict));
        explanation.changes = changes;
    }
}

/// A request that failed, as the run ended that is explained.
struct Failed {
    id: RequestId,
    short: String,
    /// The host and the name of the setting that made it fail.
    because: Option<(String, String)>,
}

/// The runs that have been played again, each with its edits.
struct Replays<'a> {
    scenario: &'a Scenario,
    played: &'a Played,
    done: Vec<(Vec<Edit>, Replay)>,
    /// How often each kind of request reached apps in the run that is explained.
    before: BTreeMap<String, Deliveries>,
}

/// What came of one of them.
struct Replay {
    /// Why it could not be played.
    refused: Option<String>,
    requests: Vec<Request>,
    explained: Vec<Explanation>,
    deliveries: BTreeMap<String, Deliveries>,
}

impl Replays<'_> {
    /// What comes of a change, if it is one of a setting.
    fn of(&mut self, change: &Change, failed: &Failed) -> Option<Trial> {
        let setting = change.setting.as_ref().filter(|_| change.proposal != Proposal::Advice)?;
        let edit = match change.proposal.edit(setting, self.scenario) {
            Ok(edit) => edit,
            Err(why) => return Some(Trial::untried(why)),
        };
        let what = edit.words.clone();
        match self.play(vec![edit]) {
            Some(nth) => Some(self.judge(nth, what, failed)),
            None => Some(Trial::untried("too many runs would have to be played")),
        }
    }

    /// Tries further changes on top of each that was not enough: those against what stops the request next, one after the
    /// other, as where each of several hops has the same timeout.
    fn try_on_top(&mut self, changes: &mut [Change], failed: &Failed) {
        let tried: Vec<Edit> = changes.iter().filter_map(|it| self.edit_of(it)).collect();
        let mut pairs: Vec<(usize, Edit, Edit)> = Vec::new();
        for (place, change) in changes.iter().enumerate() {
            let Some(first) = self.edit_of(change).filter(|_| pairs.len() < SECONDS_MAX) else { continue };
            let next = self.against_what_is_next(std::slice::from_ref(&first), failed);
            let seconds = next.into_iter().chain(tried.clone()).filter(|it| *it != first);
            pairs.extend(seconds.take(SECONDS_MAX - pairs.len()).map(|second| (place, first.clone(), second)));
        }
        // Two changes are better than four.
        for together_max in [2, TOGETHER_MAX] {
            for (place, first, second) in &pairs {
                // Where the same setting stops the request again, its second value takes the place of the first.
                let is_instead = first.is_at_the_place_of(second);
                let edits = if is_instead { vec![second.clone()] } else { vec![first.clone(), second.clone()] };
                let Some(all) = self.until_it_helps(edits, failed, together_max) else { continue };
                if let Some(trial) = changes.get_mut(*place).and_then(|it| it.trial.as_mut()) {
                    let came = format!("{}; and {}", trial.came, all.came);
                    let both = |trial: &mut Trial| Trial { came, what: std::mem::take(&mut trial.what), ..all.clone() };
                    *trial = if is_instead { all.clone() } else { both(trial) };
                }
                return;
            }
        }
    }

    /// What comes of these changes, with those on top of them that what stops the request next requires; none if that does
    /// not lead to success. In words, what comes behind the first change.
    fn until_it_helps(&mut self, mut edits: Vec<Edit>, failed: &Failed, together_max: usize) -> Option<Trial> {
        let mut words = Vec::new();
        loop {
            let (first, last) = (edits.first()?, edits.last()?);
            let place = if first.host == last.host { String::new() } else { format!("at {} ", last.host) };
            let what = format!("{place}{}", last.words);
            let nth = self.play(edits.clone())?;
            let trial = self.judge(nth, what.clone(), failed);
            if trial.helps() {
                if edits.len() > 1 {
                    words.push(format!("{what} → {}", trial.came));
                    return Some(Trial { came: words.join("; and "), ..trial });
                }
                return Some(trial);
            }
            if edits.len() >= together_max {
                return None;
            }
            words.push(format!("{what} → {}", trial.came));
            let next = self.against_what_is_next(&edits, failed);
            edits.push(next.into_iter().find(|it| !edits.iter().any(|has| has.is_at_the_place_of(it)))?);
        }
    }

    /// The changes against what stops the request when these have been made.
    fn against_what_is_next(&mut self, edits: &[Edit], failed: &Failed) -> Vec<Edit> {
        let Some(nth) = self.play(edits.to_vec()) else { return Vec::new() };
        let explained = self.done.get(nth).and_then(|(_, it)| it.explained.iter().find(|it| it.id == failed.id));
        explained.into_iter().flat_map(|it| &it.changes).filter_map(|it| self.edit_of(it)).collect()
    }

    fn edit_of(&self, change: &Change) -> Option<Edit> {
        change.proposal.edit(change.setting.as_ref()?, self.scenario).ok()
    }

    /// The place of a run with these edits among those that have been played; `None` if there would be too many.
    fn play(&mut self, edits: Vec<Edit>) -> Option<usize> {
        if let Some(nth) = self.done.iter().position(|(done, _)| *done == edits) {
            return Some(nth);
        }
        if self.done.len() >= REPLAYS_MAX {
            return None;
        }
        let replay = self.replay(&edits);
        self.done.push((edits, replay));
        Some(self.done.len() - 1)
    }

    fn replay(&self, edits: &[Edit]) -> Replay {
        let refused = |why: String| Replay {
            refused: Some(why),
            requests: Vec::new(),
            explained: Vec::new(),
            deliveries: BTreeMap::new(),
        };
        let mut scenario = Scenario { remedies: Remedies::Named, ..self.scenario.clone() };
        if let Some(why) = edits.iter().find_map(|edit| edit.apply(&mut scenario).err()) {
            return refused(why.into());
        }
        match scenario.play_on(self.played.seed, &self.played.course) {
            Err(error) => refused(format!("the proxy refuses it: {}", error.what().lines().next().unwrap_or_default())),
            Ok(played) => {
                let (requests, explained) = examine(&scenario, &played);
                Replay { refused: None, requests, explained, deliveries: deliveries(&played) }
            }
        }
    }

    fn judge(&self, nth: usize, what: String, failed: &Failed) -> Trial {
        let Some((_, replay)) = self.done.get(nth) else { return Trial::untried("it was not played") };
        if let Some(why) = &replay.refused {
            return Trial { what, ..Trial::untried(why) };
        }
        let Some(request) = replay.requests.iter().find(|it| it.id == failed.id) else {
            let came = "the script does not come to this request any more".into();
            return Trial { verdict: Verdict::Ineffective, what, came, harm: None };
        };
        if !request.has_failed && request.has_response {
            let harm = replay.deliveries.iter().find_map(|(request, times)| {
                let before = self.before.get(request).map_or(0, |before| before.most);
                let more = times.most > 1 && before < times.most;
                more.then(|| format!("{request} reached the app {} times", times.most))
            });
            let verdict = if harm.is_some() { Verdict::Harmful } else { Verdict::Effective };
            return Trial { verdict, what, came: request.short.clone(), harm };
        }
        let because = replay.explained.iter().find(|it| it.id == failed.id).and_then(|it| it.because.as_ref());
        let still = if request.short == failed.short { "still " } else { "" };
        let came = match because {
            Some(it) if failed.because.as_ref().is_none_or(|(host, name)| *host != it.host || *name != it.name) => {
                let value = it.value.as_deref().map_or_else(String::new, |value| format!(" {value}"));
                let other = failed.because.as_ref().filter(|(host, _)| *host != it.host);
                let whose = other.map_or_else(String::new, |_| format!("{}'s ", it.host));
                format!("{still}{}, now because of {whose}{}{value}", request.short, it.name)
            }
            Some(_) | None => format!("{still}{}", request.short),
        };
        let (before, now) = (sum(&self.before), sum(&replay.deliveries));
        let fewer = (now < before).then(|| format!("; requests that reached apps: {now} instead of {before}"));
        Trial { verdict: Verdict::Ineffective, what, came: came + &fewer.unwrap_or_default(), harm: None }
    }
}

impl Verdict {
    /// For programs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Effective => "effective",
            Self::Harmful => "harmful",
            Self::Ineffective => "ineffective",
            Self::Untried => "untried",
        }
    }

    /// What stands before a trial.
    #[must_use]
    pub fn heading(self) -> &'static str {
        match self {
            Self::Effective | Self::Harmful | Self::Ineffective => "tried",
            Self::Untried => "not tried",
        }
    }
}

impl Trial {
    fn untried(why: &str) -> Self {
        Self { verdict: Verdict::Untried, what: String::new(), came: why.into(), harm: None }
    }

    fn helps(&self) -> bool {
        matches!(self.verdict, Verdict::Effective | Verdict::Harmful)
    }
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verdict, what, came, harm } = self;
        if *verdict == Verdict::Untried {
            return f.write_str(came);
        }
        write!(f, "{what} → {came}")?;
        match harm {
            Some(harm) => write!(f, "; {harm}"),
            None => Ok(()),
        }
    }
}

/// How often a kind of request reached apps.
#[derive(Clone, Copy, Default)]
struct Deliveries {
    all: usize,
    /// With one request id, at most.
    most: usize,
}

fn sum(deliveries: &BTreeMap<String, Deliveries>) -> usize {
    deliveries.values().map(|it| it.all).sum()
}

fn deliveries(played: &Played) -> BTreeMap<String, Deliveries> {
    let mut by_id: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut found: BTreeMap<String, Deliveries> = BTreeMap::new();
    for delivery in &played.sightings.deliveries {
        let id = delivery.request_id.as_deref().unwrap_or_default();
        let same = by_id.entry((id, &delivery.request)).or_default();
        *same += 1;
        let kind = found.entry(delivery.request.clone()).or_default();
        kind.all += 1;
        if !id.is_empty() {
            kind.most = kind.most.max(*same);
        }
    }
    found
}
