//! Every exchange of every connection, and every act that ends one: what an explanation is made of.

use std::time::Duration;

use super::act::{Act, ActKind};
use crate::trace::accounts::Account;
use crate::trace::conversation::{Conversation, Lane, Moment, SignalKind};
use crate::trace::wire::{self, Meaning, Message, Tls};
use crate::trace::{HostId, Trace};

/// A run, as far as it matters to exchanges.
pub(super) struct Traffic {
    pub(super) conversations: Vec<Conversation>,
    /// In the order in which they were sent.
    pub(super) exchanges: Vec<Exchange>,
    /// In the order in which they were done.
    pub(super) acts: Vec<Act>,
    /// In the order of connections.
    pings: Vec<Ping>,
    /// The messages of TLS itself, in the order of connections, then of time.
    pub(super) tls: Vec<TlsMessage>,
}

/// A message of TLS itself.
pub(super) struct TlsMessage {
    /// Index of its conversation.
    pub(super) connection: usize,
    pub(super) by: HostId,
    pub(super) content: Tls,
    pub(super) sent: Moment,
}

/// A PING of HTTP/2, or its acknowledgement.
struct Ping {
    /// Index of its conversation.
    connection: usize,
    by: HostId,
    sent: Moment,
    is_ack: bool,
}

/// A request on one connection, and what came back on it.
pub(super) struct Exchange {
    /// Index of its conversation.
    pub(super) connection: usize,
    pub(super) client: HostId,
    pub(super) server: Option<HostId>,
    pub(super) stream: u32,
    pub(super) protocol: Protocol,
    pub(super) method: String,
    pub(super) path: String,
    /// Of the request.
    pub(super) fields: Vec<(String, String)>,
    pub(super) request: Part,
    pub(super) response: Option<FinalResponse>,
    /// Responses of the 1xx kind, but for 101: when each was sent, and its status.
    pub(super) informational: Vec<(Moment, u16)>,
    /// Whether a WebSocket's close frame crossed it. Seen in HTTP/1 only, which is what clients use.
    pub(super) has_close_frame: bool,
}

/// The protocol of an exchange's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// One direction of an exchange.
pub(super) struct Part {
    /// When its first byte was sent.
    pub(super) began: Moment,
    /// When the bytes that were sent had arrived; none if not all did.
    pub(super) arrived: Option<Duration>,
    /// When its head had arrived.
    pub(super) head_arrived: Option<Duration>,
    /// On the traffic, heads and frames included.
    pub(super) bytes: usize,
    /// Of the first message.
    pub(super) first_bytes: usize,
    pub(super) is_complete: bool,
}

/// A final response.
pub(super) struct FinalResponse {
    pub(super) status: u16,
    pub(super) part: Part,
    pub(super) head: Section,
    /// Of HTTP/2.
    pub(super) trailers: Option<Section>,
}

/// A head, or trailers.
#[derive(Clone, Copy, Default)]
pub(super) struct Section {
    /// Of names and values.
    pub(super) bytes: usize,
    /// How many, pseudo-header fields included.
    pub(super) fields: usize,
}

impl Section {
    fn of(message: &Message) -> Self {
        // The first line of HTTP/1 is given as a field without a name.
        let fields = message.fields.iter().filter(|(name, _)| !name.is_empty());
        Self { bytes: fields.clone().map(|(name, value)| name.len() + value.len()).sum(), fields: fields.count() }
    }
}

impl Traffic {
    pub(super) fn read(trace: &Trace) -> Self {
        let conversations = trace.conversations().to_vec();
        let (mut exchanges, mut acts, mut pings, mut tls) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (connection, conversation) in conversations.iter().enumerate() {
            let messages = wire::messages(conversation, trace.secrets());
            let mut reading = Reading {
                connection,
                conversation,
                exchanges: Vec::new(),
                acts: Vec::new(),
                pings: Vec::new(),
                tls: Vec::new(),
            };
            reading.read(Some(conversation.client), &conversation.from_client, &messages.from_client);
            reading.read(conversation.server, &conversation.from_server, &messages.from_server);
            exchanges.append(&mut reading.exchanges);
            acts.append(&mut reading.acts);
            pings.append(&mut reading.pings);
            reading.tls.sort_by_key(|message| message.sent);
            tls.append(&mut reading.tls);
        }
        exchanges.sort_by_key(|exchange| exchange.request.began);
        acts.sort_by_key(|act| act.sent);
        Self { conversations, exchanges, acts, pings, tls }
    }

