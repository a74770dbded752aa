//! The machine it happens in: hosts, the wires between them, and time.
//!
//! ```
//! use std::time::Duration;
//! use finwait_sim::world::{Ended, Settings, World};
//!
//! let mut world = World::new(Settings { seed: 7, ..Settings::default() });
//! let client = world.host("client", &[]);
//! world.spawn_main(client, |outside| async move {
//!     assert!(outside.net.resolve("client").await.is_ok());
//! });
//! let run = world.run(Duration::from_secs(60));
//! assert_eq!(run.ended, Ended::AtRest);
//! ```

mod control;
pub mod fault;
mod host;
mod network;
mod panics;
pub mod perturb;
mod pods;
mod scheduler;
mod seam;
#[cfg(test)]
mod tests;
pub mod turmoil;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use finwait::net::{Clock, LocalBoxFuture, Outside};

use crate::chance::Chance;
use crate::course::{Course, Perturbed};
use crate::kernel::link::Link;
use crate::kernel::{Kernel, OpenSocket};
use crate::tls::Machine;
use crate::trace::{HostId, SharedTrace, Trace};
pub use control::Control;
use host::{Host, Root};
use network::Network;
use perturb::Steering;
use scheduler::Scheduler;
use seam::{SharedKernel, WallClock, WorldTime};

/// The longest run: beyond it tokio's timers cannot count.
const LIMIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What a run depends on besides its hosts and programs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The source of every random decision.
    pub seed: u64,
    /// How long a host's driver takes to look at what its kernel already has. Zero: it looks at once.
    pub read_delay: RangeInclusive<Duration>,
    /// Whether and how the run departs from its plain course.
    pub course: Course,
    /// The wire between two hosts that [`World::link`] does not name.
    pub link: Link,
    /// Whether events are kept. Without them a run is faster, and its trace empty.
    pub record: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 0,
            read_delay: Duration::ZERO..=Duration::ZERO,
            course: Course::Plain,
            link: Link::default(),
            record: true,
        }
    }
}

/// Hosts and links, before the run.
pub struct World {
    settings: Settings,
    hosts: Vec<Host>,
    programs: Vec<Pending>,
    shared: Rc<WorldShared>,
    root: Arc<Root>,
}

