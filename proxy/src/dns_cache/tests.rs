//! A cache and a network with nothing but a name server.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::dns_cache::DnsCache as Options;
use crate::config::resolution::{FailureRefresh, LookupFamily};
use crate::net::{Accept, Address, Conn, ConnectOptions, ListenOptions, LocalBoxFuture, Net, Random, ResolveError};

/// A network with nothing but a name server, which has one response for each query, a second after it.
#[derive(Default)]
struct World {
    responses: RefCell<VecDeque<Result<Vec<IpAddr>, ResolveError>>>,
    queries: Cell<u32>,
}

impl Net for World {
    fn listen(&self, _: &Address, _: &ListenOptions) -> io::Result<Box<dyn Accept>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect<'a>(&'a self, _: &'a Address, _: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn resolve<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        self.queries.set(self.queries.get() + 1);
        let response = self.responses.borrow_mut().pop_front().expect("a response for each query");
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            response
        })
    }
}

impl Random for World {
    fn next_u64(&self) -> u64 {
        0
    }
}

/// A cache with these options, as one worker uses it; the name server has these responses.
struct Stage {
    world: Rc<World>,
    worker: WorkerCaches,
    options: Arc<Options>,
    registry: Registry,
}

impl Stage {
    fn new(options: Options, responses: impl IntoIterator<Item = Result<&'static str, ResolveError>>) -> Self {
        let (registry, caches, options) = (Registry::new(), Arc::<DnsCaches>::default(), Arc::new(options));
        caches.set(&[Arc::clone(&options)], &registry);
        let world = Rc::<World>::default();
        let addresses = |text: &str| text.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        world.responses.borrow_mut().extend(responses.into_iter().map(|it| it.map(addresses)));
        let (net, random) = (Rc::clone(&world), Rc::clone(&world));
        Self { worker: WorkerCaches::new(caches, net, random), world, options, registry }
    }

    fn find(&self, host: &str) -> Lookup {
        let authority = host.to_owned();
        self.worker.find(&WantedHost { cache: Arc::clone(&self.options), authority, default_port: 80 })
    }

    /// What is known at once.
    fn known(&self, host: &str) -> Option<Result<String, HostFailure>> {
        match self.find(host) {
            Lookup::Known(found) => Some(found.map(|host| shown(&host))),
            Lookup::Waits(_) => None,
        }
    }

    async fn found(&self, host: &str) -> Result<String, HostFailure> {
        match self.find(host) {
            Lookup::Known(found) => found,
            Lookup::Waits(waiting) => waiting.end().await,
        }
        .map(|host| shown(&host))
    }

    fn stat(&self, last: &str) -> u64 {
        let name = format!("dns_cache.hosts.{last}");
        let numbers = self.registry.snapshot().numbers;
        numbers.iter().find(|number| number.name == name).map_or(0, |number| number.value)
    }
}

