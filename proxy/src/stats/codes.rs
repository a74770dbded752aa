//! The stats that carry a status code in their name.
//!
//! Which codes an upstream responds with is known only when it does, so these names appear on first use. A
//! worker remembers the handles it has used: from then on a response costs a look through a short list.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use super::names::{PartCounters, cluster_prefix};
use super::{Counter, Histogram, Registry};

/// `upstream_rq_<code>`, `upstream_rq_<class>xx`, `upstream_rq_completed` and `upstream_rq_time` of a
/// cluster, for one worker.
#[derive(Debug)]
pub struct CodeStats {
    all: Tree,
    canary: Tree,
    external: Tree,
    internal: Tree,
    retry: Tree,
    /// By the names that requests give, which is why their number is bounded.
    named: RefCell<Vec<(Box<str>, Rc<Tree>)>>,
}

/// Names that requests may give to stats of a cluster, on each worker; more are not kept apart.
const NAMES_MAX: usize = 32;

impl CodeStats {
    /// No names yet.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, cluster: &str) -> Self {
        let prefix = cluster_prefix(cluster);
        let tree = |branch: &str| Tree::new(registry, format!("{prefix}{branch}"));
        Self {
            all: tree(""),
            canary: tree(".canary"),
            external: tree(".external"),
            internal: tree(".internal"),
            retry: tree(".retry"),
            named: RefCell::default(),
        }
    }

    /// Counts the response to a request: the upstream's, or ours in its place. `internal` says whether the
    /// request came from inside (`x-envoy-internal: true`), `named` what it wants its stats to be called besides
    /// (`x-envoy-upstream-alt-stat-name`).
    pub fn charge(&self, status: StatusCode, internal: bool, named: Option<&str>) {
        self.all.charge(status);
        self.by_origin(internal).charge(status);
        if let Some(tree) = named.and_then(|name| self.named(name)) {
            tree.charge(status);
        }
    }

    /// Counts, in addition, a response that says `x-envoy-upstream-canary: true`.
    pub fn charge_canary(&self, status: StatusCode) {
        self.canary.charge(status);
    }

    /// How long an upstream took with such a response, in addition.
    pub fn record_canary_time(&self, took: Duration) {
        self.canary.time().record_ms(took);
    }

    /// Counts a response that is not passed on, since the request is tried again.
    pub fn charge_retried(&self, status: StatusCode) {
        self.retry.charge(status);
    }

    /// How long an upstream took, from the end of the request to the end of the response.
    pub fn record_time(&self, took: Duration, internal: bool, named: Option<&str>) {
        self.all.time().record_ms(took);
        self.by_origin(internal).time().record_ms(took);
        if let Some(tree) = named.and_then(|name| self.named(name)) {
            tree.time().record_ms(took);
        }
    }

    fn named(&self, name: &str) -> Option<Rc<Tree>> {
        let mut known = self.named.borrow_mut();
        if let Some((_, tree)) = known.iter().find(|(of, _)| **of == *name) {
            return Some(Rc::clone(tree));
        }
        if known.len() == NAMES_MAX {
            return None;
        }
        let tree = Rc::new(Tree::new(&self.all.registry, format!("{}.{name}", self.all.prefix)));
        known.push((name.into(), Rc::clone(&tree)));
        Some(tree)
    }

    fn by_origin(&self, internal: bool) -> &Tree {
        if internal { &self.internal } else { &self.external }
    }
}

/// The stats of a part of the requests, for one worker: of a virtual cluster, or of a route with a `stat_prefix`.
#[derive(Debug)]
pub struct PartStats {
    /// What moves besides codes.
    pub(crate) counters: PartCounters,
    codes: Tree,
}

impl PartStats {
    /// Those with this prefix.
    #[must_use]
    pub fn new(registry: &Arc<Registry>, prefix: &str) -> Self {
        Self { counters: PartCounters::new(registry, prefix), codes: Tree::new(registry, prefix.replace(':', "_")) }
    }

    /// Counts the response to a request.
    pub fn charge(&self, status: StatusCode) {
        self.codes.charge(status);
    }

    /// How long an upstream took, from the end of the request to the end of the response.
    pub fn record_time(&self, took: Duration) {
        self.codes.time().record_ms(took);
    }
}

/// One set of these names.
#[derive(Debug)]
struct Tree {
    registry: Arc<Registry>,
    prefix: String,
    completed: OnceCell<Counter>,
    time: OnceCell<Histogram>,
    /// By first digit. Bounded: there are 9.
    classes: RefCell<Vec<(u16, Counter)>>,
    /// By code. Bounded: there are 900, and few upstreams use more than ten.
    codes: RefCell<Vec<(u16, Counter)>>,
}