impl World {
    /// A world without hosts.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let trace = SharedTrace::new(if settings.record { Trace::default() } else { Trace::forgetful() });
        let chance = Chance::new(settings.seed, "network");
        let steering = Rc::new(RefCell::new(Steering::new(settings.course.clone(), settings.seed)));
        let shared = WorldShared {
            seed: settings.seed,
            now: Arc::default(),
            network: RefCell::new(Network::new(settings.link.clone(), chance, Rc::clone(&steering), trace.clone())),
            steering,
            trace,
            names: RefCell::default(),
            failing_names: RefCell::default(),
            late_names: RefCell::default(),
            lookups: RefCell::default(),
            kernels: RefCell::default(),
            clocks: RefCell::default(),
            commands: RefCell::default(),
            mains: RefCell::default(),
            panic: RefCell::default(),
            on_turmoil: Cell::new(false),
            refused: RefCell::default(),
        };
        Self { settings, hosts: Vec::new(), programs: Vec::new(), shared: Rc::new(shared), root: Arc::default() }
    }

    /// Adds a machine. Without addresses it gets the next free one of 10.0.0.0/16, beginning with 10.0.0.1.
    ///
    /// # Panics
    /// If the name or an address is taken: the caller's mistake, which no run can make up for.
    pub fn host(&mut self, name: &str, addresses: &[IpAddr]) -> HostId {
        let id = HostId(self.hosts.len());
        let mut network = self.shared.network.borrow_mut();
        let addresses = match addresses {
            [] => vec![free_address(|ip| network.is_taken(ip))],
            given => given.to_vec(),
        };
        for ip in &addresses {
            assert!(!network.is_taken(*ip), "{ip} belongs to another host");
            network.add_address(*ip, id);
        }
        let named = self.shared.names.borrow_mut().insert(name.into(), addresses.clone());
        assert!(named.is_none(), "there is a host {name:?} already");
        let trace = self.shared.trace.clone();
        trace.lock().add_host(name);
        let mut chance = Chance::new(self.settings.seed, &format!("host {name}"));
        let iss_base = u32::try_from(chance.next_u64() >> 32).unwrap_or(0);
        let kernel = SharedKernel::new(Kernel::new(id, addresses, iss_base, trace), &self.shared.now);
        self.shared.kernels.borrow_mut().push(kernel.clone());
        let ahead = self.shared.steering.borrow_mut().clock(id);
        let delay = self.settings.read_delay.clone();
        let (root, steering) = (Arc::clone(&self.root), Rc::clone(&self.shared.steering));
        let machine = self.machine(&format!("tls of {name}"), id);
        let host = Host::new(id, kernel, machine, root, delay, chance, steering);
        let clock = WallClock { ahead: i128::try_from(ahead.as_nanos()).unwrap_or(i128::MAX), slow: host.slow() };
        self.shared.clocks.borrow_mut().insert(id, clock);
        self.hosts.push(host);
        id
    }

    /// What TLS requires of a host.
    fn machine(&self, purpose: &str, host: HostId) -> Rc<Machine> {
        let clock = seam::WorldClock::new(host, &self.shared);
        let chance = Chance::new(self.settings.seed, purpose);
        Machine::new(chance, self.shared.trace.clone(), move || clock.wall())
    }

    /// Lets `container` share the addresses of `machine`: what is sent there to one of `ports` is for it.
    pub fn share(&mut self, container: HostId, machine: HostId, ports: &[u16]) {
        self.shared.network.borrow_mut().share(container, machine, ports);
    }

    /// What the hosts `from` send to others comes to `router`, whose kernel sends their connections to its port `to`.
    pub fn redirect(&mut self, router: HostId, from: &[HostId], to: u16) {
        let mut network = self.shared.network.borrow_mut();
        from.iter().for_each(|from| network.route_over(*from, router));
        if let Some(host) = self.hosts.get(router.0) {
            host.kernel.lock().redirect(to);
        }
    }

    /// Another name for a host.
    pub fn alias(&mut self, name: &str, host: HostId) {
        let mut names = self.shared.names.borrow_mut();
        let addresses = names.get(self.shared.trace.lock().host(host)).cloned().unwrap_or_default();
        names.insert(name.into(), addresses);
    }

    /// Sets the wire between two hosts, both directions; of a host with itself: its loopback.
    pub fn link(&mut self, a: HostId, b: HostId, link: Link) {
        self.shared.network.borrow_mut().link(a, b, link);
    }

    /// Sets how long one host's driver takes to look at what its kernel already has.
    pub fn read_delay(&mut self, host: HostId, delay: RangeInclusive<Duration>) {
        if let Some(host) = self.hosts.get_mut(host.0) {
            host.read_delay = delay;
        }
    }

    /// Runs a program on a host, from the beginning of the run. The run does not wait for it.
    pub fn spawn<P, F>(&mut self, host: HostId, program: P)
    where
        P: FnOnce(Outside) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        self.programs.push(Pending { host, program: boxed(program), main: None });
    }

    /// Like [`World::spawn`], but the run goes on until the program has ended.
    pub fn spawn_main<P, F>(&mut self, host: HostId, program: P)
    where
        P: FnOnce(Outside) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let main = self.shared.add_main(self.shared.trace.lock().host(host).to_owned());
        self.programs.push(Pending { host, program: boxed(program), main: Some(main) });
    }

    /// A handle for programs that observe and change the world.
    #[must_use]
    pub fn control(&self) -> Control {
        Control::new(&self.shared)
    }

    /// Runs until every main program has ended and the network has come to rest, or for `limit` of virtual time
    /// (a year at most).
    ///
    /// # Panics
    /// If a program or any of its tasks panicked: its panic goes on here. If the system refuses a runtime.
    #[must_use]
    pub fn run(self, limit: Duration) -> Run {
        let Self { settings, mut hosts, programs, shared, root } = self;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime without drivers for the outside needs nothing that can fail");
        let _context = runtime.enter(); // programs that end with the world may touch timers
        for Pending { host: id, program, main } in programs {
            if let Some(host) = hosts.get_mut(id.0) {
                shared.start(id, host, program, main);
            }
        }
        let chance = Chance::new(settings.seed, "scheduler");
        let mut scheduler = Scheduler::new(hosts, Rc::clone(&shared), root, chance, limit.min(LIMIT_MAX));
        let ended = runtime.block_on(std::future::poll_fn(|cx| scheduler.poll(cx)));
        let open_sockets = shared.open_sockets();
        let with_tasks = (0..).map(HostId).zip(&scheduler.hosts).filter(|(_, host)| host.has_tasks());
        let with_tasks = with_tasks.map(|(id, _)| id).collect();
        let trace = shared.trace.take();
        // What the end of the programs would still cause is not part of the run.
        for host in &mut scheduler.hosts {
            host.end_tasks();
        }
        if ended == Ended::Panicked {
            let unnamed = || Box::new("a task of a program panicked; its message is above") as Box<dyn Any + Send>;
            std::panic::resume_unwind(shared.panic.take().unwrap_or_else(unnamed));
        }
        let perturbed = shared.steering.borrow_mut().happened();
        let (virtual_time, instants) = (shared.now.get(), scheduler.instants);
        let lookups = shared.lookups.take();
        Run { trace, ended, open_sockets, with_tasks, perturbed, lookups, virtual_time, instants }
    }
}

