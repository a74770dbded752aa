//! Why a request failed, hop by hop: who closed first and with what, which timer or limit it was and where it is
//! written, what had been sent, whether to send it again would have been safe, and what would have changed the outcome.
//!
//! Everything is read from the trace and the configurations: the proxy has no hook for it, and its access log may have
//! any format, since [`accounts`](crate::trace::accounts) are there in any case. [`traffic`] finds exchanges and the acts
//! that end them, [`failed`] those that failed, [`chain`] follows a request from hop to hop, [`hop`] judges what each proxy
//! did ([`own`] what it decided, [`unresolved`] and [`health`] why it had no endpoint, [`stops`] what its timers ended, [`next`] what followed from the next hop) and [`app`] what
//! the app did. [`reasons`] puts it in words, [`settings`] finds where it was configured, [`remedy`] what to write instead and whether it helps, and
//! [`repeat`] judges whether a retry was safe.

mod act;
mod app;
mod armed;
mod authorisation;
mod beginning;
mod chain;
mod failed;
mod filters;
mod handshake;
mod health;
mod hop;
mod limits;
mod next;
mod own;
mod proposal;
mod reason;
mod reasons;
mod remedy;
mod repeat;
mod revoked;
mod settings;
mod stops;
mod traffic;
mod unknown;
mod unresolved;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::clock::Millis;
use crate::run::{InForce, Played};
use crate::scenario::{Remedies, Role, Scenario};
use crate::trace::accounts::{Account, accounts};
use crate::trace::conversation::{Conversation, SignalKind};
use crate::trace::spans::Timer;
use crate::trace::{HostId, Trace};
use crate::words::printable;
use crate::words::size;
pub use armed::timers;
use chain::Chain;
use failed::{Failure, Request, RequestId};
use handshake::Handshake;
use hop::{Hop, Judged};
use proposal::Proposal;
pub use remedy::trial::{Trial, Verdict};
pub use settings::Setting;
use traffic::Traffic;

/// Stands for the host at an address that no host has.
const NO_HOST: &str = "no host";

/// Hops that are followed; a request that comes by one more often goes in a circle.
const HOPS_MAX: usize = 16;

/// Columns of the names in front of an explanation's lines: longer ones stand out to the right.
const LABEL_MIN: usize = 12;
const LABEL_MAX: usize = 40;

/// Failures that are explained; more of them have the same cause as a rule.
const EXPLAINED_MAX: usize = 12;

/// One failed request.
#[derive(Debug)]
pub struct Explanation {
    /// Which request of the run it is.
    id: RequestId,
    /// What came of it in a word or two.
    outcome_in_short: String,
    /// The setting that made it.
    because: Option<Setting>,
    /// The client's host.
    pub host: String,
    /// The request and what came of it, in one line.
    pub outcome: String,
    /// What each hop did, from the client's side on.
    pub hops: Vec<HopStory>,
    /// Who ended it first, and with what.
    pub closed_first: Option<String>,
    /// What had been sent by then.
    pub sent: String,
    /// Whether sending it again would have been safe.
    pub retry: Retry,
    /// What would have changed the outcome.
    pub changes: Vec<Change>,
    /// The timers that had a part in it.
    pub timers: Vec<Timer>,
}

/// What one hop did.
#[derive(Debug, Default)]
pub struct HopStory {
    /// The name of the hop's host.
    pub host: String,
    /// What it did, a sentence each.
    pub did: Vec<String>,
    /// The timer, limit or rule that made it, if it was one.
    pub because: Option<Setting>,
    /// What it logged about it.
    pub log: Option<String>,
    /// What its configuration was read without and might have made another outcome of it.
    pub without: Vec<String>,
}

/// Whether a request may be sent again.
#[derive(Debug)]
pub struct Retry {
    /// Whether a retry can do no harm.
    pub is_safe: bool,
    /// The reason for that, in words.
    pub why: String,
}

/// Something that would have changed the outcome.
#[derive(Debug)]
pub struct Change {
    /// What to do.
    pub what: String,
    /// With which setting, if it is one.
    pub setting: Option<Setting>,
    /// What the setting is to become.
    proposal: Proposal,
    /// What came of it when the run was played again with this change; none where it is not about a setting.
    pub trial: Option<Trial>,
}

