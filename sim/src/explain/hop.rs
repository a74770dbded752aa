//! What one hop did about a failed request, and why.

use finwait::access_log::{Details, ResetCause, ResponseFlag};

use super::act::{Act, ActKind};
use super::beginning::Beginning;
use super::chain::Attempt;
use super::handshake::Mismatch;
use super::limits::Limit;
use super::settings::{HostSettings, Routed, Setting};
use super::traffic::Exchange;
use super::{Case, HopStory, NO_HOST, ms};
use crate::left_out::LeftOut;
use crate::trace::accounts::Account;
use crate::trace::spans::Timer;
use crate::trace::{Event, HostId, Loss};

/// A host that got a request.
#[derive(Clone, Copy)]
pub(super) struct Hop<'a> {
    pub(super) case: &'a Case<'a>,
    /// The exchange of that request.
    pub(super) exchange: &'a Exchange,
    /// The index of its exchange.
    pub(super) nth: usize,
}

/// A proxy, its settings, and where those led the request.
#[derive(Clone, Copy)]
pub(super) struct ProxyView<'t> {
    pub(super) host: HostId,
    pub(super) settings: Option<&'t HostSettings<'t>>,
    pub(super) led: Option<&'t Routed<'t>>,
}

/// What came of looking at a hop.
pub(super) struct Judged<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) story: HopStory,
    /// Whether the failure began here, as far as this hop shows.
    pub(super) is_origin: bool,
    pub(super) cause: Cause,
    /// Who closed first, in a sentence.
    pub(super) closed: Option<String>,
    pub(super) timer: Option<Timer>,
    /// Where to look next.
    pub(super) next: Option<usize>,
    /// How often it tried.
    pub(super) tries: usize,
    /// Its own account of it; none of a host that is no proxy.
    pub(super) account: Option<&'a Account>,
}

/// Why a hop did what it did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// The request was for its admin interface.
    Admin,
    /// It did not respond for as long as the hop before waited.
    Busy,
    /// The connection begins otherwise than its listener has it; this setting is about it.
    Beginning(Beginning, Setting),
    /// It could not connect: the address did not reply, or its last SYN was lost.
    ConnectTimeout(Option<Loss>),
    /// It decided by itself.
    Decision,
    /// The two ends of TLS did not agree.
    Handshake(Mismatch),
    /// It ended the exchange for a reason of its own, and what others did later is the consequence.
    Itself,
    /// Its client left first.
    Left,
    /// No filter chain of its listener takes the connection; this setting would.
    NoFilterChain(Setting),
    /// It did as the next hop did, whose exchange or act this is.
    NextHop { did: Option<ActKind>, crossed: bool },
    /// What the next hop sent is larger than it takes.
    OverLimit(Limit),
    /// It is no proxy, and did as it liked.
    Own,
    /// Its connection was refused.
    Refused,
    /// A timer of its own.
    Timeout(Setting),
    /// What it did fits nothing that is known here.
    Unknown,
    /// What became of the request behind it is not HTTP on a connection of its own, and was not read.
    Unread,
    /// What the next hop sent is no HTTP.
    Unreadable,
    /// The next hop wants TLS on its port, and the cluster has none.
    WithoutTls,
    /// It uses another protocol than the next hop.
    WrongProtocol,
}

impl<'a> Hop<'a> {
    pub(super) fn judge(self, before: Option<&Judged<'_>>) -> Judged<'a> {
        let Some(host) = self.exchange.server else { return self.no_host() };
        match super::role(self.case.scenario, &self.case.played.trace, host) {
            Some(role) if super::passes_on(role) => self.proxy(host),
            _ => self.app(host, before),
        }
    }

    pub(super) fn name(&self, host: HostId) -> &'a str {
        self.case.played.trace.host(host)
    }

