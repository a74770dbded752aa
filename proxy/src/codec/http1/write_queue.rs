//! Bytes on their way to the kernel: text and small payload in one buffer, large payload as it came.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use crate::codec::buffer::GATHERED_BYTES_MAX;
use crate::net::Conn;

/// Pieces handed to the kernel in one write.
const WRITE_PIECES_MAX: usize = 16;

/// Bytes on their way out. Its length is bounded by those who call [`BufferedConn::poll_ready`](super::buffered_conn::BufferedConn::poll_ready) before
/// they add. What it holds is in proportion to that: a small piece is copied behind what already waits, and a large one keeps
/// at most twice its length alive ([`owned`](crate::codec::buffer::owned)).
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    /// What goes first.
    pieces: VecDeque<Bytes>,
    pieces_bytes: usize,
    /// What comes after `pieces`: heads, chunk sizes and small payload.
    tail: BytesMut,
}

impl WriteQueue {
    pub(super) fn bytes(&self) -> usize {
        self.pieces_bytes + self.tail.len()
    }

    /// Where heads and chunk framing are written.
    pub(super) fn text(&mut self) -> &mut BytesMut {
        &mut self.tail
    }

    /// Adds payload. A small piece is copied behind what already waits, which makes one write of both.
    pub(super) fn push(&mut self, data: Bytes) {
        if self.bytes() > 0 && data.len() <= GATHERED_BYTES_MAX {
            self.tail.extend_from_slice(&data);
            return;
        }
        if !self.tail.is_empty() {
            let tail = mem::take(&mut self.tail).freeze();
            self.push_piece(tail);
        }
        self.push_piece(data);
    }

    fn push_piece(&mut self, piece: Bytes) {
        self.pieces_bytes += piece.len();
        self.pieces.push_back(piece);
    }

    pub(super) fn poll_write(&mut self, conn: Pin<&mut Conn>, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.pieces.is_empty() {
            // The common case, and for the kernel a cheaper call.
            let written = ready!(conn.poll_write(cx, &self.tail))?;
            self.advance(written);
            return Poll::Ready(Ok(written));
        }
        let mut slices = [IoSlice::new(&[]); WRITE_PIECES_MAX];
        let bytes = self.pieces.iter().map(Bytes::as_ref).chain([self.tail.as_ref()]);
        let mut count = 0;
        for (slice, bytes) in slices.iter_mut().zip(bytes) {
            *slice = IoSlice::new(bytes);
            count += 1;
        }
        let written = ready!(conn.poll_write_vectored(cx, slices.get(..count).unwrap_or_default()))?;
        self.advance(written);
        Poll::Ready(Ok(written))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let taken = written.min(piece.len());
            piece.advance(taken);
            self.pieces_bytes -= taken;
            written -= taken;
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.tail.advance(written.min(self.tail.len()));
        if self.tail.is_empty() {
            // A connection that waits keeps no buffer.
            self.tail = BytesMut::new();
        }
    }
}
