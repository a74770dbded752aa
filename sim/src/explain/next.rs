//! What a hop did that followed from the next one: its answer, its ending, or that it could not be reached.

use std::time::Duration;

use finwait::config::route::Action;

use super::chain::Attempt;
use super::hop::{Cause, Hop, Judged, Place, words};
use super::reasons;
use super::settings::seconds;
use super::wire::{Act, ActKind, Exchange, Protocol};
use super::{HopStory, ms};
use crate::trace::conversation::{Signal, SignalKind};
use crate::trace::spans::Timer;
use crate::trace::{HostId, Loss};

impl<'a> Hop<'a> {
    pub(super) fn could_not_connect(self, at: Place<'_>, connection: usize) -> Judged<'a> {
        let (host, name) = (at.host, self.name(at.host));
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
        let is_syn = |signal: &&Signal| signal.kind == SignalKind::Syn && signal.sent.at <= until;
        let syns = conversation.from_client.signals.iter().filter(is_syn).count();
        let mut did = vec![format!(
            "could not connect to {to}: {syns} SYN in {} and no answer",
            seconds(until.saturating_sub(from))
        )];
        let lost = conversation.from_client.signals.iter().rev().find_map(|signal| signal.lost);
        did.extend(lost.map(|lost| {
            match lost {
                Loss::Chance => "the link had lost it by chance",
                Loss::Fault => "a fault swallowed it on the way",
                Loss::NoHost => "no host has this address",
                Loss::NoPower => "the host that has this address had no power",
            }
            .to_owned()
        }));
        let setting = at.told.zip(at.led).and_then(|(told, led)| {
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
            has_fired: true,
        });
        let judged = self.judged(name, Cause::ConnectTimeout(lost), did);
        let story = HopStory { because: setting, ..judged.story };
        Judged { story, closed, timer, ..judged }
    }

    /// It asked, and what it did followed from what came back.
    pub(super) fn depended(self, host: HostId, nth: usize, details: &str) -> Judged<'a> {
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
        if let Some(left) = self.left(host, details) {
            return Judged { next, ..left };
        }
        let was_reset = case.wire.acts_on(upstream).next().is_some_and(|act| matches!(act.kind, ActKind::Reset { .. }));
        if details.contains("protocol_error") && !was_reset {
            let (why, cause) = match self.speaks_another(upstream) {
                true => ("its cluster is configured for another protocol", Cause::WrongProtocol),
                false => ("it is not HTTP as the RFCs have it", Cause::Unreadable),
            };
            let did = vec![format!("could not read what {peer} said: {why}")];
            return Judged { next, ..self.judged(name, cause, did) };
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
            // What came after it, on either side, is its consequence.
            let reason = reasons::of(reasons::of_own_end(details), &[])
                .map_or("for a reason that it does not tell", |reason| reason.why);
            let did = vec![format!("ended it itself, {reason}")];
            return Judged { closed, next, ..self.judged(name, Cause::Itself, did) };
        }
        // One was sent before the other arrived, in both directions.
        let before_it = upstream.request.head_arrived.is_none_or(|at| act.sent.at < at);
        let crossed = before_it && act.arrived.is_none_or(|at| at >= upstream.request.began.at);
        let asked = upstream.request.began.at;
        let mut did = Vec::new();
        if upstream.is_tunnel() {
            did.push(format!("lost the WebSocket: {}", self.sentence(act)));
        } else if act.arrived.is_some_and(|at| at < asked) {
            did.push(format!(
                "asked on a connection that had ended: {peer}'s {} of {} had arrived, and had not been noticed when the request \
                 left at {}",
                words(&act.kind),
                ms(act.sent.at),
                ms(asked)
            ));
        } else if crossed {
            did.push(format!("asked on a connection that was ending: its request, sent at {}, and {peer}'s {}, sent at {}, crossed on the way", ms(asked), words(&act.kind), ms(act.sent.at)));
        } else {
            did.push(format!("asked {peer} at {}, which ended it with {}", ms(asked), words(&act.kind)));
        }
        let is_silent =
            case.wire.conversations.get(upstream.connection).is_some_and(|it| it.from_server.bytes.is_empty());
        if is_silent && upstream.speaks == Protocol::Http2 {
            did.push("without a word of HTTP/2, which is what its cluster is configured for".into());
            return Judged { closed, next, ..self.judged(name, Cause::WrongProtocol, did) };
        }
        let flags = case.account(self.nth).map_or(&[][..], |account| account.flags.as_slice());
        if flags.iter().any(|flag| flag == "UO") {
            did.push("would have asked again, and as many retries as may be were under way".into());
        }
        let cause = Cause::NextHop { did: Some(act.kind.clone()), crossed };
        let is_origin = upstream.server.is_none();
        Judged { closed, is_origin, next, ..self.judged(name, cause, did) }
    }

    /// That its client had gone, if that is why it stopped.
    fn left(&self, host: HostId, details: &str) -> Option<Judged<'a>> {
        let ended = self.ended(host);
        let is_said = matches!(details, "downstream_remote_disconnect" | "http2.remote_reset");
        // Only what it knew of by then.
        let is_known = |left: &&Act| {
            left.by == self.exchange.client && left.arrived.is_some_and(|at| ended.is_none_or(|ended| at <= ended))
        };
        let is_likely = details.is_empty() && (self.exchange.answer.is_none() || self.exchange.is_tunnel());
        let left = self.case.wire.acts_on(self.exchange).find(is_known).filter(|_| is_said || is_likely)?;
        let upstream = self.case.chain.attempts(self.nth).last().and_then(|last| match last {
            Attempt::Asked(nth) => self.case.wire.exchanges.get(*nth)?.server,
            Attempt::Connecting(_) => None,
        });
        let peer = upstream.map_or("the next hop", |server| self.name(server));
        let (who, what) = (self.name(left.by), words(&left.kind));
        let did = vec![format!("waited for {peer} until {who} ended it with {what} at {}", ms(left.sent.at))];
        let is_client =
            !super::role(self.case.scenario, &self.case.played.trace, left.by).is_some_and(super::passes_on);
        let (cause, closed) = if is_client { (Cause::Left, Some(self.sentence(left))) } else { (Cause::Busy, None) };

        Some(Judged { is_origin: is_client, closed, ..self.judged(self.name(host), cause, did) })
    }

    /// Whether a server answered in a protocol that it was not asked in.
    fn speaks_another(&self, upstream: &Exchange) -> bool {
        let said = self.case.wire.conversations.get(upstream.connection).map(|it| it.from_server.bytes.as_slice());
        let is_http1 = said.unwrap_or_default().starts_with(b"HTTP/1.");
        is_http1 != (upstream.speaks == Protocol::Http1)
    }
}
