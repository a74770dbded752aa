//! What one hop did about a failed request, and why.

use std::time::Duration;

use finwait::config::route::Action;

use super::chain::Attempt;
use super::details::details;
use super::settings::{Led, Setting, Told, seconds};
use super::wire::{Act, ActKind, Exchange, Protocol};
use super::{Case, HopStory, ms};
use crate::trace::conversation::SignalKind;
use crate::trace::spans::Timer;
use crate::trace::{Event, HostId};

/// A host that was asked.
pub(super) struct Hop<'a> {
    pub(super) case: &'a Case<'a>,
    /// The exchange in which it was asked.
    pub(super) exchange: &'a Exchange,
    /// Its index.
    pub(super) nth: usize,
}

/// What came of looking at a hop.
pub(super) struct Judged<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) story: HopStory,
    /// Whether the failure began here, as far as this hop can tell.
    pub(super) is_origin: bool,
    pub(super) cause: Cause,
    /// Who closed first, in a sentence.
    pub(super) closed: Option<String>,
    pub(super) timer: Option<Timer>,
    /// Where to look next.
    pub(super) next: Option<usize>,
    /// How often it tried.
    pub(super) tries: usize,
}

/// Why a hop did what it did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// It did not answer, as far as anybody waited.
    Busy,
    /// It could not connect, because nobody answers at the address.
    ConnectTimeout,
    /// It decided by itself; the word is that of `%RESPONSE_CODE_DETAILS%`.
    Decision(String),
    /// It did as the next hop did, whose exchange or act this is.
    NextHop { did: Option<ActKind>, crossed: bool },
    /// It is no proxy, and did as it liked.
    Own,
    /// Its connection was refused.
    Refused,
    /// A timer of its own.
    Timeout(Setting),
    /// What it did fits nothing that is known here.
    Unknown,
    /// It speaks another protocol than the next hop.
    WrongProtocol,
}

impl<'a> Hop<'a> {
    pub(super) fn judge(self, before: Option<&Judged<'_>>) -> Judged<'a> {
        let Some(host) = self.exchange.server else { return self.nobody() };
        match super::role(self.case.scenario, &self.case.played.trace, host) {
            Some(role) if super::passes_on(role) => self.proxy(host),
            _ => self.app(host, before),
        }
    }

    pub(super) fn name(&self, host: HostId) -> &'a str {
        self.case.played.trace.host(host)
    }

