//! Session tickets, sealed with a key that is drawn where the first is needed: a proxy that starts anew cannot open those of
//! before.

use std::fmt;
use std::sync::{Arc, OnceLock};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::Error;
use rustls::server::ProducesTickets;

use super::machine;

/// As long as the tickets of rustls' own implementation are good for. Seconds.
const LIFETIME: u32 = 6 * 60 * 60;

/// What seals the tickets of one context.
pub(super) fn sealed() -> Result<Arc<dyn ProducesTickets>, Error> {
    Ok(Arc::new(Sealed(OnceLock::new())))
}

struct Sealed(OnceLock<Option<LessSafeKey>>);

impl Sealed {
    fn key(&self) -> Option<&LessSafeKey> {
        let draw = || {
            let mut key = [0; 32];
            machine::fill(&mut key).then_some(())?;
            UnboundKey::new(&CHACHA20_POLY1305, &key).ok().map(LessSafeKey::new)
        };
        self.0.get_or_init(draw).as_ref()
    }
}

impl ProducesTickets for Sealed {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        machine::fill(&mut nonce).then_some(())?;
        let mut sealed = plain.to_vec();
        let nonce_of_ring = Nonce::assume_unique_for_key(nonce);
        self.key()?.seal_in_place_append_tag(nonce_of_ring, Aad::empty(), &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = cipher.split_first_chunk::<NONCE_LEN>()?;
        let mut plain = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.key()?.open_in_place(nonce, Aad::empty(), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed")
    }
}
