//! When everybody has left, nothing may be held any more, and the proxies' gauges must say so.

use crate::play::Played;

/// One complaint for each socket that a program still holds and each gauge that has not come down.
pub(super) fn check(played: &Played) -> Vec<String> {
    let sockets = played.left_open.iter().map(|socket| format!("left open: {socket}"));
    let gauges = played.gauges.iter().map(|gauge| format!("gauge left above zero: {gauge}"));
    sockets.chain(gauges).collect()
}
