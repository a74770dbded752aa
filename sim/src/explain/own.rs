//! What a hop decided by itself, without an upstream request.

use finwait::access_log::{Details, ResponseFlag};
use finwait::codec::Violation;

use super::hop::{Cause, Hop, Judged, ProxyView};
use super::reasons;
use super::traffic::Protocol;
use super::unknown::not_found;
use super::unresolved::unresolved;
use super::{HopStory, health};

impl<'a> Hop<'a> {
    /// It responded, or ended the exchange, for a reason of its own.
    pub(super) fn decided(self, at: ProxyView<'_>, details: Option<&Details>) -> Judged<'a> {
        let name = self.name(at.host);
        let status = self.exchange.response.as_ref().map(|final_response| final_response.status);
        let what = status
            .map_or("ended the request without a response".to_owned(), |status| format!("responded {status} itself"));
        let flags = self.case.account(self.nth).map_or(&[][..], |account| account.flags.as_slice());
        let is_admin = at.led.is_none() && self.case.account(self.nth).is_none();
        let is_unserved = details == Some(&Details::NoHealthyUpstream) || flags.contains(&ResponseFlag::UH);
        let left_out = health::left_out(self.case, at).filter(|_| is_unserved);
        let connection = self.case.traffic.conversations.get(self.exchange.connection);
        let begins = at.settings.zip(connection).and_then(|(settings, it)| settings.other_beginning(it));
        if let (Some((beginning, setting)), Some(Details::Codec(_))) = (begins, details) {
            let did = vec![format!("{what} {}", beginning.why())];
            return self.judged(name, Cause::Beginning(beginning, setting), did);
        }
        let unresolved = unresolved(self.case, at, self.exchange.request.began.at).filter(|_| is_unserved);
        let why = match reasons::of(details, flags) {
            _ if let Some(unresolved) = &unresolved => unresolved.why.as_str(),
            _ if let Some(left_out) = &left_out => left_out.why,
            _ if is_admin => return self.judged(name, Cause::Admin, vec![format!("{what}, by its admin interface")]),
            _ if self.lacks_allow_connect(details) => {
                "because its connection manager has no allow_connect: without it an extended CONNECT is malformed"
            }
            Some(reason) => reason.why,
            None if details.is_none() => "and sent nothing upstream",
            None => {
                let mut did = vec![format!("{what} and sent nothing upstream: {}", not_found(details))];
                did.extend(self.last_events(None));
                return self.judged(name, Cause::Unknown, did);
            }
        };
        // What happens to a connection after a response is not the cause of that response.
        let has_no_response = self.exchange.response.is_none();
        let closed = self.case.traffic.acts_on(self.exchange).find(|_| has_no_response).map(|act| self.sentence(act));
        let judged = self.judged(name, Cause::Decision, vec![format!("{what} {why}")]);
        let because = left_out.and_then(|left_out| left_out.setting);
        let story = HopStory { because, ..judged.story };
        Judged { story, closed, ..judged }
    }

    /// Whether it refused an extended CONNECT for no other reason than being one (RFC 8441 4).
    fn lacks_allow_connect(&self, details: Option<&Details>) -> bool {
        details == Some(&Details::Codec(Violation::InvalidHeaderField))
            && self.exchange.is_websocket()
            && self.exchange.protocol == Protocol::Http2
    }
}
