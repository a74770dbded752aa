//! The stats that carry the name of a gRPC method.
//!
//! Requests give these names, so they appear on first use, and their number is bounded.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::names::{cluster_prefix, one_segment};
use super::{Counter, Registry};

/// What is counted of the methods that a cluster's services have, for one worker: of those called by gRPC-Web, under
/// `cluster.<name>.grpc-web.<service>.<method>`.
#[derive(Debug)]
pub struct GrpcStats {
    registry: Arc<Registry>,
    prefix: String,
    /// By `<service>.<method>`.
    web: RefCell<Vec<(Box<str>, Rc<GrpcMethod>)>>,
}

/// Methods of a cluster on each worker; more are not counted.
const METHODS_MAX: usize = 256;
/// The largest status that gRPC knows, UNAUTHENTICATED. Others have no counter of their own.
const STATUS_MAX: u8 = 16;

impl GrpcStats {
    /// No names yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, cluster: &str) -> Self {
        let prefix = format!("{}.grpc-web", cluster_prefix(cluster));
        Self { registry: Arc::clone(registry), prefix, web: RefCell::default() }
    }

    /// The method that a gRPC-Web request to this path calls; `None` if the path names none, or there are too many.
    #[must_use]
    pub fn web_method(&self, path: &str) -> Option<Rc<GrpcMethod>> {
        let path = path.split('?').next().unwrap_or_default();
        let mut segments = path.split('/').filter(|segment| !segment.is_empty());
        let (Some(service), Some(method), None) = (segments.next(), segments.next(), segments.next()) else {
            return None;
        };
        let name = one_segment(&format!("{service}.{method}"));
        let mut known = self.web.borrow_mut();
        if let Some((_, method)) = known.iter().find(|(of, _)| **of == *name) {
            return Some(Rc::clone(method));
        }
        if known.len() == METHODS_MAX {
            return None;
        }
        let registry = Arc::clone(&self.registry);
        let method = Rc::new(GrpcMethod { registry, prefix: format!("{}.{name}", self.prefix) });
        known.push((name.into(), Rc::clone(&method)));
        Some(method)
    }
}

/// What is counted of one method.
#[derive(Debug)]
pub struct GrpcMethod {
    registry: Arc<Registry>,
    prefix: String,
}

impl GrpcMethod {
    /// A call has ended with this `grpc-status`.
    pub fn charge(&self, status: &[u8]) {
        let code: Option<u8> = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok());
        if let Some(code) = code.filter(|code| *code <= STATUS_MAX) {
            self.counter(&code.to_string()).inc();
        }
        self.counter(if code == Some(0) { "success" } else { "failure" }).inc();
        self.counter("total").inc();
    }

    fn counter(&self, last: &str) -> Counter {
        self.registry.counter(&format!("{}.{last}", self.prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_has_names_of_its_own_while_there_is_room() {
        let registry = Arc::new(Registry::new());
        let stats = GrpcStats::new(&registry, "up");
        for (path, status) in [("/pkg.Svc/Do", "0"), ("/pkg.Svc/Do?x=/y", "0"), ("/pkg.Svc/Do", "7"), ("a/b", "99")] {
            stats.web_method(path).unwrap().charge(status.as_bytes());
        }
        for path in ["/one", "/a/b/c", "/", ""] {
            assert!(stats.web_method(path).is_none(), "{path}");
        }
        let numbers = registry.snapshot().numbers;
        let lines: Vec<_> = numbers.iter().map(|number| format!("{}: {}", number.name, number.value)).collect();
        assert_eq!(
            lines,
            [
                "cluster.up.grpc-web.a.b.failure: 1",
                "cluster.up.grpc-web.a.b.total: 1",
                "cluster.up.grpc-web.pkg.Svc.Do.0: 2",
                "cluster.up.grpc-web.pkg.Svc.Do.7: 1",
                "cluster.up.grpc-web.pkg.Svc.Do.failure: 1",
                "cluster.up.grpc-web.pkg.Svc.Do.success: 2",
                "cluster.up.grpc-web.pkg.Svc.Do.total: 3",
            ]
        );
        let named = (0..2 * METHODS_MAX).filter(|number| stats.web_method(&format!("/s/m{number}")).is_some());
        assert_eq!(named.count(), METHODS_MAX - 2);
    }
}
