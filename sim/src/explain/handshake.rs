//! A handshake of TLS that failed: who ended it, with what, and why. What is said rests on the messages that crossed the network.

use super::settings::{HostSettings, Setting};
use super::traffic::{TlsSaid, Traffic};
use super::{Case, Change, ms};
use crate::trace::HostId;
use crate::trace::conversation::{Conversation, SignalKind};
use crate::trace::wire::Tls;

/// Where a cluster says what it does with TLS.
const TLS: &str = "transport_socket.typed_config";

/// A handshake that failed.
pub(super) struct Handshake<'a> {
    conversation: &'a Conversation,
    said: Vec<&'a TlsSaid>,
    end: End<'a>,
}

/// How it ended.
#[derive(Clone, Copy)]
enum End<'a> {
    /// By a fatal alert.
    Alert { said: &'a TlsSaid, name: &'a str },
    /// The server closed the connection, or answered in clear text, and sent no message of TLS.
    Silence { at: std::time::Duration, answered: bool },
}

/// Why it failed, and what would change that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mismatch {
    /// What to do.
    change: String,
    /// The place below a cluster, if its proxy is who could do it.
    below: Option<&'static str>,
    /// The place in a listener.
    listener: Option<Setting>,
}

impl<'a> Handshake<'a> {
    /// That of a connection; none if it did not fail.
    pub(super) fn failed(traffic: &'a Traffic, connection: usize) -> Option<Self> {
        let conversation = traffic.conversations.get(connection)?;
        let said: Vec<&TlsSaid> = traffic.tls.iter().filter(|said| said.connection == connection).collect();
        let alert = said.iter().find_map(|said| match &said.said {
            Tls::Alert { fatal: true, name } => Some(End::Alert { said, name }),
            Tls::Alert { .. } | Tls::Certificate { .. } | Tls::ClientHello { .. } | Tls::ServerHello { .. } => None,
        });
        let is_asked = said.iter().any(|said| matches!(said.said, Tls::ClientHello { .. }));
        let is_answered = said.iter().any(|said| matches!(said.said, Tls::ServerHello { .. }));
        let closes = |kind| matches!(kind, SignalKind::Fin | SignalKind::Rst);
        let closed = conversation.from_server.signals.iter().find(|signal| closes(signal.kind));
        let answered = !conversation.from_server.bytes.is_empty();
        let silence =
            closed.filter(|_| is_asked && !is_answered).map(|signal| End::Silence { at: signal.sent.at, answered });
        // An answer in clear text is the cause of the alert that follows.
        let end = if answered && is_asked && !is_answered { silence.or(alert) } else { alert.or(silence) }?;
        let is_first_word = |said: &&&TlsSaid| Some(said.by) == conversation.server;
        if let End::Silence { answered: true, .. } = end
            && said.iter().any(|said| is_first_word(&said))
        {
            return alert.map(|end| Self { conversation, said: said.clone(), end });
        }
        Some(Self { conversation, said, end })
    }

    fn offer(&self) -> (Option<&str>, String) {
        let hello = self.said.iter().find_map(|said| match &said.said {
            Tls::ClientHello { alpn, server_name } => Some((server_name.as_deref(), alpn.join(" "))),
            Tls::Alert { .. } | Tls::Certificate { .. } | Tls::ServerHello { .. } => None,
        });
        hello.unwrap_or_default()
    }

    /// The first name of the certificate that a host showed; none if it showed an empty list, or said nothing of it.
    fn shown(&self, by: Option<HostId>) -> Option<&str> {
        self.said.iter().filter(|said| Some(said.by) == by).find_map(|said| match &said.said {
            Tls::Certificate { subject } => subject.as_deref(),
            Tls::Alert { .. } | Tls::ClientHello { .. } | Tls::ServerHello { .. } => None,
        })
    }

    /// What happened, a sentence each, as told of its client.
    pub(super) fn told_of_client(&self, case: &Case<'_>) -> Vec<String> {
        let (server, to) = (case.name(self.conversation.server), self.conversation.server_address);
        let (asked, offered) = self.offer();
        let asked = asked.map_or_else(|| "no SNI".into(), |asked| format!("SNI {asked}"));
        let offered = if offered.is_empty() { "no ALPN".into() } else { format!("ALPN {offered}") };
        let began = format!("sent {server} ({to}) a ClientHello with {asked} and {offered}");
        vec![began, self.ended(case, Some(self.conversation.client))]
    }

