//! What travels: one TCP segment.

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use serde::Deserialize;

/// One TCP segment with the addresses of the packet that carries it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Segment {
    /// The sender's address and port.
    pub from: SocketAddr,
    /// The receiver's address and port.
    pub to: SocketAddr,
    /// SYN, ACK and the rest.
    pub flags: Flags,
    /// Sequence number of the first byte, unwrapped: the wire shows its low 32 bits. A run never has to
    /// compare modulo 2^32.
    pub seq: u64,
    /// Next sequence number expected from the other side, unwrapped; 0 without ACK.
    pub ack: u64,
    /// Bytes the sender of this segment can take beyond `ack`, after scaling.
    pub window: u32,
    /// The payload that the segment carries.
    pub payload: Bytes,
}

impl Segment {
    /// Bytes on the wire: IPv4 and TCP headers without options, and the payload.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        const HEADERS: usize = 20 + 20;
        HEADERS + self.payload.len()
    }

    /// Sequence number after this segment: SYN and FIN count one each (RFC 9293 3.4).
    #[must_use]
    pub fn end(&self) -> u64 {
        self.seq + self.len() + u64::from(self.flags.syn) + u64::from(self.flags.fin)
    }

    /// Bytes of payload.
    pub(crate) fn len(&self) -> u64 {
        self.payload.len() as u64
    }

    /// The same bytes as two segments, the first with `len` of them; none if it has no more.
    pub(crate) fn cut(&self, len: u64) -> Option<(Self, Self)> {
        let at = usize::try_from(len).ok().filter(|at| (1..self.payload.len()).contains(at))?;
        let flags = Flags { fin: false, psh: false, ..self.flags };
        let first = Self { flags, payload: self.payload.slice(..at), ..self.clone() };
        let second = Self { seq: self.seq + len, payload: self.payload.slice(at..), ..self.clone() };
        Some((first, second))
    }

    /// The reset that responds to a segment without a socket (RFC 9293 3.10.7.1); none for a reset.
    pub(super) fn refusal(&self) -> Option<Self> {
        if self.flags.rst {
            return None;
        }
        let (flags, seq, ack) = match self.flags.ack {
            true => (Flags::RST, self.ack, 0),
            false => (Flags::RST_ACK, 0, self.end()),
        };
        Some(Self { from: self.to, to: self.from, flags, seq, ack, window: 0, payload: Bytes::new() })
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} > {} {} seq={}", self.from, self.to, self.flags, self.seq)?;
        if self.flags.ack {
            write!(f, " ack={}", self.ack)?;
        }
        write!(f, " win={} len={}", self.window, self.payload.len())
    }
}

/// The control bits of a segment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flags {
    /// The acknowledgement number counts.
    pub ack: bool,
    /// The sender has no more data.
    pub fin: bool,
    /// The end of a write.
    pub psh: bool,
    /// The connection is gone.
    pub rst: bool,
    /// Sequence numbers begin.
    pub syn: bool,
}

impl Flags {
    const NONE: Self = Self { ack: false, fin: false, psh: false, rst: false, syn: false };
    pub(super) const ACK: Self = Self { ack: true, ..Self::NONE };
    pub(super) const RST: Self = Self { rst: true, ..Self::NONE };
    pub(super) const RST_ACK: Self = Self { ack: true, rst: true, ..Self::NONE };
    pub(super) const SYN: Self = Self { syn: true, ..Self::NONE };
    pub(super) const SYN_ACK: Self = Self { ack: true, syn: true, ..Self::NONE };
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = [(self.syn, "SYN"), (self.fin, "FIN"), (self.rst, "RST"), (self.psh, "PSH"), (self.ack, "ACK")];
        let mut separator = "";
        for (set, name) in named {
            if set {
                write!(f, "{separator}{name}")?;
                separator = "-";
            }
        }
        Ok(())
    }
}

/// A kind of segment.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum SegmentKind {
    /// Nothing but an acknowledgement.
    Ack,
    /// Segments of every kind.
    #[default]
    Any,
    /// Segments with payload.
    Data,
    /// Segments with FIN.
    Fin,
    /// Segments with RST.
    Rst,
    /// The first segment of a connection.
    Syn,
    /// The response to it.
    SynAck,
}

impl SegmentKind {
    /// Whether a segment is of this kind.
    #[must_use]
    pub fn includes(self, segment: &Segment) -> bool {
        let flags = segment.flags;
        let data = !segment.payload.is_empty();
        match self {
            Self::Ack => flags.ack && !flags.syn && !flags.fin && !flags.rst && !data,
            Self::Any => true,
            Self::Data => data,
            Self::Fin => flags.fin,
            Self::Rst => flags.rst,
            Self::Syn => flags.syn && !flags.ack,
            Self::SynAck => flags.syn && flags.ack,
        }
    }
}

impl fmt::Display for SegmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ack => "acknowledgement",
            Self::Any => "segment",
            Self::Data => "segment with payload",
            Self::Fin => "FIN",
            Self::Rst => "RST",
            Self::Syn => "SYN",
            Self::SynAck => "SYN-ACK",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: Flags) -> Segment {
        Segment {
            from: "10.0.0.1:4000".parse().unwrap(),
            to: "10.0.0.2:80".parse().unwrap(),
            flags,
            seq: 100,
            ack: if flags.ack { 500 } else { 0 },
            window: 1000,
            payload: Bytes::from_static(b"abc"),
        }
    }

    #[test]
    fn syn_and_fin_take_a_sequence_number() {
        assert_eq!(segment(Flags::ACK).end(), 103);
        assert_eq!(segment(Flags::SYN).end(), 104);
        assert_eq!(segment(Flags { fin: true, ..Flags::SYN }).end(), 105);
    }

    #[test]
    fn a_cut_keeps_every_byte_and_the_flags_at_the_end() {
        let whole = segment(Flags { fin: true, ..Flags::ACK });
        let (first, second) = whole.cut(1).unwrap();
        assert_eq!((first.end(), &first.payload[..], first.flags.fin), (101, &b"a"[..], false));
        assert_eq!((second.seq, &second.payload[..], second.end()), (101, &b"bc"[..], whole.end()));
        assert_eq!(whole.cut(3), None);
        assert_eq!(whole.cut(0), None);
    }

    #[test]
    fn a_rst_fits_the_segment_that_it_refuses() {
        let to_data = segment(Flags::ACK).refusal().unwrap();
        assert_eq!((to_data.flags, to_data.seq), (Flags::RST, 500));
        let to_syn = segment(Flags::SYN).refusal().unwrap();
        assert_eq!((to_syn.flags, to_syn.seq, to_syn.ack), (Flags::RST_ACK, 0, 104));
        assert_eq!(segment(Flags::RST).refusal(), None);
    }

    #[test]
    fn reads_like_a_capture() {
        let text = segment(Flags { psh: true, ..Flags::ACK }).to_string();
        assert_eq!(text, "10.0.0.1:4000 > 10.0.0.2:80 PSH-ACK seq=100 ack=500 win=1000 len=3");
    }
}
