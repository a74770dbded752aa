//! The timers that end a stream or its connection: which one it was, and what it waited for.

use std::time::Duration;

use finwait::access_log::Details;
use finwait::config::listener::Keepalive;
use finwait::config::route::{Action, Forward};

use super::act::Act;
use super::chain::Attempt;
use super::hop::{Cause, Hop, Judged, ProxyView, ending};
use super::settings::{Setting, http_options, seconds};
use super::traffic::Exchange;
use super::{HopStory, ms};
use crate::trace::HostId;
use crate::trace::spans::Timer;

/// How long a client's connection may be without requests, in the connection manager.
pub(super) const IDLE: &str = "common_http_protocol_options.idle_timeout";

/// Where a cluster configures PINGs to its endpoints, among its HTTP options.
pub(super) const KEEPALIVE: &str = "explicit_http_config.http2_protocol_options.connection_keepalive";

/// A timer that ended something.
pub(super) struct Stop {
    pub(super) setting: Setting,
    pub(super) timer: Timer,
    pub(super) why: Why,
}

/// What a timer waited for in vain.
pub(super) enum Why {
    /// The response to a PING.
    Silent {
        /// The host that was pinged.
        peer: HostId,
        /// When the PING was sent.
        pinged: Duration,
        /// The pause before the request that had caused the PING, if one had.
        doubt: Option<Duration>,
    },
    /// Progress of the stream.
    Slow,
}

impl<'a> Hop<'a> {
    /// The timer that ended the exchange here, if one did.
    pub(super) fn expired(&self, at: ProxyView<'_>, details: Option<&Details>) -> Option<Stop> {
        let (settings, led) = (at.settings?, at.led?);
        let timeouts = &led.options.timeouts;
        let route = led.route.as_ref();
        let forward = route.and_then(
            |(path, action)| if let Action::Forward(forward) = action { Some((path, forward)) } else { None },
        );
        if let Some(stop) = self.of_header(at.host, details, forward.map(|(_, forward)| &**forward)) {
            return Some(stop);
        }
        let (parent, below, value) = match details {
            Some(Details::ResponseTimeout) => {
                forward.and_then(|(path, forward)| Some((path, "route.timeout", forward.timeout?)))?
            }
            Some(Details::StreamIdleTimeout) => {
                match forward.and_then(|(path, forward)| Some((path, forward.idle_timeout?))) {
                    Some((path, value)) => (path, "route.idle_timeout", value?),
                    None => (&led.manager, "stream_idle_timeout", timeouts.stream_idle?),
                }
            }
            Some(Details::MaxDurationTimeout) => {
                match forward.and_then(|(path, forward)| Some((path, forward.stream_duration_max?))) {
                    Some((path, value)) => (path, "route.max_stream_duration.max_stream_duration", value?),
                    None => (&led.manager, "common_http_protocol_options.max_stream_duration", timeouts.stream?),
                }
            }
            Some(Details::PerTryIdleTimeout) => {
                let (path, forward) = forward?;
                (path, "route.retry_policy.per_try_idle_timeout", forward.retry.as_ref()?.per_try_idle_timeout?)
            }
            Some(Details::PerTryTimeout) => {
                let (path, forward) = forward?;
                (path, "route.retry_policy.per_try_timeout", forward.retry.as_ref()?.per_try_timeout?)
            }
            Some(Details::RequestTimeout) => (&led.manager, "request_timeout", timeouts.request?),
            Some(Details::RequestHeaderTimeout) => (&led.manager, "request_headers_timeout", timeouts.request_headers?),
            _ => return None,
        };
        let setting = settings.setting(parent, below, Some(seconds(value)));
        let until = self.ended(at.host)?;
        let name = format!("{below} {}", seconds(value));
        Some(Stop {
            setting,
            timer: Timer { host: at.host, name, from: until.saturating_sub(value), until, has_fired: true },
            why: Why::Slow,
        })
    }

    /// The timer that ended the exchange here, if the request had set it by a header. A caller from outside cannot; so of
    /// header and route that one is meant which fits the time that passed.
    fn of_header(&self, host: HostId, details: Option<&Details>, forward: Option<&Forward>) -> Option<Stop> {
        let last = || match self.case.chain.attempts(self.nth).last()? {
            Attempt::Sent(nth) => self.case.traffic.exchanges.get(*nth),
            Attempt::Connecting(_) => None,
        };
        let (headers, of_route, since) = match details {
            Some(Details::ResponseTimeout) => {
                let headers = &["x-envoy-upstream-rq-timeout-ms", "x-envoy-expected-rq-timeout-ms"][..];
                (headers, forward?.timeout, self.exchange.request.head_arrived?)
            }
            Some(Details::PerTryTimeout) => {
                let of_route = forward?.retry.as_ref().and_then(|policy| policy.per_try_timeout);
                (&["x-envoy-upstream-rq-per-try-timeout-ms"][..], of_route, last()?.request.began.at)
            }
            _ => return None,
        };
        let until = self.ended(host)?;
        let misses = |value: Duration| value.abs_diff(until.saturating_sub(since));
        let requested = headers.iter().filter_map(|name| {
            let millis = self.exchange.field(name)?.parse().ok()?;
            Some((*name, Duration::from_millis(millis)))
        });
        let (name, value) = requested.min_by_key(|(_, value)| misses(*value))?;
        if of_route.is_some_and(|of_route| misses(of_route) <= misses(value)) {
            return None;
        }
        let setting = Setting {
            host: self.name(self.exchange.client).into(),
            name: name.into(),
            value: Some(seconds(value)),
            file: self.case.scenario.file.clone(),
            line: None,
            is_written: true,
            steps: Vec::new(),
        };
        let name = format!("{name} {}", seconds(value));
        let timer = Timer { host, name, from: until.saturating_sub(value), until, has_fired: true };
        Some(Stop { setting, timer, why: Why::Slow })
    }

