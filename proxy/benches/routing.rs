//! The time that it takes to find the route of a request among 10, 1,000 and 100,000 virtual hosts, and among as many routes of one
//! virtual host; with the memory that is allocated for it, which should be none.
//!
//!     cargo bench -p finwait --bench routing

use divan::{AllocProfiler, Bencher, black_box};
use finwait::codec::{Headers, RequestHead};
use finwait::config::route::{Action, Domain, PathMatch, RequireTls, Route, RouteTable, VirtualHost};
use finwait::net::Random;
use finwait::router::{Chance, RuntimeKeys, route};
use http::{HeaderValue, Method, Version};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

const COUNTS: [usize; 3] = [10, 1_000, 100_000];

fn main() {
    divan::main();
}

#[divan::bench(args = COUNTS)]
fn host_by_its_name(bencher: Bencher<'_, '_>, count: usize) {
    let table = hosts(count, |n| Domain::Exact(format!("host-{n}.example.com")));
    find(bencher, &table, &format!("host-{}.example.com", count - 1), "/");
}

#[divan::bench(args = COUNTS)]
fn host_by_its_suffix(bencher: Bencher<'_, '_>, count: usize) {
    let table = hosts(count, |n| Domain::Suffix(format!(".zone-{n}.example.com")));
    find(bencher, &table, &format!("www.zone-{}.example.com", count - 1), "/");
}

#[divan::bench(args = COUNTS)]
fn route_by_its_path(bencher: Bencher<'_, '_>, count: usize) {
    let table = routes(count, |n| PathMatch::Exact { path: format!("/api/v1/item-{n}"), case_sensitive: true });
    find(bencher, &table, "a.test", &format!("/api/v1/item-{}?q=1", count - 1));
}

#[divan::bench(args = COUNTS)]
fn route_by_its_prefix(bencher: Bencher<'_, '_>, count: usize) {
    let table = routes(count, |n| PathMatch::Prefix { prefix: format!("/api/v1/item-{n}/"), case_sensitive: true });
    find(bencher, &table, "a.test", &format!("/api/v1/item-{}/parts/7?q=1", count - 1));
}

/// Finds the route of one request again and again.
fn find(bencher: Bencher<'_, '_>, table: &RouteTable, authority: &str, path: &str) {
    struct Never;
    impl Random for Never {
        fn next_u64(&self) -> u64 {
            0 // nothing here depends on chance
        }
    }
    let (keys, head) = (RuntimeKeys::default(), head(authority, path));
    let found =
        |head: &RequestHead| route(table, head, &Chance::new(&keys, &Never)).map(|found| found.route.name.len());
    assert!(found(&head).is_some(), "{authority}{path} has a route");
    bencher.bench(|| found(black_box(&head)));
}

fn hosts(count: usize, domain: impl Fn(usize) -> Domain) -> RouteTable {
    let any = || PathMatch::Prefix { prefix: "/".into(), case_sensitive: true };
    table((0..count).map(|n| host(domain(n), vec![one(any())])).collect())
}

fn routes(count: usize, matches: impl Fn(usize) -> PathMatch) -> RouteTable {
    table(vec![host(Domain::Any, (0..count).map(|n| one(matches(n))).collect())])
}

fn table(hosts: Vec<VirtualHost>) -> RouteTable {
    RouteTable { virtual_hosts: hosts.into(), ..RouteTable::default() }
}

fn host(domain: Domain, routes: Vec<Route>) -> VirtualHost {
    VirtualHost {
        name: String::new(),
        domains: vec![domain],
        routes: routes.into(),
        virtual_clusters: Vec::new(),
        require_tls: RequireTls::None,
    }
}

fn one(matches: PathMatch) -> Route {
    Route {
        name: String::new(),
        matches,
        conditions: Vec::new(),
        filters: None,
        edits: Vec::new(),
        stats: None,
        metadata: None,
        tracing: None,
        action: Action::Direct { status: 200, body: String::new() },
    }
}

fn head(authority: &str, path: &str) -> RequestHead {
    RequestHead {
        method: Method::GET,
        scheme: None,
        authority: HeaderValue::from_str(authority).ok(),
        path: HeaderValue::from_str(path).ok(),
        protocol: None,
        version: Version::HTTP_11,
        headers: Headers::default(),
    }
}
