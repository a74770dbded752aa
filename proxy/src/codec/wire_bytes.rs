//! The bytes of one stream on the wire, for the logs that show them.
//!
//! The numbers are Envoy's. On the wire is everything that belongs to the stream: of HTTP/1 the heads, the framing and the
//! payload, of HTTP/2 its HEADERS, CONTINUATION and DATA frames with their heads. Bytes of heads are those of fields, which
//! HTTP/1 counts in two ways: a field that comes has its name, its value and three more, one that goes has its whole line.

use std::cell::Cell;
use std::rc::Rc;

/// What a field that comes counts beside its name and its value, on HTTP/1: a colon and the end of the line.
pub(super) const FIELD_FRAMING_BYTES: u64 = 3;

/// Where the bytes of a stream are counted, if some log shows them.
pub type Counted = Option<Rc<WireBytes>>;

/// The bytes of one stream, on the connection of its client or on those of its tries.
#[derive(Debug, Default)]
pub struct WireBytes {
    /// From the peer.
    pub received: Count,
    /// To the peer.
    pub sent: Count,
}

/// The bytes of one direction.
#[derive(Debug, Default)]
pub struct Count {
    /// All of them.
    pub wire: Cell<u64>,
    /// Those of heads and trailers among them.
    pub header: Cell<u64>,
    /// Those of heads and trailers, before they are compressed.
    pub decompressed: Cell<u64>,
}

impl WireBytes {
    /// So many bytes of an HTTP/1 message have been taken from what came.
    pub(super) fn taken(&self, bytes: usize) {
        add(&self.received.wire, size(bytes));
    }

    /// So many bytes of an HTTP/1 message were queued.
    pub(super) fn queued(&self, bytes: usize) {
        add(&self.sent.wire, size(bytes));
    }

    /// An HTTP/1 head has come, whose fields have so many bytes. As in Envoy, what is before its compression is all that came in
    /// heads so far, anew with each head.
    pub(super) fn head_taken(&self, field_bytes: u64) {
        add(&self.received.header, field_bytes);
        add(&self.received.decompressed, self.received.header.get());
    }

    /// HTTP/1 trailers have come.
    pub(super) fn trailers_taken(&self, field_bytes: u64) {
        add(&self.received.header, field_bytes);
    }

    /// An HTTP/1 head was queued.
    pub(super) fn head_queued(&self, head: &[u8]) {
        const END: usize = 2; // the empty line
        let first_line = head.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.queued(head.len());
        self.fields_queued(head.len().saturating_sub(first_line + END));
    }

    /// Lines of HTTP/1 fields were queued, and have been counted otherwise as bytes on the wire.
    pub(super) fn fields_queued(&self, bytes: usize) {
        add(&self.sent.header, size(bytes));
        add(&self.sent.decompressed, size(bytes));
    }

    /// The frames of an HTTP/2 header section have come, with so many bytes, and these are those of its fields.
    pub(super) fn section_received(&self, frames: usize, fields: u64) {
        add(&self.received.wire, size(frames));
        add(&self.received.header, size(frames));
        add(&self.received.decompressed, fields);
    }

    /// Some frame of HTTP/2 has come that is no part of a header section.
    pub(super) fn frame_received(&self, bytes: usize) {
        add(&self.received.wire, size(bytes));
    }

    /// A frame of an HTTP/2 header section begins to leave.
    pub(super) fn section_frame_sent(&self, bytes: usize) {
        add(&self.sent.wire, size(bytes));
        add(&self.sent.header, size(bytes));
    }

    /// Some other frame of HTTP/2 begins to leave.
    pub(super) fn frame_sent(&self, bytes: usize) {
        add(&self.sent.wire, size(bytes));
    }

    /// A header section of HTTP/2 with these fields is to leave.
    pub(super) fn fields_sent(&self, bytes: u64) {
        add(&self.sent.decompressed, bytes);
    }
}

fn add(to: &Cell<u64>, bytes: u64) {
    to.set(to.get().saturating_add(bytes));
}

fn size(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
