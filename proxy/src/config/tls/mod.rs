//! TLS as configured: what rustls needs to accept and to open connections.
//!
//! The keys and chains are read and checked with the configuration, so a certificate that does not fit its key is an error
//! of the file and not of the first client. [`certificates`] chooses among several certificates, [`verify`] judges those of peers.

mod certificates;
mod crypto;
mod general_name;
mod inventory;
mod pins;
mod renewable;
mod revocations;
mod suites;
mod verify;
pub mod x509;

use std::fmt;
use std::sync::Arc;

use super::upstream_name::RequestedNames;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::NoServerSessionStorage;
use rustls::{CipherSuite, ClientConfig, ServerConfig, SupportedProtocolVersion};

pub use certificates::{Certificate, CertificateError};
pub use crypto::Crypto;
pub use inventory::{InUse, Inventory, Origin, Use};
pub use pins::{NotPinned, Pins, hash_of_base64, hash_of_hex};
pub use renewable::{MadeOf, Material, Renewable, SecretSource};
pub use revocations::{NoRevocations, Revocations};
pub use suites::{CipherSuites, suite_by_name};
pub use verify::{Expiry, OtherNames, PeerName, PeerRules, Presence};

/// TLS towards clients.
pub type ServerTls = Renewable<ServerContext>;

/// TLS towards upstreams.
pub type ClientTls = Renewable<ClientContext>;

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
    versions: Versions,
    shown: Vec<Certificate>,
    material: Material,
    inventory: Inventory,
    secrets: SecretSource,
}

/// TLS towards upstreams, with the certificates that there are now.
pub struct ClientContext {
    /// What is offered and demanded, where an SNI is sent.
    naming: Arc<ClientConfig>,
    /// The same, where none is sent.
    nameless: Arc<ClientConfig>,
    /// `alpn_protocols`: what is offered where nothing is known of what the connection is for.
    own_alpn: Vec<Vec<u8>>,
    names: UpstreamNames,
    verifiers: verify::UpstreamVerifiers,
    material: Material,
    inventory: Inventory,
    secrets: SecretSource,
}

/// What a connection to an upstream is for, which decides what ALPN offers where `alpn_protocols` is empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carries {
    /// Requests: the protocols of HTTP that its cluster speaks.
    Http(HttpAlpn),
    /// Bytes of a client, or health checks: nothing, as in Envoy.
    Other,
}

impl Carries {
    /// What ALPN offers, unless it is configured.
    fn alpn(self) -> HttpAlpn {
        match self {
            Self::Http(alpn) => alpn,
            Self::Other => &[],
        }
    }
}

/// The application protocols of HTTP that a cluster speaks, in order of preference.
pub type HttpAlpn = &'static [&'static [u8]];

/// The names of upstreams in the configuration.
#[derive(Clone, Debug, Default)]
pub struct UpstreamNames {
    /// `sni`
    pub sni: Option<ServerName<'static>>,
    /// `auto_host_sni`: where an endpoint has a hostname, that comes first.
    pub own: OwnName,
    /// `auto_sni_san_validation`: the certificate has to be for the name that was sent as the SNI.
    pub check: NameCheck,
}

/// Whether the hostname of an endpoint is sent to it as the SNI.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OwnName {
    /// It is.
    Requested,
    /// It is not.
    #[default]
    Ignored,
}

/// Whether a certificate has to be for the name that was sent as the SNI.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NameCheck {
    /// It need not.
    #[default]
    None,
    /// It has to.
    Requested,
}

/// What both sides of TLS have in common.
#[derive(Clone, Debug)]
pub struct CommonTls {
    /// `alpn_protocols`, in order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// The certificates that this side may present, with their keys.
    pub certificates: Vec<Certificate>,
    /// What is computed with.
    pub crypto: Crypto,
    /// `cipher_suites` of TLS 1.2.
    pub suites: CipherSuites,
    /// The oldest and the newest version.
    pub versions: Versions,
    /// Where secrets come from.
    pub secrets: SecretSource,
}

/// The versions of TLS that are permitted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Versions {
    /// 1.2 and 1.3.
    Both,
    /// 1.2 alone.
    Tls12,
    /// 1.3 alone.
    Tls13,
}

