//! Every request of a run, and which of them failed: those that a client recorded, those that a script sent byte by byte,
//! and those that only a proxy recorded, since no other host could read them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use finwait::access_log::ResponseFlag;

use super::traffic::{Exchange, Traffic};
use super::{Case, ms, passes_on, role};
use crate::actor::{self, Outcome};
use crate::run::Played;
use crate::scenario::Ending;
use crate::trace::accounts::{Account, accounts};

/// Which request of a run it is: another run of the same script has it under the same id.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RequestId {
    /// The client's host.
    host: String,
    /// Method and path, as the client has them.
    request: String,
    /// Which of those that are alike.
    nth: usize,
}

/// A request, and what came of it.
pub(super) struct Request {
    pub(super) id: RequestId,
    /// What came of it in a word or two.
    pub(super) short: String,
    pub(super) has_failed: bool,
    pub(super) has_response: bool,
}

/// A failed request.
pub(super) struct Failure {
    pub(super) id: RequestId,
    /// What came of it in a word or two.
    pub(super) short: String,
    /// The client's host.
    pub(super) host: String,
    /// The request and what came of it.
    pub(super) outcome: String,
    /// Its exchange on the traffic, if it came that far.
    pub(super) exchange: Option<usize>,
    pub(super) began: Duration,
    pub(super) failed_at: Option<Duration>,
    /// The client's error, if it did not.
    pub(super) why: String,
}

/// Whether it is worth the while to look closer: most runs have no failure.
pub(super) fn is_possible(played: &Played) -> bool {
    played.sightings.exchanges.iter().any(may_have_failed) || accounts(&played.trace).iter().any(is_failure)
}

/// Finds for each exchange with a proxy the proxy's account of it. Accounts of failures that fit no exchange are of
/// requests that could not be read: they get an exchange of their own.
pub(super) fn assign(traffic: &mut Traffic, accounts: &[Account]) -> BTreeMap<usize, usize> {
    let mut settings = BTreeMap::new();
    let mut claimed = BTreeSet::new();
    let mut by_client: BTreeMap<&str, Vec<(usize, &Account)>> = BTreeMap::new();
    for (nth, account) in accounts.iter().enumerate() {
        by_client.entry(&account.client).or_default().push((nth, account));
    }
    let mut claim = |traffic: &Traffic, is_it: fn(&Exchange, &Account) -> bool| {
        for (nth, exchange) in traffic.exchanges.iter().enumerate() {
            let Some(conversation) = traffic.conversations.get(exchange.connection) else { continue };
            let its = by_client.get(conversation.client_address.to_string().as_str());
            if settings.contains_key(&nth) {
                continue;
            }
            if let Some(account) = its.and_then(|its| account_of(exchange, its, &claimed, is_it)) {
                claimed.insert(account);
                settings.insert(nth, account);
            }
        }
    };
    claim(traffic, |exchange, it| it.path == exchange.path || it.path == "-");
    // Normalised, or changed by a filter.
    claim(traffic, |exchange, it| it.method == exchange.method && it.status == status(exchange));
    for (account, it) in accounts.iter().enumerate().filter(|(nth, it)| !claimed.contains(nth) && is_failure(it)) {
        if traffic.push_unread(it) {
            settings.insert(traffic.exchanges.len() - 1, account);
        }
    }
    settings
}

/// The account of an exchange, among those of its connection that nothing else has claimed.
fn account_of(
    exchange: &Exchange,
    accounts: &[(usize, &Account)],
    claimed: &BTreeSet<usize>,
    is_it: impl Fn(&Exchange, &Account) -> bool,
) -> Option<usize> {
    let candidates = accounts.iter().filter(|(account, it)| {
        !claimed.contains(account)
            && Some(it.host) == exchange.server
            && is_it(exchange, it)
            && it.at >= exchange.request.began.at
    });
    let arrived = exchange.request.head_arrived.unwrap_or(exchange.request.began.at);
    // Streams of one connection may request one path at one time.
    let fits = |account: &Account| {
        let began = account.at.saturating_sub(account.took);
        (began.abs_diff(arrived).as_millis(), status(exchange).abs_diff(account.status))
    };
    candidates.min_by_key(|(_, account)| fits(account)).map(|(nth, _)| *nth)
}

/// The status that was sent; 0 if none was.
fn status(exchange: &Exchange) -> u16 {
    exchange.response.as_ref().map_or(0, |final_response| final_response.status)
}

/// A failure is a response from 400 on, no response, or a WebSocket that its client did not leave.
fn may_have_failed(exchange: &actor::Exchange) -> bool {
    let is_cut = || exchange.tunnel.is_some() && matches!(exchange.ended, Some((Ending::Fin | Ending::Rst, _)));
    match &exchange.outcome {
        Outcome::Response { status, .. } => *status >= 400 || is_cut(),
        Outcome::Failed(_) | Outcome::Waiting => true,
    }
}

/// The same, as a proxy sees it. A WebSocket ends with its connection, whichever side closes.
fn is_failure(account: &Account) -> bool {
    let has_left =
        account.status == 101 && account.flags.iter().all(|flag| matches!(flag, ResponseFlag::DC | ResponseFlag::DR));
    account.status >= 400 || (!account.flags.is_empty() && !has_left)
}

