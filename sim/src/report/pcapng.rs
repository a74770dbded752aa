//! A run as a capture that Wireshark and tshark read: pcapng, one interface per link, virtual time to the nanosecond.
//!
//! Every segment stands in the file once, at the instant in which it left its sender, also if it never arrived. A
//! comment notes what a fault, chance or a dead address did to it. Sequence numbers, flags, windows and checksums are
//! the run's own; the IPv4 identification is the packet's number in the trace.
//!
//! The secrets of encrypted connections stand in the file too, so that its reader sees what was said in clear text.
//!
//! The link type is raw IP: the simulator has no Ethernet, and a made-up one would only be in the way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::clock::{EPOCH, Millis};
use crate::segment::{Flags, Segment};
use crate::trace::{Event, HostId, Loss, Secret, Trace};

/// How far the windows in a capture are scaled. The largest receive buffer, 128 KiB, fits sixteen bits with it.
const WINDOW_SHIFT: u8 = 2;

/// The whole run as a pcapng file (draft-ietf-opsawg-pcapng, version 1.0).
#[must_use]
pub fn pcapng(trace: &Trace) -> Vec<u8> {
    let packets = Packets::read(trace);
    let mut file = File::default();
    file.section();
    for interface in &packets.interfaces {
        file.interface(&format!("{}-{}", trace.host(interface.0), trace.host(interface.1)));
    }
    file.names(trace, &packets.addresses);
    if !trace.secrets().is_empty() {
        file.secrets(trace.secrets());
    }
    for packet in &packets.sent {
        file.packet(packet);
    }
    file.bytes
}

/// What the blocks need before the first is written.
#[derive(Default)]
struct Packets<'a> {
    interfaces: Vec<(HostId, HostId)>,
    addresses: BTreeMap<IpAddr, HostId>,
    /// Who receives what a host sends to an address: where a rule redirects it, not the host that has the address.
    receivers: BTreeMap<(HostId, SocketAddr), HostId>,
    sent: Vec<Packet<'a>>,
}

struct Packet<'a> {
    at: Duration,
    number: u64,
    interface: u32,
    segment: &'a Segment,
    comments: Vec<String>,
}

impl<'a> Packets<'a> {
    fn read(trace: &'a Trace) -> Self {
        let mut packets = Self::default();
        for entry in trace.entries() {
            if let Event::Sent { host, segment } = &entry.event {
                packets.addresses.insert(segment.from.ip(), *host);
            } else if let Event::Delivered { host, packet } = &entry.event
                && let Some((sender, segment)) = trace.sent_by(*packet)
            {
                packets.addresses.insert(segment.to.ip(), *host);
                packets.receivers.insert((sender, segment.to), *host);
            }
        }
        let fates = fates(trace);
        for (number, entry) in (0..).zip(trace.entries()) {
            let Event::Sent { host, segment } = &entry.event else { continue };
            let received = packets.receivers.get(&(*host, segment.to)).copied();
            // A segment to an address of no host leaves by the sender's own interface.
            let known = || packets.addresses.get(&segment.to.ip()).copied();
            let to = received.or_else(known).unwrap_or(*host);
            let interface = packets.interface(*host, to);
            let comments = fates.get(&number).cloned().unwrap_or_default();
            packets.sent.push(Packet { at: entry.at, number, interface, segment, comments });
        }
        packets
    }

    fn interface(&mut self, a: HostId, b: HostId) -> u32 {
        let link = (a.min(b), a.max(b));
        let known = self.interfaces.iter().position(|has| *has == link);
        let nth = known.unwrap_or_else(|| {
            self.interfaces.push(link);
            self.interfaces.len() - 1
        });
        u32::try_from(nth).unwrap_or(u32::MAX)
    }
}

