//! HTTP/2 options, towards clients and towards clusters.

use std::num::NonZeroU32;
use std::time::Duration;

/// HTTP/2 options, for either direction. Every field has Envoy's name and default.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Http2Options {
    /// Advertise and accept extended CONNECT (RFC 8441).
    pub allow_connect: bool,
    /// HPACK table. Bytes.
    pub hpack_table_size: u32,
    /// Connection window. Bytes.
    pub initial_connection_window_size: u32,
    /// Stream window. Bytes.
    pub initial_stream_window_size: u32,
    /// Streams the peer may have open at once.
    pub max_concurrent_streams: NonZeroU32,
    /// Limits of frames that cost their sender nothing.
    pub floods: Http2Floods,
    /// `connection_keepalive`: whether and how PING finds out if the peer is there.
    pub keepalive: Option<Keepalive>,
}

/// Limits of frames that cost their sender nothing. More of them end the connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Http2Floods {
    /// `max_consecutive_inbound_frames_with_empty_payload`: DATA, HEADERS and CONTINUATION without payload, in a row.
    pub empty_frames_max: u32,
    /// `max_inbound_priority_frames_per_stream`: PRIORITY frames, for each stream and one more.
    pub priorities_per_stream_max: u32,
    /// `max_inbound_window_update_frames_per_data_frame_sent`: of `WINDOW_UPDATE`, 1 + 2 * (streams + this many for each
    /// DATA frame sent).
    pub window_updates_per_data_max: u32,
}

impl Default for Http2Floods {
    fn default() -> Self {
        Self { empty_frames_max: 1, priorities_per_stream_max: 100, window_updates_per_data_max: 10 }
    }
}

/// How PING finds out whether a peer is there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Keepalive {
    /// From one PING acknowledgement to the next PING; `None` is no PING but those below.
    pub interval: Option<Duration>,
    /// A random part of this is added to each interval.
    pub jitter: Duration,
    /// How long a response may take.
    pub timeout: Duration,
    /// A connection that was idle for so long gets a PING beside its next request. Towards clusters only.
    pub after_idle: Option<Duration>,
}

impl Default for Http2Options {
    fn default() -> Self {
        Self {
            allow_connect: false,
            hpack_table_size: 4096,
            initial_connection_window_size: 24 * 1024 * 1024,
            initial_stream_window_size: 16 * 1024 * 1024,
            max_concurrent_streams: NonZeroU32::new(1024).unwrap_or(NonZeroU32::MIN),
            floods: Http2Floods::default(),
            keepalive: None,
        }
    }
}