/// What a run has shown.
#[derive(Debug)]
pub struct Run {
    /// Every event of the world, in order.
    pub trace: Trace,
    /// How it ended.
    pub ended: Ended,
    /// Sockets that existed at the end, before the programs were taken down.
    pub open_sockets: Vec<OpenSocket>,
    /// Hosts on which some task had not ended, nor any timer that it waited for.
    pub with_tasks: Vec<HostId>,
    /// Where it departed from its plain course.
    pub perturbed: Vec<Perturbed>,
    /// What names resolved to: the first answer about each, and each that differs from the one before.
    pub lookups: Vec<Lookup>,
    /// How long it took, on the world's clock.
    pub virtual_time: Duration,
    /// How often the clock moved: what a run costs, next to its packets.
    pub instants: u64,
}

/// What came of resolving a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lookup {
    /// When, since the world began.
    pub at: Duration,
    /// The name.
    pub name: String,
    /// What was found.
    pub found: Found,
}

/// What a name server's answer has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found {
    /// One address at least.
    Addresses,
    /// No such name, or no address.
    Nothing,
    /// The server failed: nothing is known.
    ServerFailed,
}

/// How a run ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ended {
    /// Every main program has ended, and nothing is on its way or waiting for a response.
    AtRest,
    /// The limit was reached.
    LimitReached {
        /// Hosts of the main programs that had not ended, in the order in which they were started.
        waiting: Vec<String>,
    },
    /// A program panicked. [`World::run`] goes on with the panic, so that no [`Run`] has this.
    Panicked,
    /// Programs woke themselves without end, so that time could not pass.
    Spinning {
        /// Hosts of the main programs that had not ended, in the order in which they were started.
        waiting: Vec<String>,
    },
}

/// A program that begins with the run.
struct Pending {
    host: HostId,
    program: Program,
    main: Option<Main>,
}

/// A program, ready to start.
type Program = Box<dyn FnOnce(Outside) -> LocalBoxFuture<'static, ()>>;

fn boxed<P, F>(program: P) -> Program
where
    P: FnOnce(Outside) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    Box::new(|outside| Box::pin(program(outside)))
}