    /// When a host had sent a PING, and had no response when it did what it did.
    pub(super) fn ping_without_ack(&self, act: &Act) -> Option<Duration> {
        let on_connection =
            || self.pings.iter().filter(|ping| ping.connection == act.connection && ping.sent < act.sent);
        let pinged = on_connection().filter(|ping| ping.by == act.by && !ping.is_ack).map(|ping| ping.sent).max()?;
        let is_acknowledged = on_connection().any(|ping| ping.by != act.by && ping.is_ack && ping.sent > pinged);
        (!is_acknowledged).then_some(pinged.at)
    }

    /// The PINGs of one end of a connection: when each was sent, and when its response was.
    pub(super) fn pings(&self, connection: usize, by: HostId) -> impl Iterator<Item = (Duration, Option<Duration>)> {
        let on_it = move |ping: &&Ping| ping.connection == connection;
        let pinged = self.pings.iter().filter(on_it).filter(move |ping| ping.by == by && !ping.is_ack);
        pinged.map(move |pinged| {
            let acknowledgements =
                self.pings.iter().filter(on_it).filter(|ping| ping.is_ack && ping.sent > pinged.sent);
            (pinged.sent.at, acknowledgements.map(|ack| ack.sent.at).min())
        })
    }

    /// Makes an exchange of what only a proxy recorded, since its head was never complete or is no HTTP. False if the
    /// account is about no connection of this run.
    pub(super) fn push_unread(&mut self, account: &Account) -> bool {
        let is_meant =
            |it: &&Conversation| it.server == Some(account.host) && it.client_address.to_string() == account.client;
        let Some((connection, of)) = self.conversations.iter().enumerate().find(|(_, it)| is_meant(it)) else {
            return false;
        };
        let Some(opened) = of.from_client.signals.first().map(|syn| syn.sent) else { return false };
        let part = |lane: &Lane, began, is_complete| Part {
            began,
            arrived: lane.arrived(lane.bytes.len()),
            head_arrived: None,
            bytes: lane.bytes.len(),
            first_bytes: lane.bytes.len(),
            is_complete,
        };
        let responded = Moment { at: account.at, event: account.event };
        self.exchanges.push(Exchange {
            connection,
            client: of.client,
            server: of.server,
            stream: 0,
            protocol: Protocol::Http1,
            method: account.method.clone(),
            path: account.path.clone(),
            fields: Vec::new(),
            request: part(&of.from_client, of.from_client.sent(0).unwrap_or(opened), false),
            response: (account.status > 0)
                .then(|| FinalResponse::of(account.status, part(&of.from_server, responded, true), Section::default())),
            informational: Vec::new(),
            has_close_frame: false,
        });
        true
    }

    /// When something moved last on the connection that an act ended.
    pub(super) fn idle_since(&self, act: &Act) -> Option<Duration> {
        let on_connection = self.exchanges.iter().filter(|exchange| exchange.connection == act.connection);
        let moves = on_connection.flat_map(|it| {
            [it.request.head_arrived, it.response.as_ref().map(|final_response| final_response.part.began.at)]
        });
        moves.flatten().filter(|at| *at <= act.sent.at).max()
    }

    /// When something moved last on the connection of an exchange before its request.
    pub(super) fn idle_before(&self, exchange: &Exchange) -> Option<Duration> {
        let is_earlier =
            |it: &&Exchange| it.connection == exchange.connection && it.request.began < exchange.request.began;
        let moves = self.exchanges.iter().filter(is_earlier).flat_map(|it| {
            [it.request.head_arrived, it.response.as_ref().map(|final_response| final_response.part.began.at)]
        });
        moves.flatten().max()
    }

    /// What ended this exchange, or would have if it had not been over: acts on its connection that its hosts learned of
    /// after it began, in the order in which they were done.
    pub(super) fn acts_on<'a>(&'a self, exchange: &'a Exchange) -> impl Iterator<Item = &'a Act> {
        let concerns = |act: &&Act| match &act.kind {
            ActKind::Alert { .. } | ActKind::CloseNotify { .. } | ActKind::Fin | ActKind::Rst => true,
            ActKind::GoAway { last, .. } => exchange.stream > *last,
            ActKind::Reset { stream, .. } => *stream == exchange.stream,
        };
        // A FIN that crosses a request was sent before it, and noticed after it.
        // One that had even arrived may not have been read, and its sender sends nothing more.
        let is_late = |act: &&Act| {
            let is_last_segment = Some(act.by) == exchange.server
                && matches!(act.kind, ActKind::CloseNotify { .. } | ActKind::Fin | ActKind::Rst);
            let is_read_later = act.arrived.is_none_or(|at| at >= exchange.request.began.at);
            act.sent > exchange.request.began || is_read_later || is_last_segment
        };
        self.acts.iter().filter(|act| act.connection == exchange.connection).filter(concerns).filter(is_late)
    }
}

