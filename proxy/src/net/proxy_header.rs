//! The header of the PROXY protocol, which tells an upstream between which addresses a client's connection is.
//! <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, Bytes, BytesMut};

use super::Address;
pub use crate::config::address::ProxyVersion;

/// What begins a header of version 2 (section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, command LOCAL: the addresses are not known.
const LOCAL: u8 = 0x20;
/// Version 2, command PROXY.
const PROXY: u8 = 0x21;
const UNSPECIFIED: u8 = 0x00;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

/// The header for a connection of `client` to `server`.
#[must_use]
pub fn proxy_header(version: ProxyVersion, client: &Address, server: &Address) -> Bytes {
    let ends = client.socket().zip(server.socket());
    match version {
        ProxyVersion::V1 => text(ends),
        ProxyVersion::V2 => binary(ends),
    }
}

fn text(ends: Option<(SocketAddr, SocketAddr)>) -> Bytes {
    let Some((from, to)) = ends else { return Bytes::from_static(b"PROXY UNKNOWN\r\n") };
    let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
    format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into()
}

fn binary(ends: Option<(SocketAddr, SocketAddr)>) -> Bytes {
    let mut header = BytesMut::from(&SIGNATURE[..]);
    match ends.map(|(from, to)| (from.ip(), to.ip(), from.port(), to.port())) {
        Some((IpAddr::V4(from), IpAddr::V4(to), from_port, to_port)) => {
            header.put_slice(&[PROXY, TCP_OVER_IPV4, 0, 12]);
            header.put_slice(&from.octets());
            header.put_slice(&to.octets());
            header.put_u16(from_port);
            header.put_u16(to_port);
        }
        Some((IpAddr::V6(from), IpAddr::V6(to), from_port, to_port)) => {
            header.put_slice(&[PROXY, TCP_OVER_IPV6, 0, 36]);
            header.put_slice(&from.octets());
            header.put_slice(&to.octets());
            header.put_u16(from_port);
            header.put_u16(to_port);
        }
        // One address of each family has no form here.
        Some(_) | None => header.put_slice(&[LOCAL, UNSPECIFIED, 0, 0]),
    }
    header.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Pipe;

    fn address(at: &str) -> Address {
        Address::Socket(at.parse().unwrap())
    }

    #[test]
    fn both_versions_name_the_client_and_where_it_connected_to() {
        let (client, server) = (address("10.1.2.3:1000"), address("10.4.5.6:443"));
        let header = |version| proxy_header(version, &client, &server);
        assert_eq!(header(ProxyVersion::V1), "PROXY TCP4 10.1.2.3 10.4.5.6 1000 443\r\n");
        let expected = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x0a\x04\x05\x06\x03\xe8\x01\xbb";
        assert_eq!(&*header(ProxyVersion::V2), expected);
    }

    #[test]
    fn ipv6_and_ends_without_addresses_have_forms_of_their_own() {
        let (client, server) = (address("[2001:db8::1]:1"), address("[2001:db8::2]:2"));
        assert_eq!(proxy_header(ProxyVersion::V1, &client, &server), "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
        let header = proxy_header(ProxyVersion::V2, &client, &server);
        assert_eq!((header.len(), header.get(12..16)), (52, Some(&[0x21, 0x21, 0, 36][..])));
        let pipe = Address::Pipe(Pipe::new("/run/x"));
        assert_eq!(proxy_header(ProxyVersion::V1, &pipe, &pipe), "PROXY UNKNOWN\r\n");
        assert_eq!(proxy_header(ProxyVersion::V2, &pipe, &pipe).get(12..), Some(&[0x20, 0, 0, 0][..]));
    }
}