/// What a program requests of the world and the scheduler does outside of any program.
enum Command {
    Kill(HostId),
    ReadDelay(HostId, RangeInclusive<Duration>),
    PowerOff(HostId),
    Stall(HostId, Duration),
    Start(HostId, Program),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Kill(_) => "the kill of a host",
            Self::ReadDelay(..) => "a notice delay",
            Self::PowerOff(_) => "a power failure",
            Self::Stall(..) => "a stall",
            Self::Start(..) => "the restart of a host",
        }
    }

    fn host(&self) -> HostId {
        match self {
            Self::Kill(host) | Self::ReadDelay(host, _) | Self::PowerOff(host) => *host,
            Self::Stall(host, _) | Self::Start(host, _) => *host,
        }
    }
}

/// The part of a world that its programs can reach.
struct WorldShared {
    seed: u64,
    now: Arc<WorldTime>,
    trace: SharedTrace,
    names: RefCell<BTreeMap<String, Vec<IpAddr>>>,
    /// Names for which the name server fails.
    failing_names: RefCell<BTreeSet<String>>,
    /// How long the name server takes to respond, where that is some time.
    late_names: RefCell<BTreeMap<String, Duration>>,
    lookups: RefCell<Vec<Lookup>>,
    network: RefCell<Network>,
    steering: Rc<RefCell<Steering>>,
    clocks: RefCell<BTreeMap<HostId, WallClock>>,
    kernels: RefCell<Vec<SharedKernel>>,
    commands: RefCell<VecDeque<Command>>,
    /// Main programs that have not ended, and the names of their hosts.
    mains: RefCell<BTreeMap<usize, String>>,
    panic: RefCell<Option<Box<dyn Any + Send>>>,
    /// Whether the run is on [`turmoil`].
    on_turmoil: Cell<bool>,
    /// The first thing that a program requested and turmoil does not have.
    refused: RefCell<Option<String>>,
}

impl WorldShared {
    fn start(self: &Rc<Self>, id: HostId, host: &mut Host, program: Program, main: Option<Main>) {
        let chance = self.chance_of_program(id, host.started + 1);
        let outside = seam::outside(id, &host.kernel, chance, self);
        let world = Rc::downgrade(self);
        host.spawn(async move {
            // In a task of its own, so that its panic is seen, and not lost with a handle that is never awaited.
            let ended = tokio::task::spawn_local(async move { program(outside).await }).await;
            drop(main);
            if let Err(error) = ended
                && error.is_panic()
                && let Some(world) = world.upgrade()
            {
                world.panic.borrow_mut().get_or_insert(error.into_panic());
            }
        });
    }

    /// The nth program of a host has chance of its own.
    fn chance_of_program(&self, host: HostId, nth: u64) -> Chance {
        Chance::new(self.seed, &format!("program {} of {}", nth - 1, self.trace.lock().host(host)))
    }

    /// Puts on record that a program requested something that turmoil does not have.
    fn refuse(&self, what: &str) {
        self.refused.borrow_mut().get_or_insert_with(|| what.into());
    }

    fn add_main(self: &Rc<Self>, host: String) -> Main {
        let mut mains = self.mains.borrow_mut();
        let number = mains.last_key_value().map_or(0, |(last, _)| last + 1);
        mains.insert(number, host);
        Main { number, world: Rc::downgrade(self) }
    }

    fn waiting(&self) -> Vec<String> {
        self.mains.borrow().values().cloned().collect()
    }

    fn open_sockets(&self) -> Vec<OpenSocket> {
        self.kernels.borrow().iter().flat_map(|kernel| kernel.lock().open_sockets()).collect()
    }
}

/// A main program that has not ended. Dropping it, which killing its host does too, ends it.
struct Main {
    number: usize,
    world: std::rc::Weak<WorldShared>,
}

impl Drop for Main {
    fn drop(&mut self) {
        if let Some(world) = self.world.upgrade() {
            world.mains.borrow_mut().remove(&self.number);
        }
    }
}

/// The lowest address of 10.0.0.0/16 that is free.
pub(crate) fn free_address(is_taken: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut addresses = (1..=u16::MAX).map(|number| {
        let [high, low] = number.to_be_bytes();
        IpAddr::from(Ipv4Addr::new(10, 0, high, low))
    });
    addresses.find(|ip| !is_taken(*ip)).expect("a world has fewer hosts than 10.0.0.0/16 has addresses")
}
