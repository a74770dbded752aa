//! Reads the header of the PROXY protocol, by which a load balancer names the client whose connection it passes on.
//!
//! Pure: a function of the bytes that have come. What is taken and refused is what Envoy takes and refuses; the document of the
//! protocol is HAProxy's proxy-protocol.txt.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::proxy_header::ProxyVersion;

/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// How version 1 begins.
const WORD: &[u8] = b"PROXY ";
/// The fixed part of version 2: its signature, the command, the family and the length of the rest. Bytes.
const FIXED_BYTES: usize = 16;
/// Version 1 is not longer, line end included: one byte more than in section 2.1, as in Envoy. Bytes.
const LINE_BYTES_MAX: usize = 108;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// Something else.
    Absent,
    /// A header.
    Header {
        /// Its version.
        version: ProxyVersion,
        /// Whose connection it is; `None` if it is the sender's own.
        ends: Option<HeaderEnds>,
        /// Its TLVs begin with this byte.
        tlvs_at: usize,
        /// It ends before this byte.
        length: usize,
    },
    /// A header that is malformed.
    Malformed(ProxyVersion),
    /// A part of a header, or of something else.
    Part,
}

/// The ends of the connection that is passed on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HeaderEnds {
    /// The client.
    pub client: SocketAddr,
    /// What the client connected to.
    pub server: SocketAddr,
}

/// Can these be the first bytes of a header of one of `versions`?
#[must_use]
pub fn may_begin(bytes: &[u8], versions: impl Fn(ProxyVersion) -> bool) -> bool {
    let agrees = |with: &[u8]| bytes.iter().zip(with).all(|(byte, wanted)| byte == wanted);
    (versions(ProxyVersion::V1) && agrees(WORD)) || (versions(ProxyVersion::V2) && agrees(SIGNATURE))
}

/// What the first bytes of a connection are.
#[must_use]
pub fn parse(bytes: &[u8]) -> Found {
    if bytes.len() >= FIXED_BYTES {
        if bytes.starts_with(SIGNATURE) {
            return binary(bytes);
        }
        if !bytes.starts_with(WORD) {
            return Found::Absent;
        }
    }
    let line_end = bytes.windows(2).position(|pair| pair == b"\r\n");
    match line_end {
        Some(0) => Found::Part, // version 2 begins so
        Some(end) if end + 2 <= LINE_BYTES_MAX => line(bytes.get(..end).unwrap_or_default(), end + 2),
        None if bytes.len() <= LINE_BYTES_MAX => Found::Part,
        Some(_) | None => Found::Absent,
    }
}

/// Version 1, without its line end.
fn line(line: &[u8], length: usize) -> Found {
    let version = ProxyVersion::V1;
    let words: Vec<&str> = std::str::from_utf8(line).unwrap_or_default().split(' ').collect();
    let ends = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Found::Header { version, ends: None, tlvs_at: length, length },
        ["PROXY", "TCP4", client, server, from, to] => ends::<Ipv4Addr>(client, server, from, to),
        ["PROXY", "TCP6", client, server, from, to] => ends::<Ipv6Addr>(client, server, from, to),
        _ => None,
    };
    match ends.filter(HeaderEnds::are_unicast) {
        Some(ends) => Found::Header { version, ends: Some(ends), tlvs_at: length, length },
        None => Found::Malformed(version),
    }
}

fn ends<A: std::str::FromStr + Into<IpAddr>>(client: &str, server: &str, from: &str, to: &str) -> Option<HeaderEnds> {
    let address = |ip: &str, port: &str| {
        let ip: A = ip.parse().ok()?;
        let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
        Some(SocketAddr::new(ip.into(), port))
    };
    Some(HeaderEnds { client: address(client, from)?, server: address(server, to)? })
}