/// What an explanation is read from.
struct Case<'a> {
    scenario: &'a Scenario,
    played: &'a Played,
    traffic: Traffic,
    chain: Chain,
    accounts: Vec<Account>,
    /// Which account is about which exchange.
    settings: BTreeMap<usize, usize>,
}

/// Whether a request failed, which [`explain`] would explain.
#[must_use]
pub fn has_failures(scenario: &Scenario, played: &Played) -> bool {
    failed::is_possible(played) && requests(scenario, played).iter().any(|request| request.has_failed)
}

/// Explains every request that failed, in the order in which they were sent, and tries what would change its outcome if
/// the scenario asks for that.
#[must_use]
pub fn explain(scenario: &Scenario, played: &Played) -> Vec<Explanation> {
    let mut explained = explain_without_trials(scenario, played);
    if scenario.remedies == Remedies::Tried && !explained.is_empty() {
        remedy::trial::try_all(scenario, played, &mut explained);
    }
    explained
}

/// Every request of a run, and what came of it.
fn requests(scenario: &Scenario, played: &Played) -> Vec<Request> {
    Case::new(scenario, played).requests()
}

fn explain_without_trials(scenario: &Scenario, played: &Played) -> Vec<Explanation> {
    if !failed::is_possible(played) {
        return Vec::new();
    }
    examine(scenario, played).1
}

/// Every request of a run, and the explanations of those that failed.
fn examine(scenario: &Scenario, played: &Played) -> (Vec<Request>, Vec<Explanation>) {
    let (mut requests, mut explained) = (Vec::new(), Vec::new());
    for (since, until, scenario) in versions(scenario, played) {
        let case = Case::new(&scenario, played);
        if since.is_zero() {
            requests = case.requests(); // the same whatever a configuration says
        }
        let its = case.failed().into_iter().filter(|failure| (since..until).contains(&failure.began));
        let its = its.take(EXPLAINED_MAX - explained.len()).map(|failure| case.explain(failure));
        explained.extend(its.collect::<Vec<_>>());
    }
    (requests, explained)
}

/// The scenario with the configurations of its proxies at each time, from when until when. A request is explained by what was in
/// force when it began.
fn versions<'s>(scenario: &'s Scenario, played: &Played) -> Vec<(Duration, Duration, Cow<'s, Scenario>)> {
    let mut versions = vec![(Duration::ZERO, Duration::MAX, Cow::Borrowed(scenario))];
    for InForce { from, host, config } in &played.reloads {
        let Some((_, until, before)) = versions.last_mut() else { break };
        *until = *from;
        let mut next = Scenario::clone(before);
        for host in next.hosts.iter_mut().filter(|has| has.name == played.trace.host(*host)) {
            host.role = Role::Proxy(config.clone());
        }
        versions.push((*from, Duration::MAX, Cow::Owned(next)));
    }
    versions
}

fn role<'a>(scenario: &'a Scenario, trace: &Trace, host: HostId) -> Option<&'a Role> {
    let name = trace.host(host);
    scenario.hosts.iter().find(|has| has.name == name).map(|host| &host.role)
}

/// Whether a host forwards the requests that come to it.
fn passes_on(role: &Role) -> bool {
    matches!(role, Role::Alb(_) | Role::Proxy { .. })
}

impl<'a> Case<'a> {
    fn new(scenario: &'a Scenario, played: &'a Played) -> Self {
        let accounts = accounts(&played.trace);
        let mut traffic = Traffic::read(&played.trace);
        let settings = failed::assign(&mut traffic, &accounts);
        let is_proxy = |host: &HostId| role(scenario, &played.trace, *host).is_some_and(passes_on);
        let proxies: Vec<HostId> = (0..played.trace.hosts().len()).map(HostId).filter(is_proxy).collect();
        let chain = Chain::link(&traffic, &proxies);
        Self { scenario, played, traffic, chain, accounts, settings }
    }