    pub(super) fn judged(self, host: &str, cause: Cause, did: Vec<String>) -> Judged<'a> {
        let story = HopStory { host: host.into(), did, ..HopStory::default() };
        Judged {
            exchange: self.exchange,
            story,
            is_origin: true,
            cause,
            closed: None,
            timer: None,
            next: None,
            tries: 0,
            account: None,
        }
    }

    fn no_host(self) -> Judged<'a> {
        self.judged(
            NO_HOST,
            Cause::ConnectTimeout(Some(Loss::NoHost)),
            vec!["no host has the destination address".into()],
        )
    }

    /// A proxy: it passed on, gave up, or decided.
    fn proxy(self, host: HostId) -> Judged<'a> {
        let (case, exchange, nth) = (self.case, self.exchange, self.nth);
        let settings = HostSettings::new(case.scenario, self.name(host));
        let connection = case.traffic.conversations.get(exchange.connection);
        let led =
            settings.as_ref().zip(connection).and_then(|(settings, connection)| settings.led(exchange, connection));
        let at = ProxyView { host, settings: settings.as_ref(), led: led.as_ref() };
        let account = case.account(nth);
        let details = account.and_then(|account| account.details.as_ref());
        let attempts = case.chain.attempts(nth);
        let stopped = self.expired(at, details).or_else(|| self.ping_timeout(at));
        // A connect that is under way when the stream ends for another reason is no failure.
        let has_failed_to_connect = account.is_none_or(|account| account.flags.contains(&ResponseFlag::UF));
        let tried = attempts.last();
        let refused = self.refused_by_tls(host).filter(|_| tried.is_none() && account.is_none());
        let mut judged = match (stopped, tried) {
            _ if refused.is_some() => refused.unwrap_or_else(|| self.decided(at, details)),
            (Some(stopped), last) => self.gave_up(host, stopped, last),
            (None, Some(Attempt::Connecting(connection))) if has_failed_to_connect => {
                let handshake = self.handshake_failed(at, *connection);
                handshake.unwrap_or_else(|| self.could_not_connect(at, *connection))
            }
            (None, Some(Attempt::Sent(upstream))) if !is_refusal(details) => self.depended(host, *upstream, details),
            (None, _) => match self.closed_before(host) {
                Some(act) => self.was_idle(at, act),
                None => self.forwarded_unread(host, account).unwrap_or_else(|| self.decided(at, details)),
            },
        };
        if attempts.len() > 1 {
            judged.story.did.insert(0, format!("made {} attempts; this is about the last", attempts.len()));
        }
        judged.tries = attempts.len();
        judged.story.without = self.without(at);
        judged.story.log = account.and_then(|account| self.log(account));
        judged.account = account;
        judged
    }

    /// What its configuration was read without on the way of the request, if that may decide what becomes of one.
    fn without(&self, at: ProxyView<'_>) -> Vec<String> {
        let case = self.case;
        let (name, manager) = (self.name(at.host), at.led.map(|led| led.manager.as_slice()));
        // Filters of another listener were never met; those of clusters may have been.
        let is_met = |it: &LeftOut| manager.is_none_or(|manager| it.is_inside(manager)) || it.is_in_cluster();
        let its = case.played.left_out.iter().filter(|(host, it)| host == name && it.effect.may_decide() && is_met(it));
        its.map(|(_, it)| it.describe(&case.scenario.file_of(name))).collect()
    }

    /// The line this hop logged about the exchange, if it logs any: it stands directly before the account.
    fn log(&self, account: &Account) -> Option<String> {
        let before = self.case.played.trace.entries().get(..account.event)?;
        let Event::Log { host, line, .. } = &before.last()?.event else { return None };
        (*host == account.host).then(|| line.clone())
    }

    /// Who did it, with what, on which connection, when.
    pub(super) fn sentence(&self, act: &Act) -> String {
        let connection = act.connection + 1;
        format!("{}, with {} on connection {connection}, at {}", self.name(act.by), words(&act.kind), ms(act.sent.at))
    }
}

/// What a host did to end a connection or a stream.
pub(super) fn ending(kind: &ActKind) -> String {
    match kind {
        ActKind::Alert { name } => format!("sent the TLS alert {name}"),
        ActKind::CloseNotify { with_fin: false } => "sent close_notify and kept the TCP connection open".into(),
        ActKind::CloseNotify { with_fin: true } | ActKind::Fin => format!("closed the connection ({})", words(kind)),
        ActKind::GoAway { .. } => format!("sent {}", words(kind)),
        ActKind::Reset { .. } => format!("reset the stream ({})", words(kind)),
        ActKind::Rst => "reset the connection (RST)".into(),
    }
}

pub(super) fn words(kind: &ActKind) -> String {
    match kind {
        ActKind::Alert { name } => format!("TLS alert {name}"),
        ActKind::CloseNotify { with_fin: false } => "close_notify".into(),
        ActKind::CloseNotify { with_fin: true } => "close_notify and FIN".into(),
        ActKind::Fin => "FIN".into(),
        ActKind::GoAway { last, code } => format!("GOAWAY {code} (last stream {last})"),
        ActKind::Reset { code, .. } => format!("RST_STREAM {code}"),
        ActKind::Rst => "RST".into(),
    }
}

/// Whether a proxy with these details made no use of its earlier attempts.
fn is_refusal(details: Option<&Details>) -> bool {
    let is_overflow = |it: &Details| it.upstream_reset().is_some_and(|reset| reset.cause == ResetCause::Overflow);
    details.is_some_and(|details| *details == Details::NoHealthyUpstream || is_overflow(details))
}
