//! The header of the PROXY protocol, which gives an upstream the two addresses of a client's connection.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

pub use crate::config::address::ProxyVersion;
use crate::config::proxy_header::Tlv;

/// What begins a header of version 2 (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command LOCAL: the addresses are not known.
const LOCAL: u8 = 0x20;
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
/// Where the length of what follows the fixed part stands, at its end. Bytes.
const LENGTH_AT: usize = 14;
/// The fixed part. Bytes.
const FIXED_BYTES: usize = 16;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header for a connection from the first of these ends to the second, and how many of the TLVs had no room in it: of a
/// version that has none, none are left out.
#[must_use]
pub fn proxy_header<'t>(
    version: ProxyVersion,
    ends: Option<(SocketAddr, SocketAddr)>,
    tlvs: impl IntoIterator<Item = &'t Tlv>,
) -> (Bytes, u64) {
    match version {
        ProxyVersion::V1 => (text(ends), 0),
        ProxyVersion::V2 => binary(ends, tlvs),
    }
}

fn text(ends: Option<(SocketAddr, SocketAddr)>) -> Bytes {
    let Some((from, to)) = ends else { return Bytes::from_static(b"PROXY UNKNOWN\r\n") };
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into()
}

fn binary<'t>(ends: Option<(SocketAddr, SocketAddr)>, tlvs: impl IntoIterator<Item = &'t Tlv>) -> (Bytes, u64) {
    let mut header = BytesMut::from(&SIGNATURE[..]);
    match ends.map(|(from, to)| (from.ip(), to.ip(), from.port(), to.port())) {
        Some((IpAddr::V4(from), IpAddr::V4(to), from_port, to_port)) => {
            header.put_slice(&[PROXY, TCP_OVER_IPV4, 0, 0]);
            header.put_slice(&from.octets());
            header.put_slice(&to.octets());
            header.put_u16(from_port);
            header.put_u16(to_port);
        }
        Some((IpAddr::V6(from), IpAddr::V6(to), from_port, to_port)) => {
            header.put_slice(&[PROXY, TCP_OVER_IPV6, 0, 0]);
            header.put_slice(&from.octets());
            header.put_slice(&to.octets());
            header.put_u16(from_port);
            header.put_u16(to_port);
        }
        // One address of each family has no form here.
        Some(_) | None => {
            header.put_slice(&[LOCAL, UNSPECIFIED, 0, 0]);
            return (header.freeze(), 0);
        }
    }
    let left_out = put_tlvs(tlvs, &mut header);
    let length = u16::try_from(header.len().saturating_sub(FIXED_BYTES)).unwrap_or(u16::MAX);
    if let Some(place) = header.get_mut(LENGTH_AT..FIXED_BYTES) {
        place.copy_from_slice(&length.to_be_bytes());
    }
    (header.freeze(), left_out)
}

/// Adds those that there is room for: the length of all has two bytes. Returns how many have none.
fn put_tlvs<'t>(tlvs: impl IntoIterator<Item = &'t Tlv>, header: &mut BytesMut) -> u64 {
    const TLV_HEAD_BYTES: usize = 3;
    let mut left_out = 0;
    for tlv in tlvs {
        let after = header.len() + TLV_HEAD_BYTES + tlv.value.len();
        match u16::try_from(tlv.value.len()) {
            Ok(length) if after <= FIXED_BYTES + usize::from(u16::MAX) => {
                header.put_u8(tlv.kind);
                header.put_u16(length);
                header.put_slice(&tlv.value);
            }
            Ok(_) | Err(_) => left_out += 1,
        }
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(client: &str, server: &str) -> Option<(SocketAddr, SocketAddr)> {
        Some((client.parse().unwrap(), server.parse().unwrap()))
    }

    fn header(version: ProxyVersion, ends: Option<(SocketAddr, SocketAddr)>) -> Bytes {
        proxy_header(version, ends, []).0
    }

    #[test]
    fn both_versions_name_the_client_and_where_it_connected_to() {
        let ends = ends("10.1.2.3:1000", "10.4.5.6:443");
        assert_eq!(header(ProxyVersion::V1, ends), "PROXY TCP4 10.1.2.3 10.4.5.6 1000 443\r\n");
        let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x0a\x04\x05\x06\x03\xe8\x01\xbb";
        assert_eq!(&*header(ProxyVersion::V2, ends), expected);
    }

    #[test]
    fn ipv6_and_ends_without_addresses_have_forms_of_their_own() {
        let ends = ends("[2001:db8::1]:1", "[2001:db8::2]:2");
        assert_eq!(header(ProxyVersion::V1, ends), "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
        let binary = header(ProxyVersion::V2, ends);
        assert_eq!((binary.len(), binary.get(12..16)), (52, Some(&[0x21, 0x21, 0, 36][..])));
        assert_eq!(header(ProxyVersion::V1, None), "PROXY UNKNOWN\r\n");
        assert_eq!(header(ProxyVersion::V2, None).get(12..), Some(&[0x20, 0, 0, 0][..]));
    }

    #[test]
    fn tlvs_follow_the_addresses_as_far_as_there_is_room() {
        let ends = ends("10.1.2.3:1", "10.4.5.6:2");
        let tlv = |kind, bytes: usize| Tlv { kind, value: vec![b'x'; bytes].into() };
        let tlvs = [tlv(2, 3), tlv(3, 65_000), tlv(4, 1_000), tlv(5, 0)];
        let (bytes, left_out) = proxy_header(ProxyVersion::V2, ends, &tlvs);
        assert_eq!((bytes.get(28..34), left_out), (Some(&b"\x02\0\x03xxx"[..]), 1));
        assert_eq!(bytes.get(14..16), Some(&u16::try_from(12 + 6 + 65_003 + 3).unwrap().to_be_bytes()[..]));
        assert_eq!(proxy_header(ProxyVersion::V1, ends, &tlvs).1, 0);
    }
}
