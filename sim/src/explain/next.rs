//! What a hop did that followed from the next one: its response, its ending, or that it could not be reached.

use std::time::Duration;

use finwait::access_log::{Details, ResetCause, ResponseFlag, ResponseStart, UpstreamReset};
use finwait::codec::Violation;
use finwait::config::route::Action;

use super::act::{Act, ActKind};
use super::chain::Attempt;
use super::handshake::Handshake;
use super::hop::{Cause, Hop, Judged, ProxyView, ending, words};
use super::limits::OverLimit;
use super::reasons;
use super::settings::{HostSettings, seconds};
use super::traffic::{Complaint, Exchange, Protocol};
use super::unknown::not_found;
use super::{HopStory, NO_HOST, ms};
use crate::trace::accounts::Account;
use crate::trace::conversation::{Signal, SignalKind};
use crate::trace::spans::Timer;
use crate::trace::wire::begins_tls;
use crate::trace::{HostId, Loss};

impl<'a> Hop<'a> {
    /// That the handshake of a connection to the next hop failed.
    pub(super) fn handshake_failed(self, at: ProxyView<'_>, connection: usize) -> Option<Judged<'a>> {
        let failed = Handshake::failed(&self.case.traffic, connection)?;
        let closed = Some(failed.closed_first(self.case));
        let cause = Cause::Handshake(failed.mismatch(self.case));
        Some(Judged { closed, ..self.judged(self.name(at.host), cause, failed.done_by_client(self.case)) })
    }

    /// That a client whose request it had got was refused by TLS: in version 1.3 a client may send before the server has seen its
    /// certificate.
    pub(super) fn refused_by_tls(self, host: HostId) -> Option<Judged<'a>> {
        let failed = Handshake::failed(&self.case.traffic, self.exchange.connection)?;
        let closed = Some(failed.closed_first(self.case));
        let did = vec![failed.ended(self.case, Some(host))];
        // It is the client's to change.
        let cause = Cause::Handshake(failed.mismatch(self.case).elsewhere());
        Some(Judged { closed, ..self.judged(self.name(host), cause, did) })
    }

