//! A request's target that h2 cannot carry: the I/O layer writes it where h2 wrote a stand-in.
//!
//! h2 takes targets as URIs, and the http crate's URIs do not have all characters that Envoy forwards (`<` in a path, an
//! authority that is no host). The stand-in has no `:authority`, and values of `:scheme` and `:path` that are in HPACK's
//! static table: none of the three enters the dynamic table, so both ends keep the same one whatever is written instead.

use std::cell::RefCell;
use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};

use super::frames::{
    CONTINUATION, END_HEADERS, FRAME_HEAD_LEN, FrameHead, HEADERS, PADDED, PRIORITISED, put_frame_head,
};
use super::hpack::{
    AUTHORITY_INDEX, DecodingError, HTTP, HTTPS, PATH_INDEX, ROOT, SCHEME_INDEX, is_resize, skip, write_named,
};

/// The longest method beside which a target is replaced: coded, it and the replaced fields lie within a first frame. Bytes.
pub(super) const METHOD_BYTES_MAX: usize = 1024;
/// What every peer accepts as a frame's payload (RFC 9113 4.2). Bytes.
const PAYLOAD_BYTES_MAX: usize = 1 << 14;

/// A target that h2 cannot carry. `None` where the request has no such field.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    pub(super) authority: Option<Bytes>,
    pub(super) path: Option<Bytes>,
    pub(super) scheme: Option<Bytes>,
}

/// Targets of requests whose HEADERS h2 has yet to write, by stream: at most one for each open stream, since those of
/// earlier streams go when a later one's HEADERS are written (RFC 9113 5.1.1).
#[derive(Debug, Default)]
pub(super) struct Targets(RefCell<BTreeMap<u32, Target>>);

/// h2's HEADERS frame is not the stand-in that it was given: see [`Target::replace`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NotStandIn;

impl Targets {
    pub(super) fn keep(&self, stream: u32, target: Target) {
        self.0.borrow_mut().insert(stream, target);
    }

    /// The frames that go out instead of `frame`, which begins with the HEADERS of h2; `None` if they are to go out as they
    /// are.
    pub(super) fn replace(&self, head: FrameHead, frame: &[u8]) -> Option<Result<Bytes, NotStandIn>> {
        self.0.borrow().get(&head.stream).map(|target| target.replace(head, frame))
    }

    /// HEADERS of this stream leave.
    pub(super) fn note_sent(&self, stream: u32) {
        let mut targets = self.0.borrow_mut();
        if !targets.is_empty() {
            *targets = targets.split_off(&stream.saturating_add(1));
        }
    }
}

impl Target {
    /// Fails if the frame is not what h2 makes of a stand-in: `:method`, `:scheme: http`, and `:path: /` where there is a
    /// path, at the start of one frame without padding and priority.
    fn replace(&self, head: FrameHead, frame: &[u8]) -> Result<Bytes, NotStandIn> {
        let end = FRAME_HEAD_LEN + head.len;
        let block = frame.get(FRAME_HEAD_LEN..end).filter(|_| head.flags & (PADDED | PRIORITISED) == 0);
        let block = block.ok_or(NotStandIn)?;
        let rest = behind_method(block).map_err(|DecodingError| NotStandIn)?;
        let (method, _) = block.split_at(block.len() - rest.len());
        let rest = rest.strip_prefix(&[HTTP]).ok_or(NotStandIn)?;
        let rest = match self.path {
            None => rest,
            Some(_) => rest.strip_prefix(&[ROOT]).ok_or(NotStandIn)?,
        };
        let mut coded = BytesMut::with_capacity(block.len() + self.coded_bytes_max());
        coded.put_slice(method);
        self.write(&mut coded);
        coded.put_slice(rest);
        Ok(frames(head, &coded))
    }

    fn write(&self, to: &mut BytesMut) {
        match self.scheme.as_deref() {
            None => {}
            Some(b"http") => to.put_u8(HTTP),
            Some(b"https") => to.put_u8(HTTPS),
            Some(scheme) => write_named(SCHEME_INDEX, scheme, to),
        }
        if let Some(authority) = &self.authority {
            write_named(AUTHORITY_INDEX, authority, to);
        }
        if let Some(path) = &self.path {
            write_named(PATH_INDEX, path, to);
        }
    }

    /// The values, and of each the index of its name and its length.
    fn coded_bytes_max(&self) -> usize {
        const OVERHEAD_BYTES_MAX: usize = 8;
        let values = [&self.authority, &self.path, &self.scheme];
        values.into_iter().flatten().map(|value| value.len() + OVERHEAD_BYTES_MAX).sum()
    }
}

/// What stands behind the changes of the table's size and the first field, which is `:method`.
fn behind_method(block: &[u8]) -> Result<&[u8], DecodingError> {
    let mut rest = block;
    while rest.first().copied().is_some_and(is_resize) {
        skip(&mut rest)?;
    }
    skip(&mut rest)?;
    Ok(rest)
}

/// A header block in frames, of which the last ends it if `head` did.
fn frames(head: FrameHead, block: &[u8]) -> Bytes {
    let count = block.len().div_ceil(PAYLOAD_BYTES_MAX);
    let mut written = BytesMut::with_capacity(block.len() + count * FRAME_HEAD_LEN);
    let mut pieces = block.chunks(PAYLOAD_BYTES_MAX).peekable();
    let (mut kind, mut flags) = (HEADERS, head.flags & !END_HEADERS);
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            flags |= head.flags & END_HEADERS;
        }
        put_frame_head(FrameHead { len: piece.len(), kind, flags, stream: head.stream }, &mut written);
        written.put_slice(piece);
        (kind, flags) = (CONTINUATION, 0);
    }
    written.freeze()
}
