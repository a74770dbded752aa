//! Whether every name in script and expectations is the name of a host, and whether that host can do what the line says.

use std::collections::BTreeMap;

use serde_yaml::{Location, Spanned};

use super::expect::Expect;
use super::hosts::habits::{Who, refusal};
use super::hosts::{Host, Role};
use super::script::repeat::{self, ROUND};
use super::script::{Action, Cue, Intervention, Step};
use super::vary::{events, missing_event};

/// A complaint and where it belongs.
pub(super) type Misfit = (Location, String);

/// Where a step stands.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Place {
    /// In a `repeat`.
    Round,
    /// Anywhere else.
    Script,
}

/// The hosts of a scenario, while its script is read.
pub(super) struct Names<'a>(pub(super) &'a [Host]);

impl Names<'_> {
    /// Finds the host of every step, and takes connections from their names: `client.b` is connection `b` of `client`.
    pub(super) fn script(&self, script: &mut [Spanned<Cue>]) -> Result<(), Misfit> {
        self.sequence(script, Place::Script)?;
        let mut barriers = BTreeMap::new();
        gather(script, &mut barriers);
        if let Some((name, (_, at))) = barriers.iter().find(|(_, (parts, _))| *parts < 2) {
            return Err((
                *at,
                format!(
                    "only one part of the script has barrier `{name}`, so it would wait for ever; put the barrier into another part too"
                ),
            ));
        }
        follow(script, &events(script))
    }

    fn sequence(&self, script: &mut [Spanned<Cue>], place: Place) -> Result<(), Misfit> {
        for cue in script {
            let here = cue.referenced;
            match &mut cue.value.step {
                Step::Background(inner) => self.sequence(inner, place)?,
                Step::Barrier(_) | Step::Nothing | Step::Wait(_) => {}
                Step::Do { host, connection, action } => {
                    if self.find(host).is_none()
                        && let Some((name, which)) = host.rsplit_once('.')
                        && self.find(name).is_some()
                    {
                        (*host, *connection) = (name.to_owned(), Some(which.to_owned()));
                    }
                    let role = &self.host(here, host)?.role;
                    let is_numbered = connection.as_ref().is_some_and(|name| name.contains(ROUND));
                    if is_numbered && place == Place::Script {
                        let what = format!("`{ROUND}` is the number of a round and only allowed in a `repeat`");
                        return Err((here, what));
                    }
                    let connection = connection.as_ref().map(|name| name.replace(ROUND, "1"));
                    able(role, connection.as_deref(), action).map_err(|what| (here, format!("`{host}` is {what}")))?;
                }
                Step::Happen(intervention) => self.intervention(here, intervention)?,
                Step::Repeat(repeat) => {
                    if let Some((at, what)) = repeat::misfit(&repeat.steps) {
                        return Err((at, what.into()));
                    }
                    self.sequence(&mut repeat.steps, Place::Round)?;
                }
            }
        }
        Ok(())
    }

    fn intervention(&self, at: Location, intervention: &Intervention) -> Result<(), Misfit> {
        for name in intervention.hosts() {
            self.host(at, name)?;
        }
        if let Intervention::Partition(pair) | Intervention::Repair(pair) = intervention
            && pair.among(|name| self.find(name).is_some()).is_none()
        {
            let what = format!("`{}` is not two hosts with a dash between them: {}", pair.0, self.known());
            return Err((at, what));
        }
        if let Intervention::Drain(draining) = intervention
            && !matches!(self.host(at, &draining.host)?.role, Role::Proxy { .. })
        {
            return Err((at, format!("`{}` is not a proxy: only proxies drain", draining.host)));
        }
        Ok(())
    }

    /// Checks that every expectation is about a host, and has only keys that apply to it.
    pub(super) fn expect(&self, expect: &[Spanned<Expect>]) -> Result<(), Misfit> {
        for line in expect {
            let Expect { host, seen, .. } = &line.value;
            let (what, keys): (&str, &[&str]) = match &self.host(line.referenced, host)?.role {
                Role::Alb(_) => ("a load balancer: it has", &["connections"]),
                Role::App(_) => (
                    "an app: it has",
                    &["count", "request", "headers", "trailers", "body", "at", "gaps", "connections"],
                ),
                Role::Client(_) => (
                    "a client, which has no log and no counts: it has",
                    &[
                        "status",
                        "error",
                        "body",
                        "headers",
                        "trailers",
                        "took",
                        "ended",
                        "ended_at",
                        "received",
                        "received_bytes",
                        "at",
                        "connections",
                    ],
                ),
                Role::Proxy { .. } => {
                    ("a proxy: it has", &["log", "flags", "count", "stats", "at", "connections", "config_error"])
                }
            };
            if let Some(key) = seen.misfit(|key| keys.contains(&key)) {
                let what = format!("`{host}` is {what} {}, not `{key}`", list(keys));
                return Err((line.referenced, what));
            }
        }
        Ok(())
    }

    fn find(&self, name: &str) -> Option<&Host> {
        self.0.iter().find(|host| host.name == name)
    }

    fn host(&self, at: Location, name: &str) -> Result<&Host, Misfit> {
        self.find(name).ok_or_else(|| (at, format!("there is no host `{name}`: {}", self.known())))
    }

    /// For messages.
    pub(super) fn known(&self) -> String {
        let names: Vec<&str> = self.0.iter().map(|host| host.name.as_str()).collect();
        format!("the hosts are {}", names.join(", "))
    }
}

fn list(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    quoted.join(", ")
}

/// Whether a host can do this; if not, what it is.
fn able(role: &Role, connection: Option<&str>, action: &Action) -> Result<(), String> {
    if let Action::SendFrame { frame, .. } = action
        && let Some(missing) = frame.lacks()
    {
        return Err(format!("to send {frame}, which needs a `{missing}`"));
    }
    let who = match role {
        Role::Alb(_) => {
            return Err("a load balancer, which follows no script: write the step for a client of it".into());
        }
        Role::Proxy { .. } => {
            return Err("a proxy, which follows no script, except for the steps `drain` and `reload`".into());
        }
        Role::App(_) if connection.is_some_and(|which| which.parse::<usize>().is_err()) => {
            return Err("an app: its connections are numbered from 1, as in `app.1`".into());
        }
        Role::App(app) => Who::App(app.protocol),
        Role::Client(client) => Who::Client(client.protocol),
    };
    refusal(who, action).map_or(Ok(()), |what| Err(format!("to {action}, but {what}")))
}

/// How many sequences come to each barrier, with one place that names it.
fn gather(script: &[Spanned<Cue>], barriers: &mut BTreeMap<String, (usize, Location)>) {
    let mut here: Vec<&str> = Vec::new();
    for cue in script {
        if let Step::Barrier(name) = &cue.value.step
            && !here.contains(&name.as_str())
        {
            here.push(name);
            barriers.entry(name.clone()).or_insert((0, cue.referenced)).0 += 1;
        }
        gather(cue.value.step.inner(), barriers);
    }
}

fn follow(script: &[Spanned<Cue>], events: &[String]) -> Result<(), Misfit> {
    for cue in script {
        if let Some(event) = cue.value.follows.as_ref().filter(|event| !events.contains(event)) {
            return Err((cue.referenced, missing_event(event, events)));
        }
        follow(cue.value.step.inner(), events)?;
    }
    Ok(())
}
