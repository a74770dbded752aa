//! What network filters before the one that ends a chain mean.

use super::rate_limit::bucket;
use super::rbac::judge;
use super::rule_tree::Scope;
use crate::config::bootstrap::ext_authz::RuntimeFeatureFlag;
use crate::config::bootstrap::network_filter::{
    ConnectionLimit as WrittenLimit, EnforcementType, NetworkRateLimit, NetworkRbac,
};
use crate::config::network_filter::{ConnectionLimit, ConnectionRate, Enforcement, Gate, Rbac, RuntimeFlag};
use crate::config::problem::Problem;
use crate::config::units::Seconds;
use crate::config::yaml::Notes;

pub(super) fn connection_limit(written: WrittenLimit, notes: &Notes) -> Result<Gate, Problem> {
    let WrittenLimit { delay, max_connections, runtime_enabled, stat_prefix } = written;
    if max_connections.value == 0 {
        return Err(max_connections.invalid("must be at least 1"));
    }
    Ok(Gate::ConnectionLimit(ConnectionLimit {
        stat_prefix: stat_prefix.to_string(),
        connections_max: max_connections.value,
        enabled: flag(runtime_enabled, notes),
        delay: delay.and_then(Seconds::unless_zero),
    }))
}

pub(super) fn rate_limit(written: NetworkRateLimit, notes: &Notes) -> Result<Gate, Problem> {
    let NetworkRateLimit { runtime_enabled, share_key, stat_prefix, token_bucket } = written;
    Ok(Gate::RateLimit(ConnectionRate {
        stat_prefix: stat_prefix.to_string(),
        bucket: bucket(&token_bucket)?,
        share_key: Some(share_key).filter(|key| !key.is_empty()),
        enabled: flag(runtime_enabled, notes),
    }))
}

fn flag(written: Option<RuntimeFeatureFlag>, notes: &Notes) -> RuntimeFlag {
    let Some(RuntimeFeatureFlag { default_value, runtime_key }) = written else {
        return RuntimeFlag { is_on: true, key: None };
    };
    let key = Some(runtime_key).filter(|key| !key.is_empty());
    key.iter().for_each(|key| notes.reads(key));
    RuntimeFlag { is_on: default_value, key }
}

pub(super) fn rbac(written: &NetworkRbac) -> Result<Gate, Problem> {
    Ok(Gate::Rbac(Rbac {
        stat_prefix: written.stat_prefix.to_string(),
        rules: judge(written.rules.as_ref(), written.matcher.as_deref(), Scope::Connections)?,
        shadow_rules: judge(written.shadow_rules.as_ref(), written.shadow_matcher.as_deref(), Scope::Connections)?,
        shadow_prefix: written.shadow_rules_stat_prefix.clone(),
        delay: written.delay_deny.and_then(Seconds::unless_zero),
        enforcement: match written.enforcement_type {
            None | Some(EnforcementType::OneTimeOnFirstByte) => Enforcement::Once,
            Some(EnforcementType::Continuous) => Enforcement::WithEachRead,
        },
    }))
}