impl Tree {
    fn new(registry: &Arc<Registry>, prefix: String) -> Self {
        Self {
            registry: Arc::clone(registry),
            prefix,
            completed: OnceCell::new(),
            time: OnceCell::new(),
            classes: RefCell::default(),
            codes: RefCell::default(),
        }
    }

    fn charge(&self, status: StatusCode) {
        let code = status.as_u16();
        let class = code / 100;
        self.completed.get_or_init(|| self.counter("completed")).inc();
        if class <= 5 {
            add(&self.classes, class, || self.counter(&format!("{class}xx")));
        }
        add(&self.codes, code, || self.counter(&code.to_string()));
    }

    fn time(&self) -> &Histogram {
        self.time.get_or_init(|| self.registry.histogram(&format!("{}.upstream_rq_time", self.prefix)))
    }

    fn counter(&self, last: &str) -> Counter {
        self.registry.counter(&format!("{}.upstream_rq_{last}", self.prefix))
    }
}

fn add(known: &RefCell<Vec<(u16, Counter)>>, number: u16, make: impl FnOnce() -> Counter) {
    let mut known = known.borrow_mut();
    if let Some((_, counter)) = known.iter().find(|(n, _)| *n == number) {
        return counter.inc();
    }
    let counter = make();
    counter.inc();
    known.push((number, counter));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(registry: &Registry) -> Vec<String> {
        registry.snapshot().numbers.iter().map(|number| format!("{}: {}", number.name, number.value)).collect()
    }

    #[test]
    fn a_request_may_name_stats_of_its_own() {
        let registry = Arc::new(Registry::new());
        let codes = CodeStats::new(&registry, "up");
        for _ in 0..2 {
            codes.charge(StatusCode::OK, true, Some("alt"));
        }
        let named: Vec<_> = names(&registry).into_iter().filter(|name| name.starts_with("cluster.up.alt.")).collect();
        let expected = ["200: 2", "2xx: 2", "completed: 2"].map(|last| format!("cluster.up.alt.upstream_rq_{last}"));
        assert_eq!(named, expected);
        for number in 0..2 * NAMES_MAX {
            codes.charge(StatusCode::OK, true, Some(&format!("name{number}")));
        }
        let kept = names(&registry).iter().filter(|name| name.contains(".name") && name.contains("_200")).count();
        assert_eq!(kept, NAMES_MAX - 1);
    }

    #[test]
    fn a_response_counts_for_the_cluster_and_the_origin_of_the_request() {
        let registry = Arc::new(Registry::new());
        let codes = CodeStats::new(&registry, "up");
        assert!(names(&registry).is_empty(), "names appear on first use");
        codes.charge(StatusCode::OK, false, None);
        codes.charge(StatusCode::SERVICE_UNAVAILABLE, true, None);
        codes.charge(StatusCode::OK, false, None);
        codes.charge_retried(StatusCode::BAD_GATEWAY);
        assert_eq!(
            names(&registry),
            [
                "cluster.up.external.upstream_rq_200: 2",
                "cluster.up.external.upstream_rq_2xx: 2",
                "cluster.up.external.upstream_rq_completed: 2",
                "cluster.up.internal.upstream_rq_503: 1",
                "cluster.up.internal.upstream_rq_5xx: 1",
                "cluster.up.internal.upstream_rq_completed: 1",
                "cluster.up.retry.upstream_rq_502: 1",
                "cluster.up.retry.upstream_rq_5xx: 1",
                "cluster.up.retry.upstream_rq_completed: 1",
                "cluster.up.upstream_rq_200: 2",
                "cluster.up.upstream_rq_2xx: 2",
                "cluster.up.upstream_rq_503: 1",
                "cluster.up.upstream_rq_5xx: 1",
                "cluster.up.upstream_rq_completed: 3",
            ]
        );
    }

    #[test]
    fn a_code_of_no_class_is_counted_by_itself() {
        let registry = Arc::new(Registry::new());
        let codes = CodeStats::new(&registry, "up");
        codes.charge_canary(StatusCode::from_u16(799).unwrap());
        assert_eq!(
            names(&registry),
            ["cluster.up.canary.upstream_rq_799: 1", "cluster.up.canary.upstream_rq_completed: 1"]
        );
    }

    #[test]
    fn two_workers_share_the_numbers() {
        let registry = Arc::new(Registry::new());
        for _ in 0..2 {
            CodeStats::new(&registry, "up").charge(StatusCode::OK, true, None);
        }
        assert!(names(&registry).contains(&"cluster.up.upstream_rq_200: 2".to_owned()));
    }
}
