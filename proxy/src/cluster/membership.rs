//! What follows where the health of endpoints changes, or names and files have them no more.

use std::collections::BTreeSet;
use std::rc::Rc;

use tokio::time::Instant;

use super::endpoint_table::Effect;
use super::{Cluster, Endpoint};
use crate::stats::{Health, HealthFlag};

impl Cluster {
    /// Of the endpoints that were `kept`, those that checks find healthy stay among `endpoints`, which are the new ones. Returns the
    /// others.
    pub(super) fn let_leave(&self, kept: Vec<Rc<Endpoint>>, endpoints: &mut Vec<Rc<Endpoint>>) -> Vec<Rc<Endpoint>> {
        let staying: BTreeSet<*const Endpoint> = endpoints.iter().map(Rc::as_ptr).collect();
        let left = kept.into_iter().filter(|endpoint| !staying.contains(&Rc::as_ptr(endpoint)));
        let is_kept =
            |endpoint: &Rc<Endpoint>| self.shared.config.keeps_healthy && endpoint.counts.health.passes_checks();
        let (leaving, gone): (Vec<_>, Vec<_>) = left.partition(is_kept);
        endpoints.iter().for_each(|endpoint| self.mark_leaving(endpoint, self.placement(endpoint).is_leaving));
        leaving.iter().for_each(|endpoint| self.mark_leaving(endpoint, true));
        endpoints.extend(leaving);
        gone
    }

    fn mark_leaving(&self, endpoint: &Endpoint, is_leaving: bool) {
        let health = &endpoint.counts.health;
        let is_new =
            if is_leaving { health.set_flag(HealthFlag::Leaving) } else { health.clear_flag(HealthFlag::Leaving) };
        if is_new && self.checks_health {
            let (cluster, endpoint) = (&*self.names.own, &endpoint.address);
            match is_leaving {
                true => {
                    tracing::info!(cluster, %endpoint, "the endpoint is no longer named, and stays while it is healthy")
                }
                false => tracing::info!(cluster, %endpoint, "the endpoint is named again"),
            }
        }
    }

    /// Endpoints of a file that were there for their checks alone are no endpoints once these fail. Those of names stay until
    /// the names are resolved again, as in Envoy.
    pub(super) fn let_go(&self) {
        let mut endpoints = self.endpoints.borrow_mut();
        let all = std::mem::take(&mut *endpoints);
        let (gone, stay): (Vec<_>, Vec<_>) = all.into_iter().partition(|endpoint| endpoint.counts.health.has_left());
        *endpoints = stay;
        drop(endpoints);
        if gone.is_empty() {
            return;
        }
        self.choice.borrow_mut().endpoints_changed();
        gone.iter().for_each(|endpoint| endpoint.drain());
        if self.checks_health {
            let priorities: BTreeSet<u32> = gone.iter().map(|endpoint| self.priority(endpoint.written.get())).collect();
            self.shared.stats.membership_change.add(u64::try_from(priorities.len()).unwrap_or(u64::MAX));
        }
    }

    /// `x-envoy-immediate-health-check-fail` in a response: the endpoint gets no further requests. It has no effect without
    /// health checks, which alone can show that the endpoint has recovered.
    pub fn fail_at_once(&self, endpoint: &Endpoint) {
        if self.shared.config.health_checks.is_empty() {
            return;
        }
        self.shared.stats.health_check_passive_failure.inc();
        let health = &endpoint.counts.health;
        let is_new = [HealthFlag::FailedCheck, HealthFlag::Excluded].map(|flag| health.set_flag(flag));
        if is_new.contains(&true) {
            self.health_changed();
        }
        endpoint.drain();
    }

    /// The health of an endpoint has changed, which may take effect together with other changes.
    pub(super) fn health_changed(&self) {
        self.look_at_health(match self.shared.config.merge_window {
            _ if !self.is_started.get() => Effect::Initially,
            Some(window) => Effect::Within(window),
            None => Effect::AtOnce,
        });
    }

    /// Is an endpoint with this health none any more, though a worker may still hold it?
    pub(super) fn is_gone(&self, health: &Health) -> bool {
        self.shared.config.has_let_go(health.has_left())
    }

    /// Brings the gauges up to date, and has every worker look at the endpoints before a choice.
    pub(super) fn look_at_health(&self, effect: Effect) {
        self.shared.endpoints.health_changed(effect, Instant::now());
        self.renew_tables();
        let mut all = self.shared.endpoints.snapshot();
        all.retain(|(_, counts)| !self.is_gone(&counts.health));
        let count = |is: &dyn Fn(&Health) -> bool| {
            u64::try_from(all.iter().filter(|(_, counts)| is(&counts.health)).count()).unwrap_or(u64::MAX)
        };
        let stats = &self.shared.stats;
        stats.membership_total.set(u64::try_from(all.len()).unwrap_or(u64::MAX));
        stats.membership_healthy.set(count(&Health::is_healthy));
        stats.membership_degraded.set(count(&|health| health.is_good() && !health.is_healthy()));
        stats.membership_excluded.set(count(&Health::is_excluded));
        stats.ejections_active.set(count(&|health| health.has(HealthFlag::Ejected)));
        if !self.shared.config.health_checks.is_empty() {
            stats.health_check_degraded.set_once_above_zero(count(&|health| health.has(HealthFlag::CheckDegraded)));
            stats.health_check_healthy.set_once_above_zero(count(&|health| !health.has(HealthFlag::FailedCheck)));
        }
    }
}
