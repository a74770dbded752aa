//! When every client has left, nothing may be held any more, and the proxies' gauges must show it.

use finwait::stats::Number;

use crate::run::Played;
use crate::scenario::Scenario;
use crate::world::Ended;

/// One complaint if a host ran without end.
pub(super) fn progress(_: &Scenario, played: &Played) -> Vec<String> {
    match &played.ended {
        Ended::Spinning { .. } => vec!["a host ran without end, so that no time could pass".into()],
        Ended::AtRest | Ended::LimitReached { .. } | Ended::Panicked => Vec::new(),
    }
}

/// One complaint for each socket that a program still holds.
pub(super) fn sockets(_: &Scenario, played: &Played) -> Vec<String> {
    if has_not_ended(played) {
        return Vec::new();
    }
    played.left_open.iter().map(|socket| format!("left open: {socket}")).collect()
}

/// One complaint for each gauge that has not come down.
pub(super) fn gauges(_: &Scenario, played: &Played) -> Vec<String> {
    if has_not_ended(played) {
        return Vec::new();
    }
    let gauges = played.stats.iter().flat_map(|(host, stats)| {
        let above = stats.numbers.iter().filter(|number| number.is_balance && number.value > 0);
        above.map(move |Number { name, value, .. }| format!("{host}: {name} is {value} after all connections closed"))
    });
    gauges.collect()
}

/// Whether connections are open because the run was cut off, which is a complaint of its own.
fn has_not_ended(played: &Played) -> bool {
    matches!(played.ended, Ended::LimitReached { .. } | Ended::Spinning { .. })
}