/// What happened to packets besides arriving, in words, by packet number.
pub(super) fn fates(trace: &Trace) -> BTreeMap<u64, Vec<String>> {
    let mut fates: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for entry in trace.entries() {
        let (packet, what) = match &entry.event {
            Event::Cut { packet, bytes } => (packet, format!("cut by a gate after {bytes} bytes")),
            Event::Delayed { packet, by } => (packet, format!("delayed by {} ms by a fault", Millis(*by))),
            Event::Held { packet } => (packet, format!("held by a fault at {} ms", Millis(entry.at))),
            Event::Dropped { packet, why } => {
                let why = match why {
                    Loss::Chance => "lost by the link, by chance",
                    Loss::Fault => "dropped by a fault",
                    Loss::NoHost => "never arrived: no host has this address",
                    Loss::NoPower => "never arrived: the receiving host has no power",
                };
                (packet, why.to_owned())
            }
            // Of the others only those that were held need a note of when they arrived.
            Event::Delivered { packet, .. } if fates.contains_key(packet) => {
                (packet, format!("arrived at {} ms", Millis(entry.at)))
            }
            Event::Account { .. }
            | Event::Delivered { .. }
            | Event::Host { .. }
            | Event::Log { .. }
            | Event::Note { .. }
            | Event::Sent { .. }
            | Event::Socket { .. } => continue,
        };
        fates.entry(*packet).or_default().push(what);
    }
    fates
}

/// A file under construction. All numbers are little-endian, as the section header states.
#[derive(Default)]
struct File {
    bytes: Vec<u8>,
}

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE_DESCRIPTION: u32 = 1;
const NAME_RESOLUTION: u32 = 4;
const ENHANCED_PACKET: u32 = 6;
const DECRYPTION_SECRETS: u32 = 10;

/// The kind of secrets that an NSS key log is: `TLSK`.
const TLS_KEY_LOG: u32 = 0x544C_534B;

const LINKTYPE_RAW: u16 = 101;

/// Option codes; some mean another thing in another block.
mod option {
    pub(super) const COMMENT: u16 = 1;
    pub(super) const IF_NAME: u16 = 2;
    pub(super) const SHB_USERAPPL: u16 = 4;
    pub(super) const IF_TSRESOL: u16 = 9;
}

impl File {
    fn section(&mut self) {
        let mut body = Vec::new();
        body.extend(0x1A2B_3C4D_u32.to_le_bytes()); // the byte order
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        body.extend(u64::MAX.to_le_bytes()); // a section of unknown length: until the file ends
        put_option(&mut body, option::SHB_USERAPPL, b"finwait-sim");
        self.block(SECTION_HEADER, body);
    }

    fn interface(&mut self, name: &str) {
        let mut body = Vec::new();
        body.extend(LINKTYPE_RAW.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        body.extend(0_u32.to_le_bytes()); // no limit to a packet's length
        put_option(&mut body, option::IF_NAME, name.as_bytes());
        put_option(&mut body, option::IF_TSRESOL, &[9]); // 10^-9 seconds
        self.block(INTERFACE_DESCRIPTION, body);
    }

    fn names(&mut self, trace: &Trace, addresses: &BTreeMap<IpAddr, HostId>) {
        const END: [u8; 4] = [0; 4];
        let mut body = Vec::new();
        for (address, host) in addresses {
            let (kind, octets): (u16, Vec<u8>) = match address {
                IpAddr::V4(address) => (1, address.octets().into()),
                IpAddr::V6(address) => (2, address.octets().into()),
            };
            let record = [octets.as_slice(), trace.host(*host).as_bytes(), &[0]].concat();
            put_padded(&mut body, kind, &record);
        }
        body.extend(END);
        self.block(NAME_RESOLUTION, body);
    }

    /// What encrypted connections are decrypted with, in the form of an NSS key log. It stands before the packets: what was
    /// read before it is not read again.
    fn secrets(&mut self, secrets: &[Secret]) {
        let log: String = secrets.iter().map(|secret| format!("{secret}\n")).collect();
        let mut body = Vec::new();
        body.extend(TLS_KEY_LOG.to_le_bytes());
        body.extend(u32::try_from(log.len()).unwrap_or(u32::MAX).to_le_bytes());
        body.extend(log.as_bytes());
        self.block(DECRYPTION_SECRETS, body);
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        let bytes = ip_packet(packet.segment, packet.number);
        let [high, low] = halves(u64::try_from((EPOCH + packet.at).as_nanos()).unwrap_or(u64::MAX));
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let mut body = Vec::new();
        for word in [packet.interface, high, low, length, length] {
            body.extend(word.to_le_bytes());
        }
        body.extend(&bytes);
        pad(&mut body);
        for comment in &packet.comments {
            put_option(&mut body, option::COMMENT, comment.as_bytes());
        }
        self.block(ENHANCED_PACKET, body);
    }

    /// A block: its type, its length, its content, its length again.
    fn block(&mut self, kind: u32, mut body: Vec<u8>) {
        pad(&mut body);
        let length = u32::try_from(body.len() + 12).unwrap_or(u32::MAX);
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(length.to_le_bytes());
        self.bytes.extend(body);
        self.bytes.extend(length.to_le_bytes());
    }
}

fn put_option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    put_padded(body, code, value);
}

