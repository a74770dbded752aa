//! What exploring a file has found, run by run, as machines write it down for each other.
//!
//! Each of n machines explores one part of the seeds and writes its findings; [`Findings::merge`] makes of them what one
//! machine would have found. Findings of different scenarios, or of the same seeds, are not put together.

use serde::{Deserialize, Serialize};

use super::{Shard, Table};
use crate::fnv::fnv1a;
use crate::scenario::{ProxyConfig, Role, Scenario};

/// What was found with some parts of the seeds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    /// The scenario's path, as it was requested.
    pub scenario: String,
    /// Stands for everything that was played: another text or another configuration has another.
    digest: String,
    /// How many seeds there are with all parts.
    pub seeds: u64,
    /// The parts that these are about, in order. All of them together are the whole, `1/1`.
    pub parts: Vec<Shard>,
    /// Whether all seeds of the parts were played; not if a signal stopped the exploration before.
    pub is_complete: bool,
    /// One for each run of the file that was explored, in order.
    pub runs: Vec<Found>,
}

/// What was found about one run of a file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// What it has of its own: `gap=5s`. Empty if the file has one run.
    pub run: String,
    /// Its outcomes, the most frequent first.
    pub outcomes: Table,
}

impl Findings {
    /// Those of one part; `tables` has one for each of `runs`.
    #[must_use]
    pub fn new(scenario: &str, runs: &[Scenario], seeds: u64, part: Shard, tables: Vec<Table>) -> Self {
        let played = u64::try_from(part.seeds(seeds).len()).unwrap_or(u64::MAX);
        let found = |(run, outcomes): (&Scenario, Table)| Found { run: run.label.to_string(), outcomes };
        Self {
            scenario: scenario.into(),
            digest: digest(runs),
            seeds,
            parts: vec![part],
            is_complete: tables.iter().all(|table| table.runs() == played),
            runs: runs.iter().zip(tables).map(found).collect(),
        }
    }

    /// Whether they are about these runs of a file as it is.
    #[must_use]
    pub fn are_about(&self, runs: &[Scenario]) -> bool {
        self.digest == digest(runs) && self.runs.len() == runs.len()
    }

    /// The parts whose findings are not among these.
    #[must_use]
    pub fn missing(&self) -> Vec<Shard> {
        let of = self.parts.first().map_or(1, |part| part.of);
        let all = (1..=of).map(|index| Shard { index, of });
        all.filter(|part| !self.parts.contains(part)).collect()
    }

    /// All of them as one. Each comes with a name for messages; in which order they come makes no difference.
    ///
    /// # Errors
    /// Two of them are about different scenarios, runs or numbers of seeds, or have seeds in common; or there is none.
    pub fn merge(named: Vec<(String, Self)>) -> Result<Self, String> {
        let mut named = named.into_iter();
        let (first, mut whole) = named.next().ok_or("no findings to merge")?;
        // Where each part was found, to note it if it comes again.
        let mut origins: Vec<(Shard, String)> = whole.parts.iter().map(|part| (*part, first.clone())).collect();
        if !whole.is_complete {
            return Err(unfinished(&first));
        }
        for (name, findings) in named {
            if !findings.is_complete {
                return Err(unfinished(&name));
            }
            if findings.digest != whole.digest {
                return Err(format!("{name} and {first} are about different scenarios"));
            }
            if findings.seeds != whole.seeds {
                return Err(format!("{name} is about {} seeds, {first} about {}", findings.seeds, whole.seeds));
            }
            for part in findings.parts {
                if let Some((other, origin)) = origins.iter().find(|(other, _)| other.meets(part)) {
                    return Err(format!("part {part} in {name} has seeds of part {other} in {origin}"));
                }
                origins.push((part, name.clone()));
                whole.parts.push(part);
            }
            for (run, found) in whole.runs.iter_mut().zip(findings.runs) {
                run.outcomes.extend(found.outcomes);
            }
        }
        whole.parts.sort_unstable();
        if whole.missing().is_empty() {
            whole.parts = vec![Shard::WHOLE];
        }
        Ok(whole)
    }
}

fn unfinished(name: &str) -> String {
    format!("{name} has not all of its seeds: its exploration was stopped")
}

/// Of what is played: the texts, and the configurations with their patches.
fn digest(runs: &[Scenario]) -> String {
    let mut texts = Vec::new();
    for run in runs {
        texts.push(run.label.to_string());
        texts.push(run.document.as_read().to_owned());
        for host in &run.hosts {
            if let Role::Proxy(ProxyConfig { text, .. }) = &host.role {
                texts.push(text.clone());
            }
        }
    }
    let hash = fnv1a(texts.iter().flat_map(|text| text.bytes().chain([0])));
    format!("{hash:016x}")
}
