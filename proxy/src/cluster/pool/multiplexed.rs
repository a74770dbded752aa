//! HTTP/2 connections of a pool: each is lent to as many streams as its server allows.
//!
//! One task drives a connection for as long as the pool lists it. What takes it off the list, once no stream is left,
//! ends the task, and the task's end closes the socket: a client that has nothing more to ask says so by FIN alone.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::Rc;
use std::task::Poll;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::account::Account;
use super::lease::{Lease, Stream};
use super::{Pool, Wanted};
use crate::cluster::Failure;
use crate::codec::{Broken, http2};
use crate::config::Difference;
use crate::config::cluster::UpstreamProtocol;
use crate::config::listener::{Http2Options, Keepalive};
use crate::net::{Conn, Random};
use crate::probe;

pub(super) struct Multiplexed {
    pub(super) connection: RefCell<http2::ClientConnection>,
    streams: Cell<usize>,
    /// Streams so far.
    requests: Cell<u32>,
    idle_since: Cell<Instant>,
    opened: Instant,
    /// It finishes what it has and takes nothing more.
    retired: Cell<bool>,
    /// A look at the socket has shown that the server ended it.
    found_closed: Cell<bool>,
    /// Told when the pool has forgotten it and no stream is left.
    finished: Notify,
    /// Told when the server is to be asked whether it is there.
    doubtful: Notify,
}

impl Multiplexed {
    fn is_available(&self) -> bool {
        !self.retired.get() && self.connection.borrow().is_available()
    }

    /// Is nothing left to do on it?
    fn is_spent(&self) -> bool {
        self.streams.get() == 0 && (self.retired.get() || self.connection.borrow().goaway_received())
    }

    fn idle_since(&self) -> Option<Instant> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }

    /// Moves its bytes until it ends, or nobody has a use for it.
    async fn drive(&self, mut driver: http2::Driver, keepalive: Option<Keepalive>, random: &dyn Random) -> End {
        let dead = probe::until_dead_with(driver.pinger(), keepalive, &self.doubtful, random);
        let mut driver = std::pin::pin!(driver);
        let driven = std::future::poll_fn(|cx| {
            let polled = driver.as_mut().poll(cx).map(End::Driver);
            match polled.is_pending() && self.is_spent() {
                true => Poll::Ready(End::Finished), // GOAWAY has come while nothing was under way
                false => polled,
            }
        });
        tokio::select! {
            // The driver first: what a stream said last goes out before the socket closes.
            biased;
            end = driven => end,
            () = self.finished.notified() => End::Finished,
            () = dead => End::Dead,
        }
    }
}

/// Why a connection is not driven any more.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The server did not answer when it was asked whether it is there.
    Dead,
    /// By itself.
    Driver(http2::DriverEnd),
    /// The pool has forgotten it, or the server said that it takes no more; no stream is left.
    Finished,
}

impl Pool {
    /// A stream of a connection that is there already.
    pub(super) fn take_stream(&self) -> Option<Result<Lease, Failure>> {
        loop {
            let found = {
                let multiplexed = self.multiplexed.borrow();
                Rc::clone(multiplexed.iter().find(|one| one.is_available())?)
            };
            let looks = self.shared.runtime.differences().has(Difference::LookBeforeReuse);
            if !looks || !found.connection.borrow().has_closed() {
                return Some(self.lend_stream(&found));
            }
            self.shared.stats.upstream_cx_reuse_stale.inc();
            found.found_closed.set(true);
            found.retired.set(true);
            self.forget(&found);
        }
    }

    pub(super) fn lend_stream(&self, multiplexed: &Rc<Multiplexed>) -> Result<Lease, Failure> {
        let request = self.begin_request()?;
        if let UpstreamProtocol::Http2(Http2Options { keepalive: Some(keepalive), .. }) = &self.shared.config.protocol
            && let (Some(limit), Some(since)) = (keepalive.after_idle, multiplexed.idle_since())
            && since.elapsed() >= limit
        {
            multiplexed.doubtful.notify_one();
        }
        multiplexed.streams.set(multiplexed.streams.get() + 1);
        let before = multiplexed.requests.replace(multiplexed.requests.get().saturating_add(1));
        let limit = self.shared.config.requests_per_connection_max;
        if limit.is_some_and(|limit| before + 1 >= limit.get()) {
            self.shared.stats.upstream_cx_max_requests.inc();
            multiplexed.retired.set(true);
        }
        let pool = Rc::clone(&request.pool);
        let multiplexed = Rc::clone(multiplexed);
        Ok(Lease::Http2(Stream { multiplexed, pool, is_reused: before > 0, _request: request }))
    }

