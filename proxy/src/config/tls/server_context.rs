//! TLS towards clients: what rustls needs to accept connections.

use std::fmt;
use std::sync::Arc;

use ring::digest::SHA256_OUTPUT_LEN;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use rustls::{CipherSuite, ServerConfig};
use webpki::EndEntityCert;

use super::certificates::ByName;
use super::stapling::{Asked, Stapling};
use super::tickets::{TicketKeys, digest};
use super::x509::alternatives;
use super::{
    Certificate, CommonTls, Crypto, Inventory, KeyLogFile, MadeOf, Material, PeerRules, Presence, Renewable,
    SecretSource, ServerTls, Staple, StapleOutcome, StaplePolicy, Versions, alpn, inventory, material, verify,
};

/// TLS towards clients, with the certificates that there are now.
pub struct ServerContext {
    /// For clients that offer one of our application protocols, or none.
    with_alpn: Arc<ServerConfig>,
    /// For clients whose offer has nothing in common with ours: as in Envoy that is no error.
    without_alpn: Arc<ServerConfig>,
    /// `require_client_certificate`
    pub presence: Presence,
    /// What clients' certificates have to fulfil, and how that is computed; `None` if they are not requested.
    clients: Option<(Arc<PeerRules>, WebPkiSupportedAlgorithms)>,
    /// Where the secrets of connections are written.
    pub key_log: Option<KeyLogFile>,
    versions: Versions,
    /// Its certificates, and how responses of OCSP go with them.
    stapling: Stapling,
    material: Material,
    inventory: Inventory,
    secrets: SecretSource,
}

/// What is for clients alone.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Which certificate a client has to show.
    pub clients: ClientCertificates,
    /// How a client may resume a session.
    pub resumption: Resumption,
    /// When a client gets a response of OCSP that asks for one.
    pub staples: StaplePolicy,
    /// What session tickets are sealed with; `None` is a key that this process makes and changes by itself.
    pub ticket_keys: Option<TicketKeys>,
}

/// How a client may resume a session.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Resumption {
    /// By its ticket, or in TLS 1.2 by the number of a session that is kept here.
    #[default]
    Any,
    /// `disable_stateless_session_resumption` and `disable_stateful_session_resumption`: not at all.
    None,
    /// `disable_stateless_session_resumption`: by number, and so in TLS 1.2 alone.
    Sessions,
    /// `disable_stateful_session_resumption`: by ticket.
    Tickets,
}

/// Which certificate a client has to show.
#[derive(Clone, Debug)]
pub enum ClientCertificates {
    /// None is requested.
    Ignored,
    /// One that is shown is checked.
    Optional(PeerRules),
    /// There has to be one, and it is checked.
    Required(PeerRules),
}

impl ClientCertificates {
    fn rules(&self) -> Option<&PeerRules> {
        match self {
            Self::Ignored => None,
            Self::Optional(rules) | Self::Required(rules) => Some(rules),
        }
    }

    fn presence(&self) -> Presence {
        match self {
            Self::Optional(rules) if rules.need_certificate() => Presence::Required,
            Self::Ignored | Self::Optional(_) => Presence::Optional,
            Self::Required(_) => Presence::Required,
        }
    }
}

/// What contexts have in common that may resume each other's sessions, as in Envoy: a session is that of a client which this context
/// would have let in, and which has seen a certificate for these names.
fn sessions_of(common: &CommonTls, clients: &ClientCertificates) -> [u8; SHA256_OUTPUT_LEN] {
    let mut parts = vec![format!("{:?}", clients.presence()).into_bytes()];
    for first in common.certificates.iter().filter_map(|certificate| certificate.chain().first()) {
        let read = EndEntityCert::try_from(first).ok();
        parts.extend(read.iter().flat_map(|it| [it.issuer().to_vec(), it.subject().to_vec()]));
        parts.extend(alternatives(first).into_iter().map(|name| name.text.into_bytes()));
    }
    if let Some(rules) = clients.rules() {
        parts.push(rules.demands().into_bytes());
        parts.extend(rules.certificates().iter().map(|trusted| trusted.to_vec()));
        parts.extend(rules.revocations().map(|lists| lists.read().to_vec()));
    }
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    digest(&parts)
}

impl MadeOf for ServerContext {
    fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    fn material(&self) -> &Material {
        &self.material
    }

    fn secrets(&self) -> SecretSource {
        self.secrets
    }
}