/// A GOAWAY with an error.
pub(super) struct Complaint<'t> {
    pub(super) code: &'t str,
    pub(super) last: u32,
    pub(super) sent: Moment,
}

impl Traffic {
    /// The GOAWAY by which a host says what was wrong with the connection of an exchange.
    pub(super) fn complaint(&self, exchange: &Exchange, by: HostId) -> Option<Complaint<'_>> {
        let its = self.acts.iter().filter(|act| act.connection == exchange.connection && act.by == by);
        its.filter(|act| act.sent > exchange.request.began).find_map(|act| match &act.kind {
            ActKind::GoAway { last, code } if code != "NO_ERROR" => {
                Some(Complaint { code, last: *last, sent: act.sent })
            }
            ActKind::Alert { .. }
            | ActKind::CloseNotify { .. }
            | ActKind::Fin
            | ActKind::GoAway { .. }
            | ActKind::Reset { .. }
            | ActKind::Rst => None,
        })
    }
}

impl Exchange {
    /// The value of a field of its request.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(has, _)| has.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether it requests a WebSocket, in either protocol.
    pub(super) fn is_websocket(&self) -> bool {
        let names = ["upgrade", ":protocol"];
        names.iter().filter_map(|name| self.field(name)).any(|value| value.eq_ignore_ascii_case("websocket"))
    }

    /// Whether a response had begun by then.
    pub(super) fn has_responded_by(&self, at: Duration) -> bool {
        self.response.as_ref().is_some_and(|final_response| final_response.part.began.at <= at)
    }

    /// The last informational response that had been sent by then.
    pub(super) fn informed_by(&self, at: Duration) -> Option<u16> {
        let sent = self.informational.iter().rev().find(|(sent, _)| sent.at <= at);
        sent.map(|(_, status)| *status)
    }

    /// How a server was late that has sent no final response by then.
    pub(super) fn lateness(&self, at: Duration) -> String {
        match self.informed_by(at) {
            Some(status) => format!("had sent {status}, and no final response"),
            None => "had not responded".into(),
        }
    }

    /// Whether a whole response had been sent by then.
    pub(super) fn has_begun_response_by(&self, at: Duration) -> bool {
        self.has_responded_by(at)
            && self.response.as_ref().is_some_and(|final_response| final_response.part.is_complete)
    }

    /// Whether the head of a response had arrived by then.
    pub(super) fn has_delivered_head_by(&self, at: Duration) -> bool {
        self.response.as_ref().and_then(|it| it.part.head_arrived).is_some_and(|arrived| arrived <= at)
    }

    /// Whether a whole response had arrived by then.
    pub(super) fn has_delivered_response_by(&self, at: Duration) -> bool {
        let part = self.response.as_ref().map(|it| &it.part).filter(|part| part.is_complete);
        part.and_then(|part| part.arrived).is_some_and(|arrived| arrived <= at)
    }

    /// What it became, if it became a tunnel.
    pub(super) fn tunnel_name(&self) -> &'static str {
        if self.is_websocket() { "WebSocket" } else { "tunnel" }
    }

    /// Whether it became a tunnel.
    pub(super) fn is_tunnel(&self) -> bool {
        let status = self.response.as_ref().map(|final_response| final_response.status);
        match self.protocol {
            Protocol::Http1 if status == Some(101) => true,
            Protocol::Http1 | Protocol::Http2 => {
                self.method == "CONNECT" && status.is_some_and(|status| (200..300).contains(&status))
            }
        }
    }
}

impl FinalResponse {
    fn of(status: u16, part: Part, head: Section) -> Self {
        Self { status, part, head, trailers: None }
    }
}

struct Reading<'a> {
    connection: usize,
    conversation: &'a Conversation,
    exchanges: Vec<Exchange>,
    acts: Vec<Act>,
    pings: Vec<Ping>,
    tls: Vec<TlsMessage>,
}