/// Code, length, value, padding: the form of options and of names.
fn put_padded(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

fn halves(number: u64) -> [u32; 2] {
    [number >> 32, number & 0xFFFF_FFFF].map(|half| u32::try_from(half).unwrap_or(u32::MAX))
}

/// The segment in an IPv4 packet, or in an IPv6 packet if either address is one.
fn ip_packet(segment: &Segment, number: u64) -> Vec<u8> {
    match (segment.from, segment.to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => ipv4_packet(*from.ip(), *to.ip(), segment, number),
        (from, to) => ipv6_packet(mapped(from.ip()), mapped(to.ip()), segment),
    }
}

fn mapped(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

const TCP: u8 = 6;
const HOPS: u8 = 64; // Linux's default

fn ipv4_packet(from: Ipv4Addr, to: Ipv4Addr, segment: &Segment, number: u64) -> Vec<u8> {
    const HEADER_BYTES: usize = 20;
    const DO_NOT_FRAGMENT: u16 = 0x4000;
    let addresses = [from.octets(), to.octets()].concat();
    let tcp = tcp_segment(segment, &addresses);
    let length = u16::try_from(HEADER_BYTES + tcp.len()).unwrap_or(u16::MAX);
    let mut header = vec![0x45, 0];
    header.extend(length.to_be_bytes());
    header.extend(low_half(number).to_be_bytes());
    header.extend(DO_NOT_FRAGMENT.to_be_bytes());
    header.extend([HOPS, TCP, 0, 0]);
    header.extend(addresses);
    let sum = checksum(&[&header]);
    put_at(&mut header, 10, sum);
    header.extend(tcp);
    header
}

fn ipv6_packet(from: Ipv6Addr, to: Ipv6Addr, segment: &Segment) -> Vec<u8> {
    let addresses = [from.octets(), to.octets()].concat();
    let tcp = tcp_segment(segment, &addresses);
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(tcp.len()).unwrap_or(u16::MAX).to_be_bytes());
    packet.extend([TCP, HOPS]);
    packet.extend(addresses);
    packet.extend(tcp);
    packet
}

/// The TCP header and payload, with a checksum over the pseudo-header too (RFC 9293 3.1).
fn tcp_segment(segment: &Segment, addresses: &[u8]) -> Vec<u8> {
    let options = options(segment.flags);
    let header_words = 5 + options.len() / 4;
    let mut bytes = Vec::new();
    bytes.extend(segment.from.port().to_be_bytes());
    bytes.extend(segment.to.port().to_be_bytes());
    let [_, seq] = halves(segment.seq);
    let [_, ack] = halves(segment.ack);
    bytes.extend(seq.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.push(u8::try_from(header_words << 4).unwrap_or(0xF0));
    bytes.push(control_bits(segment.flags));
    bytes.extend(window(segment).to_be_bytes());
    bytes.extend([0; 4]); // checksum, and no urgent data
    bytes.extend(options);
    bytes.extend(&segment.payload);
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    let sum = checksum(&[addresses, &length, &[0, 0, 0, TCP], &bytes]);
    put_at(&mut bytes, 16, sum);
    bytes
}

fn control_bits(flags: Flags) -> u8 {
    let bits = [flags.fin, flags.syn, flags.rst, flags.psh, flags.ack];
    bits.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit))
}

