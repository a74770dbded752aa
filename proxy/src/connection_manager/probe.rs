//! Is a client that says nothing still there? On HTTP/2 it can be asked (`connection_keepalive`).

use std::pin::pin;
use std::time::Duration;

use crate::codec::http2::Pinger;
use crate::config::listener::Keepalive;
use crate::net::Random;

/// Asks every now and then; returns when the client has not answered in time. Whatever it sends counts as an answer.
///
/// # Cancellation
/// Safe to drop.
pub(super) async fn until_dead(pinger: Option<Pinger>, keepalive: Option<Keepalive>, random: &dyn Random) {
    let (Some(mut pinger), Some(Keepalive { interval, jitter, timeout })) = (pinger, keepalive) else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(interval + part_of(jitter, random)).await;
        if !is_answered(&mut pinger, timeout).await {
            return;
        }
    }
}

async fn is_answered(pinger: &mut Pinger, timeout: Duration) -> bool {
    let traffic = pinger.traffic();
    let mut answered = pin!(pinger.ping());
    let mut seen = traffic.rx_bytes();
    while tokio::time::timeout(timeout, answered.as_mut()).await.is_err() {
        let so_far = traffic.rx_bytes();
        if so_far == seen {
            return false;
        }
        seen = so_far;
    }
    true
}

/// A random part of `jitter`, so that connections of one age do not ask in step.
fn part_of(jitter: Duration, random: &dyn Random) -> Duration {
    let nanos = u64::try_from(jitter.as_nanos()).unwrap_or(u64::MAX);
    if nanos == 0 { Duration::ZERO } else { Duration::from_nanos(random.next_u64() % nanos) }
}
