//! What is shown of a hop for whose act no cause was found: its log, and what its connections carried last. That is less
//! than an explanation, and better than a guess.

use finwait::access_log::Details;

use super::hop::Hop;
use super::traffic::Exchange;
use super::{NO_HOST, ms};
use crate::trace::HostId;
use crate::trace::conversation::{Lane, Moment, SignalKind};
use crate::trace::wire;
use crate::words::printable;

/// In place of a cause.
pub(super) fn not_found(details: Option<&Details>) -> String {
    match details {
        Some(details) => format!("cause not found; its log has {details}"),
        None => "cause not found; its log has no details".into(),
    }
}

impl Hop<'_> {
    /// The last message or signal of its client's connection and of the one to the next hop, a sentence each.
    pub(super) fn last_events(&self, upstream: Option<&Exchange>) -> Vec<String> {
        let connections = std::iter::once(self.exchange).chain(upstream).map(|exchange| exchange.connection);
        connections.filter_map(|connection| self.last_event(connection)).collect()
    }

    fn last_event(&self, connection: usize) -> Option<String> {
        let conversation = self.case.traffic.conversations.get(connection)?;
        let messages = wire::messages(conversation, self.case.played.trace.secrets());
        let (client, server) = (Some(conversation.client), conversation.server);
        let ways = [
            (client, server, &conversation.from_client, messages.from_client),
            (server, client, &conversation.from_server, messages.from_server),
        ];
        let events = ways.into_iter().flat_map(|(from, to, lane, messages)| {
            let last = messages.into_iter().filter_map(|it| Some((lane.sent(it.bytes.start)?, it.text)));
            last.chain(ends(lane)).map(move |(sent, text)| (sent, from, to, text)).collect::<Vec<_>>()
        });
        let (sent, from, to, text) = events.max_by_key(|(sent, ..)| *sent)?;
        let name = |host: Option<HostId>| host.map_or(NO_HOST, |host| self.name(host));
        let (from, to, text, at) = (name(from), name(to), printable(text), ms(sent.at));
        Some(format!("the last on connection {}: {from} to {to}, {text}, at {at}", connection + 1))
    }
}

fn ends(lane: &Lane) -> impl Iterator<Item = (Moment, String)> {
    lane.signals.iter().filter_map(|signal| {
        let text = match signal.kind {
            SignalKind::Fin => "FIN",
            SignalKind::Rst => "RST",
            SignalKind::Plain(_) | SignalKind::Retransmission(_) | SignalKind::Syn | SignalKind::SynAck => return None,
        };
        Some((signal.sent, text.to_owned()))
    })
}
