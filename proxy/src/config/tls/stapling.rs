//! Which certificate a client gets that asks for a response of OCSP with it (RFC 6066 8), and whether it gets the response.

use std::sync::{Arc, OnceLock};

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;

use super::Certificate;
use super::certificates::ByName;

/// `ocsp_staple_policy`
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum StaplePolicy {
    /// A response that has expired is left out.
    #[default]
    Lenient,
    /// A client is not served with a certificate whose response has expired or is not there.
    Must,
    /// A client is not served with a certificate whose response has expired.
    Strict,
}

/// What a client has got that asked for a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Staple {
    /// No certificate: the policy permits none.
    Failed,
    /// A certificate without a response.
    Omitted,
    /// A certificate with its response.
    Responded,
}

/// What became of a client's wish for a response; empty until there is a choice, and of clients that do not wish for one.
pub type StapleOutcome = Arc<OnceLock<Staple>>;

/// How responses are stapled to the certificates of a context.
#[derive(Clone, Debug)]
pub(super) struct Stapling {
    pub(super) certificates: Arc<ByName>,
    pub(super) policy: StaplePolicy,
    pub(super) time: Arc<dyn TimeProvider>,
}

impl Stapling {
    /// Is there anything to be chosen?
    pub(super) fn is_needed(&self) -> bool {
        self.may_refuse() || self.certificates.0.iter().any(|it| it.staple().is_some())
    }

    /// Is a client refused where a response is not there?
    pub(super) fn may_refuse(&self) -> bool {
        self.policy != StaplePolicy::Lenient || self.certificates.0.iter().any(Certificate::must_be_stapled)
    }

    /// What a client gets that asks for a response, and gets this certificate.
    fn staple(&self, certificate: &Certificate) -> Staple {
        let policy = if certificate.must_be_stapled() { StaplePolicy::Must } else { self.policy };
        let has_expired = certificate.staple().map(|response| response.has_expired(self.time.current_time()));
        match (policy, has_expired) {
            (_, Some(false)) => Staple::Responded,
            (StaplePolicy::Lenient, _) | (StaplePolicy::Strict, None) => Staple::Omitted,
            (StaplePolicy::Must, _) | (StaplePolicy::Strict, Some(true)) => Staple::Failed,
        }
    }
}

/// Chooses for one client, which asks for a response.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) of: Stapling,
    pub(super) outcome: StapleOutcome,
}

impl ResolvesServerCert for Asked {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // As in Envoy, a certificate without the response that it has to have is not taken while there is another.
        let is_permitted = |it: &Certificate| self.of.staple(it) != Staple::Failed;
        let chosen = self.of.certificates.choose(&hello, is_permitted)?;
        let staple = self.of.staple(chosen);
        self.outcome.get_or_init(|| staple);
        match staple {
            Staple::Failed => None,
            Staple::Omitted => Some(chosen.key()),
            Staple::Responded => Some(chosen.stapled()),
        }
    }
}
