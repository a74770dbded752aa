//! Timers: when to send again what was not acknowledged, and when to give up.

use std::time::Duration;

/// Sent segments without a response before an open connection is given up.
pub(super) const RETRIES_MAX: u32 = 15; // tcp_retries2
/// The same for a connection that no application owns any more.
pub(super) const RETRIES_ORPHAN_MAX: u32 = 8; // tcp_orphan_retries
/// SYN-ACKs sent again before a half-open connection is forgotten.
pub(super) const RETRIES_SYN_ACK_MAX: u32 = 5; // tcp_synack_retries
/// How long FIN_WAIT2 lasts once no program owns the socket.
pub(super) const FIN_WAIT2_TIMEOUT: Duration = Duration::from_secs(60); // tcp_fin_timeout
/// How long the side that closed first remembers the connection.
pub(super) const TIME_WAIT_TIMEOUT: Duration = Duration::from_secs(60); // TCP_TIMEWAIT_LEN

const RTO_INITIAL: Duration = Duration::from_secs(1); // RFC 6298 2.1
const RTO_VARIANCE_MIN: Duration = Duration::from_millis(200); // Linux's TCP_RTO_MIN
const RTO_MAX: Duration = Duration::from_secs(120); // TCP_RTO_MAX

/// Pauses between SYNs. Linux since 6.5 sends the first five one second apart (tcp_syn_linear_timeouts = 4), then
/// doubles for tcp_syn_retries = 6; after the last pause the connect fails, 131 seconds after it began.
const SYN_PAUSES: [u64; 11] = [1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64];

/// How long to wait for the response to the SYN that was sent `sent` times again; none: it is time to give up.
pub(super) fn syn_pause(sent_again: u32) -> Option<Duration> {
    let pause = SYN_PAUSES.get(usize::try_from(sent_again).ok()?)?;
    Some(Duration::from_secs(*pause))
}

/// The retransmission timeout of one socket (RFC 6298, with Linux's minimum).
#[derive(Debug, Default)]
pub(super) struct Rto {
    /// Timeouts in a row without progress.
    pub(super) retries: u32,
    /// Window probes in a row without a response.
    pub(super) probes: u32,
    smoothed: Option<Duration>,
    variance: Duration,
    /// One segment's end and when it left. A segment that was sent twice is not timed (Karn).
    timed: Option<(u64, Duration)>,
}

impl Rto {
    /// How long to wait before sending again.
    pub(super) fn interval(&self) -> Duration {
        let base = match self.smoothed {
            None => RTO_INITIAL,
            Some(smoothed) => smoothed + (4 * self.variance).max(RTO_VARIANCE_MIN),
        };
        base.saturating_mul(2_u32.saturating_pow(self.retries)).min(RTO_MAX)
    }

    /// A segment that ends at `end` left for the first time.
    pub(super) fn sent(&mut self, end: u64, now: Duration) {
        self.timed.get_or_insert((end, now));
    }

    /// Something was sent again: what is being timed measures nothing any more.
    pub(super) fn sent_again(&mut self) {
        self.timed = None;
    }

    /// Everything before `ack` arrived.
    pub(super) fn acknowledged(&mut self, ack: u64, now: Duration) {
        self.retries = 0;
        let Some((_, sent)) = self.timed.take_if(|(end, _)| *end <= ack) else { return };
        let sample = now.saturating_sub(sent);
        match self.smoothed {
            None => {
                self.smoothed = Some(sample);
                self.variance = sample / 2;
            }
            Some(smoothed) => {
                self.variance = self.variance * 3 / 4 + smoothed.abs_diff(sample) / 4;
                self.smoothed = Some(smoothed * 7 / 8 + sample / 8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_the_round_trip_and_doubles_without_progress() {
        let mut rto = Rto::default();
        assert_eq!(rto.interval(), RTO_INITIAL);
        rto.sent(10, Duration::ZERO);
        rto.acknowledged(10, Duration::from_millis(80));
        assert_eq!(rto.interval(), Duration::from_millis(80 + 200));
        rto.retries = 3;
        assert_eq!(rto.interval(), Duration::from_millis(8 * 280));
        rto.retries = 31;
        assert_eq!(rto.interval(), RTO_MAX);
    }

    #[test]
    fn a_connect_without_a_reply_lasts_131_seconds() {
        let total = (0..).map_while(syn_pause).sum::<Duration>();
        assert_eq!(total, Duration::from_secs(131));
    }
}