    pub(super) fn could_not_connect(self, at: ProxyView<'_>, connection: usize) -> Judged<'a> {
        let (host, name) = (at.host, self.name(at.host));
        let Some(conversation) = self.case.traffic.conversations.get(connection) else {
            return self.judged(name, Cause::Unknown, Vec::new());
        };
        let to = conversation.server_address;
        let refusal = conversation.from_server.signals.iter().find(|signal| signal.kind == SignalKind::Rst);
        if let Some(refusal) = refusal {
            let server = conversation.server.map_or(NO_HOST, |server| self.name(server));
            let closed = Some(format!("{server}, with RST, at {}: no listener on {to}", ms(refusal.sent.at)));
            let did = vec![format!(
                "could not connect to {to}: the connection was refused at {}",
                ms(refusal.arrived.unwrap_or(refusal.sent.at))
            )];
            return Judged { closed, ..self.judged(name, Cause::Refused, did) };
        }
        let from = conversation.from_client.signals.first().map_or(Duration::ZERO, |syn| syn.sent.at);
        let until = self.exchange.response.as_ref().map_or(from, |final_response| final_response.part.began.at);
        let is_syn = |signal: &&Signal| signal.kind == SignalKind::Syn && signal.sent.at <= until;
        let syns = conversation.from_client.signals.iter().filter(is_syn).count();
        let mut did = vec![format!(
            "could not connect to {to}: {syns} SYN in {} and no reply",
            seconds(until.saturating_sub(from))
        )];
        let lost = conversation.from_client.signals.iter().rev().find_map(|signal| signal.lost);
        did.extend(lost.map(|lost| {
            match lost {
                Loss::Chance => "the link lost the last one by chance",
                Loss::Fault => "a fault of the scenario dropped the last one",
                Loss::NoHost => "no host has this address",
                Loss::NoPower => "the host with this address had no power",
            }
            .to_owned()
        }));
        let setting = at.settings.zip(at.led).and_then(|(settings, led)| {
            let (_, Action::Forward(forward)) = led.route.as_ref()? else { return None };
            let (path, cluster) = settings.cluster(forward)?;
            Some(settings.setting(&path, "connect_timeout", Some(seconds(cluster.connect_timeout))))
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

    /// It sent the request on, and what it did followed from what came back.
    pub(super) fn depended(self, host: HostId, nth: usize, details: Option<&Details>) -> Judged<'a> {
        let Some(upstream) = self.case.traffic.exchanges.get(nth) else {
            return self.judged(self.name(host), Cause::Unknown, Vec::new());
        };
        let judged = self
            .cut_short(host, upstream, details)
            .or_else(|| self.left(host, details))
            .or_else(|| self.could_not_read(host, upstream, details))
            .or_else(|| self.passed_on(host, upstream, details))
            .unwrap_or_else(|| self.lost(host, upstream, details));
        Judged { next: Some(nth), ..judged }
    }

    fn peer(&self, upstream: &Exchange) -> &'a str {
        upstream.server.map_or(NO_HOST, |server| self.name(server))
    }

    /// That the response it passed on was cut short.
    fn cut_short(self, host: HostId, upstream: &Exchange, details: Option<&Details>) -> Option<Judged<'a>> {
        let began = upstream.response.as_ref().filter(|_| !upstream.is_tunnel());
        let final_response =
            began.filter(|_| reset_of(details).is_some_and(|reset| reset.response == ResponseStart::After))?;
        if let Some(act) = self.case.traffic.acts_on(upstream).next().filter(|act| act.by == host) {
            return Some(self.broke_off(host, upstream, final_response.status, act, details));
        }
        let act = self.case.traffic.acts_on(upstream).find(|act| act.by != host);
        let how = act.map_or_else(String::new, |act| format!(": {}", self.sentence(act)));
        let mut did =
            vec![format!("forwarded a {} of {} that was cut short{how}", final_response.status, self.peer(upstream))];
        did.extend(self.complained(host, upstream));
        let closed = act.map(|act| self.sentence(act));
        let cause = Cause::NextHop { did: act.map(|act| act.kind.clone()), crossed: false };
        Some(Judged { closed, ..self.judged(self.name(host), cause, did) })
    }

    /// What the next hop had said before it ended the connection.
    fn complained(self, host: HostId, upstream: &Exchange) -> Option<String> {
        let traffic = &self.case.traffic;
        let Complaint { code, last, sent } = traffic.complaint(upstream, upstream.server?)?;
        let pings = traffic.pings(upstream.connection, host).filter(|(pinged, _)| *pinged <= sent.at).count();
        let after = if pings > 0 { format!(", after {pings} PINGs of {}", self.name(host)) } else { String::new() };
        Some(format!("{} had sent GOAWAY {code} (last stream {last}) at {}{after}", self.peer(upstream), ms(sent.at)))
    }

    /// That it ended a response itself that it had begun to pass on. What the next hop did later is the consequence.
    fn broke_off(
        self,
        host: HostId,
        upstream: &Exchange,
        status: u16,
        act: &Act,
        details: Option<&Details>,
    ) -> Judged<'a> {
        let (why, cause) = self.unfit(upstream, details, "what followed the response head");
        let did = vec![format!("reset the {status} of {} after its head{why}", self.peer(upstream))];
        Judged { closed: Some(self.sentence(act)), ..self.judged(self.name(host), cause, did) }
    }