    pub(super) async fn drive_http2(self: Rc<Self>, conn: Conn, options: &Http2Options, mut account: Account) {
        let errors = http2::MessageErrors::with(self.shared.runtime.differences());
        let (connection, driver) =
            match http2::ClientConnection::handshake(conn, options, errors, &self.shared.http2_stats).await {
                Ok(both) => both,
                Err(broken) => {
                    account.by_peer = true;
                    return self.fail_the_line(&Failure::from(broken));
                }
            };
        self.shared.http2_stats.nghttp2_upstream_connections.inc();
        let multiplexed = Rc::new(Multiplexed {
            connection: RefCell::new(connection),
            streams: Cell::new(0),
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            opened: account.opened,
            retired: Cell::new(false),
            found_closed: Cell::new(false),
            finished: Notify::new(),
            doubtful: Notify::new(),
        });
        self.multiplexed.borrow_mut().push(Rc::clone(&multiplexed));
        self.serve_the_line_with(&multiplexed, Wanted::Unused);
        self.watch(self.due(account.opened, multiplexed.idle_since()));
        let (pool, random) = (Rc::downgrade(&self), Rc::clone(&self.outside.random));
        drop(self);
        let end = multiplexed.drive(driver, options.keepalive, &*random).await;
        if matches!(end, End::Dead) {
            account.shared.http2_stats.keepalive_timeout.inc();
        }
        let goaway = multiplexed.connection.borrow().goaway_received();
        if goaway {
            account.shared.stats.upstream_cx_close_notify.inc();
        }
        account.note_http2_end(end, &multiplexed);
        if let Some(pool) = pool.upgrade() {
            pool.forget(&multiplexed);
        }
    }

    /// Streams that the connections there are could take in addition.
    pub(super) fn free_streams(&self) -> usize {
        self.multiplexed.borrow().iter().filter(|one| !one.retired.get()).fold(0, |free, one| {
            let connection = one.connection.borrow();
            free.saturating_add(connection.streams_max().saturating_sub(one.streams.get()))
        })
    }

    /// Room has become free on a connection.
    pub(super) fn serve_the_line(&self, multiplexed: &Rc<Multiplexed>) {
        self.serve_the_line_with(multiplexed, Wanted::Any);
    }

    fn serve_the_line_with(&self, multiplexed: &Rc<Multiplexed>, offered: Wanted) {
        while multiplexed.is_available() {
            let Some(waiting) = self.first_in_line(offered) else { break };
            drop(waiting.served.send(self.lend_stream(multiplexed)));
        }
        // More are waiting than this connection has room for.
        self.connect_for_the_line();
    }

    /// A stream has ended.
    pub(super) fn stream_ended(&self, multiplexed: &Rc<Multiplexed>) {
        let now = Instant::now();
        multiplexed.streams.set(multiplexed.streams.get().saturating_sub(1));
        multiplexed.idle_since.set(now);
        if multiplexed.is_spent() {
            return self.forget(multiplexed);
        }
        self.serve_the_line(multiplexed);
        self.watch(self.due(multiplexed.opened, multiplexed.idle_since()));
    }

    pub(super) fn retire_multiplexed(&self) {
        for one in self.multiplexed.borrow().iter() {
            one.retired.set(true);
        }
        self.forget_spent();
    }

    /// Retires those that are out of time; says when to look again.
    pub(super) fn sweep_multiplexed(&self, now: Instant) -> Option<Instant> {
        for one in self.multiplexed.borrow().iter().filter(|one| !one.retired.get()) {
            if self.due(one.opened, one.idle_since()).is_some_and(|due| due <= now) {
                self.count_expired(one.opened, now);
                one.retired.set(true);
            }
        }
        self.forget_spent();
        let multiplexed = self.multiplexed.borrow();
        let waiting = multiplexed.iter().filter(|one| !one.retired.get());
        waiting.filter_map(|one| self.due(one.opened, one.idle_since())).min()
    }

    fn forget_spent(&self) {
        self.multiplexed.borrow_mut().retain(|one| {
            let spent = one.is_spent();
            if spent {
                one.finished.notify_one();
            }
            !spent
        });
    }

    /// Lends it no more. It is closed when its last stream ends, at once if it has none.
    fn forget(&self, multiplexed: &Rc<Multiplexed>) {
        self.multiplexed.borrow_mut().retain(|one| !Rc::ptr_eq(one, multiplexed));
        if multiplexed.streams.get() == 0 {
            multiplexed.finished.notify_one();
        }
    }
}

impl Account {
    fn note_http2_end(&mut self, end: End, multiplexed: &Multiplexed) {
        self.by_peer = multiplexed.found_closed.get();
        self.busy = false;
        match end {
            End::Dead => self.busy = multiplexed.streams.get() > 0,
            End::Finished | End::Driver(http2::DriverEnd::Drained | http2::DriverEnd::GoAway(_)) => {}
            End::Driver(http2::DriverEnd::Broken(Broken::Malformed(_))) => {
                self.shared.stats.upstream_cx_protocol_error.inc();
            }
            End::Driver(http2::DriverEnd::Broken(_)) => {
                self.by_peer = true;
                self.busy = multiplexed.streams.get() > 0;
            }
        }
    }
}