impl ServerContext {
    /// # Errors
    /// The versions have no cipher suite left.
    pub fn new(common: CommonTls, options: ServerOptions) -> Result<ServerTls, rustls::Error> {
        let ServerOptions { clients, resumption, staples, ticket_keys } = options;
        let presence = clients.presence();
        let mut material = material(&common, clients.rules(), presence);
        let inventory = inventory(&common, clients.rules());
        let keyed = ticket_keys.as_ref().map(|keys| keys.ticketer(sessions_of(&common, &clients), &common.crypto));
        material.ticket_keys = ticket_keys.as_ref().map(TicketKeys::digests).unwrap_or_default();
        if resumption != Resumption::Any {
            material.demands = format!("{} {resumption:?}", material.demands);
        }
        if staples != StaplePolicy::default() {
            material.demands = format!("{} {staples:?} staple", material.demands);
        }
        let Crypto { key_log, provider, ticketer, time } = common.crypto;
        let provider = Arc::new(common.suites.within(&provider));
        let builder = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::clone(&time));
        let builder = builder.with_protocol_versions(common.versions.list())?;
        let clients = match clients {
            ClientCertificates::Ignored => None,
            ClientCertificates::Optional(rules) | ClientCertificates::Required(rules) => {
                Some((Arc::new(rules), provider.signature_verification_algorithms))
            }
        };
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some((rules, _)) => {
                builder.with_client_cert_verifier(verify::clients(Arc::clone(rules), presence, &provider))
            }
        };
        let certificates = Arc::new(ByName(common.certificates));
        let stapling = Stapling { certificates: Arc::clone(&certificates), policy: staples, time };
        let mut config = builder.with_cert_resolver(certificates);
        config.key_log = key_log;
        match resumption {
            Resumption::Any | Resumption::Tickets => config.ticketer = keyed.map_or_else(ticketer, Ok)?,
            // Without a ticketer rustls would number sessions of TLS 1.3 as well.
            Resumption::None | Resumption::Sessions => config.send_tls13_tickets = 0,
        }
        if matches!(resumption, Resumption::None | Resumption::Tickets) {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = common.alpn;
        Ok(Renewable::new(Self {
            with_alpn: Arc::new(config),
            without_alpn,
            presence,
            clients,
            key_log: common.key_log,
            versions: common.versions,
            stapling,
            material,
            inventory,
            secrets: common.secrets,
        }))
    }

    /// Is the chain of a client, which the handshake has accepted, valid? One that nothing is demanded of is not.
    #[must_use]
    pub fn has_validated(&self, chain: &[CertificateDer<'_>]) -> bool {
        let now = || self.with_alpn.time_provider.current_time();
        self.clients.as_ref().is_some_and(|(rules, algorithms)| rules.has_validated(chain, now(), algorithms))
    }

    /// The first URI among the names of the certificate that a client gets with the SNI `server_name`.
    #[must_use]
    pub fn own_uri(&self, server_name: Option<&str>) -> Option<String> {
        self.own(server_name)?.uri()
    }

    /// The certificate that a client gets with the SNI `server_name`, if it can check it.
    #[must_use]
    pub fn own(&self, server_name: Option<&str>) -> Option<&Certificate> {
        let shown = &self.stapling.certificates.0;
        let named = server_name.and_then(|name| shown.iter().find(|certificate| certificate.is_for(name)));
        named.or(shown.first())
    }

    /// Chooses the certificate in `config` for a client that asks for a response of OCSP. What becomes of that is in `outcome`.
    pub fn choose_with_staple(&self, config: &mut Arc<ServerConfig>, outcome: &StapleOutcome) {
        if self.stapling.is_needed() {
            let asked = Asked { of: self.stapling.clone(), outcome: Arc::clone(outcome) };
            Arc::make_mut(config).cert_resolver = Arc::new(asked);
        } else {
            outcome.get_or_init(|| Staple::Omitted);
        }
    }

    /// Is a client that asks for a response refused where there is none?
    #[must_use]
    pub fn may_refuse_for_staple(&self) -> bool {
        self.stapling.may_refuse()
    }

    /// The version that a client will get which offers these suites, if it gets one: those of 1.3 are suites of their own.
    #[must_use]
    pub fn version_for(&self, offer: &[CipherSuite]) -> &'static str {
        const OF_TLS13: [CipherSuite; 3] = [
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            CipherSuite::TLS13_AES_256_GCM_SHA384,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        ];
        let is_offered = || offer.iter().any(|suite| OF_TLS13.contains(suite));
        if self.versions != Versions::Tls12 && is_offered() { "TLSv1.3" } else { "TLSv1.2" }
    }

    /// For a client that offers these application protocols; `None` if it offers none.
    #[must_use]
    pub fn for_offer<'a>(&self, offer: Option<impl Iterator<Item = &'a [u8]>>) -> Arc<ServerConfig> {
        let ours = &self.with_alpn.alpn_protocols;
        let is_common = offer.is_none_or(|mut offer| offer.any(|protocol| ours.iter().any(|our| our == protocol)));
        Arc::clone(if is_common { &self.with_alpn } else { &self.without_alpn })
    }
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { with_alpn, material, .. } = self; // the rest holds keys
        write!(f, "ServerTls({}{})", alpn(&with_alpn.alpn_protocols), material.demands)
    }
}
