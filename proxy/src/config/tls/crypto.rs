//! What TLS computes with, draws chance from and reads the time by.
//!
//! ring and the system are in it by default; a simulation puts in their place what one seed decides.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::ProducesTickets;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{Error, KeyLog, NoKeyLog};

/// All that rustls takes from its surroundings.
#[derive(Clone)]
pub struct Crypto {
    /// Gets the secrets of every connection, so that captures can be decrypted. By default none are passed on.
    pub key_log: Arc<dyn KeyLog>,
    /// Ciphers, key exchanges, signatures, and chance.
    pub provider: Arc<CryptoProvider>,
    /// What seals the session tickets of one context.
    pub ticketer: fn() -> Result<Arc<dyn ProducesTickets>, Error>,
    /// The wall clock by which certificates are valid.
    pub time: Arc<dyn TimeProvider>,
}

impl Default for Crypto {
    fn default() -> Self {
        Self {
            key_log: Arc::new(NoKeyLog),
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            ticketer: rustls::crypto::ring::Ticketer::new,
            time: Arc::new(DefaultTimeProvider),
        }
    }
}

impl fmt::Debug for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crypto")
    }
}
