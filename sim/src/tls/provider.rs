//! What rustls computes with in a run: ring's ciphers, hashes and checks of signatures as in production; keys, randoms and time out of the
//! seed and the world's clock.
//!
//! Signatures are Ed25519, which are a function of key and message (RFC 8032 5.1.6): those of ECDSA and RSA-PSS would be drawn by
//! ring from the system. For the same reason the key exchange is not ring's.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use finwait::config::tls::Crypto;
use rustls::crypto::{
    ActiveKeyExchange, CryptoProvider, GetRandomFailed, KeyProvider, SecureRandom, SharedSecret, SupportedKxGroup, ring,
};
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use rustls::sign::SigningKey;
use rustls::time_provider::TimeProvider;
use rustls::{Error, KeyLog, NamedGroup, PeerMisbehaved};
use x25519_dalek::{X25519_BASEPOINT_BYTES, x25519};

use super::{machine, tickets};
use crate::trace::Secret;

/// For proxies, clients and apps alike.
pub(crate) fn crypto() -> Crypto {
    let provider = CryptoProvider {
        kx_groups: vec![&X25519],
        secure_random: &Drawn,
        key_provider: &Ed25519,
        ..ring::default_provider()
    };
    Crypto {
        key_log: Arc::new(KeysToTrace),
        provider: Arc::new(provider),
        ticketer: tickets::sealed,
        time: Arc::new(WorldTime),
    }
}

#[derive(Debug)]
struct Drawn;

impl SecureRandom for Drawn {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), GetRandomFailed> {
        if machine::fill(bytes) { Ok(()) } else { Err(GetRandomFailed) }
    }
}

#[derive(Debug)]
struct WorldTime;

impl TimeProvider for WorldTime {
    fn current_time(&self) -> Option<UnixTime> {
        let since = machine::wall()?.duration_since(UNIX_EPOCH).ok()?;
        Some(UnixTime::since_unix_epoch(since))
    }
}

#[derive(Debug)]
struct KeysToTrace;

impl KeyLog for KeysToTrace {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        machine::record_secret(Secret {
            label: label.into(),
            client_random: client_random.into(),
            secret: secret.into(),
        });
    }
}

#[derive(Debug)]
struct Ed25519;

impl KeyProvider for Ed25519 {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        match key {
            PrivateKeyDer::Pkcs8(key) => ring::sign::any_eddsa_type(&key),
            PrivateKeyDer::Pkcs1(_) | PrivateKeyDer::Sec1(_) | _ => {
                Err(Error::General("in a simulation keys are Ed25519, in PKCS #8".into()))
            }
        }
    }
}

/// RFC 7748 section 6.1.
#[derive(Debug)]
struct X25519;

impl SupportedKxGroup for X25519 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, Error> {
        let mut secret = [0; 32];
        Drawn.fill(&mut secret)?;
        Ok(Box::new(Exchange { secret, public: x25519(secret, X25519_BASEPOINT_BYTES) }))
    }

    fn name(&self) -> NamedGroup {
        NamedGroup::X25519
    }
}

struct Exchange {
    secret: [u8; 32],
    public: [u8; 32],
}

impl ActiveKeyExchange for Exchange {
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<SharedSecret, Error> {
        let peer = <[u8; 32]>::try_from(peer).map_err(|_| PeerMisbehaved::InvalidKeyShare)?;
        match x25519(self.secret, peer) {
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => {
                Err(PeerMisbehaved::InvalidKeyShare.into()) // RFC 8446 7.4.2
            }
            shared => Ok(SharedSecret::from(&shared[..])),
        }
    }

    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }

    fn pub_key(&self) -> &[u8] {
        &self.public
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::chance::Chance;
    use crate::tls::machine::Machine;
    use crate::trace::SharedTrace;

    fn draw(seed: u64) -> ([u8; 32], Vec<u8>) {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        let machine = Machine::new(Chance::new(seed, "a"), SharedTrace::default(), move || at);
        let _on_it = machine.enter();
        assert_eq!(WorldTime.current_time().unwrap().as_secs(), 7);
        let mut bytes = [0; 32];
        Drawn.fill(&mut bytes).unwrap();
        let (ours, theirs) = (X25519.start().unwrap(), X25519.start().unwrap());
        let (our_public, their_public) = (ours.pub_key().to_vec(), theirs.pub_key().to_vec());
        let (mine, yours) = (ours.complete(&their_public).unwrap(), theirs.complete(&our_public).unwrap());
        assert_eq!(mine.secret_bytes(), yours.secret_bytes());
        (bytes, mine.secret_bytes().to_vec())
    }

    #[test]
    fn one_seed_gives_one_set_of_secrets() {
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(Drawn.fill(&mut [0]).is_err(), "nothing runs");
        assert!(WorldTime.current_time().is_none(), "nothing runs");
    }

    #[test]
    fn a_share_of_low_order_is_refused() {
        let exchange = Box::new(Exchange { secret: [1; 32], public: [2; 32] });
        assert!(exchange.complete(&[0; 32]).is_err());
    }
}
