//! HTTP/2 connections of a pool: each is lent to as many streams as its server allows.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::rc::{Rc, Weak};

use tokio::time::Instant;

use super::account::Account;
use super::lease::{Lease, Stream};
use super::{Pool, Wanted};
use crate::cluster::Failure;
use crate::codec::http2;
use crate::config::Difference;
use crate::config::listener::Http2Options;
use crate::net::Conn;

pub(super) struct Multiplexed {
    pub(super) connection: RefCell<http2::ClientConnection>,
    pub(super) account: RefCell<Option<Account>>,
    pub(super) streams: Cell<usize>,
    /// Streams so far.
    pub(super) requests: Cell<u32>,
    pub(super) idle_since: Cell<Instant>,
    opened: Instant,
    /// It finishes what it has and takes nothing more.
    pub(super) retired: Cell<bool>,
}

impl Multiplexed {
    fn is_available(&self) -> bool {
        !self.retired.get() && self.connection.borrow().is_available()
    }

    /// Is nothing left to do on it?
    pub(super) fn is_spent(&self) -> bool {
        self.streams.get() == 0 && (self.retired.get() || self.connection.borrow().goaway_received())
    }

    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.streams.get() == 0).then(|| self.idle_since.get())
    }
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
            // Its driver hears of the end at the next turn, and ends it.
            self.shared.stats.upstream_cx_reuse_stale.inc();
            if let Some(account) = &mut *found.account.borrow_mut() {
                account.by_peer = true;
            }
            self.forget(&found);
        }
    }

    pub(super) fn lend_stream(&self, multiplexed: &Rc<Multiplexed>) -> Result<Lease, Failure> {
        let request = self.begin_request()?;
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

    pub(super) async fn drive_http2(self: Rc<Self>, conn: Conn, options: &Http2Options, account: Account) {
        let (connection, driver) =
            match http2::ClientConnection::handshake(conn, options, &self.shared.http2_stats).await {
                Ok(both) => both,
                Err(broken) => {
                    let mut account = account;
                    account.by_peer = true;
                    drop(account);
                    return self.fail_the_line(&Failure::from(broken));
                }
            };
        self.shared.http2_stats.nghttp2_upstream_connections.inc();
        let opened = account.opened;
        let multiplexed = Rc::new(Multiplexed {
            connection: RefCell::new(connection),
            account: RefCell::new(Some(account)),
            streams: Cell::new(0),
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            opened,
            retired: Cell::new(false),
        });
        self.multiplexed.borrow_mut().push(Rc::clone(&multiplexed));
        self.serve_the_line_with(&multiplexed, Wanted::Unused);
        self.watch(self.due(opened, multiplexed.idle_since()));
        let weak = Rc::downgrade(&multiplexed);
        drop(multiplexed);
        let pool = Rc::downgrade(&self);
        drop(self);
        let end = close_when_drained(driver, &weak, &pool).await;
        let Some(multiplexed) = weak.upgrade() else { return };
        let mut account = multiplexed.account.borrow_mut().take();
        if let Some(account) = &mut account {
            account.by_peer = !matches!(end, http2::DriverEnd::Drained);
            account.busy = multiplexed.streams.get() > 0;
        }
        if let Some(pool) = pool.upgrade() {
            pool.forget(&multiplexed);
            pool.connect_for_the_line();
        }
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
            if multiplexed.connection.borrow().goaway_received() {
                self.shared.stats.upstream_cx_close_notify.inc();
            }
            self.forget(multiplexed);
            return self.connect_for_the_line();
        }
        self.serve_the_line(multiplexed);
        self.watch(self.due(multiplexed.opened, multiplexed.idle_since()));
    }

    pub(super) fn retire_multiplexed(&self) {
        let mut multiplexed = self.multiplexed.borrow_mut();
        for one in multiplexed.iter() {
            one.retired.set(true);
        }
        multiplexed.retain(|one| !one.is_spent());
    }

    /// Retires those that are out of time; says when to look again.
    pub(super) fn sweep_multiplexed(&self, now: Instant) -> Option<Instant> {
        let mut multiplexed = self.multiplexed.borrow_mut();
        for one in multiplexed.iter().filter(|one| !one.retired.get()) {
            if self.due(one.opened, one.idle_since()).is_some_and(|due| due <= now) {
                self.count_expired(one.opened, now);
                one.retired.set(true);
            }
        }
        multiplexed.retain(|one| !one.is_spent());
        let waiting = multiplexed.iter().filter(|one| !one.retired.get());
        waiting.filter_map(|one| self.due(one.opened, one.idle_since())).min()
    }

    pub(super) fn forget(&self, multiplexed: &Rc<Multiplexed>) {
        self.multiplexed.borrow_mut().retain(|one| !Rc::ptr_eq(one, multiplexed));
    }
}

/// Drives a connection. One that got GOAWAY is closed as soon as no stream is left on it: nothing more can be
/// sent there, and the peer waits for our FIN.
async fn close_when_drained(
    driver: http2::Driver,
    multiplexed: &Weak<Multiplexed>,
    pool: &Weak<Pool>,
) -> http2::DriverEnd {
    let mut driver = std::pin::pin!(driver);
    std::future::poll_fn(|cx| {
        let polled = driver.as_mut().poll(cx);
        if polled.is_pending()
            && let (Some(multiplexed), Some(pool)) = (multiplexed.upgrade(), pool.upgrade())
            && multiplexed.streams.get() == 0
            && multiplexed.connection.borrow().goaway_received()
        {
            pool.shared.stats.upstream_cx_close_notify.inc();
            pool.forget(&multiplexed);
        }
        polled
    })
    .await
}