    /// The PING without a response for which this hop closed a connection: its client's, or that of its own request.
    pub(super) fn ping_timeout(&self, at: ProxyView<'_>) -> Option<Stop> {
        let (settings, led) = (at.settings?, at.led?);
        let of_client = || {
            let keepalive = led.options.http2.keepalive?;
            let below = "http2_protocol_options.connection_keepalive.timeout";
            let setting = settings.setting(&led.manager, below, Some(seconds(keepalive.timeout)));
            self.silence(at.host, self.exchange, keepalive, setting)
        };
        let of_upstream = || {
            let Attempt::Sent(nth) = self.case.chain.attempts(self.nth).last()? else { return None };
            let (_, Action::Forward(forward)) = led.route.as_ref()? else { return None };
            let (path, cluster) = settings.cluster(forward)?;
            let options = cluster.protocol.always_http2()?;
            let (keepalive, below) = (options.keepalive?, [KEEPALIVE, ".timeout"].concat());
            let setting = settings.setting(&http_options(path), &below, Some(seconds(keepalive.timeout)));
            self.silence(at.host, self.case.traffic.exchanges.get(*nth)?, keepalive, setting)
        };
        of_client().or_else(of_upstream)
    }

    /// That `host` ended an exchange because its peer had left a PING without a response.
    fn silence(&self, host: HostId, exchange: &Exchange, keepalive: Keepalive, setting: Setting) -> Option<Stop> {
        let act = self.case.traffic.acts_on(exchange).next().filter(|act| act.by == host)?;
        let pinged = self
            .case
            .traffic
            .ping_without_ack(act)
            .filter(|pinged| act.sent.at.saturating_sub(*pinged) >= keepalive.timeout)?;
        let peer = if exchange.client == host { exchange.server? } else { exchange.client };
        let doubt = keepalive.after_idle.filter(|_| exchange.client == host && exchange.request.began.at == pinged);
        let name = format!("connection_keepalive.timeout {}", seconds(keepalive.timeout));
        let timer = Timer { host, name, from: pinged, until: act.sent.at, has_fired: true };
        Some(Stop { setting, timer, why: Why::Silent { peer, pinged, doubt } })
    }

    /// When this hop ended the exchange: by its response, or by what it did on either side.
    pub(super) fn ended(&self, host: HostId) -> Option<Duration> {
        // A response of the next hop that had begun is no end of ours: only 408 and 504 mean that time is up.
        let is_ours = |status: u16| matches!(status, 408 | 504) && !self.exchange.is_tunnel();
        let responded = self.exchange.response.as_ref().filter(|it| is_ours(it.status)).map(|it| it.part.began.at);
        responded.or_else(|| {
            let after = self.case.chain.attempts(self.nth).iter().filter_map(|attempt| match attempt {
                Attempt::Sent(nth) => self.case.traffic.exchanges.get(*nth),
                Attempt::Connecting(_) => None,
            });
            let acts =
                std::iter::once(self.exchange).chain(after).flat_map(|exchange| self.case.traffic.acts_on(exchange));
            acts.filter(|act| act.by == host).map(|act| act.sent.at).min()
        })
    }

