//! The connections of the admin interface: how many there may be, and which makes room for another.
//!
//! A new connection always gets in, since a probe is always new: the connection that has done least with its place for
//! the longest time is closed for it. A peer that has its share makes room among its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Connections of all peers. An operator, a scraper and a probe need three; the rest is for many of each. With the
/// largest head and form of each connection these are 32 MiB.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// Connections of one peer: two together leave room for others.
pub(super) const CONNECTIONS_PER_PEER_MAX: usize = 96;
/// What a connection that waits for its client has before it makes room for one without a descriptor: a request that is on
/// its way is not cut off for another.
const GRACE: Duration = Duration::from_millis(100);
/// Responses that wait for their clients, all together. Bytes as allocated. One response may be larger than this, alone.
pub(super) const RESPONSES_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What a connection is doing, in the order in which it makes room.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Doing {
    /// Nothing: there is no byte of a request.
    Idle,
    /// The request comes in.
    Reading,
    /// The response goes out.
    Writing,
    /// The response is being made.
    Rendering,
}

/// The connections of the admin interface.
#[derive(Debug, Default)]
pub(super) struct Seats(RefCell<Table>);

#[derive(Debug, Default)]
struct Table {
    taken: BTreeMap<u64, Taken>,
    /// The number of the next connection.
    next: u64,
}

#[derive(Debug)]
struct Taken {
    peer: Option<IpAddr>,
    doing: Doing,
    /// When it last began to do something else, or the client took a part of the response.
    since: Instant,
    response_bytes: usize,
    /// Ends the connection; `None` until its task runs.
    task: Option<AbortHandle>,
}

/// The place of one connection; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Rc<Seats>,
    number: u64,
}

impl Seats {
    /// A place for a connection from `peer`, for which others may have to go.
    pub(super) fn take(self: &Rc<Self>, peer: Option<IpAddr>) -> Seat {
        let mut table = self.0.borrow_mut();
        let of_peer = table.taken.values().filter(|taken| taken.peer == peer).count();
        if of_peer >= CONNECTIONS_PER_PEER_MAX {
            table.end_one(|taken| taken.peer == peer);
        } else if table.taken.len() >= CONNECTIONS_MAX {
            table.end_one(|_| true);
        }
        let number = table.next;
        table.next += 1;
        let taken = Taken { peer, doing: Doing::Idle, since: Instant::now(), response_bytes: 0, task: None };
        table.taken.insert(number, taken);
        Seat { seats: Rc::clone(self), number }
    }

    /// Ends a connection that waits for its client, for one that the process has no descriptor for.
    pub(super) fn make_room(&self) {
        let waits = |taken: &Taken| taken.doing <= Doing::Reading && taken.since.elapsed() >= GRACE;
        self.0.borrow_mut().end_one(waits);
    }

    /// The task that serves the connection of place `number`.
    pub(super) fn serves(&self, number: u64, task: AbortHandle) {
        if let Some(taken) = self.0.borrow_mut().taken.get_mut(&number) {
            taken.task = Some(task);
        }
    }
}

impl Table {
    /// Ends the connection, among those that `may` go, that does least and for the longest time.
    fn end_one(&mut self, may: impl Fn(&Taken) -> bool) {
        let candidates = self.taken.iter().filter(|(_, taken)| may(taken));
        let chosen = candidates.min_by_key(|(number, taken)| (taken.doing, taken.since, **number));
        let Some(taken) = chosen.map(|(number, _)| *number).and_then(|number| self.taken.remove(&number)) else {
            return;
        };
        tracing::debug!(peer = ?taken.peer, doing = ?taken.doing, "admin: a connection is closed to make room");
        taken.task.inspect(AbortHandle::abort);
    }
}

impl Seat {
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The connection does something else now, or has got further with it.
    pub(super) fn does(&self, doing: Doing) {
        if let Some(taken) = self.seats.0.borrow_mut().taken.get_mut(&self.number) {
            (taken.doing, taken.since) = (doing, Instant::now());
        }
    }

