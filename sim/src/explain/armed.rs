//! Every timer that ran, whether it ended anything or not: what a picture of the run shows beside the messages.
//!
//! No event records when a timer is armed, so it is derived from the configuration and from what crossed the network: a stream's
//! timers run from its head to its end, a connection's idle timer whenever it has no request.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use finwait::config::listener::Keepalive;
use finwait::config::route::Action;

use super::chain::Attempt;
use super::settings::{HostSettings, Routed, seconds};
use super::traffic::Exchange;
use super::{Case, role};
use crate::run::Played;
use crate::scenario::{Role, Scenario};
use crate::trace::HostId;
use crate::trace::conversation::{Conversation, Signal, SignalKind};
use crate::trace::spans::Timer;

/// A wait ends within this of its timer's value: what a host may take to read_delay.
const ACCURACY: Duration = Duration::from_millis(2);

impl Case<'_> {
    /// All timers, in the order in which they began to run.
    pub(super) fn timers(&self) -> Vec<Timer> {
        let mut armed = Armed::default();
        for (nth, exchange) in self.traffic.exchanges.iter().enumerate() {
            self.of_stream(nth, exchange, &mut armed);
        }
        for (nth, conversation) in self.traffic.conversations.iter().enumerate() {
            self.of_connection(nth, conversation, &mut armed);
        }
        armed.timers.sort_by_key(|timer| (timer.from, timer.host, timer.until));
        armed.timers
    }

    /// The timers of a request at a proxy.
    fn of_stream<'s>(&'s self, nth: usize, exchange: &Exchange, armed: &mut Armed<'s>) {
        let Some(account) = self.account(nth) else { return };
        let (host, over) = (account.host, account.at);
        let Some(settings) = armed.settings_of(self, host) else { return };
        let Some(led) = self.led(&settings, exchange) else { return };
        let timeouts = &led.options.timeouts;
        let began = exchange.request.began.at;
        let head = exchange.request.head_arrived;
        let requested = exchange.request.arrived.filter(|_| exchange.request.is_complete);
        armed.add(host, "request_headers_timeout", timeouts.request_headers, began, head.unwrap_or(over));
        armed.add(host, "request_timeout", timeouts.request, began, requested.unwrap_or(over).min(over));
        let Some((_, Action::Forward(forward))) = &led.route else { return };
        let idle = forward.idle_timeout.unwrap_or(timeouts.stream_idle);
        let last = self.moved_last(exchange, over);
        armed.add(host, "stream_idle_timeout", idle, last, over);
        let longest = forward.stream_duration_max.unwrap_or(timeouts.stream);
        armed.add(host, "max_stream_duration", longest, head.unwrap_or(began), over);
        if exchange.is_tunnel() {
            return;
        }
        armed.add(host, "route.timeout", forward.timeout, requested.unwrap_or(over), over);
        let per_try = forward.retry.as_ref().and_then(|policy| policy.per_try_timeout);
        for attempt in self.chain.attempts(nth) {
            let Attempt::Sent(upstream) = attempt else { continue };
            let Some(upstream) = self.traffic.exchanges.get(*upstream) else { continue };
            let responded = upstream.response.as_ref().and_then(|final_response| final_response.part.head_arrived);
            let ended = self.traffic.acts_on(upstream).next().map(|act| act.sent.at);
            let until = responded.or(ended).unwrap_or(over).min(over);
            armed.add(host, "per_try_timeout", per_try, upstream.request.began.at, until);
        }
    }

    /// When something moved last in a stream before it was over.
    fn moved_last(&self, exchange: &Exchange, over: Duration) -> Duration {
        let final_response = exchange.response.as_ref();
        let moves = [
            Some(exchange.request.began.at),
            exchange.request.head_arrived,
            exchange.request.arrived,
            final_response.map(|final_response| final_response.part.began.at),
            final_response.and_then(|final_response| self.last_sent(exchange.connection, final_response.part.bytes)),
        ];
        moves.into_iter().flatten().filter(|at| *at < over).max().unwrap_or(over)
    }

    /// When the server of a connection sent its last bytes, if it sent more than the head of a response.
    fn last_sent(&self, connection: usize, bytes: usize) -> Option<Duration> {
        let lane = &self.traffic.conversations.get(connection)?.from_server;
        let last = lane.bytes.len().checked_sub(1)?;
        lane.sent(last).map(|moment| moment.at).filter(|_| bytes > 0)
    }

    /// The timers of a connection, at both of its ends.
    fn of_connection<'s>(&'s self, nth: usize, conversation: &Conversation, armed: &mut Armed<'s>) {
        let trace = &self.played.trace;
        let first = |lane: &[Signal], kind| {
            lane.iter().find(|signal| signal.kind == kind).map(|signal| (signal.sent.at, signal.arrived))
        };
        let Some((dialled, _)) = first(&conversation.from_client.signals, SignalKind::Syn) else { return };
        let opened = first(&conversation.from_server.signals, SignalKind::SynAck).and_then(|(_, arrived)| arrived);
        let run_over = trace.entries().last().map_or(Duration::ZERO, |entry| entry.at);
        let end = self.ended_at(conversation).unwrap_or(run_over);
        if let Some((settings, forward)) = self.dialled_for(conversation, armed)
            && let Some(cluster) = forward.and_then(|nth| settings.cluster_by_number(nth))
        {
            armed.add(
                conversation.client,
                "connect_timeout",
                Some(cluster.connect_timeout),
                dialled,
                opened.unwrap_or(end),
            );
        }
        let Some(opened) = opened else { return };
        if let Some((settings, forward)) = self.dialled_for(conversation, armed)
            && let Some(cluster) = forward.and_then(|nth| settings.cluster_by_number(nth))
            && let Some(options) = cluster.protocol.always_http2()
        {
            self.of_pings(nth, conversation.client, options.keepalive, end, armed);
        }
        for (host, name, value) in self.idle_timeouts(conversation, armed) {
            for (from, until) in self.pauses(nth, host, opened, end) {
                armed.add(host, name, value, from, until);
            }
        }
        if let Some(server) = conversation.server
            && let Some(settings) = armed.settings_of(self, server)
            && let Some(manager) = settings.manager(conversation)
        {
            armed.add(server, "max_connection_duration", manager.timeouts.connection, opened, end);
            self.of_pings(nth, server, manager.http2.keepalive, end, armed);
        }
    }

    /// How long one end of a connection waited for each response to its PINGs.
    fn of_pings(&self, nth: usize, host: HostId, keepalive: Option<Keepalive>, end: Duration, armed: &mut Armed<'_>) {
        for (pinged, acknowledged) in self.traffic.pings(nth, host) {
            let timeout = keepalive.map(|keepalive| keepalive.timeout);
            armed.add(host, "connection_keepalive.timeout", timeout, pinged, acknowledged.unwrap_or(end).min(end));
        }
    }

    /// Who closes a connection that is not used, and after what time.
    fn idle_timeouts<'s>(
        &'s self,
        conversation: &Conversation,
        armed: &Armed<'s>,
    ) -> Vec<(HostId, &'static str, Option<Duration>)> {
        let trace = &self.played.trace;
        let mut found = Vec::new();
        if let Some((settings, forward)) = self.dialled_for(conversation, armed) {
            let idle = forward.and_then(|nth| settings.cluster_by_number(nth)).and_then(|cluster| cluster.idle_timeout);
            found.push((conversation.client, "cluster idle_timeout", idle));
        }
        const NAME: &str = "idle_timeout";
        match role(self.scenario, trace, conversation.client) {
            Some(Role::Alb(alb)) => found.push((conversation.client, NAME, Some(alb.idle_timeout.0))),
            Some(Role::Client(client)) => {
                found.push((conversation.client, NAME, client.idle_timeout.map(|time| time.0)))
            }
            Some(Role::App(_) | Role::Proxy { .. }) | None => {}
        }
        let Some(server) = conversation.server else { return found };
        match role(self.scenario, trace, server) {
            Some(Role::App(app)) => found.push((server, NAME, app.idle_timeout.map(|time| time.0))),
            Some(Role::Proxy { .. }) => {
                let settings = armed.settings_of(self, server);
                let manager = settings.as_ref().and_then(|settings| settings.manager(conversation));
                found.push((server, NAME, manager.and_then(|manager| manager.timeouts.idle)));
            }
            Some(Role::Alb(_) | Role::Client(_)) | None => {}
        }
        found
    }

    /// The settings of a proxy that opened a connection, and the number of the cluster that it was for.
    fn dialled_for<'s>(
        &'s self,
        conversation: &Conversation,
        armed: &Armed<'s>,
    ) -> Option<(Rc<HostSettings<'s>>, Option<usize>)> {
        let trace = &self.played.trace;
        let Some(Role::Proxy { .. }) = role(self.scenario, trace, conversation.client) else { return None };
        let settings = armed.settings_of(self, conversation.client)?;
        let cluster = settings.cluster_with(conversation.server_address);
        Some((settings, cluster))
    }

    /// When nothing was under way on a connection, as a host at one of its ends sees it.
    fn pauses(&self, connection: usize, host: HostId, opened: Duration, end: Duration) -> Vec<(Duration, Duration)> {
        let on_it = self.traffic.exchanges.iter().enumerate().filter(|(_, exchange)| exchange.connection == connection);
        let mut busy: Vec<(Duration, Duration)> = on_it
            .map(|(nth, exchange)| {
                let is_client = exchange.client == host;
                let final_response = exchange
                    .response
                    .as_ref()
                    .filter(|final_response| final_response.part.is_complete && !exchange.is_tunnel());
                let over = final_response.and_then(|final_response| {
                    if is_client { final_response.part.arrived } else { Some(final_response.part.began.at) }
                });
                let over = over.or(self.account(nth).map(|account| account.at)).unwrap_or(end);
                let arrived = exchange.request.head_arrived.filter(|_| !is_client);
                (arrived.unwrap_or(exchange.request.began.at), over)
            })
            .collect();
        busy.sort_unstable();
        let mut pauses = Vec::new();
        let mut idle_since = opened;
        for (from, until) in busy {
            if from.min(end) > idle_since {
                pauses.push((idle_since, from.min(end)));
            }
            idle_since = idle_since.max(until);
        }
        if end > idle_since {
            pauses.push((idle_since, end));
        }
        pauses
    }

    /// When the first end of a connection finished or broke it off.
    fn ended_at(&self, conversation: &Conversation) -> Option<Duration> {
        let signals = conversation.from_client.signals.iter().chain(&conversation.from_server.signals);
        let ends = signals.filter(|signal| matches!(signal.kind, SignalKind::Fin | SignalKind::Rst));
        ends.map(|signal| signal.sent.at).min()
    }

    fn led<'t>(&self, settings: &'t HostSettings<'_>, exchange: &Exchange) -> Option<Routed<'t>> {
        settings.led(exchange, self.traffic.conversations.get(exchange.connection)?)
    }
}

