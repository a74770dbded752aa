//! The keys of one direction, derived from the secrets that its ends have recorded, and the records that they open.

use ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey,
};
use ring::{hkdf, hmac};

use super::handshake::{Agreed, FINISHED, SERVER_HELLO, Version};
use super::record::{Kind, Record};
use crate::trace::Secret;

/// Which end writes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Side {
    Client,
    Server,
}

/// Whether records can be read as they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protection {
    Clear,
    Encrypted,
}

/// The keys of one direction.
pub(super) struct LaneKeys {
    side: Side,
    version: Version,
    phase: Phase,
    /// Of TLS 1.3.
    handshake: Option<Key>,
    application: Option<Key>,
    /// Records that have been opened with the present key.
    opened: u64,
}

/// How far a direction has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Application,
    Clear,
    Handshake,
}

/// A key and what its nonces are made of.
struct Key {
    key: LessSafeKey,
    iv: Vec<u8>,
    explicit_nonce_bytes: usize,
}

/// What is done with a cipher suite's keys.
struct Suite {
    aead: &'static Algorithm,
    hkdf: hkdf::Algorithm,
    hmac: hmac::Algorithm,
}

fn suite(number: u16) -> Option<Suite> {
    let (aead, is_384): (&'static Algorithm, bool) = match number {
        0x1301 | 0xc02b | 0xc02f => (&AES_128_GCM, false),
        0x1302 | 0xc02c | 0xc030 => (&AES_256_GCM, true),
        0x1303 | 0xcca9 | 0xcca8 => (&CHACHA20_POLY1305, false),
        _ => return None,
    };
    Some(match is_384 {
        true => Suite { aead, hkdf: hkdf::HKDF_SHA384, hmac: hmac::HMAC_SHA384 },
        false => Suite { aead, hkdf: hkdf::HKDF_SHA256, hmac: hmac::HMAC_SHA256 },
    })
}

impl LaneKeys {
    /// Those of what `side` writes.
    pub(super) fn new(side: Side, agreed: Option<&Agreed>, secrets: &[Secret]) -> Self {
        let mut keys = Self {
            side,
            version: agreed.map_or(Version::V13, |agreed| agreed.version),
            phase: Phase::Clear,
            handshake: None,
            application: None,
            opened: 0,
        };
        let Some((agreed, suite)) = agreed.and_then(|agreed| Some((agreed, suite(agreed.suite)?))) else {
            return keys;
        };
        let secret = |label: &str| {
            let is_it = |it: &&Secret| it.label == label && it.client_random == agreed.client_random;
            secrets.iter().find(is_it).map(|it| it.secret.as_slice())
        };
        let labels = match side {
            Side::Client => ["CLIENT_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_TRAFFIC_SECRET_0"],
            Side::Server => ["SERVER_HANDSHAKE_TRAFFIC_SECRET", "SERVER_TRAFFIC_SECRET_0"],
        };
        match agreed.version {
            Version::V12 => {
                keys.application =
                    secret("CLIENT_RANDOM").and_then(|master| Key::of_master(master, side, agreed, &suite));
            }
            Version::V13 => {
                let [handshake, application] =
                    labels.map(|label| secret(label).and_then(|it| Key::of_traffic(it, &suite)));
                (keys.handshake, keys.application) = (handshake, application);
            }
        }
        keys
    }

    pub(super) fn protection(&self) -> Protection {
        if self.phase == Phase::Clear { Protection::Clear } else { Protection::Encrypted }
    }

    /// A ChangeCipherSpec: in TLS 1.2 what follows is encrypted. In 1.3 it means nothing (RFC 8446 D.4), and a client's comes
    /// before its first encrypted record.
    pub(super) fn change_cipher_spec(&mut self) {
        match (self.version, self.side) {
            (Version::V12, _) => self.enter(Phase::Application),
            (Version::V13, Side::Client) if self.phase == Phase::Clear => self.enter(Phase::Handshake),
            (Version::V13, _) => {}
        }
    }

    /// A message of the handshake has come.
    pub(super) fn after(&mut self, kind: u8) {
        match (self.version, kind) {
            (Version::V13, SERVER_HELLO) => self.enter(Phase::Handshake),
            (Version::V13, FINISHED) => self.enter(Phase::Application),
            (_, _) => {}
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.opened = 0;
    }

    /// A record in the clear; none if its key is not known.
    pub(super) fn open(&mut self, record: &Record<'_>) -> Option<(Kind, Vec<u8>)> {
        let key = match self.phase {
            Phase::Clear => None,
            Phase::Handshake => self.handshake.as_ref(),
            Phase::Application => self.application.as_ref(),
        }?;
        let opened = match self.version {
            Version::V12 => key.open12(record, self.opened),
            Version::V13 => key.open13(record, self.opened),
        };
        self.opened += u64::from(opened.is_some());
        opened
    }
}

impl Key {
    /// RFC 8446 section 7.3.
    fn of_traffic(secret: &[u8], suite: &Suite) -> Option<Self> {
        let secret = hkdf::Prk::new_less_safe(suite.hkdf, secret);
        let key = expand(&secret, b"key", suite.aead.key_len())?;
        let iv = expand(&secret, b"iv", NONCE_LEN)?;
        Some(Self { key: aead(suite, &key)?, iv, explicit_nonce_bytes: 0 })
    }