/// A request as a client or the network shows it.
enum Seen<'a> {
    /// Recorded by its client, with its exchange on the traffic if it came that far.
    Recorded(&'a actor::Exchange, Option<usize>),
    /// On the traffic alone.
    OnTraffic(usize, &'a Exchange),
}

impl Case<'_> {
    /// All failures, in the order in which they began.
    pub(super) fn failed(&self) -> Vec<Failure> {
        let failed = self.seen().into_iter().filter(|(request, _)| request.has_failed);
        let mut failures: Vec<Failure> = failed.map(|(request, seen)| self.failure(request, &seen)).collect();
        failures.sort_by_key(|failure| failure.began);
        failures
    }

    /// All requests, and what came of each.
    pub(super) fn requests(&self) -> Vec<Request> {
        self.seen().into_iter().map(|(request, _)| request).collect()
    }

    fn seen(&self) -> Vec<(Request, Seen<'_>)> {
        let trace = &self.played.trace;
        let (mut known, mut count) = (BTreeSet::new(), BTreeMap::new());
        let mut id = |host: &str, request: String| {
            let nth: &mut usize = count.entry((host.to_owned(), request.clone())).or_default();
            *nth += 1;
            RequestId { host: host.into(), request, nth: *nth }
        };
        let mut seen = Vec::new();
        for exchange in &self.played.sightings.exchanges {
            let nth = self.find(exchange, &known);
            known.extend(nth);
            let is_polite = nth.and_then(|nth| self.traffic.exchanges.get(nth)).is_some_and(|it| it.has_close_frame)
                && exchange.tunnel.is_some()
                && matches!(exchange.ended, Some((Ending::Fin, _)));
            let has_failed = may_have_failed(exchange) && !is_polite;
            let id = id(&exchange.host, exchange.request.clone());
            let has_response = matches!(exchange.outcome, Outcome::Response { .. });
            let request = Request { id, short: short(exchange), has_failed, has_response };
            seen.push((request, Seen::Recorded(exchange, nth)));
        }
        for (nth, exchange) in self.traffic.exchanges.iter().enumerate() {
            let is_of_client = !role(self.scenario, trace, exchange.client).is_none_or(passes_on);
            if !is_of_client || known.contains(&nth) {
                continue;
            }
            let status = exchange.response.as_ref().map(|final_response| final_response.status);
            let has_failed = match self.account(nth) {
                Some(account) => is_failure(account),
                None => status.is_some_and(|status| status >= 400),
            };
            let id = id(trace.host(exchange.client), format!("{} {}", exchange.method, exchange.path));
            let has_failed = has_failed && !exchange.has_close_frame;
            let short = match status {
                Some(status) if has_failed && status < 400 && !exchange.is_tunnel() => format!("{status}, incomplete"),
                Some(status) => status.to_string(),
                None => "no response".into(),
            };
            let request = Request { id, short, has_failed, has_response: status.is_some() };
            seen.push((request, Seen::OnTraffic(nth, exchange)));
        }
        seen
    }

    fn failure(&self, Request { id, short, .. }: Request, seen: &Seen<'_>) -> Failure {
        let host = id.host.clone();
        match seen {
            Seen::Recorded(exchange, nth) => Failure {
                id,
                short,
                host,
                outcome: exchange.to_string(),
                exchange: *nth,
                began: exchange.began,
                failed_at: exchange.responded,
                why: match &exchange.outcome {
                    Outcome::Failed(why) => why.clone(),
                    Outcome::Response { .. } | Outcome::Waiting => "nothing was sent".into(),
                },
            },
            Seen::OnTraffic(nth, exchange) => {
                let over = self.account(*nth).map(|account| account.at);
                Failure {
                    id,
                    short,
                    host,
                    outcome: line(exchange),
                    exchange: Some(*nth),
                    began: exchange.request.began.at,
                    failed_at: exchange.response.as_ref().map(|final_response| final_response.part.began.at).or(over),
                    why: String::new(),
                }
            }
        }
    }

    /// The client's own exchange on the wire: the first of its kind that began while it lasted, and is no other's.
    fn find(&self, of: &actor::Exchange, known: &BTreeSet<usize>) -> Option<usize> {
        let path = of.request.split(' ').nth(1)?;
        let lasted = of.began..=of.responded.unwrap_or(Duration::MAX);
        let mut exchanges = self.traffic.exchanges.iter().enumerate().filter(|(nth, _)| !known.contains(nth));
        let is_it = |exchange: &Exchange| {
            self.played.trace.host(exchange.client) == of.host
                && lasted.contains(&exchange.request.began.at)
                && exchange.path == path
        };
        exchanges.find(|(_, exchange)| is_it(exchange)).map(|(nth, _)| nth)
    }
}

/// What came of a request in a word or two.
fn short(exchange: &actor::Exchange) -> String {
    match &exchange.outcome {
        Outcome::Response { status, .. } if exchange.tunnel.is_some() && may_have_failed(exchange) => {
            format!("{status}, then cut")
        }
        Outcome::Response { status, .. } => status.to_string(),
        Outcome::Failed(_) => "no response".into(),
        Outcome::Waiting => "no response until the end".into(),
    }
}

/// The request and what came of it.
fn line(exchange: &Exchange) -> String {
    let requested = match exchange.path.as_str() {
        "-" if matches!(&exchange.response, Some(final_response) if final_response.status == 408) => {
            "an incomplete request".to_owned()
        }
        "-" => "a request that cannot be parsed".to_owned(),
        path => format!("{} {path}", exchange.method),
    };
    match &exchange.response {
        None => format!("{requested}: no response"),
        Some(final_response) => {
            let after = final_response.part.began.at.saturating_sub(exchange.request.began.at);
            let cut = if final_response.part.is_complete || exchange.is_tunnel() { "" } else { ", incomplete" };
            format!("{requested}: {} after {}{cut}", final_response.status, ms(after))
        }
    }
}