    pub(super) fn gave_up(self, host: HostId, stop: Stop, last: Option<&Attempt>) -> Judged<'a> {
        let Stop { setting, timer, why } = stop;
        let next = last.and_then(|last| if let Attempt::Sent(nth) = last { Some(*nth) } else { None });
        let forwarded = next.and_then(|nth| self.case.traffic.exchanges.get(nth));
        let upstream = forwarded.and_then(|it| it.server).map_or("the next hop", |server| self.name(server));
        let was = match forwarded {
            _ if !self.exchange.request.is_complete && !self.exchange.is_tunnel() => {
                format!("{} had not sent all of its request", self.name(self.exchange.client))
            }
            None => "nothing had been sent upstream yet".to_owned(),
            Some(exchange) if exchange.is_tunnel() && setting.is_longest_life() => {
                "bytes that move do not matter to it".into()
            }
            Some(exchange) if exchange.is_tunnel() => "no bytes had moved in either direction".into(),
            Some(exchange) if exchange.has_delivered_response_by(timer.until) => {
                "the next attempt had not begun".into()
            }
            Some(exchange) if exchange.has_delivered_head_by(timer.until) => {
                format!("{upstream} had not completed its response")
            }
            Some(exchange) if exchange.has_responded_by(timer.until) => {
                format!("the response of {upstream} had not arrived")
            }
            Some(exchange) => format!("{upstream} {}", exchange.lateness(timer.until)),
        };
        let name = self.name(host);
        let (at, tunnel) = (timer.until, self.exchange.is_tunnel());
        let gave = if tunnel { format!("closed the {}", self.exchange.tunnel_name()) } else { "timed out".into() };
        let did = match why {
            Why::Slow => format!("{gave} at {}: {} had passed, and {was}", ms(at), timer.name),
            Why::Silent { peer, pinged, doubt } => {
                let (peer, pinged) = (self.name(peer), ms(pinged));
                let (whose, rest) = match doubt {
                    _ if peer == self.name(self.exchange.client) => {
                        (format!("{peer}'s connection"), format!(", and {was}"))
                    }
                    None => (format!("its connection to {peer}"), String::new()),
                    Some(pause) => (
                        format!("its connection to {peer}"),
                        format!(
                            ", sent with the request because the connection had been idle for longer than \
                             connection_idle_interval {}",
                            seconds(pause)
                        ),
                    ),
                };
                format!("closed {whose} at {}: {peer} had not acknowledged the PING of {pinged}{rest}", ms(at))
            }
        };
        let closed = Some(format!("{name}, by its timer, at {}", ms(at)));
        let because = Some(setting.clone());
        let judged = self.judged(name, Cause::Timeout(setting), vec![did]);
        let story = HopStory { because, ..judged.story };
        Judged { story, closed, timer: Some(timer), next, ..judged }
    }

    /// What this hop ended its client's connection with before it took up the request: it had closed when the request came,
    /// or it was about to, and read nothing any more.
    pub(super) fn closed_before(&self, host: HostId) -> Option<&'a Act> {
        let arrived = self.exchange.request.head_arrived?;
        let is_unread = self.case.account(self.nth).is_none();
        let is_early = |act: &&Act| act.by == host && (act.sent.at < arrived || is_unread);
        self.case.traffic.acts_on(self.exchange).find(is_early).filter(|_| self.exchange.response.is_none())
    }

    pub(super) fn was_idle(self, at: ProxyView<'_>, act: &Act) -> Judged<'a> {
        let (host, name) = (at.host, self.name(at.host));
        let closed = Some(self.sentence(act));
        let is_early = self.exchange.request.head_arrived.is_some_and(|arrived| act.sent.at < arrived);
        let (what, when) = (ending(&act.kind), ms(act.sent.at));
        let ended = match is_early {
            true => format!("had {what} at {when}, before the request arrived"),
            false => format!("{what} at {when}, and had not read the request"),
        };
        let connection = self.case.traffic.conversations.get(self.exchange.connection);
        let taken_by_none =
            at.settings.zip(connection).and_then(|(settings, it)| Some((settings.missing_filter_chain(it)?, it)));
        if let Some((setting, connection)) = taken_by_none {
            let from = connection.client_address;
            let why = format!("{ended}, because no filter chain of its listener takes a connection from {from}");
            return Judged { closed, ..self.judged(name, Cause::NoFilterChain(setting), vec![why]) };
        }
        if let Some((beginning, setting)) =
            at.settings.zip(connection).and_then(|(settings, it)| settings.other_beginning(it))
        {
            let why = format!("{ended}, {}", beginning.why());
            return Judged { closed, ..self.judged(name, Cause::Beginning(beginning, setting), vec![why]) };
        }
        let idle = at.settings.zip(at.led).and_then(|(settings, led)| {
            let value = led.options.timeouts.idle?;
            let setting = settings.setting(&led.manager, IDLE, Some(seconds(value)));
            let from = self.case.traffic.idle_before(self.exchange)?;
            let waited = act.sent.at.checked_sub(from)?.checked_sub(value)?;
            Some((setting, value, from, waited, &led.options.timeouts))
        });
        let Some((setting, value, from, waited, timeouts)) = idle else {
            return Judged { closed, ..self.judged(name, Cause::Unknown, vec![ended]) };
        };
        // An idle connection is drained before it is closed, and what comes while it waits for its client to close is not read.
        let is_delayed = waited >= timeouts.drain + timeouts.delayed_close && !timeouts.delayed_close.is_zero();
        let mut did = vec![ended];
        if is_delayed {
            did.push(format!(
                "it had read nothing since {}: idle_timeout {}, drain_timeout {} and delayed_close_timeout {} elapse one after another",
                ms(act.sent.at.saturating_sub(timeouts.delayed_close)),
                seconds(value),
                seconds(timeouts.drain),
                seconds(timeouts.delayed_close)
            ));
        }
        let until = if is_delayed { from + value } else { act.sent.at };
        let timer = Timer { host, name: format!("idle_timeout {}", seconds(value)), from, until, has_fired: true };
        let judged = self.judged(name, Cause::Timeout(setting.clone()), did);
        let story = HopStory { because: Some(setting), ..judged.story };
        Judged { story, closed, timer: Some(timer), ..judged }
    }
}
