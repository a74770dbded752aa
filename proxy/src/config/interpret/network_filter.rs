//! What network filters before the one that ends a chain mean.

use super::connection_manager::cidr;
use super::pattern::string_match;
use crate::config::bootstrap::network_filter::{
    ConnectionLimit as WrittenLimit, NetworkRbac, Permission, Principal, Rbac as WrittenRules, RbacAction, RbacPolicy,
};
use crate::config::network_filter::{Action, ConnectionLimit, Gate, Policy, Rbac, Rule, Rules};
use crate::config::problem::Problem;
use crate::config::units::Seconds;
use crate::config::yaml::At;

pub(super) fn connection_limit(written: WrittenLimit) -> Result<Gate, Problem> {
    let WrittenLimit { delay, max_connections, stat_prefix } = written;
    if max_connections.value == 0 {
        return Err(max_connections.invalid("must be at least 1"));
    }
    Ok(Gate::ConnectionLimit(ConnectionLimit {
        stat_prefix: stat_prefix.to_string(),
        connections_max: max_connections.value,
        delay: delay.and_then(Seconds::unless_zero),
    }))
}

pub(super) fn rbac(written: &NetworkRbac) -> Result<Gate, Problem> {
    Ok(Gate::Rbac(Rbac {
        stat_prefix: written.stat_prefix.to_string(),
        rules: written.rules.as_ref().map(rules).transpose()?,
        shadow_rules: written.shadow_rules.as_ref().map(rules).transpose()?,
        shadow_prefix: written.shadow_rules_stat_prefix.clone(),
    }))
}

fn rules(written: &WrittenRules) -> Result<Rules, Problem> {
    let action = match written.action {
        None | Some(RbacAction::Allow) => Action::Allow,
        Some(RbacAction::Deny) => Action::Deny,
        Some(RbacAction::Log) => Action::Log,
    };
    let policies = written.policies.iter().map(|(name, RbacPolicy { permissions, principals })| {
        Ok(Policy {
            name: name.clone(),
            permissions: permissions.iter().map(permission).collect::<Result<_, _>>()?,
            principals: principals.iter().map(principal).collect::<Result<_, _>>()?,
        })
    });
    Ok(Rules { action, policies: policies.collect::<Result<_, Problem>>()? })
}

/// Envoy takes `any: true` alone.
fn anything(any: bool) -> Option<Rule> {
    any.then_some(Rule::Anything)
}

fn permission(written: &At<Permission>) -> Result<Rule, Problem> {
    let Permission {
        and_rules,
        any,
        destination_ip,
        destination_port,
        destination_port_range,
        not_rule,
        or_rules,
        requested_server_name,
    } = &written.value;
    let each = |rules: &[At<Permission>]| rules.iter().map(permission).collect::<Result<Vec<Rule>, Problem>>();
    let port = |at: &At<u32>| Ok(Rule::DestinationPort(at.value..at.value.saturating_add(1)));
    let found = [
        and_rules.as_ref().map(|set| each(&set.rules).map(Rule::All)),
        any.and_then(anything).map(Ok),
        destination_ip.as_ref().map(|range| cidr(range).map(Rule::Destination)),
        destination_port.as_ref().map(port),
        destination_port_range.as_ref().map(|at| Ok(Rule::DestinationPort(at.value.start..at.value.end))),
        not_rule.as_ref().map(|rule| permission(rule).map(|rule| Rule::Not(Box::new(rule)))),
        or_rules.as_ref().map(|set| each(&set.rules).map(Rule::Any)),
        requested_server_name.as_ref().map(|name| string_match(name).map(Rule::ServerName)),
    ];
    exactly_one(found, || written.invalid("a permission takes exactly one kind of rule"))
}

fn principal(written: &At<Principal>) -> Result<Rule, Problem> {
    let Principal { and_ids, any, direct_remote_ip, not_id, or_ids, remote_ip, source_ip } = &written.value;
    let each = |ids: &[At<Principal>]| ids.iter().map(principal).collect::<Result<Vec<Rule>, Problem>>();
    let found = [
        and_ids.as_ref().map(|set| each(&set.ids).map(Rule::All)),
        any.and_then(anything).map(Ok),
        direct_remote_ip.as_ref().map(|range| cidr(range).map(Rule::DirectSource)),
        not_id.as_ref().map(|rule| principal(rule).map(|rule| Rule::Not(Box::new(rule)))),
        or_ids.as_ref().map(|set| each(&set.ids).map(Rule::Any)),
        remote_ip.as_ref().map(|range| cidr(range).map(Rule::Source)),
        source_ip.as_ref().map(|range| cidr(range).map(Rule::Source)),
    ];
    exactly_one(found, || written.invalid("a principal takes exactly one kind of rule"))
}

fn exactly_one<const N: usize>(
    found: [Option<Result<Rule, Problem>>; N],
    otherwise: impl FnOnce() -> Problem,
) -> Result<Rule, Problem> {
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(rule), None) => rule,
        (None, _) | (Some(_), Some(_)) => Err(otherwise()),
    }
}
