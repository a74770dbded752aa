//! Certificates that a world makes up: Ed25519 keys out of its seed, certificates of X.509 signed by an authority of the world.

use std::net::IpAddr;
use std::time::Duration;

use ring::signature::{Ed25519KeyPair, KeyPair};

use super::der::{self, Tag};
use crate::chance::Chance;
use crate::clock::EPOCH;
use crate::scenario::{Certificate, RevocationList, TimeStep};

/// Makes certificates and keys. Two with the same seed make the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Authorities {
    seed: u64,
}

/// A certificate of the world's and its key.
pub(crate) struct Issued {
    /// In DER.
    pub(crate) certificate: Vec<u8>,
    /// In DER, PKCS #8.
    pub(crate) key: Vec<u8>,
}

impl Authorities {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// What `host` shows for `wanted`.
    pub(crate) fn issue(&self, host: &str, wanted: &Certificate) -> Option<Issued> {
        let key = self.key(&format!("host {host}"));
        let names = if wanted.names.is_empty() { vec![host.to_owned()] } else { wanted.names.clone() };
        let issuer = self.pair(&self.key(&format!("authority {}", wanted.issuer)))?;
        let to_be_signed = ToBeSigned {
            issuer: &wanted.issuer,
            subject: names.first()?,
            serial: self.serial(host, &names),
            from: instant(wanted.not_before),
            until: instant(wanted.not_after),
            public: self.pair(&key)?.public_key().as_ref().to_vec(),
            extensions: vec![alternative_names(&names)],
        };
        Some(Issued { certificate: to_be_signed.signed(&issuer), key: pkcs8(&key) })
    }

    fn serial(&self, host: &str, names: &[String]) -> u64 {
        Chance::new(self.seed, &format!("serial {names:?} of {host}")).next_u64() >> 1
    }

    /// A list of revoked certificates in DER (RFC 5280 section 5.1).
    pub(crate) fn list(&self, wanted: &RevocationList) -> Option<Vec<u8>> {
        let pair = self.pair(&self.key(&format!("authority {}", wanted.issuer)))?;
        let [from, until] = [wanted.this_update, wanted.next_update].map(|step| der::time(instant(step)));
        let revoked: Vec<Vec<u8>> = wanted
            .certificates
            .iter()
            .map(|(host, names)| {
                let names = if names.is_empty() { std::slice::from_ref(host) } else { names };
                der::sequence(&[&der::integer(self.serial(host, names)), &from])
            })
            .collect();
        // Without any, there is no such part.
        let revoked = if revoked.is_empty() { Vec::new() } else { der::element(Tag::Sequence, &revoked.concat()) };
        let number = extension(&[0x55, 0x1d, 0x14], &der::integer(1)); // every list has one (5.2.3)
        let extensions = der::element(Tag::Explicit(0), &der::sequence(&[&number]));
        let version = der::integer(1); // the second
        let all = der::sequence(&[&version, &algorithm(), &name(&wanted.issuer), &from, &until, &revoked, &extensions]);
        let signature = pair.sign(&all);
        Some(der::sequence(&[&all, &algorithm(), &der::bit_string(signature.as_ref())]))
    }

    /// The certificate by which `name` is trusted, in DER.
    pub(crate) fn root(&self, name: &str) -> Option<Vec<u8>> {
        const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
        let pair = self.pair(&self.key(&format!("authority {name}")))?;
        let to_be_signed = ToBeSigned {
            issuer: name,
            subject: name,
            serial: 1,
            from: EPOCH.saturating_sub(LIFE),
            until: EPOCH + LIFE,
            public: pair.public_key().as_ref().to_vec(),
            extensions: vec![may_sign()],
        };
        Some(to_be_signed.signed(&pair))
    }

    /// The key of one host or authority, in PKCS #8.
    pub(crate) fn key_of(&self, host: &str) -> Vec<u8> {
        pkcs8(&self.key(&format!("host {host}")))
    }