    /// What a host is called.
    fn name(&self, host: Option<HostId>) -> &'a str {
        host.map_or(NO_HOST, |host| self.played.trace.host(host))
    }

    /// A proxy's account of an exchange.
    fn account(&self, exchange: usize) -> Option<&Account> {
        self.settings.get(&exchange).and_then(|nth| self.accounts.get(*nth))
    }

    fn explain(&self, failure: Failure) -> Explanation {
        let Some(first) = failure.exchange else { return self.unsent(failure) };
        let Failure { id, short, host, outcome, failed_at, .. } = failure;
        let outcome = printable(outcome);
        let mut hops: Vec<Judged<'_>> = Vec::new();
        let mut next = Some(first);
        while let Some(nth) = next.take()
            && hops.len() < HOPS_MAX
            && let Some(exchange) = self.traffic.exchanges.get(nth)
        {
            let before = hops.last();
            let judged = Hop { case: self, nth, exchange }.judge(before);
            next = judged.next;
            hops.push(judged);
        }
        let origin = origin(&hops);
        let because = origin.and_then(|hop| hop.story.because.clone());
        Explanation {
            id,
            outcome_in_short: short,
            because,
            host,
            outcome,
            closed_first: origin.and_then(|hop| hop.closed.clone()),
            sent: self.sent(&hops, failed_at),
            retry: repeat::retry(self, origin, &hops),
            changes: remedy::changes(self, origin, &hops),
            timers: hops.iter().filter_map(|hop| hop.timer.clone()).collect(),
            hops: hops.into_iter().map(|hop| hop.story).collect(),
        }
    }

    /// A request that never left its client.
    fn unsent(&self, Failure { id, short, host, outcome, began, why, .. }: Failure) -> Explanation {
        let trace = &self.played.trace;
        let story = |host: &str, did: String| HopStory { host: host.into(), did: vec![did], ..HopStory::default() };
        let mut hops = vec![story(&host, format!("sent nothing: {why}"))];
        let (mut closed_first, mut changes) = (None, Vec::new());
        if let Some(failed) = self.failed_handshake(&host, began) {
            hops = vec![HopStory { host: host.clone(), did: failed.done_by_client(self), ..HopStory::default() }];
            closed_first = Some(failed.closed_first(self));
            changes = failed.mismatch(self).changes(None);
        }
        let refusal = self.traffic.conversations.iter().find_map(|it| {
            let is_its = trace.host(it.client) == host && it.from_client.signals.first()?.sent.at >= began;
            let rst = it.from_server.signals.iter().find(|signal| signal.kind == SignalKind::Rst)?;
            (is_its && it.from_client.bytes.is_empty()).then_some((it, rst.sent.at))
        });
        if let Some((conversation, at)) = refusal {
            let server = conversation.server.map_or(NO_HOST, |server| trace.host(server));
            let to = conversation.server_address;
            let opened = |it: &Conversation| it.from_client.signals.first().map(|syn| syn.sent.at);
            let served = |it: &&Conversation| it.server_address == to && !it.from_server.bytes.is_empty();
            let served = || self.traffic.conversations.iter().filter(served).filter_map(opened);
            let (why, change) = if served().any(|opened| opened < at) {
                (
                    format!("the listener on {to} is closed"),
                    "connect before the listener closes, or to another: no setting keeps a drained listener open",
                )
            } else if served().next().is_some() {
                (format!("no listener on {to} yet"), "connect later: the host has not begun to listen")
            } else {
                (format!("no listener on {to}"), "connect to an address that has a listener")
            };
            hops.push(story(server, format!("refused the connection: {why}")));
            closed_first = Some(format!("{server}, with RST, at {}", ms(at)));
            changes.push(Change::advice(change));
        }
        Explanation {
            id,
            outcome_in_short: short,
            because: None,
            host,
            outcome: printable(outcome),
            hops,
            closed_first,
            sent: "nothing of the request".into(),
            retry: Retry { is_safe: true, why: "the request never left the client".into() },
            changes,
            timers: Vec::new(),
        }
    }

    /// The handshake of a client that failed before it sent anything.
    fn failed_handshake(&self, host: &str, began: Duration) -> Option<Handshake<'_>> {
        let is_its = |it: &Conversation| {
            let opened = it.from_client.signals.first().map(|syn| syn.sent.at);
            self.played.trace.host(it.client) == host && opened.is_some_and(|at| at >= began)
        };
        let its = self.traffic.conversations.iter().position(is_its)?;
        Handshake::failed(&self.traffic, its)
    }

    /// What had been sent of request and response between the last two hops when it failed.
    fn sent(&self, hops: &[Judged<'_>], failed_at: Option<Duration>) -> String {
        let Some(last) = hops.last() else { return "nothing".into() };
        let exchange = last.exchange;
        let trace = &self.played.trace;
        let (from, to) = (trace.host(exchange.client), exchange.server.map_or(NO_HOST, |server| trace.host(server)));
        let what = match (exchange.is_websocket(), exchange.request.is_complete) {
            (true, _) => "the handshake",
            (false, true) => "the whole request",
            (false, false) => "a part of the request",
        };
        let (first, all) = (exchange.request.first_bytes, exchange.request.bytes);
        let bytes = match all - first.min(all) {
            more if exchange.is_websocket() && more > 0 => format!("{}, and {} after it", size(first), size(more)),
            _ => size(all),
        };
        let arrived = match exchange.request.arrived {
            Some(at) => format!("received by {to} at {}", ms(at)),
            None => format!("sent by {from}, never received by {to}"),
        };
        let role = exchange.server.and_then(|host| role(self.scenario, trace, host));
        let final_response =
            match exchange.response.as_ref().filter(|_| failed_at.is_none_or(|at| exchange.has_responded_by(at))) {
                _ if role.is_some_and(passes_on) => {
                    match last.account.and_then(|account| account.upstream.as_deref()) {
                        Some(upstream) => format!("forwarded to {upstream}"),
                        None => "nothing was sent upstream".into(),
                    }
                }
                None => match exchange.informed_by(failed_at.unwrap_or(Duration::MAX)) {
                    Some(status) => format!("no response but {status}"),
                    None => "no response byte".to_owned(),
                },
                Some(final_response) => {
                    format!("{} of the response, {}", size(final_response.part.bytes), final_response.status)
                }
            };
        format!("{what}, {bytes}, {arrived}; {final_response}")
    }
}

