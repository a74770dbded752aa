//! The accept loop's errors: which of them concern one connection, and which the process.

use std::io;
use std::time::Duration;

use ::tokio::time::{Instant, sleep_until};

use super::{Accept, Address, Conn};

/// After an error of the process nothing is accepted for so long: descriptors and memory come free as connections end,
/// and until then the connections wait in the backlog. Short, since it is what recovering takes at most; long enough
/// that 20 attempts a second cost nothing.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(50);

/// Errors of the process are logged once in so long, with their count.
const EXHAUSTED_LOG_INTERVAL: Duration = Duration::from_secs(60);

/// What an error of accept(2), or of setting up the accepted socket, is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AcceptFailure {
    /// One connection that was in the backlog, and is gone. The next one may be accepted at once.
    Connection,
    /// The process or the system, which is out of descriptors or memory, or the listening socket itself: the next call
    /// would fail as well.
    Process,
}

impl AcceptFailure {
    /// Classifies an error. Linux passes pending errors of the new socket on as errors of accept(2), and its manual says
    /// to treat those as EAGAIN. An error that is not known here is taken for one of the process: a short wait for one
    /// connection costs less than a loop that never waits.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(code) if CONNECTION_ERRORS.contains(&code) => Self::Connection,
            Some(_) => Self::Process,
            None => Self::of_kind(error.kind()),
        }
    }

    /// The same for errors without the system's number, such as those of simulated networks.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the enum may grow; see `of` for errors that are not known")]
    fn of_kind(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NotConnected
            | io::ErrorKind::TimedOut
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WouldBlock => Self::Connection,
            _ => Self::Process,
        }
    }
}

/// Those of accept(2) that it names as errors of the new connection, those that a socket reports once its peer has reset
/// it, and EPERM, by which a firewall refuses one peer.
const CONNECTION_ERRORS: [i32; 17] = [
    libc::EAGAIN,
    libc::ECONNABORTED,
    libc::ECONNREFUSED,
    libc::ECONNRESET,
    libc::EHOSTDOWN,
    libc::EHOSTUNREACH,
    libc::EINTR,
    libc::ENETDOWN,
    libc::ENETUNREACH,
    libc::ENONET,
    libc::ENOPROTOOPT,
    libc::ENOTCONN,
    libc::EOPNOTSUPP,
    libc::EPERM,
    libc::EPIPE,
    libc::EPROTO,
    libc::ETIMEDOUT,
];

/// A listening socket whose errors are dealt with: what comes out of it is a connection.
pub struct Acceptor {
    accept: Box<dyn Accept>,
    /// What accepts, for the log: `listener web`.
    name: String,
    /// When to accept again, after an error of the process.
    resumes: Option<Instant>,
    /// Errors of the process that have not been logged yet.
    unlogged: u64,
    logged: Option<Instant>,
}

impl Acceptor {
    /// Accepts from `accept`, which the log calls `name`.
    #[must_use]
    pub fn new(accept: Box<dyn Accept>, name: impl Into<String>) -> Self {
        Self { accept, name: name.into(), resumes: None, unlogged: 0, logged: None }
    }

    /// The next connection. Errors of single connections are passed over without a wait.
    ///
    /// # Cancellation
    /// Safe to drop: a connection that was not returned stays in the backlog, and a wait goes on in the next call.
    pub async fn next(&mut self) -> Conn {
        self.next_with(&mut || {}).await
    }

    /// The same; `relieve` is called after each error of the process, to close what can be spared.
    ///
    /// # Cancellation
    /// As [`Self::next`].
    pub async fn next_with(&mut self, relieve: &mut dyn FnMut()) -> Conn {
        loop {
            if let Some(resumes) = self.resumes {
                sleep_until(resumes).await;
                self.resumes = None;
            }
            let error = match self.accept.accept().await {
                Ok(conn) => return conn,
                Err(error) => error,
            };
            match AcceptFailure::of(&error) {
                AcceptFailure::Connection => {
                    tracing::debug!(%error, acceptor = self.name, "a connection ended before it was accepted");
                }
                AcceptFailure::Process => {
                    relieve();
                    self.wait_after(&error);
                }
            }
        }
    }

    /// Keeps a descriptor back for one connection; see [`Accept::keep_spare`].
    pub fn keep_spare(&mut self) {
        self.accept.keep_spare();
    }

    /// Lets no further handshake begin; see [`Accept::admit_no_more`].
    ///
    /// # Errors
    /// This network cannot.
    pub fn admit_no_more(&mut self) -> io::Result<()> {
        self.accept.admit_no_more()
    }

