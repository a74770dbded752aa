//! A handshake of TLS that failed: which side ended it, how, and why, all from the messages that crossed the network.

use std::time::Duration;

use super::beginning::Beginning;
use super::proposal::{Proposal, set};
use super::revoked::List;
use super::settings::{HostSettings, Setting};
use super::traffic::{TlsMessage, Traffic};
use super::{Case, Change, ms};
use crate::trace::HostId;
use crate::trace::conversation::{Conversation, SignalKind};
use crate::trace::wire::Tls;

/// Where the TLS settings of a cluster are.
const TLS: &str = "transport_socket.typed_config";

/// A handshake that failed.
pub(super) struct Handshake<'a> {
    conversation: &'a Conversation,
    messages: Vec<&'a TlsMessage>,
    end: End<'a>,
}

/// How it ended.
#[derive(Clone, Copy)]
enum End<'a> {
    /// By a fatal alert.
    Alert { message: &'a TlsMessage, name: &'a str },
    /// The server responded in clear text at this time, and closed the connection.
    ClearText { at: Duration },
    /// The server closed the connection at this time, and had sent nothing.
    Closed { at: Duration },
}

/// Why it failed, and what would change that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mismatch {
    /// What to do.
    change: String,
    /// The setting below a cluster, if it is the cluster's proxy that could change it.
    below: Option<&'static str>,
    /// The setting that could change it, and what it is to become.
    setting: Option<(Setting, Proposal)>,
}

impl<'a> Handshake<'a> {
    /// That of a connection; none if it did not fail.
    pub(super) fn failed(traffic: &'a Traffic, connection: usize) -> Option<Self> {
        let conversation = traffic.conversations.get(connection)?;
        let messages: Vec<&TlsMessage> =
            traffic.tls.iter().filter(|message| message.connection == connection).collect();
        let alert = messages.iter().find_map(|message| match &message.content {
            Tls::Alert { fatal: true, name } => Some(End::Alert { message, name }),
            Tls::Alert { .. } | Tls::Certificate { .. } | Tls::ClientHello { .. } | Tls::ServerHello { .. } => None,
        });
        let has_client_hello = messages.iter().any(|message| matches!(message.content, Tls::ClientHello { .. }));
        let has_server_hello = messages.iter().any(|message| matches!(message.content, Tls::ServerHello { .. }));
        let lacks_server_hello = has_client_hello && !has_server_hello;
        let has_server_bytes = !conversation.from_server.bytes.is_empty();
        let closes = |kind| matches!(kind, SignalKind::Fin | SignalKind::Rst);
        let closed = conversation.from_server.signals.iter().find(|signal| closes(signal.kind));
        let closed = closed.filter(|_| lacks_server_hello).map(|signal| signal.sent.at);
        let has_server_tls = messages.iter().any(|message| Some(message.by) == conversation.server);
        let end = match closed {
            // A response in clear text is the cause of the alert that follows.
            Some(at) if has_server_bytes && !has_server_tls => {
                Some(End::ClearText { at: conversation.from_server.sent(0).map_or(at, |sent| sent.at) })
            }
            Some(at) if !has_server_bytes => alert.or(Some(End::Closed { at })),
            Some(_) | None => alert,
        };
        end.map(|end| Self { conversation, messages, end })
    }

    fn offer(&self) -> (Option<&str>, String) {
        let hello = self.messages.iter().find_map(|message| match &message.content {
            Tls::ClientHello { alpn, server_name } => Some((server_name.as_deref(), alpn.join(" "))),
            Tls::Alert { .. } | Tls::Certificate { .. } | Tls::ServerHello { .. } => None,
        });
        hello.unwrap_or_default()
    }

    /// The first name of the certificate that a host showed; none if it showed an empty list, or sent no such message.
    fn shown(&self, by: Option<HostId>) -> Option<&str> {
        self.messages.iter().filter(|message| Some(message.by) == by).find_map(|message| match &message.content {
            Tls::Certificate { subject } => subject.as_deref(),
            Tls::Alert { .. } | Tls::ClientHello { .. } | Tls::ServerHello { .. } => None,
        })
    }