    /// How it ended, as told of `host`.
    pub(super) fn ended(&self, case: &Case<'_>, host: Option<HostId>) -> String {
        let server = case.name(self.conversation.server);
        match self.end {
            End::Alert { said, name } => {
                let by = if Some(said.by) == host { "ended" } else { &format!("{} ended", case.name(Some(said.by))) };
                format!(
                    "{by} the handshake with the alert {name} at {}{}",
                    ms(said.sent.at),
                    self.reason(case, said, name)
                )
            }
            End::Silence { at, answered: true } => {
                format!("{server} responded in clear text at {}: it does not speak TLS on this port", ms(at))
            }
            End::Silence { at, answered: false } => {
                let why = self.missing_chain(case).map_or("", |_| ": no filter chain of its listener takes it");
                format!("{server} closed the connection at {} without a word of TLS{why}", ms(at))
            }
        }
    }

    /// What would take the connection, if the server is a proxy that has no filter chain for it.
    fn missing_chain(&self, case: &Case<'_>) -> Option<Setting> {
        HostSettings::new(case.scenario, case.name(self.conversation.server))?.missing_filter_chain(self.conversation)
    }

    /// Who ended it.
    pub(super) fn closed_first(&self, case: &Case<'_>) -> String {
        match self.end {
            End::Alert { said, name: alert } => {
                let connection = said.connection + 1;
                format!(
                    "{}, with the TLS alert {alert} on connection {connection}, at {}",
                    case.name(Some(said.by)),
                    ms(said.sent.at)
                )
            }
            End::Silence { at, .. } => format!("{}, at {}", case.name(self.conversation.server), ms(at)),
        }
    }

    /// What an alert means here.
    fn reason(&self, case: &Case<'_>, said: &TlsSaid, alert: &str) -> String {
        let is_client = said.by == self.conversation.client;
        let other = if is_client { self.conversation.server } else { Some(self.conversation.client) };
        let (of, shown) = (case.name(other), self.shown(other));
        let certificate = shown.map_or_else(
            || format!("the certificate of {of}"),
            |shown| format!("the certificate of {of}, for {shown},"),
        );
        match alert {
            "unknown_ca" => format!(": {certificate} is signed by no authority that it trusts"),
            "certificate_expired" => format!(": {certificate} is not valid at the time that its clock shows"),
            "bad_certificate" => format!(": {certificate} is not for the name that it wants to see"),
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
        let mismatch = |change: &str, below| Mismatch { change: change.into(), below, listener: None };
        if let (End::Silence { answered: false, .. }, Some(listener)) = (self.end, self.missing_chain(case)) {
            let change =
                "ask for a name that a filter chain takes, or add a filter chain that takes the connection".into();
            return Mismatch { change, below: None, listener: Some(listener) };
        }
        let (said, name) = match self.end {
            End::Alert { said, name } => (said, name),
            End::Silence { answered: true, .. } => {
                return mismatch("connect in clear text, or to a port with TLS", Some("transport_socket"));
            }
            End::Silence { answered: false, .. } => {
                return mismatch("no setting is known to change it: see what the other side and its log say", None);
            }
        };
        let by_client = said.by == self.conversation.client;
        match name {
            "unknown_ca" if by_client => mismatch("trust the authority that has signed it", Some(TRUSTED)),
            "certificate_expired" => mismatch("show a certificate that is valid, or set the clock that is wrong", None),
            "bad_certificate" if by_client => mismatch("ask for a name that the certificate has", Some(NAMES)),
            "no_application_protocol" => mismatch("offer a protocol that the other side takes", Some(ALPN)),
            "certificate_required" | "handshake_failure" if !by_client => {
                mismatch("show a certificate that the other side trusts", Some(CERTIFICATES))
            }
            "unknown_ca" => mismatch(
                "show a certificate that is signed by an authority that the other side trusts",
                Some(CERTIFICATES),
            ),
            "protocol_version" => mismatch("permit a version that both sides know", Some(VERSIONS)),
            _ => mismatch("no setting is known to change it", None),
        }
    }
}

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

    /// As what a proxy could do with its cluster, if it is a proxy.
    pub(super) fn changes(&self, settings: Option<(&HostSettings<'_>, &[String])>) -> Vec<Change> {
        let of_cluster = settings.zip(self.below).map(|((settings, cluster), below)| {
            let below = if below == "transport_socket" { below.to_owned() } else { format!("{TLS}.{below}") };
            settings.setting(cluster, &below, None)
        });
        vec![Change { what: self.change.clone(), setting: self.listener.clone().or(of_cluster) }]
    }
}
