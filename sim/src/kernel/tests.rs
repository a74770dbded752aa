//! Two kernels on a wire that the test controls segment by segment.

use std::io::{ErrorKind, IoSlice};
use std::net::SocketAddr;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use finwait::net::ListenOptions;
use tokio::io::ReadBuf;

use super::{Kernel, SocketId, State};
use crate::segment::Segment;
use crate::trace::{HostId, SharedTrace};

const LATENCY: Duration = Duration::from_millis(10);

fn backlog(backlog: u32) -> ListenOptions {
    ListenOptions { backlog, ..ListenOptions::default() }
}

/// What the test does to each segment.
enum SegmentOutcome {
    Arrive,
    /// Arrive later by this much.
    Late(Duration),
    Lose,
}

/// A client and a server kernel.
struct Pair {
    client: Kernel,
    server: Kernel,
    now: Duration,
    on_wire: Vec<(Duration, Segment)>,
    /// When each segment was sent, and its text.
    sent: Vec<(Duration, Segment)>,
}

impl Pair {
    fn new() -> Self {
        let kernel = |index, ip: &str| Kernel::new(HostId(index), vec![ip.parse().unwrap()], 0, SharedTrace::default());
        let (client, server) = (kernel(0, "10.0.0.1"), kernel(1, "10.0.0.2"));
        Self { client, server, now: Duration::ZERO, on_wire: Vec::new(), sent: Vec::new() }
    }

    /// With a connection between them.
    fn open() -> (Self, SocketId, SocketId) {
        let mut pair = Self::new();
        let (listener, _) = pair.server.listen(server(), &backlog(8)).unwrap();
        let (client, _) = pair.client.connect(None, server()).unwrap();
        pair.run_for(4 * LATENCY, |_| SegmentOutcome::Arrive);
        let accepted = pair.server.poll_accept(listener, &cx());
        let Poll::Ready(Ok(accepted)) = accepted else { panic!("the handshake is done") };
        drop(pair.server.turn());
        pair.sent.clear();
        (pair, client, accepted.id)
    }

    /// Lets time pass, from one event to the next, in whole milliseconds.
    fn run_for(&mut self, how_long: Duration, mut outcome: impl FnMut(&Segment) -> SegmentOutcome) {
        let end = self.now + how_long;
        self.collect(&mut outcome);
        while self.now < end {
            let timers = [self.client.next_timer(), self.server.next_timer()].into_iter().flatten();
            let next = timers.chain(self.on_wire.iter().map(|(due, _)| *due)).min().unwrap_or(end);
            let millisecond = Duration::from_millis(1);
            self.now = next.clamp(self.now + millisecond, end);
            for kernel in [&mut self.client, &mut self.server] {
                kernel.advance(self.now);
            }
            self.on_wire.sort_by_key(|(due, _)| *due);
            let arrived = self.on_wire.iter().take_while(|(due, _)| *due <= self.now).count();
            for (_, segment) in self.on_wire.drain(..arrived) {
                let to_client = segment.to.ip() == self.client.addresses[0];
                let kernel = if to_client { &mut self.client } else { &mut self.server };
                kernel.deliver(&segment);
            }
            self.collect(&mut outcome);
        }
    }

    fn collect(&mut self, outcome: &mut impl FnMut(&Segment) -> SegmentOutcome) {
        for kernel in [&mut self.client, &mut self.server] {
            drop(kernel.turn());
            for (_, segment) in kernel.collect() {
                self.sent.push((self.now, segment.clone()));
                match outcome(&segment) {
                    SegmentOutcome::Arrive => self.on_wire.push((self.now + LATENCY, segment)),
                    SegmentOutcome::Late(more) => self.on_wire.push((self.now + LATENCY + more, segment)),
                    SegmentOutcome::Lose => {}
                }
            }
        }
    }

    /// When segments left that `wanted` picks, in milliseconds.
    fn sent_at(&self, wanted: impl Fn(&Segment) -> bool) -> Vec<u128> {
        self.sent.iter().filter(|(_, segment)| wanted(segment)).map(|(at, _)| at.as_millis()).collect()
    }

    fn state(kernel: &Kernel, id: SocketId) -> Option<State> {
        kernel.sockets.get(&id).map(|socket| socket.state)
    }
}

