//! What an app, or another host that responds by itself, did about a failed request.

use std::time::Duration;

use super::act::Act;
use super::hop::{Cause, Hop, Judged, ending};
use super::settings::{HostSettings, Setting, seconds};
use super::{HopStory, ms};
use crate::scenario::{Role, Time};
use crate::trace::spans::Timer;
use crate::trace::{Event, HostChange, HostId};

/// A timer that ends a wait of exactly its value ends it within this: what a host may take to read_delay.
const TIMER_ACCURACY: Duration = Duration::from_millis(2);

impl<'a> Hop<'a> {
    /// A server that is no proxy: an app, or whatever else responds by itself.
    pub(super) fn app(self, host: HostId, before: Option<&Judged<'_>>) -> Judged<'a> {
        let name = self.name(host);
        let act = self.case.traffic.acts_on(self.exchange).find(|act| act.by == host);
        let gave_up = || self.case.traffic.acts_on(self.exchange).find(|act| act.by == self.exchange.client);
        let waited = before.is_some_and(|before| {
            matches!(before.cause, Cause::Busy | Cause::Itself | Cause::Left | Cause::Timeout(_))
        });
        // The hop before could not use the response of this app, and that is where the failure began.
        let is_unfit = |cause: &Cause| {
            matches!(cause, Cause::OverLimit(_) | Cause::Unreadable | Cause::WithoutTls | Cause::WrongProtocol)
        };
        let is_origin = before.is_none_or(|before| !is_unfit(&before.cause));
        if let Some(final_response) = self.exchange.response.as_ref().filter(|_| !self.exchange.is_tunnel()) {
            let (at, status) = (ms(final_response.part.began.at), final_response.status);
            let cut_short = before.is_some_and(|before| matches!(before.cause, Cause::NextHop { did: Some(_), .. }));
            if let Some(act) = act.filter(|_| cut_short && !waited) {
                let (what, when) = (ending(&act.kind), ms(act.sent.at));
                let did =
                    vec![format!("responded {status} at {at}, and {what} at {when}, before the response was complete")];
                return Judged { closed: Some(self.sentence(act)), ..self.judged(name, Cause::Own, did) };
            }
            if !waited {
                let did = vec![format!("responded {status} itself, at {at}")];
                return Judged { is_origin, ..self.judged(name, Cause::Own, did) };
            }
            // When the hop before stopped waiting: by a timer, or by what it did on this connection.
            let timer = before.and_then(|before| before.timer.as_ref()).map(|timer| timer.until);
            let until = timer.or_else(|| gave_up().map(|act| act.sent.at));
            let in_time = until.is_some_and(|until| self.exchange.has_responded_by(until));
            let late = match in_time {
                true if self.exchange.has_begun_response_by(Duration::MAX) => "",
                true => ", and did not complete the response",
                false => ", too late",
            };
            let did = vec![format!("responded {status} at {at}{late}")];
            return Judged { is_origin: false, ..self.judged(name, Cause::Busy, did) };
        }
        let Some(act) = act.filter(|_| !waited) else {
            let did = match self.exchange.request.arrived {
                _ if self.exchange.is_tunnel() => format!("had not ended the {}", self.exchange.tunnel_name()),
                None if self.exchange.request.is_complete => "never received the request".into(),
                Some(_) | None => self.exchange.lateness(gave_up().map_or(Duration::MAX, |act| act.sent.at)),
            };
            return Judged { is_origin: false, ..self.judged(name, Cause::Busy, vec![did]) };
        };
        let closed = Some(self.sentence(act));
        let ended = format!("{} at {}", ending(&act.kind), ms(act.sent.at));
        if let Some((setting, timer)) = self.idle(host, act) {
            let judged = self.judged(
                name,
                Cause::Timeout(setting.clone()),
                vec![format!("{ended}: no request for {}", setting.value.as_deref().unwrap_or("its idle timeout"))],
            );
            let story = HopStory { because: Some(setting), ..judged.story };
            return Judged { story, closed, timer: Some(timer), ..judged };
        }
        let note = || self.note(host, act.sent.at).map(|note| format!("as in the script: {note}"));
        let why = self.fall(host, act).or_else(note).unwrap_or_else(|| "by itself".into());
        Judged { closed, is_origin, ..self.judged(name, Cause::Own, vec![format!("{ended}, {why}")]) }
    }

    /// The app's idle timeout, if that is what ended its connection.
    fn idle(&self, host: HostId, act: &Act) -> Option<(Setting, Timer)> {
        let name = self.name(host);
        let Role::App(app) = super::role(self.case.scenario, &self.case.played.trace, host)? else { return None };
        let Time(value) = app.idle_timeout?;
        let from = self.case.traffic.idle_since(act)?;
        let waited = act.sent.at.saturating_sub(from);
        if waited < value || waited > value + TIMER_ACCURACY {
            return None;
        }
        let settings = HostSettings::new(self.case.scenario, name)?;
        let parent = ["hosts", name, "app"].map(str::to_owned);
        let setting = settings.setting(&parent, "idle_timeout", Some(seconds(value)));
        Some((
            setting,
            Timer { host, name: format!("idle_timeout {}", seconds(value)), from, until: act.sent.at, has_fired: true },
        ))
    }

    /// That a host has lost its programs since the exchange's connection was made.
    fn fall(&self, host: HostId, act: &Act) -> Option<String> {
        let opened = self.case.traffic.conversations.get(act.connection)?.from_client.signals.first()?.sent;
        let entries = self.case.played.trace.entries().iter().enumerate();
        let since = entries.filter(|(nth, _)| (opened.event..act.sent.event).contains(nth));
        let falls = since.filter_map(|(_, entry)| {
            let Event::Host { host: of, change } = &entry.event else { return None };
            let what = match change {
                HostChange::Killed => "it was killed",
                HostChange::PoweredOff => "it lost power",
                HostChange::Started => return None,
            };
            (*of == host).then(|| format!("because {what} at {}", ms(entry.at)))
        });
        falls.last()
    }

    /// What the script had a host do at this moment: to end something, if that is among it.
    fn note(&self, host: HostId, at: Duration) -> Option<&'a str> {
        let now = self.case.played.trace.entries().iter().filter(|entry| entry.at == at);
        let notes = || {
            now.clone().filter_map(|entry| {
                let Event::Note { host: of, text } = &entry.event else { return None };
                (*of == host).then_some(text.as_str())
            })
        };
        notes().find(|text| matches!(*text, "fin" | "rst" | "half-close")).or_else(|| notes().next())
    }
}
