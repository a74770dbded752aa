//! A request's way from hop to hop: which exchange of a proxy with its upstream carries on which exchange of its client.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::traffic::{Exchange, Traffic};
use crate::trace::HostId;

/// A connection that is opened this soon after a request came is that request's, whichever others are under way.
const TAKEN_UP_WITHIN: Duration = Duration::from_millis(1);

/// The exchanges and connects of each proxy that belong to an exchange with it, by the exchange's index.
#[derive(Default)]
pub(super) struct Chain {
    attempts: BTreeMap<usize, Vec<Attempt>>,
}

/// One attempt of a proxy at a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Attempt {
    /// It sent the request: the index of the exchange.
    Sent(usize),
    /// It did not get as far: the index of the conversation.
    Connecting(usize),
}

impl Chain {
    /// `proxies` are the hosts that forward requests.
    pub(super) fn link(traffic: &Traffic, proxies: &[HostId]) -> Self {
        let mut chain = Self::default();
        let mut claimed = vec![false; traffic.exchanges.len()];
        let used: BTreeSet<usize> = traffic.exchanges.iter().map(|exchange| exchange.connection).collect();
        let silent: Vec<usize> = (0..traffic.conversations.len()).filter(|nth| !used.contains(nth)).collect();
        for (nth, downstream) in traffic.exchanges.iter().enumerate() {
            let Some(proxy) = downstream.server.filter(|host| proxies.contains(host)) else { continue };
            let mut attempts = Vec::new();
            let mut id = downstream.field("x-request-id").map(str::to_owned);
            for (candidate, upstream) in traffic.exchanges.iter().enumerate() {
                if upstream.client != proxy
                    || claimed.get(candidate) != Some(&false)
                    || !is_within(downstream, upstream)
                {
                    continue;
                }
                if !belongs(downstream, upstream, id.as_deref()) {
                    continue;
                }
                // The first hop gives the identifier, which all its attempts share.
                id = id.or_else(|| upstream.field("x-request-id").map(str::to_owned));
                if let Some(claimed) = claimed.get_mut(candidate) {
                    *claimed = true;
                }
                attempts.push(Attempt::Sent(candidate));
            }
            attempts.extend(connects(traffic, proxy, downstream, &silent));
            attempts.sort_by_key(|attempt| match attempt {
                Attempt::Sent(nth) => traffic.exchanges.get(*nth).map(|exchange| exchange.request.began),
                Attempt::Connecting(nth) => {
                    traffic.conversations.get(*nth).and_then(|it| it.from_client.signals.first()).map(|it| it.sent)
                }
            });
            chain.attempts.insert(nth, attempts);
        }
        chain
    }

    /// What a proxy did about an exchange with it, in order.
    pub(super) fn attempts(&self, exchange: usize) -> &[Attempt] {
        self.attempts.get(&exchange).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Whether a request was sent while another was under way.
fn is_within(downstream: &Exchange, upstream: &Exchange) -> bool {
    let arrived = downstream.request.head_arrived.is_some_and(|at| at <= upstream.request.began.at);
    let responded =
        downstream.response.as_ref().is_some_and(|final_response| final_response.part.began < upstream.request.began);
    arrived && !responded
}

fn belongs(downstream: &Exchange, upstream: &Exchange, id: Option<&str>) -> bool {
    for (one, other) in [
        (id, upstream.field("x-request-id")),
        // It travels from end to end, so it distinguishes two clients of one proxy.
        (downstream.field("sec-websocket-key"), upstream.field("sec-websocket-key")),
    ] {
        if let (Some(one), Some(other)) = (one, other) {
            return one == other;
        }
    }
    downstream.path == upstream.path
}

/// Connections that were opened for this request and are among those that never carried one.
fn connects(traffic: &Traffic, proxy: HostId, downstream: &Exchange, silent: &[usize]) -> Vec<Attempt> {
    let is_due = |nth: &usize| {
        let began = traffic.conversations.get(*nth).and_then(|it| it.from_client.signals.first()).map(|syn| syn.sent);
        let (Some(arrived), Some(began)) = (downstream.request.head_arrived, began) else { return false };
        let came =
            |it: &Exchange| it.request.head_arrived.is_some_and(|at| (at..=at + TAKEN_UP_WITHIN).contains(&began.at));
        let of_another = || traffic.exchanges.iter().any(|it| it.server == Some(proxy) && came(it));
        let is_under_way = arrived <= began.at
            && downstream.response.as_ref().is_none_or(|final_response| began < final_response.part.began);
        is_under_way && (came(downstream) || !of_another())
    };
    let is_of_proxy = |nth: &usize| traffic.conversations.get(*nth).is_some_and(|it| it.client == proxy);
    silent.iter().copied().filter(is_of_proxy).filter(is_due).map(Attempt::Connecting).collect()
}
