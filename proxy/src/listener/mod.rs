//! A byte stream arrives: the accept loop, and one task for each connection.

use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::connection_manager::ConnectionManager;
use crate::drain::ListenerDrain;
use crate::net::accept::Acceptor;
use crate::net::{Conn, ListenOptions};
use crate::stats::ListenerStats;

/// A bound socket and who serves its connections.
pub struct Listener {
    acceptor: Acceptor,
    manager: Rc<ConnectionManager>,
    stats: ListenerStats,
    drain: ListenerDrain,
}

/// A closing listener takes in no more: beyond a full backlog, whoever waits came after the drain had begun.
const BACKLOG_MAX: u32 = ListenOptions::BACKLOG;

/// A handshake that has begun may take so long once the door is closed: several round trips to a load balancer in the
/// same region. Who knocks in that time loses a second, so it is no longer than that.
const HANDSHAKE_MAX: Duration = Duration::from_millis(10);

impl Listener {
    /// A listener that has not accepted yet.
    #[must_use]
    pub fn new(acceptor: Acceptor, manager: Rc<ConnectionManager>, stats: ListenerStats, drain: ListenerDrain) -> Self {
        Self { acceptor, manager, stats, drain }
    }

    /// Accepts until it is told to stop, then waits for the connections; cuts those that are left when it ends.
    pub async fn run(mut self) {
        let mut connections = JoinSet::new();
        let draining = self.drain.clone();
        let mut closing = pin!(draining.accepts_no_more());
        loop {
            tokio::select! {
                // The drain first, however many come.
                biased;
                () = closing.as_mut() => break,
                conn = self.acceptor.next() => self.begin(conn, &mut connections),
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
        self.empty_backlog(&mut connections).await;
        drop(self.acceptor);
        let left = self.drain.clone();
        tokio::select! {
            // What ends by itself, ends by itself.
            biased;
            () = async {
                while connections.join_next().await.is_some() {}
                // Closed by an operator, it is no reason for the process to end.
                left.is_for_good().await;
            } => {}
            () = self.drain.is_over() => connections.shutdown().await,
        }
    }

    /// Takes in who has connected by now: the system resets the backlog of a listener that closes, and with it
    /// requests that were sent in good faith. They are told to go elsewhere with their first response.
    ///
    /// The door is closed first. The system completes handshakes by itself, so whatever is accepted last, the next
    /// connection may be in the backlog before the socket is closed; under load about one close in fifteen met one.
    /// Nothing else holds it off: `shutdown` resets the backlog as `close` does, `listen` with a backlog of 0 still
    /// takes in one, and net.ipv4.tcp_migrate_req needs another socket of the same address and is off by default.
    async fn empty_backlog(&mut self, connections: &mut JoinSet<()>) {
        if self.acceptor.admit_no_more().is_ok() {
            let last_handshakes = async {
                loop {
                    let conn = self.acceptor.next().await;
                    self.begin(conn, connections);
                }
            };
            let Err(_) = tokio::time::timeout(HANDSHAKE_MAX, last_handshakes).await;
        }
        // The event loop hears of those who came since it last looked.
        tokio::task::yield_now().await;
        for _ in 0..BACKLOG_MAX {
            tokio::select! {
                // Who waits is there at once.
                biased;
                conn = self.acceptor.next() => self.begin(conn, connections),
                () = std::future::ready(()) => return,
            }
        }
    }

    fn begin(&self, conn: Conn, connections: &mut JoinSet<()>) {
        self.stats.downstream_cx_total.inc();
        let active = self.stats.downstream_cx_active.enter();
        let manager = Rc::clone(&self.manager);
        let (destroyed, length) =
            (self.stats.downstream_cx_destroy.clone(), self.stats.downstream_cx_length_ms.clone());
        connections.spawn_local(async move {
            let begun = Instant::now();
            manager.serve(conn).await; // called here, or the task would have its future twice
            destroyed.inc();
            length.record_ms(begun.elapsed());
            drop(active);
        });
    }
}
