//! A second network model, by other hands: the hosts, links and programs of a [`World`] on turmoil's sockets.
//!
//! turmoil has streams, not segments. What a world needs beyond that is refused by name, before the run where it can
//! be seen, else when a program requests it. Where the run goes through, what the programs make of it must not differ from
//! what they make of our own sockets: the test `turmoil_parity` holds both against each other.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use finwait::net::{Accept, Address, Conn, ConnectOptions, Io, ListenOptions, LocalBoxFuture, Net, Peek, ResolveError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

use super::{Ended, Pending, Run, World, WorldShared};
use crate::clock::EPOCH;
use crate::course::Course;
use crate::kernel::link::Link;
use crate::trace::HostId;

/// Segments that a connection or a listener may have waiting. turmoil panics when a listener has more; its own
/// default of 64 is below what a burst of clients opens.
const SEGMENTS_MAX: usize = 4096;

/// What became of a run, as far as its sockets have to know.
#[derive(Default)]
struct Fate {
    /// A connection was aborted.
    aborted: AtomicBool,
    /// The programs are taken down. turmoil panics if one of them, as it goes, still says something.
    is_over: AtomicBool,
}

/// Something that a world needs and turmoil does not have.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("turmoil cannot express it: {0}")]
pub struct Inexpressible(pub String);

impl World {
    /// Like [`World::run`], on turmoil. Every host is stepped every `tick` of virtual time, and nothing arrives between two
    /// ticks; a run takes as much real time as it has ticks and hosts.
    ///
    /// # Errors
    /// The world, or one of its programs while it runs, needs something that turmoil does not have.
    ///
    /// # Panics
    /// If a program panics.
    pub fn run_on_turmoil(self, limit: Duration, tick: Duration) -> Result<Run, Inexpressible> {
        self.check_expressible()?;
        // turmoil does not report which host runs: all have one.
        let machine = self.machine("tls", HostId(0));
        let _on_it = machine.enter();
        let Self { settings, hosts, programs, shared, .. } = self;
        let mut sim = turmoil::Builder::new()
            .rng_seed(settings.seed)
            .epoch(std::time::UNIX_EPOCH + EPOCH)
            .tick_duration(tick)
            .simulation_duration(Duration::MAX)
            .tcp_capacity(SEGMENTS_MAX)
            .build();
        shared.on_turmoil.set(true);
        let fate = Arc::new(Fate::default());
        let mut programs_of: Vec<Vec<Pending>> = hosts.iter().map(|_| Vec::new()).collect();
        for program in programs {
            if let Some(programs) = programs_of.get_mut(program.host.0) {
                programs.push(program);
            }
        }
        add_hosts(&mut sim, &shared, programs_of, &fate);
        let ended = step_to_the_end(&mut sim, &shared, limit);
        fate.is_over.store(true, Ordering::Relaxed);
        let (ended, steps) = ended?;
        if fate.aborted.load(Ordering::Relaxed) {
            shared.refuse("a connection that is aborted (SO_LINGER)");
        }
        if let Some(what) = shared.refused.take() {
            return Err(Inexpressible(what));
        }
        let (trace, virtual_time) = (shared.trace.take(), shared.now.get());
        let (open_sockets, with_tasks, perturbed) = Default::default();
        let lookups = shared.lookups.take();
        Ok(Run { trace, ended, open_sockets, with_tasks, perturbed, lookups, virtual_time, instants: steps })
    }

    fn check_expressible(&self) -> Result<(), Inexpressible> {
        let refuse = |what: &str| Err(Inexpressible(what.into()));
        if self.settings.course != Course::Plain {
            return refuse("departures from the plain course, which are about segments and driver turns");
        }
        if self.hosts.iter().any(|host| *host.read_delay.end() > Duration::ZERO) {
            return refuse("a notice delay: its sockets are read at every poll");
        }
        if self.shared.network.borrow().has_pods() {
            return refuse("hosts that share an address");
        }
        if self.shared.network.borrow().has_routers() {
            return refuse("a rule that redirects connections");
        }
        for (a, b) in (0..self.hosts.len()).flat_map(|a| (0..a).map(move |b| (a, b))) {
            let network = self.shared.network.borrow();
            let Link { jitter, bandwidth, loss, .. } = network.between(HostId(a), HostId(b));
            if !jitter.is_zero() {
                return refuse("jitter: its RST overtakes data that takes longer");
            }
            if bandwidth.is_some() {
                return refuse("a bandwidth");
            }
            if *loss > 0.0 {
                return refuse("loss: it never sends again what got lost");
            }
        }
        Ok(())
    }
}