fn shown(host: &Host) -> String {
    let addresses = host.addresses().unwrap_or_default();
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn options() -> Options {
    let seconds = Duration::from_secs;
    Options {
        name: "hosts".to_owned(),
        family: LookupFamily::V4Only,
        refresh: seconds(10),
        refresh_min: seconds(5),
        after_failure: None,
        host_ttl: seconds(100),
        hosts_max: 10,
        pending_max: 10,
        query_timeout: Some(seconds(5)),
        preresolved: Vec::new(),
    }
}

fn unavailable() -> ResolveError {
    ResolveError::Unavailable(io::Error::other("Temporary failure in name resolution"))
}

fn on_local_set(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

#[test]
fn requests_beyond_those_that_may_wait_are_refused() {
    on_local_set(async {
        let stage = Stage::new(Options { pending_max: 1, ..options() }, [Ok("10.0.0.1")]);
        let waiting = stage.find("a.test");
        assert_eq!(stage.stat("circuit_breakers.rq_pending_open"), 1);
        assert_eq!(stage.known("a.test"), Some(Err(HostFailure::PendingOverflow)));
        drop(waiting);
        assert_eq!(stage.found("a.test").await, Ok("10.0.0.1:80".to_owned()));
        assert_eq!(stage.known("a.test:80"), Some(Ok("10.0.0.1:80".to_owned())));
        assert_eq!((stage.stat("dns_rq_pending_overflow"), stage.stat("dns_query_attempt")), (1, 1));
    });
}

#[test]
fn a_full_cache_takes_no_other_host_and_not_one_that_is_being_resolved() {
    on_local_set(async {
        let stage = Stage::new(Options { hosts_max: 1, ..options() }, [Ok("10.0.0.1")]);
        let Lookup::Waits(waiting) = stage.find("a.test") else { panic!("it is known") };
        for host in ["a.test", "b.test"] {
            assert_eq!(stage.known(host), Some(Err(HostFailure::Overflow)), "{host}");
        }
        assert!(waiting.end().await.is_ok());
        assert_eq!(stage.known("a.test"), Some(Ok("10.0.0.1:80".to_owned())));
        assert_eq!(stage.stat("host_overflow"), 2);
    });
}

#[test]
fn addresses_stay_until_there_are_others() {
    on_local_set(async {
        let responses = [Ok("10.0.0.1"), Err(ResolveError::NoAddress), Err(unavailable()), Ok("10.0.0.2 10.0.0.3")];
        let stage = Stage::new(options(), responses);
        let found = |stage: &Stage| stage.known("a.test").and_then(Result::ok);
        assert_eq!(stage.found("a.test").await, Ok("10.0.0.1:80".to_owned()));
        // An address holds 60 s; without one the host is resolved again after 10 s.
        for (passed_ms, queries) in [(59_500, 1), (1000, 2), (12_000, 3), (10_000, 4)] {
            tokio::time::sleep(Duration::from_millis(passed_ms)).await;
            assert_eq!((found(&stage).as_deref(), stage.world.queries.get()), (Some("10.0.0.1:80"), queries));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(found(&stage).as_deref(), Some("10.0.0.2:80 10.0.0.3:80"));
        assert_eq!((stage.stat("host_address_changed"), stage.stat("dns_query_failure")), (2, 1));
    });
}

#[test]
fn an_unused_host_is_forgotten_when_it_would_be_resolved_again() {
    on_local_set(async {
        let options = Options { host_ttl: Duration::from_secs(30), ..options() };
        let stage = Stage::new(options, [Ok("10.0.0.1"), Ok("10.0.0.1")]);
        let Lookup::Waits(waiting) = stage.find("a.test") else { panic!("it is known") };
        let host = waiting.end().await.unwrap();
        let mut state = host.watch();
        tokio::time::sleep(Duration::from_secs(40)).await;
        host.touch();
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert_eq!((stage.stat("num_hosts"), stage.stat("dns_query_attempt")), (1, 2));
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((stage.stat("num_hosts"), stage.stat("host_removed"), stage.stat("dns_query_attempt")), (0, 1, 2));
        let followed = async { while state.changed().await != HostState::Gone {} };
        assert_eq!(tokio::time::timeout(Duration::from_secs(1), followed).await, Ok(()));
    });
}

#[test]
fn pauses_between_failures_double() {
    let after = FailureRefresh { base: Duration::from_secs(2), max: Duration::from_secs(5) };
    assert_eq!([1, 2, 3, 40].map(|failures| after.window(failures).as_secs()), [2, 4, 5, 5]);
}

#[test]
fn a_host_that_is_an_address_is_not_queried_and_has_to_be_of_the_family() {
    on_local_set(async {
        let stage = Stage::new(options(), []);
        assert_eq!(stage.found("10.0.0.1:8080").await, Ok("10.0.0.1:8080".to_owned()));
        let failure = stage.found("[::1]:8080").await.unwrap_err();
        assert_eq!(failure.details().to_string(), "dns_resolution_failure{Name_or_service_not_known}");
        assert_eq!((stage.world.queries.get(), stage.stat("dns_query_attempt")), (0, 2));
        assert_eq!(stage.known(""), Some(Err(HostFailure::Missing)));
    });
}

#[test]
fn hosts_that_a_cache_is_to_know_are_resolved_ahead_by_one_worker() {
    on_local_set(async {
        let preresolved = vec![("a.test".to_owned(), 80)];
        let stage = Stage::new(Options { preresolved, ..options() }, [Ok("10.0.0.1")]);
        (0..2).for_each(|_worker| stage.worker.resolve_ahead());
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(stage.known("a.test"), Some(Ok("10.0.0.1:80".to_owned())));
        assert_eq!(stage.world.queries.get(), 1);
    });
}