#[derive(Default)]
struct Armed<'s> {
    timers: Vec<Timer>,
    /// What is configured at each host, read once.
    known: RefCell<BTreeMap<HostId, Option<Rc<HostSettings<'s>>>>>,
}

impl<'s> Armed<'s> {
    fn settings_of(&self, case: &'s Case<'_>, host: HostId) -> Option<Rc<HostSettings<'s>>> {
        let read = || HostSettings::new(case.scenario, case.played.trace.host(host)).map(Rc::new);
        self.known.borrow_mut().entry(host).or_insert_with(read).clone()
    }

    fn add(&mut self, host: HostId, name: &str, value: Option<Duration>, from: Duration, until: Duration) {
        let Some(value) = value.filter(|_| from < until) else { return };
        let has_fired = (value..=value + ACCURACY).contains(&until.saturating_sub(from));
        self.timers.push(Timer { host, name: format!("{name} {}", seconds(value)), from, until, has_fired });
    }
}

/// Every timer that ran in a run, in the order in which they began to run.
#[must_use]
pub fn timers(scenario: &Scenario, played: &Played) -> Vec<Timer> {
    let mut timers = Case::new(scenario, played).timers();
    for known in super::explain_without_trials(scenario, played).into_iter().flat_map(|explanation| explanation.timers)
    {
        // What ended something is known exactly, and what merely ran from what crossed the network.
        timers.retain(|timer| (timer.host, &timer.name, timer.until) != (known.host, &known.name, known.until));
        timers.push(known);
    }
    timers.sort_by_key(|timer| (timer.from, timer.host, timer.until));
    timers
}