/// Version 2, of which at least the fixed part has come.
fn binary(bytes: &[u8]) -> Found {
    /// The header is about the sender's own connection.
    const LOCAL: u8 = 0x20;
    /// It is about a connection that the sender passes on.
    const PROXY: u8 = 0x21;
    let version = ProxyVersion::V2;
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED_BYTES) else { return Found::Part };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, LOCAL | PROXY) {
        return Found::Malformed(version);
    }
    let Some(rest) = bytes.get(FIXED_BYTES..length) else { return Found::Part };
    if command == LOCAL {
        return Found::Header { version, ends: None, tlvs_at: length, length };
    }
    match addresses(family, rest).filter(|(ends, extra)| ends.are_unicast() && are_whole(extra)) {
        Some((ends, extra)) => {
            Found::Header { version, ends: Some(ends), tlvs_at: length.saturating_sub(extra.len()), length }
        }
        None => Found::Malformed(version),
    }
}

/// The addresses, and what comes behind them. Datagrams have them as well, and Envoy takes these.
fn addresses(family: u8, rest: &[u8]) -> Option<(HeaderEnds, &[u8])> {
    let (client, server, from, to, extra) = match family {
        0x11 | 0x12 => {
            let (fixed, extra) = rest.split_first_chunk::<12>()?;
            let [a, b, c, d, e, f, g, h, ports @ ..] = *fixed;
            let [i, j, k, l] = ports;
            (IpAddr::from([a, b, c, d]), IpAddr::from([e, f, g, h]), [i, j], [k, l], extra)
        }
        0x21 | 0x22 => {
            let (client, rest) = rest.split_first_chunk::<16>()?;
            let (server, rest) = rest.split_first_chunk::<16>()?;
            let (&[i, j, k, l], extra) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*client), IpAddr::from(*server), [i, j], [k, l], extra)
        }
        _ => return None,
    };
    let address = |ip, port| SocketAddr::new(ip, u16::from_be_bytes(port));
    Some((HeaderEnds { client: address(client, from), server: address(server, to) }, extra))
}

/// Are these whole TLVs: a type, a length of two bytes, and as many bytes?
fn are_whole(bytes: &[u8]) -> bool {
    tlvs(bytes).map(|(_, value)| 3 + value.len()).sum::<usize>() == bytes.len()
}

/// The types and values of TLVs, as far as they are whole.
pub fn tlvs(mut bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[kind, high, low], rest) = bytes.split_first_chunk::<3>()?;
        let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
        bytes = rest;
        Some((kind, value))
    })
}

