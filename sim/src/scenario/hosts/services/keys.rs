//! A server of keys, by which tokens are verified: a JSON Web Key Set (RFC 7517).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::scenario::script::{Payload, Reply};
use crate::scenario::units::Time;

/// The settings of the server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyServer {
    /// What it has for the first requests, one each, before it comes to `reply`.
    pub first: Vec<KeySet>,
    /// What it has for the others.
    pub reply: KeySet,
}

/// What the server has for a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeySet {
    /// The keys.
    pub keys: Vec<Key>,
    /// The status.
    pub status: u16,
    /// Something else in place of a set of keys.
    pub body: Option<String>,
    /// How long it takes.
    pub after: Time,
}

impl Default for KeySet {
    fn default() -> Self {
        let (keys, body, after) = Default::default();
        Self { keys, status: 200, body, after }
    }
}

/// A key.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name, which tokens have in `kid`.
    pub kid: String,
    /// What both sides know, of tokens that are signed with HS256, HS384 or HS512.
    pub secret: String,
}

impl KeySet {
    pub(super) fn reply(&self) -> Reply {
        let key = |key: &Key| {
            let coded = URL_SAFE_NO_PAD.encode(&key.secret);
            serde_json::json!({ "kty": "oct", "kid": key.kid, "k": coded })
        };
        let keys: Vec<_> = self.keys.iter().map(key).collect();
        let set = || serde_json::json!({ "keys": keys }).to_string();
        let body = Payload::Text(self.body.clone().unwrap_or_else(set));
        Reply { status: self.status, body, after: self.after, ..Reply::default() }
    }
}