    /// The address it is bound to.
    #[must_use]
    pub fn local(&self) -> &Address {
        self.accept.local()
    }

    fn wait_after(&mut self, error: &io::Error) {
        let now = Instant::now();
        self.resumes = Some(now + EXHAUSTED_WAIT);
        self.unlogged = self.unlogged.saturating_add(1);
        if self.logged.is_none_or(|logged| now.duration_since(logged) >= EXHAUSTED_LOG_INTERVAL) {
            let (acceptor, failures) = (&self.name, self.unlogged);
            tracing::warn!(
                %error, acceptor, at = %self.accept.local(), failures,
                "cannot accept; tried again every {EXHAUSTED_WAIT:?}, reported again after {EXHAUSTED_LOG_INTERVAL:?}"
            );
            (self.logged, self.unlogged) = (Some(now), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::net::{Ipv4Addr, SocketAddr};
    use std::task::{Context, Poll};

    use ::tokio::io::ReadBuf;

    use super::*;
    use crate::net::LocalBoxFuture;
    use crate::net::testing::{Reads, TakesAll};

    #[test]
    fn errors_are_about_a_connection_or_about_the_process() {
        use AcceptFailure::{Connection, Process};
        let numbers = [
            ("ECONNABORTED", libc::ECONNABORTED, Connection),
            ("ENOTCONN", libc::ENOTCONN, Connection),
            ("ECONNRESET", libc::ECONNRESET, Connection),
            ("EPERM", libc::EPERM, Connection),
            ("EPROTO", libc::EPROTO, Connection),
            ("ENOPROTOOPT", libc::ENOPROTOOPT, Connection),
            ("ENETDOWN", libc::ENETDOWN, Connection),
            ("EHOSTDOWN", libc::EHOSTDOWN, Connection),
            ("ENONET", libc::ENONET, Connection),
            ("EHOSTUNREACH", libc::EHOSTUNREACH, Connection),
            ("EOPNOTSUPP", libc::EOPNOTSUPP, Connection),
            ("ENETUNREACH", libc::ENETUNREACH, Connection),
            ("ETIMEDOUT", libc::ETIMEDOUT, Connection),
            ("EINTR", libc::EINTR, Connection),
            ("EMFILE", libc::EMFILE, Process),
            ("ENFILE", libc::ENFILE, Process),
            ("ENOBUFS", libc::ENOBUFS, Process),
            ("ENOMEM", libc::ENOMEM, Process),
            ("EBADF", libc::EBADF, Process),
            ("EINVAL", libc::EINVAL, Process),
            ("ENOTSOCK", libc::ENOTSOCK, Process),
        ];
        for (name, number, about) in numbers {
            assert_eq!(AcceptFailure::of(&io::Error::from_raw_os_error(number)), about, "{name}");
        }
        for (kind, about) in [
            (io::ErrorKind::NotConnected, Connection),
            (io::ErrorKind::ConnectionAborted, Connection),
            (io::ErrorKind::OutOfMemory, Process),
            (io::ErrorKind::Other, Process),
        ] {
            assert_eq!(AcceptFailure::of(&kind.into()), about, "{kind}");
        }
    }

    /// Fails with these, then accepts.
    struct Failing {
        errors: VecDeque<i32>,
        local: Address,
    }

    impl Accept for Failing {
        fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Conn>> {
            let next = self.errors.pop_front().map(io::Error::from_raw_os_error);
            let conn = Conn::new(Box::new(TakesAll(Silent)), self.local.clone(), self.local.clone());
            Box::pin(std::future::ready(next.map_or(Ok(conn), Err)))
        }

        fn local(&self) -> &Address {
            &self.local
        }
    }

    struct Silent;

    impl Reads for Silent {
        fn poll_read(&mut self, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn failing(errors: impl IntoIterator<Item = i32>) -> Acceptor {
        let local = Address::Socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 80)));
        Acceptor::new(Box::new(Failing { errors: errors.into_iter().collect(), local }), "listener web")
    }

    #[tokio::test(start_paused = true)]
    async fn errors_of_connections_take_no_time() {
        let mut acceptor = failing([libc::ENOTCONN; 300]);
        let begun = Instant::now();
        acceptor.next().await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_descriptors_outlives_the_call_and_is_bounded() {
        let mut acceptor = failing([libc::EMFILE, libc::EMFILE]);
        let begun = Instant::now();
        let short = EXHAUSTED_WAIT / 5;
        while ::tokio::time::timeout(short, acceptor.next()).await.is_err() {}
        assert_eq!(begun.elapsed(), 2 * EXHAUSTED_WAIT);
    }
}
