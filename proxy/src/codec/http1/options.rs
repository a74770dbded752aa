//! What the two ends of an HTTP/1 connection may send, and how it is written.

use crate::config::header_names::{NameCase, TrailerRule, Underscores};

/// Which methods a request may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Methods {
    /// Those that Envoy accepts.
    Known,
    /// Every token (RFC 9110 9.1): `allow_custom_methods`.
    Tokens,
}

/// How the names of a client's fields are read, and those of responses written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NameRules {
    /// In which letters.
    pub case: NameCase,
    /// What becomes of names with underscores.
    pub underscores: Underscores,
}

impl NameRules {
    /// Every name is passed on, in lower case.
    pub const PLAIN: Self = Self { case: NameCase::Lower, underscores: Underscores::Allowed };
}

/// What a client may send, and how much waits for it.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// Bytes of a request head, start line included; more gets 431.
    pub head_bytes_max: usize,
    /// Fields of a request head; more gets 431.
    pub headers_max: usize,
    /// Serve HTTP/1.0 rather than respond with 426.
    pub accept_http_10: bool,
    /// Which methods are served; another gets 400.
    pub methods: Methods,
    /// How the names of fields are read and written.
    pub names: NameRules,
    /// What becomes of trailers.
    pub trailers: TrailerRule,
    /// Bytes of response that may wait for the client before [`Outgoing::poll_ready`](super::Outgoing::poll_ready) holds back.
    pub write_buffer_bytes_max: usize,
}

/// What a server may send, and how much waits for it.
#[derive(Clone, Copy, Debug)]
pub struct ClientOptions {
    /// Bytes of a response head, start line included.
    pub head_bytes_max: usize,
    /// Fields of a response head.
    pub headers_max: usize,
    /// How the names of fields are written, and whether it is kept how they come.
    pub case: NameCase,
    /// What becomes of trailers.
    pub trailers: TrailerRule,
    /// Bytes of request that may wait for the server before [`Outgoing::poll_ready`](super::Outgoing::poll_ready) holds back.
    pub write_buffer_bytes_max: usize,
}

impl ClientOptions {
    /// What becomes of trailers, and how their names are written.
    pub(super) fn trailers(&self) -> (TrailerRule, NameCase) {
        (self.trailers, self.case)
    }
}