    /// What its client did and met, one sentence each.
    pub(super) fn done_by_client(&self, case: &Case<'_>) -> Vec<String> {
        let (server, to) = (case.name(self.conversation.server), self.conversation.server_address);
        let (server_name, offered) = self.offer();
        let sni = server_name.map_or_else(|| "no SNI".into(), |name| format!("SNI {name}"));
        let offered = if offered.is_empty() { "no ALPN".into() } else { format!("ALPN {offered}") };
        let began = format!("sent {server} ({to}) a ClientHello with {sni} and {offered}");
        vec![began, self.ended(case, Some(self.conversation.client))]
    }

    /// How it ended, in a sentence whose subject is `host` if that has ended it.
    pub(super) fn ended(&self, case: &Case<'_>, host: Option<HostId>) -> String {
        let server = case.name(self.conversation.server);
        match self.end {
            End::Alert { message, name } => {
                let by =
                    if Some(message.by) == host { "ended" } else { &format!("{} ended", case.name(Some(message.by))) };
                format!(
                    "{by} the handshake with the alert {name} at {}{}",
                    ms(message.sent.at),
                    self.reason(case, message, name)
                )
            }
            End::ClearText { at } => {
                format!("{server} responded in clear text at {}: it does not use TLS on this port", ms(at))
            }
            End::Closed { at } => {
                let why = self.missing_chain(case).map_or("", |_| ": no filter chain of its listener takes it");
                format!("{server} closed the connection at {} without a TLS message{why}", ms(at))
            }
        }
    }

    /// What would take the connection, if the server is a proxy that has no filter chain for it.
    fn missing_chain(&self, case: &Case<'_>) -> Option<Setting> {
        HostSettings::new(case.scenario, case.name(self.conversation.server))?.missing_filter_chain(self.conversation)
    }

    /// How it begins, if the server is a proxy that has it otherwise, and where that is set.
    fn other_beginning(&self, case: &Case<'_>) -> Option<(Beginning, Setting)> {
        HostSettings::new(case.scenario, case.name(self.conversation.server))?.other_beginning(self.conversation)
    }

    /// The list of revoked certificates of the proxy that has sent an alert.
    fn list(&self, case: &Case<'_>, alert: &TlsMessage) -> Option<List> {
        let settings = HostSettings::new(case.scenario, case.name(Some(alert.by)))?;
        let is_server = Some(alert.by) == self.conversation.server;
        List::of(&settings, self.conversation, is_server, alert.sent.at)
    }

    /// Which side ended it, and when.
    pub(super) fn closed_first(&self, case: &Case<'_>) -> String {
        match self.end {
            End::Alert { message, name: alert } => {
                let connection = message.connection + 1;
                format!(
                    "{}, with the TLS alert {alert} on connection {connection}, at {}",
                    case.name(Some(message.by)),
                    ms(message.sent.at)
                )
            }
            End::ClearText { at } | End::Closed { at } => {
                format!("{}, at {}", case.name(self.conversation.server), ms(at))
            }
        }
    }

    /// What an alert means here.
    fn reason(&self, case: &Case<'_>, message: &TlsMessage, alert: &str) -> String {
        let is_client = message.by == self.conversation.client;
        let other = if is_client { self.conversation.server } else { Some(self.conversation.client) };
        let (of, shown) = (case.name(other), self.shown(other));
        let certificate = shown.map_or_else(
            || format!("the certificate of {of}"),
            |shown| format!("the certificate of {of}, for {shown},"),
        );
        let list = self.list(case, message);
        match alert {
            "certificate_revoked" => {
                let file = list.and_then(|list| list.setting.value).map_or_else(String::new, |file| format!(" {file}"));
                format!(": {certificate} is on its list of revoked certificates{file}")
            }
            "unknown_ca" if let Some(list) = list.filter(List::is_out_of_date) => format!(": {}", list.fault()),
            "unknown_ca" => format!(": {certificate} is signed by no authority that it trusts"),
            "certificate_expired" => format!(": {certificate} is not valid at the time that its clock shows"),
            // Actors send the one, proxies the other, as Envoy.
            "bad_certificate" | "certificate_unknown" => {
                format!(": {certificate} is not for the name that it wants to see")
            }
            "no_application_protocol" => ": it takes none of the application protocols that are offered".into(),
            "certificate_required" | "handshake_failure" if shown.is_none() && !is_client => {
                format!(": {of} showed no certificate, and it wants to see one")
            }
            "protocol_version" => ": they have no version of TLS in common".into(),
            _ => String::new(),
        }
    }

