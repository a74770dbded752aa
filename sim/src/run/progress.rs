//! How far a script has come: which steps are under way, what each waits for, and which one could not be carried out.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_yaml::Location;

use crate::clock::Millis;

/// What the end of a run may cut off: the steps under way, and the step that failed.
#[derive(Default)]
pub(super) struct Progress {
    /// The step that could not be carried out.
    stuck: RefCell<Option<(Location, String)>>,
    /// Steps that have begun and not ended, by their number.
    waiting: RefCell<BTreeMap<u64, Waiting>>,
}

pub(super) struct Waiting {
    pub(super) at: Location,
    pub(super) text: String,
    pub(super) since: Duration,
    pub(super) waits_for: WaitsFor,
}

/// What a step waits for.
pub(super) enum WaitsFor {
    /// The other sequences of the script, so many with its own.
    Barrier(String, usize),
    /// An actor that does it, on this connection if one is named.
    Doing(String, Option<String>),
    /// The end of another step.
    Event(String),
    /// This proxy, which does not accept connections yet.
    Proxy(String),
    /// What its own text names.
    Itself,
}

impl Progress {
    /// Keeps the step that could not be carried out, and why.
    pub(super) fn fail(&self, at: Location, why: String) {
        *self.stuck.borrow_mut() = Some((at, why));
    }

    pub(super) fn stuck(&self) -> Option<(Location, String)> {
        self.stuck.borrow().clone()
    }

    pub(super) fn first_waiting(&self) -> Option<(Location, String)> {
        self.waiting.borrow().values().next().map(|step| (step.at, step.text.clone()))
    }

    /// A line for each step that has not ended. `accepted` returns how many connections an app has accepted, of another host
    /// nothing.
    pub(super) fn waiting_steps(&self, accepted: impl Fn(&str) -> Option<usize>) -> String {
        let waiting = self.waiting.borrow();
        let lines = waiting.values().map(|Waiting { at, text, since, waits_for }| {
            let why = match waits_for {
                WaitsFor::Barrier(name, parts) => {
                    let is_there =
                        |it: &&Waiting| matches!(&it.waits_for, WaitsFor::Barrier(other, _) if other == name);
                    let come = waiting.values().filter(is_there).count();
                    format!(", where {come} of {parts} parts of the script have come")
                }
                WaitsFor::Doing(host, connection) => {
                    let number = connection.as_ref().map_or(Some(1), |number| number.parse().ok());
                    let missing =
                        accepted(host).filter(|accepted| number.is_some_and(|number: usize| number > *accepted));
                    let missing = missing.map(|accepted| match accepted {
                        0 => format!(", but {host} has accepted no connection"),
                        few => format!(", but {host} has accepted only {few}"),
                    });
                    missing.unwrap_or_default()
                }
                WaitsFor::Event(name) => format!(", which follows {name}"),
                WaitsFor::Itself => String::new(),
                WaitsFor::Proxy(name) => {
                    format!(", until {name} is ready: it waits for names or for first health checks")
                }
            };
            format!("\n  line {}, since {} ms: {text}{why}", at.line(), Millis(*since))
        });
        let lines: String = lines.collect();
        match lines.is_empty() {
            true => "the script was over, but connections were still open; raise `limit`".into(),
            false => format!("these wait:{lines}"),
        }
    }

    pub(super) fn begin(&self, step: Waiting) -> u64 {
        let mut waiting = self.waiting.borrow_mut();
        let number = waiting.last_key_value().map_or(0, |(last, _)| last + 1);
        waiting.insert(number, step);
        number
    }

    /// What a step waits for has come, and this is next.
    pub(super) fn waits_for(&self, number: u64, waits_for: WaitsFor) {
        if let Some(step) = self.waiting.borrow_mut().get_mut(&number) {
            step.waits_for = waits_for;
        }
    }

    pub(super) fn end(&self, number: u64) {
        self.waiting.borrow_mut().remove(&number);
    }
}
