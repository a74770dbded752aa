//! Options of sockets, as written.

use serde::Deserialize;

use crate::config::yaml::{At, Tree};

/// `envoy.config.core.v3.SocketOption`
#[derive(Debug, Deserialize)]
pub(crate) struct SocketOption {
    pub(crate) buf_value: Option<At<String>>,
    #[expect(dead_code, reason = "it is for who reads the file")]
    pub(crate) description: Option<String>,
    pub(crate) int_value: Option<i64>,
    #[serde(default)]
    pub(crate) level: i64,
    #[serde(default)]
    pub(crate) name: i64,
    pub(crate) state: Option<SocketState>,
    pub(crate) r#type: Option<SocketType>,
}

/// `envoy.config.core.v3.SocketOption.SocketState`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) enum SocketState {
    #[serde(rename = "STATE_PREBIND")]
    Prebind,
    #[serde(rename = "STATE_BOUND")]
    Bound,
    #[serde(rename = "STATE_LISTENING")]
    Listening,
}

/// `envoy.config.core.v3.SocketOption.SocketType`
#[derive(Debug, Deserialize)]
pub(crate) struct SocketType {
    pub(crate) datagram: Option<At<Tree>>,
    pub(crate) stream: Option<At<Tree>>,
}

/// `envoy.config.core.v3.SocketOptionsOverride`
#[derive(Debug, Deserialize)]
pub(crate) struct SocketOptionsOverride {
    #[serde(default)]
    pub(crate) socket_options: Vec<At<SocketOption>>,
}

/// `envoy.config.core.v3.TcpKeepalive`
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct TcpKeepalive {
    pub(crate) keepalive_interval: Option<u32>,
    pub(crate) keepalive_probes: Option<u32>,
    pub(crate) keepalive_time: Option<u32>,
}

/// What of a listener, or of one of its addresses, concerns its socket.
#[derive(Clone, Copy)]
pub(crate) struct WrittenSocket<'w> {
    pub(crate) options: &'w [At<SocketOption>],
    pub(crate) keepalive: Option<TcpKeepalive>,
    pub(crate) freebind: bool,
    pub(crate) transparent: bool,
}