impl Versions {
    fn list(self) -> &'static [&'static SupportedProtocolVersion] {
        static TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
        static TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Both => rustls::ALL_VERSIONS,
            Self::Tls12 => TLS12,
            Self::Tls13 => TLS13,
        }
    }
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

/// `max_session_keys`: so many sessions are kept to be resumed; `None` is rustls' own choice.
pub type SessionsMax = Option<usize>;

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

impl MadeOf for ClientContext {
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

/// What these differ in from others.
fn material(common: &CommonTls, rules: Option<&PeerRules>, presence: Presence) -> Material {
    let trusted = rules.into_iter().flat_map(PeerRules::certificates);
    let revocations = rules.and_then(PeerRules::revocations);
    let depth = revocations.map(|lists| format!(" {:?}", lists.depth())).unwrap_or_default();
    Material {
        certificates: common.certificates.iter().flat_map(Certificate::chain).chain(trusted).cloned().collect(),
        revocations: revocations.map(Revocations::read),
        demands: format!("{presence:?} {}{depth}", rules.map_or_else(|| "[]".to_owned(), PeerRules::demands)),
    }
}

/// What these have in use.
fn inventory(common: &CommonTls, rules: Option<&PeerRules>) -> Inventory {
    Inventory {
        own: common.certificates.iter().filter_map(Certificate::in_use).collect(),
        trusted: rules.and_then(PeerRules::in_use),
    }
}

impl ServerContext {
    /// # Errors
    /// The versions have no cipher suite left.
    pub fn new(
        common: CommonTls,
        clients: ClientCertificates,
        resumption: Resumption,
    ) -> Result<ServerTls, rustls::Error> {
        let presence = clients.presence();
        let mut material = material(&common, clients.rules(), presence);
        let inventory = inventory(&common, clients.rules());
        if resumption != Resumption::Any {
            material.demands = format!("{} {resumption:?}", material.demands);
        }
        let Crypto { key_log, provider, ticketer, time } = common.crypto;
        let provider = Arc::new(common.suites.within(&provider));
        let builder = ServerConfig::builder_with_details(Arc::clone(&provider), time);
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
        let shown = common.certificates.clone();
        let mut config = builder.with_cert_resolver(certificates::of_server(common.certificates));
        config.key_log = key_log;
        match resumption {
            Resumption::Any | Resumption::Tickets => config.ticketer = ticketer()?,
            // Without a ticketer rustls would number sessions of TLS 1.3 as well.
            Resumption::None | Resumption::Sessions => config.send_tls13_tickets = 0,
        }
        if matches!(resumption, Resumption::None | Resumption::Tickets) {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        let without_alpn = Arc::new(config.clone());
        config.alpn_protocols = common.alpn;
        let (with_alpn, versions, secrets) = (Arc::new(config), common.versions, common.secrets);
        Ok(Renewable::new(Self {
            with_alpn,
            without_alpn,
            presence,
            clients,
            versions,
            shown,
            material,
            inventory,
            secrets,
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
        let named = server_name.and_then(|name| self.shown.iter().find(|certificate| certificate.is_for(name)));
        named.or(self.shown.first())
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

impl ClientContext {
    /// # Errors
    /// The versions have no cipher suite left.
    pub fn new(
        common: CommonTls,
        http: HttpAlpn,
        upstreams: PeerRules,
        names: UpstreamNames,
        sessions_max: SessionsMax,
    ) -> Result<ClientTls, rustls::Error> {
        let mut material = material(&common, Some(&upstreams), Presence::Required);
        let inventory = inventory(&common, Some(&upstreams));
        if let Some(max) = sessions_max {
            material.demands = format!("{} {max} sessions", material.demands);
        }
        let Crypto { key_log, provider, time, .. } = common.crypto;
        let provider = Arc::new(common.suites.within(&provider));
        let builder = ClientConfig::builder_with_details(Arc::clone(&provider), time);
        let builder = builder.with_protocol_versions(common.versions.list())?;
        let verifiers = verify::UpstreamVerifiers::new(upstreams, &provider);
        let builder = builder.dangerous().with_custom_certificate_verifier(verifiers.of(&[]));
        let mut config = match common.certificates.into_iter().next() {
            Some(certificate) => builder.with_client_cert_resolver(certificates::of_client(certificate)),
            None => builder.with_no_client_auth(),
        };
        let own_alpn = common.alpn;
        config.alpn_protocols = match own_alpn.is_empty() {
            true => http.iter().map(|protocol| protocol.to_vec()).collect(),
            false => own_alpn.clone(),
        };
        config.key_log = key_log;
        match sessions_max {
            None => {}
            Some(0) => config.resumption = rustls::client::Resumption::disabled(),
            Some(max) => config.resumption = rustls::client::Resumption::in_memory_sessions(max),
        }
        let (naming, secrets) = (Arc::new(config.clone()), common.secrets);
        config.enable_sni = false;
        Ok(Renewable::new(Self {
            naming,
            nameless: Arc::new(config),
            own_alpn,
            names,
            verifiers,
            material,
            inventory,
            secrets,
        }))
    }

    /// Is the hostname of an endpoint sent to it as the SNI?
    #[must_use]
    pub fn own_name(&self) -> OwnName {
        self.names.own
    }

    /// `sni`: the SNI of connections for which neither a request nor an endpoint names another.
    #[must_use]
    pub fn server_name(&self) -> Option<String> {
        self.names.sni.as_ref().map(|name| name.to_str().into_owned())
    }

    /// What a connection offers and demands, and its SNI.
    #[must_use]
    pub fn of_connection(
        &self,
        requested: &RequestedNames,
        carries: Carries,
    ) -> (Arc<ClientConfig>, ServerName<'static>) {
        let server_name = requested.server_name.as_deref().and_then(dns_name).or_else(|| self.names.sni.clone());
        let sni = server_name.as_ref().filter(|_| self.names.check == NameCheck::Requested).map(ServerName::to_str);
        let of_sni: Option<[Box<str>; 1]> = sni.map(|sni| [Box::from(&*sni)]);
        let certified = match &*requested.certified {
            [] => of_sni.as_ref().map_or(&[][..], |sni| &sni[..]),
            certified => certified,
        };
        let mut config = Arc::clone(if server_name.is_some() { &self.naming } else { &self.nameless });
        if !certified.is_empty() {
            // Sessions of one demand are not resumed for another: rustls compares the verifiers.
            let own = Arc::make_mut(&mut config);
            own.dangerous().set_certificate_verifier(self.verifiers.of(certified));
        }
        if !requested.protocols.is_empty() {
            let protocols = requested.protocols.iter().map(|protocol| protocol.to_vec());
            Arc::make_mut(&mut config).alpn_protocols = protocols.collect();
        } else if self.own_alpn.is_empty() && config.alpn_protocols != carries.alpn() {
            Arc::make_mut(&mut config).alpn_protocols =
                carries.alpn().iter().map(|protocol| protocol.to_vec()).collect();
        }
        (config, server_name.unwrap_or_else(unnamed))
    }
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { with_alpn, material, .. } = self; // the rest holds keys
        write!(f, "ServerTls({}{})", alpn(&with_alpn.alpn_protocols), material.demands)
    }
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { naming, names, material, .. } = self;
        let UpstreamNames { sni, own, check } = names;
        let name = sni.clone().unwrap_or_else(unnamed);
        write!(f, "ClientTls({name:?} {own:?} {check:?} {}{})", alpn(&naming.alpn_protocols), material.demands)
    }
}

/// rustls has to have a name also where it sends none.
fn unnamed() -> ServerName<'static> {
    ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into())
}

/// RFC 6066 3: an SNI is no address.
fn dns_name(name: &str) -> Option<ServerName<'static>> {
    ServerName::try_from(name.to_owned()).ok().filter(|name| matches!(name, ServerName::DnsName(_)))
}

fn alpn(protocols: &[Vec<u8>]) -> String {
    protocols.iter().map(|protocol| format!("{} ", String::from_utf8_lossy(protocol))).collect()
}