    fn key(&self, whose: &str) -> [u8; 32] {
        let mut chance = Chance::new(self.seed, &format!("key of {whose}"));
        let mut key = [0; 32];
        for some in key.chunks_mut(8) {
            some.copy_from_slice(&chance.next_u64().to_le_bytes());
        }
        key
    }

    fn pair(&self, key: &[u8; 32]) -> Option<Ed25519KeyPair> {
        Ed25519KeyPair::from_seed_unchecked(key).ok()
    }
}

/// RFC 8410 section 7: the key in the first version of PKCS #8.
fn pkcs8(key: &[u8; 32]) -> Vec<u8> {
    let inner = der::element(Tag::OctetString, key);
    der::sequence(&[&der::integer(0), &algorithm(), &der::element(Tag::OctetString, &inner)])
}

/// When `step` of the run's beginning is, since 1970.
pub(super) fn instant(step: TimeStep) -> Duration {
    match step {
        TimeStep::Back(time) => EPOCH.saturating_sub(time.0),
        TimeStep::Forth(time) => EPOCH.saturating_add(time.0),
    }
}

/// id-Ed25519 (RFC 8410 section 3).
fn algorithm() -> Vec<u8> {
    der::sequence(&[&der::element(Tag::ObjectIdentifier, &[0x2b, 0x65, 0x70])])
}

/// What an authority signs (RFC 5280 section 4.1).
struct ToBeSigned<'a> {
    issuer: &'a str,
    subject: &'a str,
    serial: u64,
    /// Since 1970.
    from: Duration,
    until: Duration,
    public: Vec<u8>,
    extensions: Vec<Vec<u8>>,
}

impl ToBeSigned<'_> {
    fn signed(&self, by: &Ed25519KeyPair) -> Vec<u8> {
        let version = der::element(Tag::Explicit(0), &der::integer(2)); // the third
        let key = der::sequence(&[&algorithm(), &der::bit_string(&self.public)]);
        let extensions: Vec<&[u8]> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = der::element(Tag::Explicit(3), &der::sequence(&extensions));
        let validity = der::sequence(&[&der::time(self.from), &der::time(self.until)]);
        let all = der::sequence(&[
            &version,
            &der::integer(self.serial),
            &algorithm(),
            &name(self.issuer),
            &validity,
            &name(self.subject),
            &key,
            &extensions,
        ]);
        let signature = by.sign(&all);
        der::sequence(&[&all, &algorithm(), &der::bit_string(signature.as_ref())])
    }
}

/// A name of one part, the common name.
fn name(common: &str) -> Vec<u8> {
    let part = [der::element(Tag::ObjectIdentifier, &[0x55, 4, 3]), der::element(Tag::Utf8String, common.as_bytes())];
    der::sequence(&[&der::element(Tag::Set, &der::sequence(&[&part[0], &part[1]]))])
}

fn alternative_names(names: &[String]) -> Vec<u8> {
    const DNS: u8 = 2;
    const URI: u8 = 6;
    const IP: u8 = 7;
    let names: Vec<Vec<u8>> = names
        .iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(IpAddr::V4(ip)) => der::element(Tag::Implicit(IP), &ip.octets()),
            Ok(IpAddr::V6(ip)) => der::element(Tag::Implicit(IP), &ip.octets()),
            Err(_) if name.contains("://") => der::element(Tag::Implicit(URI), name.as_bytes()),
            Err(_) => der::element(Tag::Implicit(DNS), name.as_bytes()),
        })
        .collect();
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    extension(&[0x55, 0x1d, 0x11], &der::sequence(&names))
}

/// Basic constraints: it is an authority.
fn may_sign() -> Vec<u8> {
    extension(&[0x55, 0x1d, 0x13], &der::sequence(&[&der::element(Tag::Boolean, &[0xff])]))
}

fn extension(id: &[u8], value: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::element(Tag::ObjectIdentifier, id), &der::element(Tag::OctetString, value)])
}
