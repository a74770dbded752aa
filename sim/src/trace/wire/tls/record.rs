//! Records (RFC 8446 section 5).

/// The head of a record: type, version, length.
const HEAD_BYTES: usize = 5;

/// A record as it crosses the network.
pub(super) struct Record<'a> {
    pub(super) kind: Kind,
    pub(super) head: [u8; HEAD_BYTES],
    pub(super) payload: &'a [u8],
    /// With its head.
    pub(super) bytes: usize,
}

/// What a record carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Alert,
    ApplicationData,
    ChangeCipherSpec,
    Handshake,
    Other(u8),
}

impl From<u8> for Kind {
    fn from(byte: u8) -> Self {
        match byte {
            20 => Self::ChangeCipherSpec,
            21 => Self::Alert,
            22 => Self::Handshake,
            23 => Self::ApplicationData,
            other => Self::Other(other),
        }
    }
}

impl<'a> Record<'a> {
    /// The first of `bytes`, if it is whole.
    pub(super) fn first_in(bytes: &'a [u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let [kind, _, _, high, low] = *head;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let payload = rest.get(..length)?;
        Some(Self { kind: kind.into(), head: *head, payload, bytes: HEAD_BYTES + length })
    }
}