    /// What would change it.
    pub(super) fn mismatch(&self, case: &Case<'_>) -> Mismatch {
        let mismatch = |change: &str, below| Mismatch { change: change.into(), below, setting: None };
        let of = |change: &str, setting, proposal| Mismatch {
            change: change.into(),
            below: None,
            setting: Some((setting, proposal)),
        };
        if let (End::Closed { .. }, Some(listener)) = (self.end, self.missing_chain(case)) {
            let change = "send an SNI that a filter chain takes, or add a filter chain that takes the connection";
            return of(change, listener, NOT_KNOWN);
        }
        if let (End::ClearText { .. }, Some((beginning, setting))) = (self.end, self.other_beginning(case)) {
            return of(beginning.change(), setting, beginning.proposal());
        }
        let (message, name) = match self.end {
            End::Alert { message, name } => (message, name),
            End::ClearText { .. } => {
                return mismatch("connect in clear text, or to a port with TLS", Some("transport_socket"));
            }
            End::Closed { .. } => {
                return mismatch("no setting is known to change it: read the log of the other side", None);
            }
        };
        let by_client = message.by == self.conversation.client;
        match (name, self.list(case, message)) {
            ("certificate_revoked", Some(list)) => {
                return of("show a certificate that has not been revoked", list.setting, NOT_KNOWN);
            }
            ("unknown_ca", Some(list)) if list.is_out_of_date() => {
                return of("replace the list by one that is valid", list.setting, NOT_KNOWN);
            }
            _ => {}
        }
        match name {
            "certificate_revoked" => mismatch("show a certificate that has not been revoked", None),
            "unknown_ca" if by_client => mismatch("trust the authority that has signed it", Some(TRUSTED)),
            "certificate_expired" => mismatch("show a certificate that is valid, or set the clock that is wrong", None),
            "bad_certificate" | "certificate_unknown" if by_client => {
                mismatch("require a name that the certificate has", Some(NAMES))
            }
            "bad_certificate" | "certificate_unknown" => {
                mismatch("show a certificate for a name that the other side takes", Some(CERTIFICATES))
            }
            "no_application_protocol" => mismatch("offer a protocol that the other side takes", Some(ALPN)),
            "certificate_required" | "handshake_failure" if !by_client => {
                mismatch("show a certificate that the other side trusts", Some(CERTIFICATES))
            }
            "unknown_ca" => mismatch(
                "show a certificate that is signed by an authority that the other side trusts",
                Some(CERTIFICATES),
            ),
            "protocol_version" => mismatch("permit a version that both sides support", Some(VERSIONS)),
            _ => mismatch("no setting is known to change it", None),
        }
    }
}

const NOT_KNOWN: Proposal =
    Proposal::Untried("which certificate, authority or name is right is for the operator to say");

const ALPN: &str = "common_tls_context.alpn_protocols";
const CERTIFICATES: &str = "common_tls_context.tls_certificates";
const NAMES: &str = "common_tls_context.validation_context.match_typed_subject_alt_names";
const TRUSTED: &str = "common_tls_context.validation_context.trusted_ca";
const VERSIONS: &str = "common_tls_context.tls_params";

impl Mismatch {
    /// The same where it is not a proxy's cluster that could change it.
    pub(super) fn elsewhere(self) -> Self {
        Self { below: None, ..self }
    }

    /// What its setting is to become, where that does not depend on what only a person knows.
    fn proposal(&self) -> Proposal {
        match self.below {
            Some("transport_socket" | VERSIONS) => Proposal::Remove,
            Some(ALPN) => set("[h2, http/1.1]"),
            Some(NAMES) => set("[]"),
            Some(_) | None => NOT_KNOWN,
        }
    }

    /// As what a proxy could do with its cluster, if it is a proxy.
    pub(super) fn changes(&self, settings: Option<(&HostSettings<'_>, &[String])>) -> Vec<Change> {
        let of_cluster = settings.zip(self.below).map(|((settings, cluster), below)| {
            let below = if below == "transport_socket" { below.to_owned() } else { format!("{TLS}.{below}") };
            settings.setting(cluster, &below, None)
        });
        let setting = self.setting.clone().or(of_cluster.map(|setting| (setting, self.proposal())));
        vec![match setting {
            Some((setting, proposal)) => Change::of(self.change.clone(), setting, proposal),
            None => Change::advice(self.change.clone()),
        }]
    }
}
