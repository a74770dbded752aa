//! What the overload manager says: how many connections there may be.

use crate::config::bootstrap::{OverloadManager, ResourceMonitorConfig};
use crate::config::problem::Problem;
use crate::config::runtime::{GLOBAL_CONNECTION_LIMIT, RuntimeLayer};

/// The connections of all listeners together, where a monitor limits them.
pub(super) fn connections_max(written: &OverloadManager, runtime: &[RuntimeLayer]) -> Result<Option<u32>, Problem> {
    const NAME: &str = "envoy.resource_monitors.global_downstream_max_connections";
    let Some((monitor, further)) = written.resource_monitors.split_first() else { return Ok(None) };
    if let Some(second) = further.first() {
        return Err(second.invalid("the resource monitor stands here twice"));
    }
    let ResourceMonitorConfig::DownstreamConnections(config) = &monitor.value.typed_config;
    let name = &monitor.value.name;
    if name.value != NAME {
        return Err(name.invalid_but("Envoy finds this monitor by its name", format!("write {NAME}")));
    }
    let max = &config.max_active_downstream_connections;
    if max.value < 1 {
        return Err(max.invalid(format!("{} is not more than 0", max.value)));
    }
    // Envoy lets the monitor beat the key; here the key would beat the monitor.
    if runtime.iter().any(|layer| layer.fixed(GLOBAL_CONNECTION_LIMIT).is_some()) {
        return Err(max.invalid_but(
            format!("the runtime key {GLOBAL_CONNECTION_LIMIT} limits the connections, too"),
            "leave out one of both",
        ));
    }
    Ok(Some(u32::try_from(max.value).unwrap_or(u32::MAX)))
}