    /// That what came back was no message of its protocol.
    fn could_not_read(self, host: HostId, upstream: &Exchange, details: Option<&Details>) -> Option<Judged<'a>> {
        let first = self.case.traffic.acts_on(upstream).next();
        let was_reset = first.is_some_and(|act| matches!(act.kind, ActKind::Reset { .. }));
        if reset_of(details).is_none_or(|reset| reset.cause != ResetCause::Protocol) || was_reset {
            return None;
        }
        if self.met_tls(upstream) {
            let peer = self.peer(upstream);
            let did = vec![format!("sent the request in clear text, and {peer} responded with a message of TLS")];
            return Some(self.judged(self.name(host), Cause::WithoutTls, did));
        }
        let (why, cause) = match (self.uses_another_protocol(upstream), OverLimit::of(upstream)) {
            (true, _) => ("the cluster is configured for another protocol".to_owned(), Cause::WrongProtocol),
            (false, Some(OverLimit { limit, why })) => (why, Cause::OverLimit(limit)),
            (false, None) => (NOT_HTTP.to_owned(), Cause::Unreadable),
        };
        let did = vec![format!("could not parse the response of {}: {why}", self.peer(upstream))];
        Some(self.judged(self.name(host), cause, did))
    }

    /// That it passed on a response, or responded otherwise itself.
    fn passed_on(self, host: HostId, upstream: &Exchange, details: Option<&Details>) -> Option<Judged<'a>> {
        let final_response = upstream.response.as_ref().filter(|_| !upstream.is_tunnel())?;
        let peer = self.peer(upstream);
        let passed = match self.exchange.response.as_ref().map(|final_response| final_response.status) {
            Some(status) if status == final_response.status => format!("forwarded the {status} of {peer}"),
            Some(status) => {
                let (why, cause) = self.unfit(upstream, details, "its head");
                let did =
                    vec![format!("responded {status} itself in place of the {} of {peer}{why}", final_response.status)];
                let act = self.case.traffic.acts_on(upstream).next().filter(|act| act.by == host);
                let closed = act.map(|act| self.sentence(act));
                return Some(Judged { closed, ..self.judged(self.name(host), cause, did) });
            }
            None => format!("did not forward the {} of {peer}", final_response.status),
        };
        let judged = self.judged(self.name(host), Cause::NextHop { did: None, crossed: false }, vec![passed]);
        Some(Judged { is_origin: false, ..judged })
    }

    /// It got no response: an end of the exchange came first, its own or the next hop's.
    fn lost(self, host: HostId, upstream: &Exchange, details: Option<&Details>) -> Judged<'a> {
        let name = self.name(host);
        let Some(act) = self.case.traffic.acts_on(upstream).next() else {
            let what = format!("ended the request before {} responded", self.peer(upstream));
            let did = self.without_cause(upstream, details, &what);
            return self.judged(name, Cause::Unknown, did);
        };
        let closed = Some(self.sentence(act));
        if act.by == host {
            // What came after it, on either side, is its consequence.
            let did = match reasons::of(reasons::of_own_end(details).as_ref(), &[]) {
                Some(reason) => vec![format!("ended the request itself, {}", reason.why)],
                None => self.without_cause(upstream, details, "ended the request itself"),
            };
            return Judged { closed, ..self.judged(name, Cause::Itself, did) };
        }
        let meeting = Meeting::of(upstream, act);
        let mut did = vec![self.met(upstream, act, &meeting) + &self.preconnected(host, upstream).unwrap_or_default()];
        let conversation = self.case.traffic.conversations.get(upstream.connection);
        let is_silent = conversation.is_some_and(|it| it.from_server.bytes.is_empty());
        if is_silent && upstream.protocol == Protocol::Http2 {
            did.push("no HTTP/2 frame was received, and the cluster is configured for HTTP/2".into());
            return Judged { closed, ..self.judged(name, Cause::WrongProtocol, did) };
        }
        let flags = self.case.account(self.nth).map_or(&[][..], |account| account.flags.as_slice());
        if flags.contains(&ResponseFlag::UO) {
            did.push("would have retried, but the limit of concurrent retries was reached".into());
        }
        let cause = Cause::NextHop { did: Some(act.kind.clone()), crossed: crosses(upstream, act) };
        let is_origin = upstream.server.is_none();
        Judged { closed, is_origin, ..self.judged(name, cause, did) }
    }

    /// It forwarded the request, but not as HTTP on a connection of its own: inside a tunnel, as the bytes of one, or to an
    /// internal listener. So there is no exchange to look at, and its account is all that is known.
    pub(super) fn forwarded_unread(self, host: HostId, account: Option<&Account>) -> Option<Judged<'a>> {
        let account = account?;
        let (upstream, details) = (account.upstream.as_deref()?, account.details.as_ref()?);
        let what = if self.exchange.is_tunnel() { "opened the tunnel" } else { "forwarded the request" };
        let status = self.exchange.response.as_ref().map(|final_response| final_response.status);
        let (cause, then) = if *details == Details::ViaUpstream {
            (Cause::Unread, status.map_or_else(String::new, |status| format!(", and forwarded its {status}")))
        } else if *details == Details::DownstreamDisconnect {
            (Cause::Left, ", until its client disconnected".to_owned())
        } else if details.upstream_reset().is_some() {
            (Cause::Unread, format!(", which ended the connection ({details})"))
        } else {
            return None;
        };
        let did = format!("{what} to {upstream}{then}");
        Some(self.judged(self.name(host), cause, vec![did]))
    }

    /// How a request met the end of its connection or stream, in words.
    fn met(&self, upstream: &Exchange, act: &Act, meeting: &Meeting) -> String {
        let (peer, requested, kind, sent) =
            (self.peer(upstream), ms(upstream.request.began.at), words(&act.kind), ms(act.sent.at));
        match meeting {
            Meeting::Tunnel => format!("lost the {}: {}", upstream.tunnel_name(), self.sentence(act)),
            Meeting::Unnoticed => format!(
                "sent the request on a connection that had ended: {peer}'s {kind} of {sent} had arrived, and had not been read when \
                 the request was sent at {requested}"
            ),
            Meeting::Crossed => format!(
                "used a connection that was ending: the request, sent at {requested}, and {peer}'s {kind}, sent at {sent}, crossed in flight"
            ),
            Meeting::Reaction => format!("sent the request to {peer} at {requested}, which {}", ending(&act.kind)),
        }
    }

    /// That the connection was opened before there was a request for it, and carried none until then.
    fn preconnected(&self, host: HostId, upstream: &Exchange) -> Option<String> {
        let traffic = &self.case.traffic;
        let conversation = traffic.conversations.get(upstream.connection)?;
        let opened = conversation.from_client.signals.first()?.sent.at;
        if traffic.idle_before(upstream).is_some() || opened >= self.exchange.request.began.at {
            return None;
        }
        let settings = HostSettings::new(self.case.scenario, self.name(host))?;
        let cluster = settings.cluster_by_number(settings.cluster_with(conversation.server_address)?)?;
        let is_wanted = cluster.preconnect_percent > 100 || cluster.predictive_percent > 100;
        is_wanted.then(|| format!("; it was preconnected at {}, and this was its first request", ms(opened)))
    }

    /// That its client had gone, if that is why it stopped.
    fn left(&self, host: HostId, details: Option<&Details>) -> Option<Judged<'a>> {
        let ended = self.ended(host);
        let is_logged = matches!(details, Some(Details::DownstreamDisconnect | Details::Codec(Violation::RemoteReset)));
        // Only what it knew of by then.
        let is_known = |left: &&Act| {
            left.by == self.exchange.client && left.arrived.is_some_and(|at| ended.is_none_or(|ended| at <= ended))
        };
        let is_likely = details.is_none() && (self.exchange.response.is_none() || self.exchange.is_tunnel());
        let left = self.case.traffic.acts_on(self.exchange).find(is_known).filter(|_| is_logged || is_likely)?;
        let upstream = self.case.chain.attempts(self.nth).last().and_then(|last| match last {
            Attempt::Sent(nth) => self.case.traffic.exchanges.get(*nth)?.server,
            Attempt::Connecting(_) => None,
        });
        let peer = upstream.map_or("the next hop", |server| self.name(server));
        let (client, what) = (self.name(left.by), ending(&left.kind));
        let did = vec![format!("waited for {peer} until {client} {what} at {}", ms(left.sent.at))];
        let is_client =
            !super::role(self.case.scenario, &self.case.played.trace, left.by).is_some_and(super::passes_on);
        let (cause, closed) = if is_client { (Cause::Left, Some(self.sentence(left))) } else { (Cause::Busy, None) };

        Some(Judged { is_origin: is_client, closed, ..self.judged(self.name(host), cause, did) })
    }

    /// Why it did not pass on a response, of which `part` was what mattered: the end of the sentence.
    fn unfit(&self, upstream: &Exchange, details: Option<&Details>, part: &str) -> (String, Cause) {
        if let Some(OverLimit { limit, why }) = OverLimit::of(upstream) {
            return (format!(": {why}"), Cause::OverLimit(limit));
        }
        if reset_of(details).is_some_and(|reset| reset.cause == ResetCause::Protocol) {
            return (format!(": {part} is not valid HTTP"), Cause::Unreadable);
        }
        let flags = self.case.account(self.nth).map_or(&[][..], |account| account.flags.as_slice());
        // It did not pass the response on, whatever it logged.
        let own = details.filter(|details| **details != Details::ViaUpstream);
        match reasons::of(own, flags) {
            Some(reason) => (format!(" {}", reason.why), Cause::Itself),
            None => (format!(": {}", not_found(details)), Cause::Itself),
        }
    }

    fn without_cause(&self, upstream: &Exchange, details: Option<&Details>, what: &str) -> Vec<String> {
        let mut did = vec![format!("{what}: {}", not_found(details))];
        did.extend(self.last_events(Some(upstream)));
        did
    }

    /// Whether a server responded in another protocol than that of the request.
    /// Whether the next hop responded with TLS to what was clear text.
    fn met_tls(&self, upstream: &Exchange) -> bool {
        let conversation = self.case.traffic.conversations.get(upstream.connection);
        conversation.is_some_and(|it| !begins_tls(&it.from_client.bytes) && begins_tls(&it.from_server.bytes))
    }

    fn uses_another_protocol(&self, upstream: &Exchange) -> bool {
        let sent = self.case.traffic.conversations.get(upstream.connection).map(|it| it.from_server.bytes.as_slice());
        let is_http1 = sent.unwrap_or_default().starts_with(b"HTTP/1.");
        is_http1 != (upstream.protocol == Protocol::Http1)
    }
}

const NOT_HTTP: &str = "it is not valid HTTP";

/// How a request and the end of its connection or stream met.
enum Meeting {
    /// The end followed from the request.
    Reaction,
    /// Each was sent before the other had arrived.
    Crossed,
    /// It was no request any more.
    Tunnel,
    /// The end had arrived before the request was sent.
    Unnoticed,
}

impl Meeting {
    fn of(upstream: &Exchange, act: &Act) -> Self {
        match act.arrived {
            _ if upstream.is_tunnel() => Self::Tunnel,
            Some(at) if at < upstream.request.began.at => Self::Unnoticed,
            _ if crosses(upstream, act) => Self::Crossed,
            _ => Self::Reaction,
        }
    }
}

/// How the upstream failed, if it did.
fn reset_of(details: Option<&Details>) -> Option<&UpstreamReset> {
    details.and_then(Details::upstream_reset)
}

/// Whether a request and the end of its exchange were under way at once, in opposite directions.
fn crosses(upstream: &Exchange, act: &Act) -> bool {
    let before_it = upstream.request.head_arrived.is_none_or(|at| act.sent.at < at);
    before_it && act.arrived.is_none_or(|at| at >= upstream.request.began.at)
}
