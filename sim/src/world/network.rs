//! Between the hosts: whose address is whose, what each link is like, what is on its way, and which
//! directions a fault has taken.

use std::cell::RefCell;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use super::fault::{Effect, Fault, Faults};
use super::perturb::Steering;
use super::pods::Pods;
use crate::chance::Chance;
use crate::kernel::link::{Direction, Link};
use crate::segment::Segment;
use crate::trace::{Event, HostId, Loss, SharedTrace};

/// Segments that one held direction keeps; more are lost, as in any queue.
const HELD_SEGMENTS_MAX: usize = 65_536;

/// All wires of a world.
pub(super) struct Network {
    owners: BTreeMap<IpAddr, HostId>,
    pods: Pods,
    /// Whom what a host sends to others comes to.
    routers: BTreeMap<HostId, HostId>,
    links: BTreeMap<(HostId, HostId), Link>,
    default_link: Link,
    loopback: Link,
    directions: BTreeMap<(HostId, HostId), Lane>,
    /// Between two hosts, the lower first: both ends of each connection, in the order in which they were opened.
    connections: BTreeMap<(HostId, HostId), Vec<Ends>>,
    in_flight: BinaryHeap<Reverse<InFlight>>,
    chance: Chance,
    steering: Rc<RefCell<Steering>>,
    trace: SharedTrace,
}

/// Who connected, and to whom.
type Ends = (SocketAddr, SocketAddr);

/// One direction between two hosts.
#[derive(Default)]
struct Lane {
    direction: Direction,
    faults: Faults,
    passage: Passage,
}

/// Whether a direction lets segments pass.
#[derive(Default)]
enum Passage {
    /// Some bytes of payload still pass; what follows is held.
    Gated(Gate),
    /// All wait, in order.
    Held(VecDeque<(u64, Segment)>),
    #[default]
    Open,
    /// Every packet is lost.
    Swallows,
}

/// A gate in one direction.
#[derive(Default)]
struct Gate {
    /// Bytes of payload that still pass.
    rest: u64,
    /// The sequence number up to which the bytes of a connection have passed: what is sent again is not counted again.
    passed: BTreeMap<Ends, u64>,
    /// What waits, in order.
    held: VecDeque<(u64, Segment)>,
}

/// What a gate makes of a segment.
enum Judgement {
    /// So many bytes of the segment pass, and the rest waits.
    Cut(u64),
    Hold,
    Pass,
}

impl Gate {
    fn judge(&mut self, segment: &Segment) -> Judgement {
        if !self.held.is_empty() {
            return Judgement::Hold;
        }
        let ends = (segment.from, segment.to);
        let end = segment.seq + segment.len();
        let fresh_from = self.passed.get(&ends).map_or(segment.seq, |passed| segment.seq.max(*passed));
        let fresh = end.saturating_sub(fresh_from);
        if fresh > 0 && self.rest == 0 {
            return Judgement::Hold;
        }
        let passes = fresh.min(self.rest);
        self.rest -= passes;
        if fresh > 0 {
            self.passed.insert(ends, fresh_from + passes);
        }
        let bytes = fresh_from + passes - segment.seq;
        if passes < fresh { Judgement::Cut(bytes) } else { Judgement::Pass }
    }
}

/// A segment on its way.
pub(super) struct InFlight {
    due: Duration,
    /// Its packet number, which also orders segments that are due at one instant.
    pub(super) packet: u64,
    pub(super) to: HostId,
    pub(super) segment: Segment,
}

impl Network {
    pub(super) fn new(default_link: Link, chance: Chance, steering: Rc<RefCell<Steering>>, trace: SharedTrace) -> Self {
        Self {
            owners: BTreeMap::new(),
            pods: Pods::default(),
            routers: BTreeMap::new(),
            links: BTreeMap::new(),
            default_link,
            loopback: Link::loopback(),
            directions: BTreeMap::new(),
            connections: BTreeMap::new(),
            in_flight: BinaryHeap::new(),
            chance,
            steering,
            trace,
        }
    }

    pub(super) fn add_address(&mut self, ip: IpAddr, host: HostId) {
        self.owners.insert(ip, host);
    }

    /// `container` shares the addresses of `machine`, with these ports.
    pub(super) fn share(&mut self, container: HostId, machine: HostId, ports: &[u16]) {
        self.pods.add(container, machine, ports);
    }

    /// What `from` sends to others comes to `router`.
    pub(super) fn route_over(&mut self, from: HostId, router: HostId) {
        self.routers.insert(from, router);
    }

