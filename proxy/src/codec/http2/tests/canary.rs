//! What the I/O layer takes for granted about h2, which is pinned to one version for it. Where one of these fails after a change
//! of version, the place it names has to change with it.

use std::cell::Cell;

use h2::server::Connection;

use super::super::frames::{FrameHead, SHUTDOWN};
use super::*;

/// An IO type that takes a few bytes at a time and looks at how they are handed to it.
struct Watched {
    io: DuplexStream,
    /// Bytes of the current frame that have yet to be written.
    left: usize,
    frames: Rc<Cell<u32>>,
}

impl Watched {
    /// [`H2Io`](super::super::h2_io) finds each head, and each control frame as a whole, in the first piece of a write.
    fn look(&mut self, bufs: &[io::IoSlice<'_>], written: usize) {
        let first = bufs.iter().map(|buf| &**buf).find(|buf| !buf.is_empty()).unwrap_or_default();
        assert!(bufs.iter().filter(|buf| !buf.is_empty()).count() <= 2, "one payload at most behind the heads");
        let mut at = self.left;
        while at < first.len() {
            let head = FrameHead::parse(&first[at..]).expect("a head is cut");
            assert!(head.kind == DATA || at + 9 + head.len <= first.len(), "a control frame is cut");
            if at < written {
                self.frames.set(self.frames.get() + 1);
                self.left = at + 9 + head.len;
            }
            at += 9 + head.len;
        }
        self.left = self.left.max(written) - written;
    }
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let all = bufs.iter().map(|buf| &**buf).collect::<Vec<_>>().concat();
        let polled = Pin::new(&mut this.io).poll_write(cx, &all[..all.len().min(37)]);
        if let Poll::Ready(Ok(written)) = polled {
            this.look(bufs, written);
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

/// h2 alone, with a client made by hand that has sent its preface and SETTINGS.
async fn bare_server() -> (Raw, Connection<Watched, Bytes>, Rc<Cell<u32>>) {
    let (io, server) = duplex(PIPE_BYTES_MAX);
    let mut raw = Raw { io, seen: VecDeque::new(), driver: None };
    raw.io.write_all(PREFACE).await.unwrap();
    raw.send(SETTINGS, 0, 0, &[]).await;
    let frames = Rc::<Cell<u32>>::default();
    let watched = Watched { io: server, left: 0, frames: Rc::clone(&frames) };
    let server = h2::server::Builder::new().max_header_list_size(16 * 1024).handshake(watched).await.unwrap();
    (raw, server, frames)
}

/// Lets h2 work until it has nothing to do; what it sent on the connection is in `raw`.
async fn settle(server: &mut Connection<Watched, Bytes>) {
    while let Ok(Some(Ok(_))) = timeout(Duration::from_millis(1), server.accept()).await {}
}

#[tokio::test(start_paused = true)]
async fn heads_and_control_frames_are_written_in_one_piece() {
    let (mut raw, mut server, frames) = bare_server().await;
    for stream in [1_u32, 3, 5] {
        raw.send(HEADERS, END_HEADERS | END_STREAM, stream, &block(GET)).await;
        raw.send(PING, 0, 0, &[7; 8]).await;
    }
    let mut bodies = Vec::new();
    for (at, len) in [100, 300, 20_000].into_iter().enumerate() {
        let (_, mut respond) = server.accept().await.unwrap().unwrap();
        let response = http::Response::builder().header("x", "v".repeat(200 * at)).body(()).unwrap();
        let mut body = respond.send_response(response, false).unwrap();
        body.send_data(Bytes::from(vec![1; len]), false).unwrap();
        body.send_trailers([(HeaderName::from_static("t"), HeaderValue::from_static("v"))].into_iter().collect())
            .unwrap();
        bodies.push(body);
    }
    server.graceful_shutdown();
    settle(&mut server).await;
    // SETTINGS, its ACK, three each of PING, HEADERS and trailers, four of DATA, GOAWAY, PING.
    assert_eq!(frames.get(), 17);
    assert_eq!(raw.frame_of(GOAWAY).await.code(4), 0);
    let shutdown = loop {
        let ping = raw.frame_of(PING).await;
        if ping.flags & ACK == 0 {
            break ping;
        }
    };
    assert_eq!(shutdown.payload, SHUTDOWN, "the I/O layer recognises the PING of a shutdown by its payload");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_continuations_is_named_in_the_debug_data() {
    let (mut raw, mut server, _) = bare_server().await;
    settle(&mut server).await;
    raw.send(SETTINGS, ACK, 0, &[]).await;
    raw.send(HEADERS, 0, 1, &block(GET)).await;
    for _ in 0..10 {
        raw.send(CONTINUATION, 0, 1, &[]).await;
    }
    settle(&mut server).await;
    assert!(raw.frame_of(GOAWAY).await.payload.ends_with(b"continuations"), "the judge looks for this end");
}

#[tokio::test(start_paused = true)]
async fn the_hundred_and_first_empty_data_frame_ends_h2() {
    for (kind, ended) in [(DATA, true), (0xff, false)] {
        let (mut raw, mut server, _) = bare_server().await;
        raw.send(HEADERS, END_HEADERS, 1, &block(&[(":method", "POST"), GET[1], GET[2], GET[3]])).await;
        let _stream = server.accept().await.unwrap().unwrap();
        for _ in 0..101 {
            raw.send(kind, 0, 1, &[]).await;
        }
        settle(&mut server).await;
        drop(server);
        raw.until_closed().await;
        assert_eq!(raw.seen.iter().any(|frame| frame.kind == GOAWAY && frame.code(4) != 0), ended, "type {kind}");
    }
}
