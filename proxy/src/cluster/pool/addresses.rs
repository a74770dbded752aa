//! A connection to an endpoint that has several addresses: they are tried in turn, and the first that takes it is used
//! (RFC 8305 5, Happy Eyeballs).

use std::io;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Duration, sleep};

use crate::cluster::Location;
use crate::net::{Conn, ConnectOptions, Net};

/// So long has one address for itself before the next is tried beside it: Envoy's delay.
const DELAY: Duration = Duration::from_millis(300);

/// Connects to the first address that takes the connection. `one_more` is called for each address after the first that is tried.
///
/// # Errors
/// No address takes it: the error of the last that failed.
///
/// # Cancellation
/// Dropped, it gives all tries up.
pub(super) async fn connect(
    net: &dyn Net,
    location: &Location,
    options: &ConnectOptions,
    one_more: impl Fn(),
) -> io::Result<Conn> {
    let mut others = location.others.iter();
    if others.len() == 0 {
        return net.connect(&location.address, options).await;
    }
    let mut tries = FuturesUnordered::new();
    tries.push(net.connect(&location.address, options));
    loop {
        let failure = tokio::select! {
            // What has connected is used, however late it is.
            biased;
            Some(tried) = tries.next() => match tried {
                Ok(conn) => return Ok(conn),
                Err(error) => Some(error),
            },
            () = sleep(DELAY), if others.len() > 0 => None,
            else => return Err(io::ErrorKind::AddrNotAvailable.into()), // a try is under way in each round
        };
        match (others.next(), failure) {
            (Some(next), _) => {
                one_more();
                tries.push(net.connect(next, options));
            }
            (None, Some(error)) if tries.is_empty() => return Err(error),
            (None, _) => {}
        }
    }
}