    /// Whether what some hosts send to others comes to a router.
    pub(super) fn has_routers(&self) -> bool {
        !self.routers.is_empty()
    }

    /// Whether some hosts share addresses.
    pub(super) fn has_pods(&self) -> bool {
        !self.pods.is_empty()
    }

    pub(super) fn is_taken(&self, ip: IpAddr) -> bool {
        self.owners.contains_key(&ip)
    }

    pub(super) fn link(&mut self, a: HostId, b: HostId, link: Link) {
        self.links.insert((a.min(b), a.max(b)), link);
    }

    /// The wire between two hosts.
    pub(super) fn between(&self, a: HostId, b: HostId) -> &Link {
        let is_one_machine = self.pods.machine(a) == self.pods.machine(b);
        let default_link = if is_one_machine { &self.loopback } else { &self.default_link };
        self.links.get(&(a.min(b), a.max(b))).unwrap_or(default_link)
    }

    /// A kernel sent `segment`: decides its fate.
    pub(super) fn post(&mut self, from: HostId, packet: u64, segment: Segment, now: Duration) {
        let ip = segment.to.ip();
        let machine = if ip.is_loopback() { Some(self.pods.machine(from)) } else { self.owners.get(&ip).copied() };
        let machine = self.routers.get(&from).copied().filter(|_| machine != Some(from)).or(machine);
        let Some(machine) = machine else { return self.lose(packet, Loss::NoHost, now) };
        let to = self.pods.receiver(from, machine, &segment);
        self.count(from, to, &segment);
        match &mut self.directions.entry((from, to)).or_default().passage {
            Passage::Gated(_) => {
                if let Some(segment) = self.pass_gate(from, to, packet, segment, now) {
                    self.hold(from, to, packet, segment, now);
                }
            }
            Passage::Held(_) => self.hold(from, to, packet, segment, now),
            Passage::Open => self.carry(from, to, packet, segment, now),
            Passage::Swallows => self.lose(packet, Loss::Fault, now),
        }
    }

    /// Lets a segment pass as far as the gate does; gives it back if it has to wait.
    fn pass_gate(&mut self, from: HostId, to: HostId, packet: u64, segment: Segment, now: Duration) -> Option<Segment> {
        let Passage::Gated(gate) = &mut self.directions.entry((from, to)).or_default().passage else { return None };
        let judgement = gate.judge(&segment);
        if let Judgement::Cut(bytes) = judgement
            && let Some((first, second)) = segment.cut(bytes)
        {
            gate.held.push_back((packet, second));
            self.trace.lock().push(now, Event::Cut { packet, bytes });
            self.carry(from, to, packet, first, now);
            return None;
        }
        if let Judgement::Hold = judgement {
            return Some(segment);
        }
        self.carry(from, to, packet, segment, now);
        None
    }

    fn carry(&mut self, from: HostId, to: HostId, packet: u64, segment: Segment, now: Duration) {
        let late = self.steering.borrow_mut().segment(from, to, packet, now);
        let link = self.between(from, to).clone();
        let has_faults = self.directions.get(&(from, to)).is_some_and(|lane| !lane.faults.is_empty());
        let connection = if has_faults { self.connection(from, to, &segment) } else { 0 };
        let lane = self.directions.entry((from, to)).or_default();
        let delay = match lane.faults.take(&segment, connection) {
            Some(Effect::Delay(by)) => {
                self.trace.lock().push(now, Event::Delayed { packet, by });
                by
            }
            Some(Effect::Drop) => return self.lose(packet, Loss::Fault, now),
            None => Duration::ZERO,
        };
        match lane.direction.carry(&link, segment.wire_bytes(), now, late, &mut self.chance) {
            Some(due) => self.in_flight.push(Reverse(InFlight { due: due + delay, packet, to, segment })),
            None => self.lose(packet, Loss::Chance, now),
        }
    }

    /// Counts a connection that a segment opens. A SYN that is sent again opens no other.
    fn count(&mut self, from: HostId, to: HostId, segment: &Segment) {
        if !segment.flags.syn || segment.flags.ack {
            return;
        }
        let opened = self.connections.entry((from.min(to), from.max(to))).or_default();
        let ends = (segment.from, segment.to);
        // Ports are used again only after thousands of others, so the newest that looks the same is the same.
        if opened.last() != Some(&ends) {
            opened.push(ends);
        }
    }