impl Reading<'_> {
    fn read(&mut self, by: Option<HostId>, lane: &Lane, messages: &[Message]) {
        for message in messages {
            if let Some(sent) = lane.sent(message.bytes.start) {
                self.message(by, lane, message, sent);
            }
        }
        for signal in &lane.signals {
            let kind = match signal.kind {
                SignalKind::Fin if self.completes_close_notify(by, signal.sent.at) => continue,
                SignalKind::Fin => ActKind::Fin,
                SignalKind::Rst => ActKind::Rst,
                SignalKind::Plain(_) | SignalKind::Retransmission(_) | SignalKind::Syn | SignalKind::SynAck => continue,
            };
            self.act(by, kind, signal.sent, signal.arrived);
        }
    }

    fn message(&mut self, by: Option<HostId>, lane: &Lane, message: &Message, sent: Moment) {
        let part = |ends| Part::of(lane, message, sent, ends);
        let arrived = lane.arrived(message.bytes.end);
        match &message.meaning {
            Meaning::Request { stream, method, path, ends } => self.exchanges.push(Exchange {
                connection: self.connection,
                client: self.conversation.client,
                server: self.conversation.server,
                stream: *stream,
                protocol: if message.field(":method").is_some() { Protocol::Http2 } else { Protocol::Http1 },
                method: method.clone(),
                path: path.clone(),
                fields: message.fields.clone(),
                request: part(*ends),
                response: None,
                informational: Vec::new(),
                has_close_frame: false,
            }),
            Meaning::Response { stream, status, ends } => {
                let final_response = FinalResponse::of(*status, part(*ends), Section::of(message));
                if let Some(exchange) = self.exchange(*stream) {
                    exchange.response = Some(final_response);
                }
            }
            Meaning::Informational { stream, status } => {
                if let Some(exchange) = self.exchange(*stream) {
                    exchange.informational.push((sent, *status));
                }
            }
            Meaning::Data { stream, is_close, ends, .. } => {
                self.data(by, *stream, *is_close, &part(*ends));
                let from_server = by != Some(self.conversation.client);
                let final_response = self.exchange(*stream).and_then(|exchange| exchange.response.as_mut());
                if let Some(final_response) = final_response.filter(|_| from_server && !message.fields.is_empty()) {
                    final_response.trailers = Some(Section::of(message));
                }
            }
            Meaning::GoAway { last, code } => {
                self.act(by, ActKind::GoAway { last: *last, code: code.clone() }, sent, arrived);
            }
            Meaning::Reset { stream, code } => {
                self.act(by, ActKind::Reset { stream: *stream, code: code.clone() }, sent, arrived);
            }
            Meaning::Ping { is_ack } => {
                let (connection, is_ack) = (self.connection, *is_ack);
                self.pings.extend(by.map(|by| Ping { connection, by, sent, is_ack }));
            }
            Meaning::Tls(content) => {
                if let Some(kind) = ActKind::of_tls(content) {
                    self.act(by, kind, sent, arrived);
                }
                let connection = self.connection;
                self.tls.extend(by.map(|by| TlsMessage { connection, by, content: content.clone(), sent }));
            }
            Meaning::Other => {}
        }
    }

    /// Whether a FIN was sent with the close_notify of the same end: then both are one act, which is recorded already.
    fn completes_close_notify(&mut self, by: Option<HostId>, at: Duration) -> bool {
        let same = self.acts.iter_mut().filter(|act| Some(act.by) == by && act.sent.at == at);
        for act in same {
            if let ActKind::CloseNotify { with_fin } = &mut act.kind {
                *with_fin = true;
                return true;
            }
        }
        false
    }

    fn data(&mut self, by: Option<HostId>, stream: u32, is_close: bool, more: &Part) {
        let from_client = by == Some(self.conversation.client);
        let Some(exchange) = self.exchange(stream) else { return };
        exchange.has_close_frame |= is_close;
        match (&mut exchange.response, from_client) {
            (_, true) => exchange.request.extend(more),
            (Some(final_response), false) => final_response.part.extend(more),
            (None, false) => {}
        }
    }

    fn exchange(&mut self, stream: u32) -> Option<&mut Exchange> {
        self.exchanges.iter_mut().find(|exchange| exchange.stream == stream)
    }

    fn act(&mut self, by: Option<HostId>, kind: ActKind, sent: Moment, arrived: Option<Duration>) {
        let connection = self.connection;
        self.acts.extend(by.map(|by| Act { connection, by, kind, sent, arrived }));
    }
}

impl Part {
    /// What a message is of a request or a response. A message of HTTP/1 may have its body with it.
    fn of(lane: &Lane, message: &Message, began: Moment, is_complete: bool) -> Self {
        let bytes = lane.bytes.get(message.bytes.clone()).unwrap_or_default();
        let head = bytes.windows(4).position(|four| four == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
        let head_arrived = lane.arrived(message.bytes.start + head);
        let arrived = lane.arrived(message.bytes.end);
        let (bytes, first_bytes) = (bytes.len(), bytes.len());
        Self { began, arrived, head_arrived, bytes, first_bytes, is_complete }
    }

    fn extend(&mut self, more: &Self) {
        self.bytes += more.bytes;
        self.arrived = more.arrived;
        self.is_complete |= more.is_complete;
    }
}