    /// The connection has a response of this size, for which others may have to go; 0: it has been sent.
    pub(super) fn holds(&self, response_bytes: usize) {
        let mut table = self.seats.0.borrow_mut();
        let others = |table: &Table| -> usize {
            let others = table.taken.iter().filter(|(number, _)| **number != self.number);
            others.map(|(_, taken)| taken.response_bytes).sum()
        };
        while response_bytes > 0 && others(&table) > 0 && others(&table) + response_bytes > RESPONSES_BYTES_MAX {
            table.end_one(|taken| taken.doing == Doing::Writing && taken.response_bytes > 0);
        }
        if let Some(taken) = table.taken.get_mut(&self.number) {
            taken.response_bytes = response_bytes;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.0.borrow_mut().taken.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn numbers(seats: &Seats) -> Vec<u64> {
        seats.0.borrow().taken.keys().copied().collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_with_its_share_makes_room_among_its_own_idle_connections_first() {
        let seats = Rc::new(Seats::default());
        let other = seats.take(peer(2));
        let mut own = Vec::new();
        for _ in 0..CONNECTIONS_PER_PEER_MAX {
            own.push(seats.take(peer(1)));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        own[0].does(Doing::Reading);
        own[2].does(Doing::Idle); // a request ended just now
        own.push(seats.take(peer(1)));
        own.push(seats.take(peer(1)));
        let left = numbers(&seats);
        assert_eq!(left.len(), CONNECTIONS_PER_PEER_MAX + 1);
        let gone: Vec<u64> = (0..own.len() as u64 + 1).filter(|number| !left.contains(number)).collect();
        assert_eq!(gone, [2, 4], "the second and the fourth of the peer: idle for longest");
        assert!(left.contains(&other.number()));
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_connection_idle_for_longest_closes() {
        let seats = Rc::new(Seats::default());
        let mut all = Vec::new();
        for number in 0..CONNECTIONS_MAX {
            let seat = seats.take(peer(u8::try_from(number % 200).unwrap()));
            seat.does(if number == 0 { Doing::Writing } else { Doing::Reading });
            tokio::time::advance(Duration::from_millis(1)).await;
            all.push(seat);
        }
        all.push(seats.take(peer(250)));
        assert_eq!(numbers(&seats).len(), CONNECTIONS_MAX);
        assert!(!numbers(&seats).contains(&1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_descriptor_gets_that_of_one_that_has_waited_for_its_client() {
        let seats = Rc::new(Seats::default());
        let all: Vec<Seat> = (0..4).map(|number| seats.take(peer(number))).collect();
        all[0].does(Doing::Writing);
        all[1].does(Doing::Reading);
        seats.make_room();
        assert_eq!(numbers(&seats), [0, 1, 2, 3], "the requests may be on their way");
        tokio::time::advance(GRACE).await;
        all[3].does(Doing::Idle); // a request ended just now
        for left in [&[0, 1, 3][..], &[0, 3], &[0, 3]] {
            seats.make_room();
            assert_eq!(numbers(&seats), left);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_responses_share_a_bound_and_the_longest_stalled_closes() {
        let seats = Rc::new(Seats::default());
        let writers: Vec<Seat> = (0..4).map(|number| seats.take(peer(number))).collect();
        for seat in &writers {
            seat.does(Doing::Writing);
            seat.holds(RESPONSES_BYTES_MAX / 4);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        writers[0].does(Doing::Writing); // its client took a part
        let large = seats.take(peer(9));
        large.does(Doing::Rendering);
        large.holds(RESPONSES_BYTES_MAX / 4);
        assert_eq!(numbers(&seats), [0, 2, 3, 4]);
        large.holds(2 * RESPONSES_BYTES_MAX);
        assert_eq!(numbers(&seats), [4], "one alone may be larger");
    }
}