/// Gives every host its programs, and every link its latency.
fn add_hosts(sim: &mut turmoil::Sim<'_>, shared: &Rc<WorldShared>, programs: Vec<Vec<Pending>>, fate: &Arc<Fate>) {
    let addresses: Vec<IpAddr> = (0..programs.len()).filter_map(|id| address(shared, HostId(id))).collect();
    for ((id, address), programs) in (0..).map(HostId).zip(&addresses).zip(programs) {
        let net = Sockets {
            host: id,
            own: *address,
            hosts: addresses.clone(),
            fate: Arc::clone(fate),
            world: Rc::downgrade(shared),
        };
        let (net, world) = (Rc::new(net), Rc::clone(shared));
        let programs = Cell::new(programs);
        sim.host(*address, move || {
            let running = start(id, programs.take(), &net, &world);
            async move {
                running.await;
                std::future::pending().await // a host whose programs have ended still has its sockets
            }
        });
    }
    for (a, &from) in addresses.iter().enumerate() {
        for (b, &to) in addresses.iter().enumerate().skip(a + 1) {
            let link = shared.network.borrow().between(HostId(a), HostId(b)).clone();
            sim.set_link_latency(from, to, link.latency);
        }
    }
}

/// Steps all hosts until no main program runs, or the limit is reached; also how many steps that took.
fn step_to_the_end(
    sim: &mut turmoil::Sim<'_>,
    shared: &WorldShared,
    limit: Duration,
) -> Result<(Ended, u64), Inexpressible> {
    let mut steps = 0;
    while !shared.mains.borrow().is_empty() {
        shared.now.set(sim.elapsed());
        if sim.elapsed() >= limit {
            return Ok((Ended::LimitReached { waiting: shared.waiting() }, steps));
        }
        if let Err(error) = sim.step() {
            return Err(Inexpressible(error.to_string()));
        }
        if let Some(panic) = shared.panic.take() {
            std::panic::resume_unwind(panic);
        }
        steps += 1;
    }
    Ok((Ended::AtRest, steps))
}

/// A host's address; turmoil's hosts have one.
fn address(shared: &WorldShared, host: HostId) -> Option<IpAddr> {
    let name = shared.trace.lock().host(host).to_owned();
    shared.names.borrow().get(&name).and_then(|addresses| addresses.first().copied())
}

/// Starts the programs of a host; ends when all of them have.
fn start(
    id: HostId,
    programs: Vec<Pending>,
    net: &Rc<Sockets>,
    world: &Rc<WorldShared>,
) -> impl Future<Output = ()> + use<> {
    let mut running = tokio::task::JoinSet::new();
    for (nth, Pending { program, main, .. }) in (1..).zip(programs) {
        let chance = world.chance_of_program(id, nth);
        let outside = super::seam::outside_with(Rc::<Sockets>::clone(net), id, chance, world);
        running.spawn_local(async move {
            program(outside).await;
            drop(main);
        });
    }
    let world = Rc::downgrade(world);
    async move {
        while let Some(ended) = running.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
                && let Some(world) = world.upgrade()
            {
                world.panic.borrow_mut().get_or_insert(error.into_panic());
            }
        }
    }
}

/// One host's view of turmoil's network.
struct Sockets {
    host: HostId,
    own: IpAddr,
    /// Everybody's address: turmoil panics at any other.
    hosts: Vec<IpAddr>,
    fate: Arc<Fate>,
    world: Weak<WorldShared>,
}

impl Sockets {
    fn conn(&self, stream: TcpStream) -> io::Result<Conn> {
        let (local, peer) = (Address::Socket(stream.local_addr()?), Address::Socket(stream.peer_addr()?));
        Ok(Conn::new(Box::new(Tcp::new(stream, &self.fate)), local, peer))
    }
}

impl Net for Sockets {
    fn host_name(&self) -> Option<String> {
        Some(self.world.upgrade()?.trace.lock().host(self.host).to_owned())
    }

