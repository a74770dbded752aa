//! Connections that are always ready leave their neighbours a turn.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::task::{LocalSet, spawn_local, yield_now};

// Not all of it: a module of that name would hide the crate that is meant here.
use super::testing::{Reads, TakesAll};
use super::{Address, Conn, Peek, STEP_BYTES};

/// Gives as much as is requested, at once and without an end.
struct AlwaysReady;

impl Reads for AlwaysReady {
    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining();
        buf.initialize_unfilled_to(room).fill(b'x');
        buf.advance(room);
        Poll::Ready(Ok(()))
    }

    fn peek(&self) -> Peek {
        Peek::Bytes
    }
}

/// Copies between connections that are always ready, in pieces of so many bytes; the most that was copied between two
/// turns of another task.
async fn most_in_a_turn(piece_bytes: usize) -> usize {
    const TURNS: usize = 50;
    let address = Address::Internal("a".into());
    let conn = || Conn::new(Box::new(TakesAll(AlwaysReady)), address.clone(), address.clone());
    let (mut from, mut to) = (conn(), conn());
    let copied = Rc::new(Cell::new(0));
    let counter = Rc::clone(&copied);
    let copying = spawn_local(async move {
        let mut piece = vec![0; piece_bytes];
        loop {
            let read = from.read(&mut piece).await.unwrap();
            to.write_all(&piece[..read]).await.unwrap();
            counter.set(counter.get() + read);
        }
    });
    let mut most = 0;
    for _ in 0..TURNS {
        yield_now().await;
        most = most.max(copied.replace(0));
    }
    copying.abort();
    most
}

#[tokio::test]
async fn a_connection_that_is_always_ready_does_not_starve_others() {
    const STEPS: usize = 128;
    LocalSet::new()
        .run_until(async {
            for piece_bytes in [1, 1000, 32 * 1024] {
                let most = most_in_a_turn(piece_bytes).await;
                assert!((1..=STEPS * STEP_BYTES).contains(&most), "{most} bytes in a turn, in pieces of {piece_bytes}");
            }
        })
        .await;
}
