//! PINGs that the other side takes for too many: its GOAWAY is ENHANCE_YOUR_CALM (RFC 9113 7).

use super::forward;
use crate::explain::hop::Judged;
use crate::explain::proposal::Proposal;
use crate::explain::settings::{http_options, seconds};
use crate::explain::stops::KEEPALIVE;
use crate::explain::{Case, Change};

/// The code of a GOAWAY for too many of something.
const TOO_MANY: &str = "ENHANCE_YOUR_CALM";

/// What to do where a proxy pinged a peer that ended the connection for it.
pub(super) fn fewer(case: &Case<'_>, hops: &[Judged<'_>]) -> Option<Change> {
    hops.iter().zip(hops.iter().skip(1)).find_map(|(hop, next)| {
        let peer = next.exchange.server?;
        let goaway = case.traffic.complaint(next.exchange, peer).filter(|goaway| goaway.code == TOO_MANY)?;
        let mut pings = case.traffic.pings(next.exchange.connection, next.exchange.client);
        if pings.all(|(pinged, _)| pinged > goaway.sent.at) {
            return None;
        }
        let (settings, to) = forward(case, hop)?;
        let (path, cluster) = settings.cluster(&to)?;
        let options = cluster.protocol.always_http2()?;
        let interval = options.keepalive?.interval?;
        let below = [KEEPALIVE, ".interval"].concat();
        let what = format!("send PINGs as seldom as {} permits", next.story.host);
        let setting = settings.setting(&http_options(path), &below, Some(seconds(interval)));
        Some(Change::of(what, setting, Proposal::Longer(None)))
    })
}