fn server() -> SocketAddr {
    "10.0.0.2:80".parse().unwrap()
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn write(kernel: &mut Kernel, id: SocketId, bytes: &[u8]) {
    assert!(matches!(kernel.poll_write(id, &cx(), &[IoSlice::new(bytes)]), Poll::Ready(Ok(_))));
}

/// What one read gives: its bytes, or the kind of its error; none if it would block.
fn read(kernel: &mut Kernel, id: SocketId) -> Option<Result<Vec<u8>, ErrorKind>> {
    let mut buffer = [0; 100_000];
    let mut buf = ReadBuf::new(&mut buffer);
    match kernel.poll_read(id, &cx(), &mut buf) {
        Poll::Ready(Ok(())) => Some(Ok(buf.filled().to_vec())),
        Poll::Ready(Err(error)) => Some(Err(error.kind())),
        Poll::Pending => None,
    }
}

fn arrive(_: &Segment) -> SegmentOutcome {
    SegmentOutcome::Arrive
}

fn lose(_: &Segment) -> SegmentOutcome {
    SegmentOutcome::Lose
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_syn_and_a_syn_ack_without_response_are_sent_again() {
    let mut pair = Pair::new();
    pair.server.listen(server(), &backlog(8)).unwrap();
    pair.client.connect(None, server()).unwrap();
    pair.run_for(9 * SECOND, |segment| {
        if segment.flags.syn && segment.flags.ack { SegmentOutcome::Lose } else { SegmentOutcome::Arrive }
    });
    let syns = pair.sent_at(|segment| segment.flags.syn && !segment.flags.ack);
    assert_eq!(syns, [0, 1000, 2000, 3000, 4000, 5000, 7000]);
    pair.run_for(60 * SECOND, lose);
    assert_eq!(pair.server.open_sockets().len(), 1, "the half-open connection is forgotten, the listener is not");
}

#[test]
fn a_lost_segment_is_sent_again_ever_later_until_the_connection_is_given_up() {
    let (mut pair, client, _) = Pair::open();
    let start = pair.now.as_millis();
    write(&mut pair.client, client, b"into the void");
    pair.run_for(20 * SECOND, lose);
    let sent = pair.sent_at(|segment| !segment.payload.is_empty()).iter().map(|at| at - start).collect::<Vec<_>>();
    // The handshake took 21 ms as seen by the client; the timeout is that and 200 ms, then twice as much each time.
    let rto = sent[1];
    assert!((220..=223).contains(&rto), "{rto}");
    let doubled = (1..6).map(|n| (2_u128.pow(n) - 1) * rto).collect::<Vec<_>>();
    assert!(sent[1..6].iter().zip(&doubled).all(|(at, expected)| at.abs_diff(*expected) < 10), "{sent:?}");
    pair.run_for(1200 * SECOND, lose);
    assert_eq!(read(&mut pair.client, client), Some(Err(ErrorKind::TimedOut)));
    assert_eq!(read(&mut pair.client, client), Some(Ok(vec![])));
}

#[test]
fn three_duplicates_bring_the_lost_segment_without_a_timeout() {
    let (mut pair, client, accepted) = Pair::open();
    for part in [b"a", b"b", b"c", b"d", b"e"] {
        write(&mut pair.client, client, part);
    }
    let mut first = true;
    pair.run_for(5 * LATENCY, |segment| match !segment.payload.is_empty() && std::mem::take(&mut first) {
        true => SegmentOutcome::Lose,
        false => SegmentOutcome::Arrive,
    });
    assert_eq!(read(&mut pair.server, accepted), Some(Ok(b"abcde".to_vec())));
}

#[test]
fn a_reset_that_overtook_data_is_challenged() {
    let (mut pair, client, accepted) = Pair::open();
    write(&mut pair.server, accepted, b"before");
    pair.server.linger_zero(accepted);
    pair.server.close(accepted);
    pair.run_for(10 * LATENCY, |segment| match segment.payload.is_empty() {
        true => SegmentOutcome::Arrive,
        false => SegmentOutcome::Late(LATENCY / 2),
    });
    assert_eq!(read(&mut pair.client, client), Some(Ok(b"before".to_vec())));
    assert_eq!(read(&mut pair.client, client), Some(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn both_ends_may_close_at_once() {
    let (mut pair, client, accepted) = Pair::open();
    pair.client.close(client);
    pair.server.close(accepted);
    pair.run_for(LATENCY + LATENCY / 2, arrive);
    assert_eq!(Pair::state(&pair.client, client), Some(State::Closing));
    pair.run_for(2 * LATENCY, arrive);
    assert_eq!(Pair::state(&pair.client, client), Some(State::TimeWait));
    assert_eq!(Pair::state(&pair.server, accepted), Some(State::TimeWait));
    pair.run_for(61 * SECOND, arrive);
    assert_eq!(Pair::state(&pair.client, client), None);
}

#[test]
fn a_closed_socket_waits_a_minute_for_the_other_fin() {
    let (mut pair, client, accepted) = Pair::open();
    pair.client.close(client);
    pair.run_for(59 * SECOND, arrive);
    assert_eq!(Pair::state(&pair.client, client), Some(State::FinWait2));
    pair.run_for(2 * SECOND, arrive);
    assert_eq!(Pair::state(&pair.client, client), None);
    write(&mut pair.server, accepted, b"too late");
    pair.run_for(4 * LATENCY, arrive);
    assert_eq!(Pair::state(&pair.server, accepted), Some(State::Closed), "reset by a kernel that has forgotten");
}

#[test]
fn a_half_closed_socket_that_is_held_waits_for_ever() {
    let (mut pair, client, _) = Pair::open();
    pair.client.shutdown(client);
    pair.run_for(600 * SECOND, arrive);
    assert_eq!(Pair::state(&pair.client, client), Some(State::FinWait2));
}

#[test]
fn the_last_ack_is_sent_again_if_it_was_lost() {
    let (mut pair, client, accepted) = Pair::open();
    pair.client.close(client);
    pair.run_for(4 * LATENCY, arrive);
    pair.server.close(accepted);
    let mut lost = 0;
    pair.run_for(2 * SECOND, |segment| {
        let last_ack = segment.to == server() && lost == 0;
        lost += u32::from(last_ack);
        if last_ack { SegmentOutcome::Lose } else { SegmentOutcome::Arrive }
    });
    assert_eq!(lost, 1);
    assert_eq!(Pair::state(&pair.client, client), Some(State::TimeWait));
    assert_eq!(Pair::state(&pair.server, accepted), None);
}

#[test]
fn a_new_connection_takes_over_a_port_in_time_wait() {
    let (mut pair, client, accepted) = Pair::open();
    let from = pair.server.sockets[&accepted].peer;
    pair.server.close(accepted);
    pair.run_for(4 * LATENCY, arrive);
    pair.client.close(client);
    pair.run_for(4 * LATENCY, arrive);
    assert_eq!(Pair::state(&pair.server, accepted), Some(State::TimeWait));
    let (again, _) = pair.client.connect(Some(from), server()).unwrap();
    pair.run_for(4 * LATENCY, arrive);
    assert_eq!(Pair::state(&pair.client, again), Some(State::Established));
    assert_eq!(Pair::state(&pair.server, accepted), None);
}

#[test]
fn a_program_keeps_what_time_wait_has_given_up() {
    let (mut pair, client, accepted) = Pair::open();
    let from = pair.server.sockets[&accepted].peer;
    write(&mut pair.client, client, b"unread");
    pair.run_for(2 * LATENCY, arrive);
    pair.server.shutdown(accepted);
    pair.run_for(4 * LATENCY, arrive);
    pair.client.close(client);
    pair.run_for(4 * LATENCY, arrive);
    assert_eq!(Pair::state(&pair.server, accepted), Some(State::TimeWait));
    let (again, _) = pair.client.connect(Some(from), server()).unwrap();
    pair.run_for(4 * LATENCY, arrive);
    assert_eq!(Pair::state(&pair.client, again), Some(State::Established));
    assert_eq!(read(&mut pair.server, accepted), Some(Ok(b"unread".to_vec())));
    assert_eq!(read(&mut pair.server, accepted), Some(Ok(vec![])));
}

#[test]
fn a_peer_that_vanished_with_its_window_closed_is_given_up() {
    let (mut pair, client, _accepted) = Pair::open();
    write(&mut pair.client, client, &[1; 200_000]);
    pair.run_for(600 * SECOND, arrive);
    assert_eq!(Pair::state(&pair.client, client), Some(State::Established), "it responds to every probe");
    pair.run_for(2400 * SECOND, lose);
    assert_eq!(read(&mut pair.client, client), Some(Err(ErrorKind::TimedOut)));
}

#[test]
fn two_kernels_that_call_each_other_at_once_share_one_connection() {
    let mut pair = Pair::new();
    let (client, server) = ("10.0.0.1:7".parse().unwrap(), "10.0.0.2:7".parse().unwrap());
    let (one, _) = pair.client.connect(Some(client), server).unwrap();
    let (other, _) = pair.server.connect(Some(server), client).unwrap();
    pair.run_for(10 * LATENCY, arrive);
    assert_eq!(Pair::state(&pair.client, one), Some(State::Established));
    assert_eq!(Pair::state(&pair.server, other), Some(State::Established));
    write(&mut pair.client, one, b"hello");
    pair.run_for(2 * LATENCY, arrive);
    assert_eq!(read(&mut pair.server, other), Some(Ok(b"hello".to_vec())));
}

#[test]
fn a_closed_window_is_probed_and_probes_for_a_closed_socket_end() {
    let (mut pair, client, _accepted) = Pair::open();
    write(&mut pair.client, client, &[1; 200_000]);
    pair.run_for(60 * SECOND, arrive);
    let probes = pair.sent_at(|segment| segment.to == server() && segment.payload.is_empty());
    assert!(probes.len() > 4, "{probes:?}");
    pair.client.close(client);
    pair.run_for(1500 * SECOND, arrive);
    assert_eq!(Pair::state(&pair.client, client), None);
}

#[test]
fn acknowledgements_travel_with_data_when_there_is_some() {
    let (mut pair, client, accepted) = Pair::open();
    write(&mut pair.client, client, b"ping");
    pair.run_for(LATENCY - Duration::from_millis(1), arrive);
    pair.run_for(Duration::from_millis(1), arrive); // the server's ACK leaves alone: there is no response yet
    write(&mut pair.server, accepted, b"pong");
    pair.run_for(3 * LATENCY, arrive);
    let bare = pair.sent_at(|segment| segment.payload.is_empty());
    assert_eq!(bare.len(), 2);
    assert_eq!(pair.sent.len(), 4);
}