/// The hop where the failure began: the timer that ended it first, or else the hop farthest from the client that did it by
/// itself.
fn origin<'h, 'a>(hops: &'h [Judged<'a>]) -> Option<&'h Judged<'a>> {
    let timers = hops.iter().filter(|hop| hop.is_origin && hop.timer.is_some());
    let first = timers.min_by_key(|hop| hop.timer.as_ref().map(|timer| timer.until));
    first.or_else(|| hops.iter().rev().find(|hop| hop.is_origin)).or(hops.last())
}

/// `12.500 ms`.
fn ms(at: Duration) -> String {
    format!("{} ms", Millis(at))
}

impl Change {
    /// What no setting is about.
    fn advice(what: impl Into<String>) -> Self {
        Self { what: what.into(), setting: None, proposal: Proposal::Advice, trial: None }
    }

    /// A setting that is to become something else.
    fn of(what: impl Into<String>, setting: Setting, proposal: Proposal) -> Self {
        Self { what: what.into(), setting: Some(setting), proposal, trial: None }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}  {}", self.host, self.outcome)?;
        let names = self.hops.iter().map(|hop| hop.host.chars().count());
        let width = names.max().unwrap_or_default().clamp(LABEL_MIN, LABEL_MAX);
        for hop in &self.hops {
            let mut name = hop.host.as_str();
            for line in &hop.did {
                writeln!(f, "  {name:>width$}  {line}")?;
                name = "";
            }
            if let Some(because) = &hop.because {
                writeln!(f, "  {:>width$}  because of {because}", "")?;
            }
            for without in &hop.without {
                writeln!(f, "  {:>width$}  without {without}", "")?;
            }
        }
        if let Some(closed) = &self.closed_first {
            writeln!(f, "  {:>width$}  {closed}", "closed first")?;
        }
        writeln!(f, "  {:>width$}  {}", "sent", self.sent)?;
        let safe = if self.retry.is_safe { "safe" } else { "not safe" };
        writeln!(f, "  {:>width$}  {safe}: {}", "a retry", self.retry.why)?;
        let mut name = "to change it";
        for Change { what, setting, trial, .. } in &self.changes {
            match setting {
                Some(setting) => writeln!(f, "  {name:>width$}  {what}: {setting}")?,
                None => writeln!(f, "  {name:>width$}  {what}")?,
            }
            name = "";
            if let Some(trial) = trial {
                writeln!(f, "  {:>width$}  {trial}", trial.verdict.heading())?;
            }
        }
        Ok(())
    }
}
