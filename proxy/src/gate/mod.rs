//! What a connection has to pass before the filter that ends its chain: the network filters `connection_limit`,
//! `local_ratelimit` and `rbac`.

mod recount;

use std::sync::Arc;
use std::time::Duration;

use crate::config::filter_chain::Ends;
use crate::config::judge::Judge;
use crate::config::network_filter::{Enforcement, Gate as Options, Rbac};
use crate::config::rbac::{NO_POLICY, Outcome, Subject};
use crate::permits::{Limit, Permit};
use crate::runtime::{Runtime, Watched};
use crate::stats::{ConnectionLimitStats, ConnectionRateStats, Held, RbacStats, Registry, RuleKind};
use crate::token_bucket::TokenBucket;
pub use recount::{CountsFin, Recount};

/// The gates of one filter chain, on one worker.
pub struct Gates(Vec<Gate>);

/// What all workers share of a gate.
#[derive(Clone, Debug)]
pub enum Share {
    /// Of `connection_limit`.
    Limit(Arc<Limit>),
    /// Of `local_ratelimit`.
    Bucket(Arc<TokenBucket>),
}

enum Gate {
    /// All workers share the limit.
    ConnectionLimit {
        limit: Arc<Limit>,
        connections_max: u32,
        enabled: Watched,
        delay: Option<Duration>,
        stats: ConnectionLimitStats,
    },
    /// All workers share the bucket.
    RateLimit {
        bucket: Arc<TokenBucket>,
        enabled: Watched,
        stats: ConnectionRateStats,
    },
    Rbac {
        options: Rbac,
        stats: RbacStats,
    },
}

/// What the gates say of a connection that has just come.
#[derive(Default)]
pub struct Admission {
    /// It is closed, and never read.
    pub refused: Option<Refused>,
    /// What rules say of it, once its first byte or its FIN comes.
    pub verdict: Option<Box<Verdict>>,
    /// While it is open.
    held: Vec<(Permit, Held)>,
}

/// How a connection is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// It is closed after this long.
    pub after: Duration,
    /// Why.
    pub why: Refusal,
}

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// As many are open as may be.
    Full,
    /// They come faster than they may.
    TooFast,
}

/// What rules say of a connection. They take effect with the first byte, as in Envoy.
pub struct Verdict {
    /// The policy that denies it.
    denied: Option<Box<Denial>>,
    of_rules: Vec<(RbacStats, Judged, Enforcement)>,
}

/// Why a connection is denied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Denial {
    /// The policy that did it.
    pub policy: Box<str>,
    /// The connection is closed after this long, and not read until then.
    pub after: Duration,
}

/// What one filter has found.
#[derive(Clone, Copy)]
pub(crate) struct Judged {
    rules: Option<Outcome>,
    shadow_rules: Option<Outcome>,
}

impl Gates {
    /// Gates with these options; each that workers share takes one of the shares.
    #[must_use]
    pub fn new<'l>(
        options: &[Options],
        shares: &mut impl Iterator<Item = &'l Share>,
        registry: &Registry,
        runtime: &Runtime,
    ) -> Self {
        let gate = |options: &Options| match options {
            Options::ConnectionLimit(options) => Some(Gate::ConnectionLimit {
                limit: match shares.next()? {
                    Share::Limit(limit) => Arc::clone(limit),
                    Share::Bucket(_) => return None,
                },
                connections_max: options.connections_max,
                enabled: runtime.watch_flag(&options.enabled),
                delay: options.delay,
                stats: ConnectionLimitStats::new(registry, &options.stat_prefix),
            }),
            Options::RateLimit(options) => Some(Gate::RateLimit {
                bucket: match shares.next()? {
                    Share::Bucket(bucket) => Arc::clone(bucket),
                    Share::Limit(_) => return None,
                },
                enabled: runtime.watch_flag(&options.enabled),
                stats: ConnectionRateStats::new(registry, &options.stat_prefix),
            }),
            Options::Rbac(options) => Some(Gate::Rbac {
                stats: RbacStats::new(registry, &options.stat_prefix, &options.shadow_prefix),
                options: options.clone(),
            }),
            Options::SetFilterState(_) => None, // it lets every connection through
        };
        Self(options.iter().filter_map(gate).collect())
    }

    /// Is there nothing to pass?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges a connection that has come.
    #[must_use]
    pub fn admit(&self, ends: Ends, server_name: Option<&str>) -> Admission {
        let mut admission = Admission::default();
        let subject = Subject { ends, server_name, request: None };
        for gate in &self.0 {
            match gate {
                Gate::ConnectionLimit { enabled, .. } if enabled.get() == 0 => {}
                Gate::ConnectionLimit { limit, connections_max, delay, stats, .. } => {
                    match limit.permit_below(*connections_max) {
                        Some(permit) => admission.held.push((permit, stats.active_connections.enter())),
                        None => {
                            stats.limited_connections.inc();
                            admission.refused = Some(Refused { after: delay.unwrap_or_default(), why: Refusal::Full });
                            return admission;
                        }
                    }
                }
                Gate::RateLimit { enabled, .. } if enabled.get() == 0 => {}
                Gate::RateLimit { bucket, .. } if bucket.take() => {}
                Gate::RateLimit { stats, .. } => {
                    stats.rate_limited.inc();
                    admission.refused = Some(Refused { after: Duration::ZERO, why: Refusal::TooFast });
                    return admission;
                }
                Gate::Rbac { options, stats } => admission.judge(options, stats, &subject),
            }
        }
        admission
    }
}

impl Admission {
    fn judge(&mut self, options: &Rbac, stats: &RbacStats, subject: &Subject<'_>) {
        let outcome = |rules: &Judge| rules.judge(subject).outcome;
        let judged = Judged {
            rules: options.rules.as_ref().map(outcome),
            shadow_rules: options.shadow_rules.as_ref().map(outcome),
        };
        let verdict = self.verdict.get_or_insert_with(|| Box::new(Verdict { denied: None, of_rules: Vec::new() }));
        if verdict.denied.is_some() {
            return; // a filter behind one that denies sees nothing
        }
        verdict.of_rules.push((stats.clone(), judged, options.enforcement));
        let denied = options.rules.as_ref().map(|rules| rules.judge(subject));
        let denied = denied.filter(|judgement| judgement.outcome == Outcome::Denied);
        let after = options.delay.unwrap_or_default();
        verdict.denied = denied.map(|it| Box::new(Denial { policy: it.policy.unwrap_or(NO_POLICY).into(), after }));
    }
}

impl Verdict {
    /// The first byte has come: counts, and tells what is counted with further ones.
    ///
    /// # Errors
    /// A policy denies the connection.
    pub fn enforce(self) -> Result<Recount, Box<Denial>> {
        self.of_rules.iter().for_each(|(stats, judged, _)| judged.count(stats));
        let again = self.of_rules.into_iter().filter(|(.., when)| *when == Enforcement::WithEachRead);
        self.denied.map_or_else(|| Ok(Recount(again.map(|(stats, judged, _)| (stats, judged)).collect())), Err)
    }
}

impl Judged {
    fn count(self, stats: &RbacStats) {
        for (kind, outcome) in [(RuleKind::Shadow, self.shadow_rules), (RuleKind::Enforced, self.rules)] {
            outcome.into_iter().for_each(|outcome| stats.count(kind, outcome));
        }
    }
}