    /// The number of a segment's connection; 0 if its SYN was not seen.
    fn connection(&self, from: HostId, to: HostId, segment: &Segment) -> u32 {
        let opened = self.connections.get(&(from.min(to), from.max(to))).map(Vec::as_slice).unwrap_or_default();
        let ends = (segment.from, segment.to);
        let is_it = |(client, server): &Ends| ends == (*client, *server) || ends == (*server, *client);
        opened.iter().rposition(is_it).map_or(0, |place| u32::try_from(place + 1).unwrap_or(u32::MAX))
    }

    fn hold(&mut self, from: HostId, to: HostId, packet: u64, segment: Segment, now: Duration) {
        let lane = self.directions.entry((from, to)).or_default();
        let (Passage::Held(held) | Passage::Gated(Gate { held, .. })) = &mut lane.passage else { return };
        if held.len() >= HELD_SEGMENTS_MAX {
            return self.lose(packet, Loss::Fault, now);
        }
        held.push_back((packet, segment));
        self.trace.lock().push(now, Event::Held { packet });
    }

    fn lose(&mut self, packet: u64, why: Loss, now: Duration) {
        self.trace.lock().push(now, Event::Dropped { packet, why });
    }

    /// The next segment that is due by `now`.
    pub(super) fn arrival(&mut self, now: Duration) -> Option<InFlight> {
        let Reverse(first) = self.in_flight.peek()?;
        if first.due > now {
            return None;
        }
        self.in_flight.pop().map(|Reverse(arrived)| arrived)
    }

    /// When the next segment arrives.
    pub(super) fn next_arrival(&self) -> Option<Duration> {
        self.in_flight.peek().map(|Reverse(first)| first.due)
    }

    pub(super) fn fault(&mut self, from: HostId, to: HostId, fault: Fault) {
        self.directions.entry((from, to)).or_default().faults.add(fault);
    }

    /// Segments from `from` to `to` wait from now on.
    pub(super) fn begin_hold(&mut self, from: HostId, to: HostId) {
        let held = self.take_held(from, to);
        self.directions.entry((from, to)).or_default().passage = Passage::Held(held);
    }

    /// After `bytes` more of payload, segments from `from` to `to` wait. Those that waited already pass as far as they are
    /// within.
    pub(super) fn begin_gate(&mut self, from: HostId, to: HostId, bytes: u64, now: Duration) {
        let lane = self.directions.entry((from, to)).or_default();
        let (waiting, passed) = match std::mem::take(&mut lane.passage) {
            Passage::Gated(Gate { held, passed, .. }) => (held, passed),
            Passage::Held(held) => (held, BTreeMap::new()),
            Passage::Open | Passage::Swallows => Default::default(),
        };
        lane.passage = Passage::Gated(Gate { rest: bytes, passed, held: VecDeque::new() });
        for (packet, segment) in waiting {
            if let Some(segment) = self.pass_gate(from, to, packet, segment, now)
                && let Passage::Gated(gate) = &mut self.directions.entry((from, to)).or_default().passage
            {
                gate.held.push_back((packet, segment)); // it goes on waiting
            }
        }
    }

    fn take_held(&mut self, from: HostId, to: HostId) -> VecDeque<(u64, Segment)> {
        let lane = self.directions.entry((from, to)).or_default();
        match std::mem::take(&mut lane.passage) {
            Passage::Gated(Gate { held, .. }) | Passage::Held(held) => held,
            Passage::Open | Passage::Swallows => VecDeque::new(),
        }
    }

    /// Segments from `from` to `to` vanish from now on, those that were held too.
    pub(super) fn swallow(&mut self, from: HostId, to: HostId, now: Duration) {
        let lane = self.directions.entry((from, to)).or_default();
        let was = std::mem::replace(&mut lane.passage, Passage::Swallows);
        if let Passage::Gated(Gate { held, .. }) | Passage::Held(held) = was {
            for (packet, _) in held {
                self.lose(packet, Loss::Fault, now);
            }
        }
    }

    /// Segments from `from` to `to` pass again; those that were held leave at once, in order.
    pub(super) fn open(&mut self, from: HostId, to: HostId, now: Duration) {
        let lane = self.directions.entry((from, to)).or_default();
        let was = std::mem::take(&mut lane.passage);
        if let Passage::Gated(Gate { held, .. }) | Passage::Held(held) = was {
            for (packet, segment) in held {
                self.carry(from, to, packet, segment, now);
            }
        }
    }
}

impl PartialEq for InFlight {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for InFlight {}

impl PartialOrd for InFlight {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for InFlight {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.due, self.packet).cmp(&(other.due, other.packet))
    }
}
