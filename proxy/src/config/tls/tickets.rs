//! Session tickets that are sealed with keys of the configuration, so that processes which share them resume each other's sessions.
//!
//! Envoy's keys are of 80 bytes: a name of 16, and 64 of secrets. So are these. The form of the tickets is our own: the name of the
//! key, a random seed, and the time and the session, sealed by AES-256-GCM with a key that is derived from the secrets and the seed
//! alone (RFC 5869). A ticket therefore needs no nonce that must not repeat, however many processes seal with one key for however long.

use std::fmt;
use std::sync::Arc;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use ring::hkdf::{HKDF_SHA256, Prk, Salt};
use rustls::crypto::SecureRandom;
use rustls::server::ProducesTickets;
use rustls::time_provider::TimeProvider;

use super::Crypto;

/// A key of the configuration is so long. Bytes.
const KEY_LEN: usize = NAME_LEN + 64;
/// Its name is so long, by which the key of a ticket is known. Bytes.
const NAME_LEN: usize = 16;
const SEED_LEN: usize = 32;
/// Of the time in a ticket, in seconds since 1970. Bytes.
const TIME_LEN: usize = 8;
/// A ticket is good for so long: as one that is sealed with a key of this process. Seconds.
const LIFETIME: u32 = 12 * 60 * 60;

/// A key has another length.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("Incorrect TLS session ticket key length. Length {0}, expected length {KEY_LEN}.")]
pub struct WrongLength(usize);

/// `session_ticket_keys`: the first seals tickets, all open them.
#[derive(Clone)]
pub struct TicketKeys(Arc<[TicketKey]>);

struct TicketKey {
    name: [u8; NAME_LEN],
    secret: Prk,
    /// SHA-256 of all of it.
    digest: [u8; SHA256_OUTPUT_LEN],
}

impl TicketKeys {
    /// Of these bytes.
    ///
    /// # Errors
    /// One has another length than 80 bytes; which one stands in front.
    pub fn new(keys: &[Vec<u8>]) -> Result<Self, (usize, WrongLength)> {
        let read = keys.iter().enumerate().map(|(nth, key)| TicketKey::new(key).map_err(|error| (nth, error)));
        read.collect::<Result<_, _>>().map(Self)
    }

    /// By which they are told from others.
    pub(super) fn digests(&self) -> Vec<[u8; SHA256_OUTPUT_LEN]> {
        self.0.iter().map(|key| key.digest).collect()
    }

    /// What seals the tickets of a context that differs in `context` from those which its sessions must not be resumed in.
    pub(super) fn ticketer(&self, context: [u8; SHA256_OUTPUT_LEN], crypto: &Crypto) -> Arc<dyn ProducesTickets> {
        let (random, time) = (crypto.provider.secure_random, Arc::clone(&crypto.time));
        Arc::new(Ticketer { keys: self.clone(), context, random, time })
    }
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} TicketKeys", self.0.len())
    }
}

impl TicketKey {
    fn new(bytes: &[u8]) -> Result<Self, WrongLength> {
        let (name, secret) = bytes.split_first_chunk().ok_or(WrongLength(bytes.len()))?;
        if bytes.len() != KEY_LEN {
            return Err(WrongLength(bytes.len()));
        }
        let secret = Salt::new(HKDF_SHA256, b"session tickets of finwait").extract(secret);
        Ok(Self { name: *name, secret, digest: digest(&[bytes]) })
    }

    /// What seals the ticket with this seed.
    fn of(&self, seed: &[u8; SEED_LEN]) -> Option<LessSafeKey> {
        let derived = UnboundKey::from(self.secret.expand(&[seed], &AES_256_GCM).ok()?);
        Some(LessSafeKey::new(derived))
    }
}

/// SHA-256 of these parts, each with its length.
pub(super) fn digest(parts: &[&[u8]]) -> [u8; SHA256_OUTPUT_LEN] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut found = [0; SHA256_OUTPUT_LEN];
    // SHA-256 has this length.
    found.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    found
}

struct Ticketer {
    keys: TicketKeys,
    context: [u8; SHA256_OUTPUT_LEN],
    random: &'static dyn SecureRandom,
    time: Arc<dyn TimeProvider>,
}

impl Ticketer {
    fn now(&self) -> Option<u64> {
        self.time.current_time().map(|now| now.as_secs())
    }
}

impl ProducesTickets for Ticketer {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = self.keys.0.first()?;
        let mut seed = [0; SEED_LEN];
        self.random.fill(&mut seed).ok()?;
        let mut sealed = [&self.now()?.to_be_bytes()[..], plain].concat();
        key.of(&seed)?.seal_in_place_append_tag(only_nonce(), Aad::from(self.context), &mut sealed).ok()?;
        Some([&key.name[..], &seed, &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (seed, sealed) = rest.split_first_chunk::<SEED_LEN>()?;
        let key = self.keys.0.iter().find(|key| key.name == *name)?;
        let mut opened = sealed.to_vec();
        let opened = key.of(seed)?.open_in_place(only_nonce(), Aad::from(self.context), &mut opened).ok()?;
        let (sealed_at, plain) = opened.split_first_chunk::<TIME_LEN>()?;
        // The clock of another process may be ahead.
        let age = self.now()?.saturating_sub(u64::from_be_bytes(*sealed_at));
        (age <= LIFETIME.into()).then(|| plain.to_vec())
    }
}

/// Each key seals one ticket.
fn only_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

impl fmt::Debug for Ticketer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.keys.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::pki_types::UnixTime;

    use super::*;

    #[derive(Debug)]
    struct At(u64);

    impl TimeProvider for At {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
        }
    }

    fn ticketer(keys: &[u8], context: u8, at: u64) -> Arc<dyn ProducesTickets> {
        let keys: Vec<_> = keys.iter().map(|byte| vec![*byte; KEY_LEN]).collect();
        let crypto = Crypto { time: Arc::new(At(at)), ..Crypto::default() };
        TicketKeys::new(&keys).unwrap().ticketer([context; SHA256_OUTPUT_LEN], &crypto)
    }

    #[test]
    fn the_first_key_seals_and_all_open_within_a_context_and_a_lifetime() {
        const NOW: u64 = 1_800_000_000;
        let end = NOW + u64::from(LIFETIME);
        let ticket = ticketer(&[1, 2], 0, NOW).encrypt(b"session").unwrap();
        assert_ne!(ticketer(&[1, 2], 0, NOW).encrypt(b"session").unwrap(), ticket);
        for (keys, context, at, is_opened) in [
            (&[1, 2][..], 0, NOW, true),
            (&[3, 1], 0, end, true),
            (&[1], 0, NOW - 60, true),
            (&[1], 0, end + 1, false),
            (&[1], 9, NOW, false),
            (&[2], 0, NOW, false),
        ] {
            let opened = ticketer(keys, context, at).decrypt(&ticket);
            assert_eq!(opened.as_deref() == Some(b"session"), is_opened, "{keys:?} {context} {at}");
        }
        for at in 0..ticket.len() {
            let mut forged = ticket.clone();
            forged[at] ^= 1;
            assert_eq!(ticketer(&[1], 0, NOW).decrypt(&forged), None);
            assert_eq!(ticketer(&[1], 0, NOW).decrypt(&ticket[..at]), None);
        }
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for length in [0, 15, 16, 79, 81] {
            let error = TicketKeys::new(&[vec![0; KEY_LEN], vec![0; length]]).unwrap_err();
            assert_eq!(error, (1, WrongLength(length)));
        }
    }
}
