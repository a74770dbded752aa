//! Who sent a request, and which of its headers are therefore trusted.
//!
//! Pure: a function of the peer's address, `x-forwarded-for` and the configured [`Trust`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::HeaderValue;

use crate::codec::{Headers, names};
use crate::config::trust::Trust;
use crate::net::Address;

/// The sender of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RemoteClient {
    /// Where it is.
    pub(super) origin: Origin,
    /// The client, as far as trusted hops name it.
    pub(super) address: Option<IpAddr>,
    /// `x-forwarded-for` named it; else it is the peer.
    is_named: bool,
    /// What this hop adds to `x-forwarded-for`.
    pub(super) appended: Option<IpAddr>,
}

/// Where a client is, which decides which `x-envoy-` headers count.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// Outside, and this is the first of our hops that it meets.
    Edge,
    /// Outside, and a hop in front of this one has met it.
    External,
    /// Inside.
    Internal,
}

impl RemoteClient {
    /// `own` is an address of this host that others reach.
    pub(super) fn of(headers: &Headers, trust: &Trust, peer: Option<IpAddr>, own: Option<IpAddr>) -> Self {
        let mut entries = forwarded_for(headers);
        let skipped = usize::try_from(trust.trusted_hops).unwrap_or(usize::MAX);
        let (named, address, is_first) = if trust.use_remote_address {
            // The peer is the first hop, and x-forwarded-for does not have it yet.
            let named = skipped.checked_sub(1).and_then(|skipped| entries.nth(skipped)).and_then(ip);
            (named, named.or(peer), !headers.contains(&names::X_FORWARDED_FOR))
        } else {
            let named = entries.nth(skipped).and_then(ip);
            (named, named, skipped == 0 && entries.next().is_none())
        };
        let is_inside = |address: IpAddr| trust.internal.iter().any(|range| range.contains(address));
        // A request that was forwarded before may have come from anywhere, whatever its headers are.
        let origin = match is_first && address.is_some_and(is_inside) {
            true => Origin::Internal,
            false if trust.use_remote_address => Origin::Edge,
            false => Origin::External,
        };
        let appends = trust.use_remote_address && !trust.skip_append;
        let appended = peer.filter(|_| appends).map(|peer| if is_loopback(peer) { own.unwrap_or(peer) } else { peer });
        Self { origin, address: address.or(peer), is_named: named.is_some(), appended }
    }

    /// The client where it is not the peer, for logs; its port is not known.
    pub(super) fn named(&self) -> Option<Address> {
        self.address.filter(|_| self.is_named).map(|ip| Address::Socket(SocketAddr::new(ip, 0)))
    }
}

/// The entries of `x-forwarded-for`, the last first.
fn forwarded_for(headers: &Headers) -> impl Iterator<Item = &[u8]> {
    let values: Vec<&HeaderValue> = headers.get_all(&names::X_FORWARDED_FOR).collect();
    values.into_iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','))
}

fn ip(entry: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(entry.trim_ascii()).ok()?.parse().ok()
}

/// The canonical addresses alone, as in Envoy.
fn is_loopback(address: IpAddr) -> bool {
    address == IpAddr::V4(Ipv4Addr::LOCALHOST) || address == IpAddr::V6(Ipv6Addr::LOCALHOST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::trust::Cidr;

    const PEER: &str = "10.0.0.1";

    #[test]
    fn the_peer_is_the_client_if_remote_addresses_are_used() {
        use Origin::{Edge, Internal};
        for (hops, forwarded_for, origin, client) in [
            (0, &[][..], Internal, "10.0.0.1"),
            (0, &["10.0.0.7"], Edge, "10.0.0.1"), // a forwarded request came from elsewhere
            (1, &[], Internal, "10.0.0.1"),
            (1, &["8.8.8.8, 9.9.9.9"], Edge, "9.9.9.9"),
            (2, &["8.8.8.8, 9.9.9.9"], Edge, "8.8.8.8"),
            (2, &["8.8.8.8", "9.9.9.9"], Edge, "8.8.8.8"), // two lines are one list
            (3, &["8.8.8.8, 9.9.9.9"], Edge, "10.0.0.1"),
            (1, &["malformed"], Edge, "10.0.0.1"),
        ] {
            let trust = Trust { use_remote_address: true, trusted_hops: hops, ..inside() };
            check(&trust, forwarded_for, origin, client);
        }
    }

    #[test]
    fn the_client_is_named_by_forwarded_for_if_they_are_not() {
        use Origin::{External, Internal};
        for (hops, forwarded_for, origin, client) in [
            (0, &[][..], External, "10.0.0.1"), // no header makes it internal
            (0, &["10.0.0.7"], Internal, "10.0.0.7"),
            (0, &["8.8.8.8"], External, "8.8.8.8"),
            (0, &["10.0.0.8, 10.0.0.7"], External, "10.0.0.7"),
            (0, &["10.0.0.8", "10.0.0.7"], External, "10.0.0.7"),
            (0, &["10.0.0.7,"], External, "10.0.0.1"),
            (1, &["8.8.8.8, 10.0.0.7"], External, "8.8.8.8"),
            (1, &["10.0.0.8, 10.0.0.7"], External, "10.0.0.8"),
            (1, &["10.0.0.7"], External, "10.0.0.1"),
        ] {
            let trust = Trust { trusted_hops: hops, ..inside() };
            check(&trust, forwarded_for, origin, client);
        }
    }

    #[test]
    fn a_hop_names_its_peer_and_not_itself() {
        let own: IpAddr = "192.0.2.2".parse().unwrap();
        for (peer, uses, skips, appended) in [
            ("10.0.0.1", true, false, Some("10.0.0.1")),
            ("10.0.0.1", true, true, None),
            ("10.0.0.1", false, false, None),
            ("127.0.0.1", true, false, Some("192.0.2.2")),
            ("::1", true, false, Some("192.0.2.2")),
        ] {
            let trust = Trust { use_remote_address: uses, skip_append: skips, ..Trust::default() };
            let remote = RemoteClient::of(&Headers::default(), &trust, Some(peer.parse().unwrap()), Some(own));
            assert_eq!(remote.appended, appended.map(|address| address.parse().unwrap()), "{peer} {uses} {skips}");
        }
    }

    fn inside() -> Trust {
        Trust { internal: vec![Cidr::new("10.0.0.0".parse().unwrap(), 8)], ..Trust::default() }
    }

    fn check(trust: &Trust, forwarded_for: &[&'static str], origin: Origin, client: &str) {
        let mut headers = Headers::default();
        for value in forwarded_for {
            headers.append(names::X_FORWARDED_FOR.clone(), HeaderValue::from_static(value));
        }
        let remote = RemoteClient::of(&headers, trust, Some(PEER.parse().unwrap()), None);
        assert_eq!(remote.origin, origin, "{forwarded_for:?}");
        assert_eq!(remote.address, Some(client.parse().unwrap()), "{forwarded_for:?}");
        let named = remote.named().map(|address| address.to_string());
        assert_eq!(named, (client != PEER).then(|| SocketAddr::new(client.parse().unwrap(), 0).to_string()));
    }
}