    pub(super) fn judged(self, host: &str, cause: Cause, did: Vec<String>) -> Judged<'a> {
        let story = HopStory { host: host.into(), did, because: None, log: None };
        Judged {
            exchange: self.exchange,
            story,
            is_origin: true,
            cause,
            closed: None,
            timer: None,
            next: None,
            tries: 0,
        }
    }

    fn nobody(self) -> Judged<'a> {
        self.judged("nobody", Cause::ConnectTimeout, vec!["no host has the address that was asked".into()])
    }

    /// A proxy: it passed on, gave up, or decided.
    fn proxy(self, host: HostId) -> Judged<'a> {
        let (case, exchange, nth) = (self.case, self.exchange, self.nth);
        let name = self.name(host);
        let told = Told::new(case.scenario, name);
        let to = case.wire.conversations.get(exchange.connection).map(|it| it.server_address);
        let led = told.as_ref().zip(to).and_then(|(told, to)| told.led(exchange, to));
        let log = self.log(host);
        let details = log.as_deref().and_then(details).unwrap_or_default();
        let attempts = case.chain.attempts(nth);
        let mut judged = match (self.expired(host, &details, told.as_ref(), led.as_ref()), attempts.last()) {
            (Some(timeout), last) => self.gave_up(host, timeout, last),
            (None, None) => match self.closed_before(host) {
                Some(act) => self.was_idle(host, act, told.as_ref().zip(led.as_ref())),
                None => self.decided(host, &details),
            },
            (None, Some(Attempt::Connecting(connection))) => {
                self.could_not_connect(host, *connection, told.as_ref().zip(led.as_ref()))
            }
            (None, Some(Attempt::Asked(upstream))) => self.depended(host, *upstream, &details),
        };
        if attempts.len() > 1 {
            judged.story.did.insert(0, format!("tried {} times; this is about the last", attempts.len()));
        }
        judged.tries = attempts.len();
        judged.story.log = log;
        judged
    }

    /// The line this hop logged about the exchange: the first that names its path once it was over.
    fn log(&self, host: HostId) -> Option<String> {
        let since = self.exchange.answer.as_ref().map(|answer| answer.part.began.at);
        let since = since.or(self.exchange.request.head_arrived)?;
        let lines = self.case.played.trace.entries().iter().filter(|entry| entry.at >= since);
        let mut of_host = lines.filter_map(|entry| {
            let Event::Log { host: at, line, .. } = &entry.event else { return None };
            (*at == host).then_some(line)
        });
        // What could not be read has no path.
        of_host.find(|line| line.contains(&self.exchange.path) || line.contains(" - - ")).cloned()
    }

    /// The timer that ended the exchange here, if one did.
    fn expired(
        &self,
        host: HostId,
        details: &str,
        told: Option<&Told<'_>>,
        led: Option<&Led<'_>>,
    ) -> Option<(Setting, Timer)> {
        let (told, led) = (told?, led?);
        let timeouts = &led.listener.manager.timeouts;
        let route = led.route.as_ref();
        let forward = route.and_then(
            |(path, action)| if let Action::Forward(forward) = action { Some((path, forward)) } else { None },
        );
        let (parent, below, value) = match details {
            "response_timeout" => {
                forward.and_then(|(path, forward)| Some((path, "route.timeout", forward.timeout?)))?
            }
            "stream_idle_timeout" => match forward.and_then(|(path, forward)| Some((path, forward.idle_timeout?))) {
                Some((path, value)) => (path, "route.idle_timeout", value?),
                None => (&led.manager, "stream_idle_timeout", timeouts.stream_idle?),
            },
            "max_duration_timeout" => {
                match forward.and_then(|(path, forward)| Some((path, forward.stream_duration_max?))) {
                    Some((path, value)) => (path, "route.max_stream_duration.max_stream_duration", value?),
                    None => (&led.manager, "common_http_protocol_options.max_stream_duration", timeouts.stream?),
                }
            }
            "upstream_per_try_idle_timeout" => {
                let (path, forward) = forward?;
                (path, "route.retry_policy.per_try_idle_timeout", forward.retry.as_ref()?.per_try_idle_timeout?)
            }
            "upstream_per_try_timeout" => {
                let (path, forward) = forward?;
                (path, "route.retry_policy.per_try_timeout", forward.per_try_timeout()?)
            }
            "request_overall_timeout" => (&led.manager, "request_timeout", timeouts.request?),
            "request_header_timeout" => (&led.manager, "request_headers_timeout", timeouts.request_headers?),
            _ => return None,
        };
        let setting = told.setting(parent, below, Some(seconds(value)));
        let until = self.ended(host)?;
        let name = format!("{below} {}", seconds(value));
        Some((setting, Timer { host, name, from: until.saturating_sub(value), until }))
    }

    /// When this hop ended the exchange: by its answer, or by what it did on either side.
    fn ended(&self, host: HostId) -> Option<Duration> {
        let answered = self.exchange.answer.as_ref().filter(|_| !self.exchange.is_tunnel()).map(|it| it.part.began.at);
        answered.or_else(|| {
            let after = self.case.chain.attempts(self.nth).iter().filter_map(|attempt| match attempt {
                Attempt::Asked(nth) => self.case.wire.exchanges.get(*nth),
                Attempt::Connecting(_) => None,
            });
            let acts =
                std::iter::once(self.exchange).chain(after).flat_map(|exchange| self.case.wire.acts_on(exchange));
            acts.filter(|act| act.by == host).map(|act| act.sent.at).min()
        })
    }

    fn gave_up(self, host: HostId, (setting, timer): (Setting, Timer), last: Option<&Attempt>) -> Judged<'a> {
        let next = last.and_then(|last| if let Attempt::Asked(nth) = last { Some(*nth) } else { None });
        let asked = next.and_then(|nth| self.case.wire.exchanges.get(nth));
        let upstream = asked.and_then(|it| it.server).map_or("the next hop", |server| self.name(server));
        let was = match asked {
            None => "nobody had been asked yet".to_owned(),
            Some(exchange) if exchange.is_tunnel() => "nothing had moved in either direction".into(),
            Some(exchange) if exchange.is_answered_by(timer.until) => "the next try had not begun".into(),
            Some(exchange) if exchange.answered_by(timer.until) => format!("{upstream} had not finished its answer"),
            Some(_) => format!("{upstream} had not answered"),
        };
        let name = self.name(host);
        let (at, tunnel) = (timer.until, self.exchange.is_tunnel());
        let gave = if tunnel { "cut the WebSocket" } else { "gave up" };
        let did = vec![format!("{gave} at {}: {} had passed, and {was}", ms(at), timer.name)];
        let closed = Some(format!("{name}, by its timer, at {}", ms(at)));
        let because = Some(setting.clone());
        let judged = self.judged(name, Cause::Timeout(setting), did);
        let story = HopStory { because, ..judged.story };
        Judged { story, closed, timer: Some(timer), next, ..judged }
    }

    /// What this hop had ended its client's connection with when the request was not there yet.
    fn closed_before(&self, host: HostId) -> Option<&'a Act> {
        let arrived = self.exchange.request.head_arrived?;
        let is_late = |act: &&Act| act.by == host && act.sent.at < arrived && self.exchange.answer.is_none();
        self.case.wire.acts_on(self.exchange).find(is_late)
    }

    fn was_idle(self, host: HostId, act: &Act, told: Option<(&Told<'_>, &Led<'_>)>) -> Judged<'a> {
        let name = self.name(host);
        let closed = Some(self.sentence(act));
        let did = vec![format!(
            "had ended the connection with {} at {}, before the request came",
            words(&act.kind),
            ms(act.sent.at)
        )];
        let timer = told.and_then(|(told, led)| {
            let value = led.listener.manager.timeouts.idle?;
            let below = "common_http_protocol_options.idle_timeout";
            let setting = told.setting(&led.manager, below, Some(seconds(value)));
            let from = self.case.wire.idle_since(act).filter(|from| act.sent.at.saturating_sub(*from) >= value)?;
            let name = format!("idle_timeout {}", seconds(value));
            Some((setting, Timer { host, name, from, until: act.sent.at }))
        });
        let Some((setting, timer)) = timer else {
            return Judged { closed, ..self.judged(name, Cause::Unknown, did) };
        };
        let judged = self.judged(name, Cause::Timeout(setting.clone()), did);
        let story = HopStory { because: Some(setting), ..judged.story };
        Judged { story, closed, timer: Some(timer), ..judged }
    }

    fn decided(self, host: HostId, details: &str) -> Judged<'a> {
        let name = self.name(host);
        let status = self.exchange.answer.as_ref().map(|answer| answer.status);
        let what = status.map_or("ended it without an answer".to_owned(), |status| format!("answered {status} itself"));
        let why = match details {
            "" => "and asked nobody".to_owned(),
            "absolute_path_rejected" | "path_normalization_failed" => {
                "because the path is not one that it takes".into()
            }
            "cluster_not_found" => "because the route's cluster does not exist".into(),
            "direct_response" => "because the route says so".into(),
            "http2.invalid.header.field" => {
                "because its connection manager has no allow_connect: an extended CONNECT is a malformed request to it"
                    .into()
            }
            "missing_host_header" => "because the request has no host".into(),
            "no_healthy_upstream" => "because the cluster has no endpoint that it may use".into(),
            "route_not_found" => "because no route takes the request".into(),
            "upgrade_failed" => "because upgrades to this protocol are not configured here".into(),
            other if other.contains("overflow") => "because a circuit breaker was open".into(),
            other => format!("({other}), and asked nobody"),
        };
        // What happens to a connection after an answer is nobody's reason for anything.
        let is_unanswered = self.exchange.answer.is_none();
        let closed = self.case.wire.acts_on(self.exchange).find(|_| is_unanswered).map(|act| self.sentence(act));
        let judged = self.judged(name, Cause::Decision(details.into()), vec![format!("{what} {why}")]);
        Judged { closed, ..judged }
    }

    fn could_not_connect(self, host: HostId, connection: usize, told: Option<(&Told<'_>, &Led<'_>)>) -> Judged<'a> {
        let name = self.name(host);
        let Some(conversation) = self.case.wire.conversations.get(connection) else {
            return self.judged(name, Cause::Unknown, Vec::new());
        };
        let to = conversation.server_address;
        let refusal = conversation.from_server.signals.iter().find(|signal| signal.kind == SignalKind::Rst);
        if let Some(refusal) = refusal {
            let server = conversation.server.map_or("nobody", |server| self.name(server));
            let closed = Some(format!("{server}, with RST, at {}: nobody listens on {to}", ms(refusal.sent.at)));
            let did = vec![format!(
                "could not connect to {to}: the connection was refused at {}",
                ms(refusal.arrived.unwrap_or(refusal.sent.at))
            )];
            return Judged { closed, ..self.judged(name, Cause::Refused, did) };
        }
        let from = conversation.from_client.signals.first().map_or(Duration::ZERO, |syn| syn.sent.at);
        let until = self.exchange.answer.as_ref().map_or(from, |answer| answer.part.began.at);
        let syns = conversation.from_client.signals.iter().filter(|signal| signal.kind == SignalKind::Syn).count();
        let did = vec![format!(
            "could not connect to {to}: {syns} SYN in {} and no answer",
            seconds(until.saturating_sub(from))
        )];
        let setting = told.and_then(|(told, led)| {
            let (_, Action::Forward(forward)) = led.route.as_ref()? else { return None };
            let (path, cluster) = told.cluster(forward)?;
            Some(told.setting(&path, "connect_timeout", Some(seconds(cluster.connect_timeout))))
        });
        let closed = Some(format!("{name}, by its timer, at {}", ms(until)));
        let timer = setting.as_ref().and_then(|it| it.value.clone()).map(|value| Timer {
            host,
            name: format!("connect_timeout {value}"),
            from,
            until,
        });
        let judged = self.judged(name, Cause::ConnectTimeout, did);
        let story = HopStory { because: setting, ..judged.story };
        Judged { story, closed, timer, ..judged }
    }

    /// It asked, and what it did followed from what came back.
    fn depended(self, host: HostId, nth: usize, details: &str) -> Judged<'a> {
        let case = self.case;
        let name = self.name(host);
        let Some(upstream) = case.wire.exchanges.get(nth) else { return self.judged(name, Cause::Unknown, Vec::new()) };
        let peer = upstream.server.map_or("nobody", |server| self.name(server));
        let next = Some(nth);
        let began = upstream.answer.as_ref().filter(|_| !upstream.is_tunnel());
        if let Some(answer) = began.filter(|_| details.starts_with("upstream_reset_after")) {
            let act = case.wire.acts_on(upstream).find(|act| act.by != host);
            let how = act.map_or_else(String::new, |act| format!(": {}", self.sentence(act)));
            let did = vec![format!("passed on a {} of {peer} that was cut short{how}", answer.status)];
            let closed = act.map(|act| self.sentence(act));
            let cause = Cause::NextHop { did: act.map(|act| act.kind.clone()), crossed: false };
            return Judged { closed, next, ..self.judged(name, cause, did) };
        }
        let was_reset = case.wire.acts_on(upstream).next().is_some_and(|act| matches!(act.kind, ActKind::Reset { .. }));
        if details.contains("protocol_error") && !was_reset {
            let did = vec![format!("could not read what {peer} said: its cluster is configured for another protocol")];
            return Judged { next, ..self.judged(name, Cause::WrongProtocol, did) };
        }
        if let Some(answer) = began {
            let got = self.exchange.answer.as_ref().map(|answer| answer.status);
            let passed = match got {
                Some(status) if status == answer.status => format!("passed on the {status} of {peer}"),
                Some(status) => format!("made {status} of the {} that {peer} answered", answer.status),
                None => format!("did not pass on the {} of {peer}", answer.status),
            };
            let judged = self.judged(name, Cause::NextHop { did: None, crossed: false }, vec![passed]);
            return Judged { is_origin: false, next, ..judged };
        }
        let Some(act) = case.wire.acts_on(upstream).next() else {
            let did = vec![format!("ended it while {peer} had not answered ({details})")];
            return Judged { next, ..self.judged(name, Cause::Unknown, did) };
        };
        let closed = Some(self.sentence(act));
        if act.by == host {
            // Only what it knew of by then.
            let is_known =
                |left: &&Act| left.by == self.exchange.client && left.arrived.is_some_and(|at| at <= act.sent.at);
            let left = case.wire.acts_on(self.exchange).find(is_known);
            if let Some(left) = left {
                let (who, what) = (self.name(left.by), words(&left.kind));
                let did = vec![format!("waited for {peer} until {who} ended it with {what} at {}", ms(left.sent.at))];
                return Judged { is_origin: false, next, ..self.judged(name, Cause::Busy, did) };
            }
            let did = vec![format!("ended it itself ({details}): {}", self.sentence(act))];
            return Judged { closed, next, ..self.judged(name, Cause::Unknown, did) };
        }
        // One was sent before the other arrived, in both directions.
        let before_it = upstream.request.head_arrived.is_none_or(|at| act.sent.at < at);
        let crossed = before_it && act.arrived.is_none_or(|at| at >= upstream.request.began.at);
        let asked = upstream.request.began.at;
        let mut did = Vec::new();
        if upstream.is_tunnel() {
            did.push(format!("lost the WebSocket: {}", self.sentence(act)));
        } else if crossed {
            did.push(format!("asked on a connection that was ending: its request left at {}, and crossed the {} that had left {peer} at {}", ms(asked), words(&act.kind), ms(act.sent.at)));
        } else {
            did.push(format!("asked {peer} at {}, which ended it: {}", ms(asked), words(&act.kind)));
        }
        let is_silent =
            case.wire.conversations.get(upstream.connection).is_some_and(|it| it.from_server.bytes.is_empty());
        if is_silent && upstream.speaks == Protocol::Http2 {
            did.push("without a word of HTTP/2, which is what its cluster is configured for".into());
            return Judged { closed, next, ..self.judged(name, Cause::WrongProtocol, did) };
        }
        let cause = Cause::NextHop { did: Some(act.kind.clone()), crossed };
        let is_origin = upstream.server.is_none();
        Judged { closed, is_origin, next, ..self.judged(name, cause, did) }
    }

    /// Who did it, with what, on which connection, when.
    pub(super) fn sentence(&self, act: &Act) -> String {
        let connection = act.connection + 1;
        format!("{}, with {} on connection {connection}, at {}", self.name(act.by), words(&act.kind), ms(act.sent.at))
    }
}

pub(super) fn words(kind: &ActKind) -> String {
    match kind {
        ActKind::Fin => "FIN".into(),
        ActKind::GoAway { last, code } => format!("GOAWAY {code} (last stream {last})"),
        ActKind::Reset { code, .. } => format!("RST_STREAM {code}"),
        ActKind::Rst => "RST".into(),
    }
}
