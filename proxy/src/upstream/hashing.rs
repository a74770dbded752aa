//! The hash of a request, by which it comes to the same endpoint as others like it. Pure.

use std::time::Duration;

use http::HeaderValue;
use http::header::COOKIE;
use xxhash_rust::xxh64::xxh64;

use crate::access_log::StreamInfo;
use crate::codec::RequestHead;
use crate::config::hashing::{GivenCookie, HashPolicy, Hashed, HashedCookie};
use crate::net::Address;

/// What a request hashes to, and the cookies that its client gets so that later ones do too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Hash {
    /// `None`: it has nothing that the policies look at.
    pub(crate) value: Option<u64>,
    /// `set-cookie` of the response.
    pub(crate) cookies: Vec<HeaderValue>,
}

impl Hash {
    /// Of a request, by these policies.
    pub(crate) fn new(policies: &[HashPolicy], head: &RequestHead, info: &StreamInfo) -> Self {
        let mut hash = Self::default();
        for policy in policies {
            let own = match &policy.of {
                Hashed::Cookie(cookie) => hash.cookie(cookie, head, info),
                Hashed::Header { name, rewrite } => {
                    let mut values: Vec<_> =
                        head.headers.get_all(name).map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
                    if let Some(rewrite) = rewrite {
                        values.iter_mut().for_each(|value| *value = rewrite.replace_all(value).into_owned().into());
                    }
                    values.sort_unstable();
                    let joined = values.iter().fold(0, |seed, value| xxh64(value.as_bytes(), seed));
                    (!values.is_empty()).then_some(joined)
                }
                Hashed::Query(name) => parameter(head, name).map(|value| xxh64(value, 0)),
                Hashed::SourceIp => source_ip(info.client.as_ref().unwrap_or(&info.downstream.peer)),
            };
            if let Some(own) = own {
                // Turned by one bit, so that two equal hashes do not cancel each other out.
                hash.value = Some(hash.value.map_or(0, |value| value.rotate_left(1)) ^ own);
            }
            if policy.ends && hash.value.is_some() {
                break;
            }
        }
        hash
    }

    fn cookie(&mut self, cookie: &HashedCookie, head: &RequestHead, info: &StreamInfo) -> Option<u64> {
        let HashedCookie { name, given } = cookie;
        let value = cookie_value(head, name).filter(|value| !value.is_empty());
        if let Some(value) = value {
            return Some(xxh64(value, 0));
        }
        let given = given.as_ref()?;
        // The same for all requests of a connection: those that come at the same time get the same cookie.
        let ends = format!("{}{}", info.client.as_ref().unwrap_or(&info.downstream.peer), info.downstream.local);
        let value = format!("{:016x}", xxh64(ends.as_bytes(), 0));
        self.cookies.extend(set_cookie(name, &value, given));
        Some(xxh64(value.as_bytes(), 0))
    }
}

/// The hash of a connection without requests, by policies of its cluster: of these, those of the client's address.
pub(crate) fn of_connection(policies: &[HashPolicy], client: &Address) -> Option<u64> {
    let of_address = policies.iter().filter(|policy| matches!(policy.of, Hashed::SourceIp));
    let mut hash: Option<u64> = None;
    for policy in of_address {
        let own = source_ip(client)?;
        hash = Some(hash.map_or(0, |value| value.rotate_left(1)) ^ own);
        if policy.ends {
            break;
        }
    }
    hash
}

/// The hash of a client's address. `None`: it has none.
pub(crate) fn source_ip(client: &Address) -> Option<u64> {
    client.ip().map(|ip| xxh64(ip.to_string().as_bytes(), 0))
}

fn set_cookie(name: &str, value: &str, given: &GivenCookie) -> Option<HeaderValue> {
    let age = match given.ttl {
        ttl if ttl < Duration::from_secs(1) => String::new(),
        ttl => format!("; Max-Age={}", ttl.as_secs()),
    };
    HeaderValue::from_str(&format!("{name}=\"{value}\"{age}{}", given.rest)).ok()
}

/// The value of a cookie, without quotes around it (RFC 6265 4.2.1).
fn cookie_value<'h>(head: &'h RequestHead, name: &str) -> Option<&'h [u8]> {
    let pairs = head.headers.get_all(&COOKIE).flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let value =
        pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    Some(value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value))
}

/// The value of the first query parameter of this name.
fn parameter<'h>(head: &'h RequestHead, name: &str) -> Option<&'h [u8]> {
    let query = head.path.as_ref()?.as_bytes().splitn(2, |byte| *byte == b'?').nth(1)?;
    query.split(|byte| *byte == b'&').find_map(|parameter| {
        let mut parts = parameter.splitn(2, |byte| *byte == b'=');
        (parts.next()? == name.as_bytes()).then(|| parts.next().unwrap_or_default())
    })
}
