//! When everybody has left, nothing may be held any more, and the proxies' gauges must say so.

use finwait::stats::{Kind, Number};

use crate::play::Played;

/// One complaint for each socket that a program still holds and each gauge that has not come down.
pub(super) fn check(played: &Played) -> Vec<String> {
    let sockets = played.left_open.iter().map(|socket| format!("left open: {socket}"));
    let gauges = played.stats.iter().flat_map(|(host, numbers)| {
        let above = numbers.iter().filter(|number| is_of_work(number) && number.value > 0);
        above.map(move |Number { name, value, .. }| format!("{host}: {name} is {value} when everybody has left"))
    });
    sockets.chain(gauges).collect()
}

/// Whether it counts what is under way. Other gauges, a cluster's members for example, describe what is configured.
fn is_of_work(number: &Number) -> bool {
    const ENDS: [&str; 4] = ["active", "buffered", "open", "pending_send_bytes"];
    number.kind == Kind::Gauge && ENDS.iter().any(|end| number.name.ends_with(end))
}
