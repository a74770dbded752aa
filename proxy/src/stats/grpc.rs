//! The stats that carry the name of a gRPC method.
//!
//! Requests give these names, so they appear on first use, and their number is bounded.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::names::{cluster_prefix, one_segment};
use super::{Counter, Registry};

/// Whose calls are counted apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GrpcFamily {
    /// `grpc`
    Grpc,
    /// `grpc-web`
    Web,
}

impl GrpcFamily {
    fn segment(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Web => "grpc-web",
        }
    }
}

/// What is counted of the methods that a cluster's services have, for one worker: under
/// `cluster.<name>.grpc.<service>.<method>`, and of those called by gRPC-Web under `grpc-web`.
#[derive(Debug)]
pub struct GrpcStats {
    registry: Arc<Registry>,
    prefix: String,
    known: RefCell<Vec<Known>>,
}

/// Family, `<service>.<method>`, and what is counted of it.
type Known = (GrpcFamily, Box<str>, Rc<GrpcMethod>);

/// Methods of a cluster on each worker; more are not counted.
const METHODS_MAX: usize = 256;
/// The largest status that gRPC knows, UNAUTHENTICATED.
const STATUS_MAX: u8 = 16;
/// What else a method's calls end with, on each worker: so many different texts have a counter each, and others none.
const ODD_STATUSES_MAX: usize = 8;
/// The longest of these texts, in bytes.
const ODD_STATUS_BYTES_MAX: usize = 32;

/// Service and method that a path names: `/package.Service/Method`.
#[must_use]
pub fn service_and_method(path: &str) -> Option<(&str, &str)> {
    let path = path.split('?').next().unwrap_or_default();
    let mut segments = path.split('/').filter(|segment| !segment.is_empty());
    match (segments.next(), segments.next(), segments.next()) {
        (Some(service), Some(method), None) => Some((service, method)),
        _ => None,
    }
}

impl GrpcStats {
    /// No names yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, cluster: &str) -> Self {
        Self { registry: Arc::clone(registry), prefix: cluster_prefix(cluster), known: RefCell::default() }
    }

    /// What is counted under this name, `<service>.<method>`; empty: of all others together. `None` if there are too many.
    #[must_use]
    pub fn method(&self, family: GrpcFamily, name: &str) -> Option<Rc<GrpcMethod>> {
        let name = one_segment(name);
        let mut known = self.known.borrow_mut();
        if let Some((.., method)) = known.iter().find(|(of, called, _)| *of == family && **called == *name) {
            return Some(Rc::clone(method));
        }
        if known.len() == METHODS_MAX {
            return None;
        }
        let registry = Arc::clone(&self.registry);
        let mut prefix = format!("{}.{}", self.prefix, family.segment());
        if !name.is_empty() {
            prefix += &format!(".{name}");
        }
        let method = Rc::new(GrpcMethod { registry, prefix, odd_statuses: RefCell::default() });
        known.push((family, name.into(), Rc::clone(&method)));
        Some(method)
    }
}

/// What is counted of one method.
#[derive(Debug)]
pub struct GrpcMethod {
    registry: Arc<Registry>,
    prefix: String,
    /// Those that gRPC does not know.
    odd_statuses: RefCell<Vec<Box<str>>>,
}

impl GrpcMethod {
    /// A call has ended with this `grpc-status`.
    pub fn charge(&self, status: &[u8]) {
        let text = std::str::from_utf8(status).unwrap_or_default();
        let code: Option<u8> = text.parse().ok();
        if let Some(code) = code.filter(|code| *code <= STATUS_MAX) {
            self.counter(&code.to_string()).inc();
        } else if self.has_room_for(text) {
            self.counter(&one_segment(text)).inc();
        }
        self.conclude(code == Some(0));
    }

    /// A call has ended.
    pub fn conclude(&self, has_succeeded: bool) {
        self.counter(if has_succeeded { "success" } else { "failure" }).inc();
        self.counter("total").inc();
    }

    /// So many messages of a request have begun.
    pub fn count_requests(&self, messages: u64) {
        self.count("request_message_count", messages);
    }

    /// So many messages of a response have begun.
    pub fn count_responses(&self, messages: u64) {
        self.count("response_message_count", messages);
    }

    /// How long a call took, from the end of the request to the end of the response.
    pub fn record_time(&self, took: Duration) {
        self.registry.histogram(&format!("{}.upstream_rq_time", self.prefix)).record_ms(took);
    }

    fn count(&self, last: &str, messages: u64) {
        if messages > 0 {
            self.counter(last).add(messages);
        }
    }

    fn has_room_for(&self, status: &str) -> bool {
        let mut known = self.odd_statuses.borrow_mut();
        if known.iter().any(|one| **one == *status) {
            return true;
        }
        let has_room = known.len() < ODD_STATUSES_MAX && (1..=ODD_STATUS_BYTES_MAX).contains(&status.len());
        if has_room {
            known.push(status.into());
        }
        has_room
    }

    fn counter(&self, last: &str) -> Counter {
        self.registry.counter(&format!("{}.{last}", self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_service_and_a_method() {
        for (path, named) in [
            ("/pkg.Svc/Do", Some(("pkg.Svc", "Do"))),
            ("/pkg.Svc/Do?x=/y", Some(("pkg.Svc", "Do"))),
            ("a/b", Some(("a", "b"))),
            ("/one", None),
            ("/a/b/c", None),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(service_and_method(path), named, "{path}");
        }
    }

    #[test]
    fn a_method_has_names_of_its_own_while_there_is_room() {
        let registry = Arc::new(Registry::new());
        let stats = GrpcStats::new(&registry, "up");
        for (name, status) in
            [("pkg.Svc.Do", "0"), ("pkg.Svc.Do", "0"), ("pkg.Svc.Do", "7"), ("a.b", "99"), ("", "a:b")]
        {
            stats.method(GrpcFamily::Web, name).unwrap().charge(status.as_bytes());
        }
        for status in 100..200 {
            stats.method(GrpcFamily::Grpc, "x.y").unwrap().charge(status.to_string().as_bytes());
        }
        let numbers = registry.snapshot().numbers;
        let lines: Vec<_> = numbers.iter().map(|number| format!("{}: {}", number.name, number.value)).collect();
        let (odd, lines): (Vec<_>, Vec<_>) = lines.into_iter().partition(|line| line.contains("grpc.x.y."));
        assert_eq!(odd.len(), ODD_STATUSES_MAX + 2, "{odd:?}");
        assert_eq!(
            lines,
            [
                "cluster.up.grpc-web.a.b.99: 1",
                "cluster.up.grpc-web.a.b.failure: 1",
                "cluster.up.grpc-web.a.b.total: 1",
                "cluster.up.grpc-web.a_b: 1",
                "cluster.up.grpc-web.failure: 1",
                "cluster.up.grpc-web.pkg.Svc.Do.0: 2",
                "cluster.up.grpc-web.pkg.Svc.Do.7: 1",
                "cluster.up.grpc-web.pkg.Svc.Do.failure: 1",
                "cluster.up.grpc-web.pkg.Svc.Do.success: 2",
                "cluster.up.grpc-web.pkg.Svc.Do.total: 3",
                "cluster.up.grpc-web.total: 1",
            ]
        );
        let named =
            (0..2 * METHODS_MAX).filter(|number| stats.method(GrpcFamily::Web, &format!("s.m{number}")).is_some());
        assert_eq!(named.count(), METHODS_MAX - 4);
    }
}