/// MSS and window scale on a SYN, which the kernel does not need and a reader of its windows does.
fn options(flags: Flags) -> Vec<u8> {
    const MSS: [u8; 4] = [2, 4, 0x05, 0xB4]; // 1460
    const NO_OPERATION: u8 = 1;
    if flags.syn { [MSS.as_slice(), &[3, 3, WINDOW_SHIFT, NO_OPERATION]].concat() } else { Vec::new() }
}

/// A SYN's window is not scaled (RFC 7323 2.2). Others are rounded up, so that nothing seems to overrun them.
fn window(segment: &Segment) -> u16 {
    let scale = if segment.flags.syn { 1 } else { 1 << WINDOW_SHIFT };
    u16::try_from(segment.window.div_ceil(scale)).unwrap_or(u16::MAX)
}

/// RFC 1071. Every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let sum: u64 = words.map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |low| u64::from(*low))).sum();
    let mut sum = sum;
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !low_half(sum)
}

fn low_half(number: u64) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

fn put_at(bytes: &mut [u8], at: usize, number: u16) {
    if let Some(place) = bytes.get_mut(at..at + 2) {
        place.copy_from_slice(&number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_checksum_of_what_it_completes_is_zero() {
        // The example of RFC 1071 section 3.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&[&bytes]), !0xddf2);
        assert_eq!(checksum(&[&bytes, &[0x22, 0x0d]]), 0);
    }

    #[test]
    fn a_packet_carries_the_segment() {
        let segment = Segment {
            from: "10.0.0.1:4000".parse().unwrap(),
            to: "10.0.0.2:80".parse().unwrap(),
            flags: Flags { ack: true, psh: true, ..Flags::default() },
            seq: (1 << 32) + 7,
            ack: 9,
            window: 131_072,
            payload: Bytes::from_static(b"abc"),
        };
        let packet = ip_packet(&segment, 3);
        assert_eq!(packet.len(), 43);
        assert_eq!(packet[24..28], [0, 0, 0, 7]);
        assert_eq!(packet[33], 0x18);
        assert_eq!(packet[34..36], [0x80, 0]);
        let pseudo = [&packet[12..20], &[0, TCP, 0, 23]].concat();
        assert_eq!(checksum(&[&packet[..20]]), 0);
        assert_eq!(checksum(&[&pseudo, &packet[20..]]), 0);
    }

    #[test]
    fn what_a_fault_did_is_a_comment() {
        let mut trace = Trace::default();
        trace.add_host("a");
        trace.add_host("b");
        let segment = Segment {
            from: "10.0.0.1:4000".parse().unwrap(),
            to: "10.0.0.2:80".parse().unwrap(),
            flags: Flags { syn: true, ..Flags::default() },
            seq: 0,
            ack: 0,
            window: 1000,
            payload: Bytes::new(),
        };
        let packet = trace.sent(Duration::ZERO, HostId(0), &segment);
        trace.push(Duration::ZERO, Event::Held { packet });
        trace.push(Duration::from_millis(3), Event::Delivered { host: HostId(1), packet });
        assert_eq!(fates(&trace)[&packet], ["held by a fault at 0.000 ms", "arrived at 3.000 ms"]);
        let file = String::from_utf8_lossy(&pcapng(&trace)).into_owned();
        for text in ["finwait-sim", "a-b", "held by a fault at 0.000 ms"] {
            assert!(file.contains(text), "{text}");
        }
    }
}
