//! What becomes of the host and the path of a request before it is matched against routes, typed.

/// What a connection manager changes in the target of every request.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Normalisation {
    /// `path_with_escaped_slashes_action`. It comes first.
    pub escaped_slashes: EscapedSlashes,
    /// `normalize_path`
    pub path: PathForm,
    /// `merge_slashes`. It comes last.
    pub slashes: Slashes,
    /// `strip_matching_host_port` and `strip_any_host_port`
    pub port: HostPort,
    /// `strip_trailing_host_dot`
    pub trailing_dot: TrailingDot,
}

/// What a path with `%2F` or `%5C` gets.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EscapedSlashes {
    /// It stays as it is.
    #[default]
    Kept,
    /// They become slashes and backslashes.
    Unescaped,
    /// The client is sent to the path with slashes and backslashes in their place.
    Redirected,
    /// 400.
    Refused,
}

/// The form of a path.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PathForm {
    /// As it came.
    #[default]
    AsReceived,
    /// Without `.` and `..` (RFC 3986 5.2.4), without escapes of characters that need none (RFC 3986 2.3), and with slashes in
    /// the place of backslashes.
    Normalised,
}

/// What becomes of several slashes side by side.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Slashes {
    /// The slashes are kept.
    #[default]
    Kept,
    /// They become one.
    Merged,
}

/// What becomes of the port of a host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum HostPort {
    /// The port is kept.
    #[default]
    Kept,
    /// It goes if it is the listener's.
    StrippedIfOurs,
    /// The port is removed.
    Stripped,
}

/// What becomes of a dot behind the name of a host.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TrailingDot {
    /// The dot is kept.
    #[default]
    Kept,
    /// The dot is removed.
    Stripped,
}