    fn listen(&self, at: &Address, _how: &ListenOptions) -> io::Result<Box<dyn Accept>> {
        if let Address::Pipe(_) = at {
            return Ok(Box::new(super::seam::Unvisited(at.clone())));
        }
        let wanted = super::seam::socket_address(at)?;
        if wanted.is_ipv4() != self.own.is_ipv4() {
            self.world.upgrade().inspect(|world| world.refuse("a host with addresses of IPv4 and IPv6"));
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        // It binds to every address or to loopback; a host's own address is the only other one it has.
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let bound = SocketAddr::new(if wanted.ip() == self.own { any } else { wanted.ip() }, wanted.port());
        // An async function that awaits nothing: it is done after one poll.
        let Poll::Ready(listener) = pin!(TcpListener::bind(bound)).poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let listener = listener?;
        let local = Address::Socket(SocketAddr::new(wanted.ip(), listener.local_addr()?.port()));
        Ok(Box::new(Listening { listener, local, fate: Arc::clone(&self.fate) }))
    }

    fn connect<'a>(&'a self, to: &'a Address, how: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>> {
        Box::pin(async move {
            let to = super::seam::socket_address(to)?;
            if how.from.is_some() {
                self.world.upgrade().inspect(|world| world.refuse("a connection from a chosen address"));
                return Err(io::ErrorKind::Unsupported.into());
            }
            if how.keepalive.is_some() {
                self.world.upgrade().inspect(|world| world.refuse("keep-alive probes"));
                return Err(io::ErrorKind::Unsupported.into());
            }
            if !to.ip().is_loopback() && !self.hosts.contains(&to.ip()) {
                self.world.upgrade().inspect(|world| world.refuse("an address that no host has"));
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            self.conn(TcpStream::connect(to).await?)
        })
    }

    fn resolve<'a>(&'a self, name: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(super::seam::respond(&self.world, name))
    }
}

struct Listening {
    listener: TcpListener,
    local: Address,
    fate: Arc<Fate>,
}

impl Accept for Listening {
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move {
            let (stream, peer) = self.listener.accept().await?;
            let local = Address::Socket(stream.local_addr()?);
            Ok(Conn::new(Box::new(Tcp::new(stream, &self.fate)), local, Address::Socket(peer)))
        })
    }

    fn local(&self) -> &Address {
        &self.local
    }
}

struct Tcp {
    /// Looking at it takes it as changeable.
    stream: RefCell<TcpStream>,
    /// Who waits for it to become readable. It has room for one, and a look must not take their place.
    reader: Waker,
    fate: Arc<Fate>,
}

impl Tcp {
    fn new(stream: TcpStream, fate: &Arc<Fate>) -> Self {
        Self { stream: RefCell::new(stream), reader: Waker::noop().clone(), fate: Arc::clone(fate) }
    }
}

impl Io for Tcp {
    fn abort_on_drop(&mut self) {
        self.fate.aborted.store(true, Ordering::Relaxed);
    }

    /// turmoil has no look at a socket that is not a read. It has no cached readiness either: a FIN that has
    /// arrived has woken the task that watches the idle connection, so there is nothing more to be seen.
    fn peek(&self) -> Peek {
        let mut space = [0; 1];
        let mut byte = ReadBuf::new(&mut space);
        match self.stream.borrow_mut().poll_peek(&mut Context::from_waker(&self.reader), &mut byte) {
            Poll::Pending => Peek::Open,
            Poll::Ready(Ok(0)) => Peek::Closed,
            Poll::Ready(Ok(_)) => Peek::Bytes,
            Poll::Ready(Err(_)) => Peek::Reset,
        }
    }
}

impl Tcp {
    /// The socket, as long as the run lasts.
    fn stream(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match self.fate.is_over.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::NotConnected.into()),
            false => Ok(Pin::new(self.stream.get_mut())),
        }
    }
}

impl AsyncRead for Tcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.reader.clone_from(cx.waker());
        Pin::new(this.stream.get_mut()).poll_read(cx, buf)
    }
}

impl AsyncWrite for Tcp {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().stream()?.poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.get_mut().stream.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().stream()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Settings;

    #[test]
    fn what_it_does_not_have_is_refused_by_name() {
        let refused = |settings: Settings| {
            let mut world = World::new(settings);
            world.host("a", &[]);
            world.host("b", &[]);
            world.run_on_turmoil(Duration::from_secs(1), Duration::from_millis(1)).unwrap_err().to_string()
        };
        let link = Link { loss: 0.1, ..Link::default() };
        assert!(refused(Settings { link, ..Settings::default() }).contains("loss"));
        let link = Link { jitter: Duration::from_millis(1), ..Link::default() };
        assert!(refused(Settings { link, ..Settings::default() }).contains("jitter"));
        let read_delay = Duration::ZERO..=Duration::from_millis(1);
        assert!(refused(Settings { read_delay, ..Settings::default() }).contains("notice"));
    }

    #[test]
    fn socket_calls_that_turmoil_lacks_are_refused_while_running() {
        let mut world = World::new(Settings::default());
        let (a, b) = (world.host("a", &[]), world.host("b", &[]));
        let control = world.control();
        world.spawn_main(a, move |_| async move { control.hold(a, b) });
        let refused = world.run_on_turmoil(Duration::from_secs(1), Duration::from_millis(1)).unwrap_err();
        assert!(refused.to_string().contains("hold"), "{refused}");
    }
}
