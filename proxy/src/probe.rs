//! Is a peer that says nothing still there? On HTTP/2 a PING finds out (`connection_keepalive`).

use std::pin::pin;
use std::time::Duration;

use tokio::sync::Notify;

use crate::codec::http2::Pinger;
use crate::config::listener::Keepalive;
use crate::net::Random;

/// Sends a PING every now and then; returns when its acknowledgement has not come in time. Whatever it sends counts as a response.
///
/// # Cancellation
/// Safe to drop.
pub(crate) async fn until_dead(pinger: Option<Pinger>, keepalive: Option<Keepalive>, random: &dyn Random) {
    until_dead_with(pinger, keepalive, &Notify::new(), random).await;
}

/// As [`until_dead`], and asks also whenever `wanted` says so.
///
/// # Cancellation
/// Safe to drop.
pub(crate) async fn until_dead_with(
    pinger: Option<Pinger>,
    keepalive: Option<Keepalive>,
    wanted: &Notify,
    random: &dyn Random,
) {
    match (pinger, keepalive) {
        // Boxed: most connections have none, and each would hold room for its timers.
        (Some(pinger), Some(keepalive)) => Box::pin(probe(pinger, keepalive, wanted, random)).await,
        (None, _) | (_, None) => std::future::pending().await,
    }
}

async fn probe(mut pinger: Pinger, keepalive: Keepalive, wanted: &Notify, random: &dyn Random) {
    loop {
        tokio::select! {
            // Either asks; of two at once, what is wanted is done with the first.
            biased;
            () = wanted.notified() => {}
            () = pause(keepalive, random) => {}
        }
        if !is_acknowledged(&mut pinger, keepalive.timeout).await {
            return;
        }
    }
}

async fn pause(keepalive: Keepalive, random: &dyn Random) {
    match keepalive.interval {
        Some(interval) => tokio::time::sleep(interval + random.up_to(keepalive.jitter)).await,
        None => std::future::pending().await,
    }
}

async fn is_acknowledged(pinger: &mut Pinger, timeout: Duration) -> bool {
    let traffic = pinger.traffic();
    let mut acknowledged = pin!(pinger.ping());
    let mut seen = traffic.rx_bytes();
    while tokio::time::timeout(timeout, acknowledged.as_mut()).await.is_err() {
        let so_far = traffic.rx_bytes();
        if so_far == seen {
            return false;
        }
        seen = so_far;
    }
    true
}