    /// RFC 5246 section 6.3, for ciphers without a separate code of authentication.
    fn of_master(master: &[u8], side: Side, agreed: &Agreed, suite: &Suite) -> Option<Self> {
        let (iv_bytes, explicit_nonce_bytes) = if suite.aead == &CHACHA20_POLY1305 { (NONCE_LEN, 0) } else { (4, 8) };
        let key_bytes = suite.aead.key_len();
        let seed = [b"key expansion", &agreed.server_random[..], &agreed.client_random[..]].concat();
        let block = pseudo_random(suite.hmac, master, &seed, 2 * (key_bytes + iv_bytes));
        let nth = usize::from(side == Side::Server);
        let key = block.get(nth * key_bytes..(nth + 1) * key_bytes)?;
        let ivs = block.get(2 * key_bytes..)?;
        let iv = ivs.get(nth * iv_bytes..(nth + 1) * iv_bytes)?.to_vec();
        Some(Self { key: aead(suite, key)?, iv, explicit_nonce_bytes })
    }

    /// RFC 8446 section 5.2.
    fn open13(&self, record: &Record<'_>, sequence: u64) -> Option<(Kind, Vec<u8>)> {
        let mut bytes = record.payload.to_vec();
        let nonce = Nonce::assume_unique_for_key(self.mixed(sequence)?);
        let length = self.key.open_in_place(nonce, Aad::from(record.head), &mut bytes).ok()?.len();
        bytes.truncate(length);
        while bytes.last() == Some(&0) {
            bytes.pop(); // padding
        }
        bytes.pop().map(|kind| (kind.into(), bytes))
    }

    /// RFC 5246 section 6.2.3.3, RFC 5288 section 3 and RFC 7905 section 2.
    fn open12(&self, record: &Record<'_>, sequence: u64) -> Option<(Kind, Vec<u8>)> {
        let (explicit, sealed) = record.payload.split_at_checked(self.explicit_nonce_bytes)?;
        let nonce = match explicit {
            [] => self.mixed(sequence)?,
            explicit => [&self.iv, explicit].concat().try_into().ok()?,
        };
        let mut bytes = sealed.to_vec();
        let [kind, major, minor, ..] = record.head;
        let length = u16::try_from(bytes.len().checked_sub(self.key.algorithm().tag_len())?).ok()?.to_be_bytes();
        let about = [&sequence.to_be_bytes()[..], &[kind, major, minor], &length].concat();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length = self.key.open_in_place(nonce, Aad::from(about), &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some((record.kind, bytes))
    }

    /// The IV with the number of the record.
    fn mixed(&self, sequence: u64) -> Option<[u8; NONCE_LEN]> {
        let mut nonce = <[u8; NONCE_LEN]>::try_from(self.iv.as_slice()).ok()?;
        let of_number = nonce.iter_mut().rev().zip(sequence.to_be_bytes().into_iter().rev());
        of_number.for_each(|(byte, number)| *byte ^= number);
        Some(nonce)
    }
}

fn aead(suite: &Suite, key: &[u8]) -> Option<LessSafeKey> {
    UnboundKey::new(suite.aead, key).ok().map(LessSafeKey::new)
}

/// So many bytes.
struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand(secret: &hkdf::Prk, label: &[u8], bytes: usize) -> Option<Vec<u8>> {
    let length = u16::try_from(bytes).ok()?.to_be_bytes();
    let label_bytes = u8::try_from(b"tls13 ".len() + label.len()).ok()?;
    let info = [&length[..], &[label_bytes], b"tls13 ", label, &[0]];
    let mut out = vec![0; bytes];
    secret.expand(&info, Length(bytes)).ok()?.fill(&mut out).ok()?;
    Some(out)
}

/// RFC 5246 section 5.
fn pseudo_random(algorithm: hmac::Algorithm, secret: &[u8], seed: &[u8], bytes: usize) -> Vec<u8> {
    let key = hmac::Key::new(algorithm, secret);
    let mut out = Vec::new();
    let mut round = hmac::sign(&key, seed);
    while out.len() < bytes {
        out.extend_from_slice(hmac::sign(&key, &[round.as_ref(), seed].concat()).as_ref());
        round = hmac::sign(&key, round.as_ref());
    }
    out.truncate(bytes);
    out
}