impl HeaderEnds {
    /// Can a connection be between these?
    fn are_unicast(&self) -> bool {
        [self.client, self.server].iter().all(|end| match end.ip() {
            IpAddr::V4(ip) => !ip.is_multicast() && !ip.is_unspecified() && !ip.is_broadcast(),
            IpAddr::V6(ip) => !ip.is_multicast() && !ip.is_unspecified(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn ends(client: &str, server: &str) -> Option<HeaderEnds> {
        Some(HeaderEnds { client: client.parse().unwrap(), server: server.parse().unwrap() })
    }

    #[test]
    fn version_1_is_read_as_envoy_reads_it() {
        let v4 = ends("1.2.3.4:11", "5.6.7.8:22");
        let (malformed, version) = (Found::Malformed(ProxyVersion::V1), ProxyVersion::V1);
        for (text, expected) in [
            ("PROXY TCP4 1.2.3.4 5.6.7.8 11 22\r\nGET", Found::Header { version, ends: v4, tlvs_at: 34, length: 34 }),
            ("PROXY UNKNOWN\r\n", Found::Header { version, ends: None, tlvs_at: 15, length: 15 }),
            ("PROXY UNKNOWN a b\r\n", Found::Header { version, ends: None, tlvs_at: 19, length: 19 }),
            (
                "PROXY TCP6 1::2 3::4 11 22\r\n",
                Found::Header { version, ends: ends("[1::2]:11", "[3::4]:22"), tlvs_at: 28, length: 28 },
            ),
            ("PROXY TCP6 1.2.3.4 5.6.7.8 11 22\r\n", malformed),
            ("PROXY TCP4 1.2.3.4 3::4 11 22\r\n", malformed),
            ("PROXY UDP4 1.2.3.4 5.6.7.8 11 22\r\n", malformed),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 70000 22\r\n", malformed),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 +1 22\r\n", malformed),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 11 22 33\r\n", malformed),
            ("PROXY TCP4 224.0.0.1 5.6.7.8 11 22\r\n", malformed),
            ("PROXY TCP4 0.0.0.0 5.6.7.8 11 22\r\n", malformed),
            ("PROXY TCP4 1.2.3.4 224.0.0.1 11 22\r\n", malformed),
            ("PROXY TCP6 1::2 :: 11 22\r\n", malformed),
            ("GET\r\n", malformed),
            ("PROXY TCP4 ", Found::Part),
            ("PROXY TCP4 1.2.3.4 5.6.7.8 11 22\n", Found::Part),
            ("", Found::Part),
            ("GET / HTTP/1.1\r\n\r\n", Found::Absent),
        ] {
            assert_eq!(parse(text.as_bytes()), expected, "{text}");
        }
        let long = format!("PROXY TCP4 {}", "1".repeat(120));
        assert_eq!(parse(long.as_bytes()), Found::Absent);
    }

    #[test]
    fn version_2_is_read_as_envoy_reads_it() {
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 11, 0, 22];
        let mut v6 = [0; 36];
        (v6[15], v6[31], v6[33], v6[35]) = (1, 2, 11, 22);
        let with_tlv = [&v4[..], &[2, 0, 4], b"name"].concat();
        let with_half_a_tlv = [&v4[..], &[2, 0, 9], b"name"].concat();
        let (malformed, version) = (Found::Malformed(ProxyVersion::V2), ProxyVersion::V2);
        let of_v4 = ends("1.2.3.4:11", "5.6.7.8:22");
        for (header, expected) in [
            (version_2(0x21, 0x11, &v4), Found::Header { version, ends: of_v4, tlvs_at: 28, length: 28 }),
            (version_2(0x21, 0x12, &v4), Found::Header { version, ends: of_v4, tlvs_at: 28, length: 28 }),
            (version_2(0x21, 0x11, &with_tlv), Found::Header { version, ends: of_v4, tlvs_at: 28, length: 35 }),
            (
                version_2(0x21, 0x21, &v6),
                Found::Header { version, ends: ends("[::1]:11", "[::2]:22"), tlvs_at: 52, length: 52 },
            ),
            (version_2(0x20, 0, &[]), Found::Header { version, ends: None, tlvs_at: 16, length: 16 }),
            (version_2(0x20, 0x11, &v4), Found::Header { version, ends: None, tlvs_at: 28, length: 28 }),
            (version_2(0x21, 0, &[]), malformed),
            (version_2(0x22, 0x11, &v4), malformed),
            (version_2(0x31, 0x11, &v4), malformed),
            (version_2(0x21, 0x31, &[0; 216]), malformed),
            (version_2(0x21, 0x11, &v4[..8]), malformed),
            (version_2(0x21, 0x11, &with_half_a_tlv), malformed),
        ] {
            assert_eq!(parse(&header), expected, "{header:?}");
            for cut in 0..header.len().min(FIXED_BYTES) {
                assert_eq!(parse(&header[..cut]), Found::Part, "{cut} bytes of {header:?}");
            }
        }
    }

    #[test]
    fn what_cannot_become_a_header_is_known_by_its_first_bytes() {
        for (bytes, both, first, second) in [
            (&b""[..], true, true, true),
            (b"P", true, true, false),
            (b"\r\n\r", true, false, true),
            (b"POST / HTTP/1.1", false, false, false),
            (b"PROXY TCP4", true, true, false),
        ] {
            let may = |versions: &[ProxyVersion]| may_begin(bytes, |version| versions.contains(&version));
            let (v1, v2) = (ProxyVersion::V1, ProxyVersion::V2);
            assert_eq!((may(&[v1, v2]), may(&[v1]), may(&[v2])), (both, first, second), "{bytes:?}");
        }
    }
}
