//! What routes put in the place of paths and of whole URLs, typed.

use std::borrow::Cow;

use http::HeaderValue;

use super::log_format::Format;

/// What takes the place of a path, or of a part of it. The query stays.
#[derive(Clone, Debug)]
pub enum PathRewrite {
    /// `prefix_rewrite`: this, in place of the part that the route matched.
    Prefix(String),
    /// `regex_rewrite` and `path_rewrite_policy`
    Regex(RegexRewrite),
    /// `path_rewrite`: what this makes of the request, in place of the whole path.
    Format(Format),
}

/// `envoy.type.matcher.v3.RegexMatchAndSubstitute`
#[derive(Clone, Debug)]
pub struct RegexRewrite {
    /// What is looked for, anywhere in the text.
    pub pattern: regex::Regex,
    /// What takes the place of each match.
    pub substitution: Substitution,
}

/// What takes the place of a match: the pieces one after the other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Substitution(pub Vec<Piece>);

/// A piece of a [`Substitution`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// `\1`: what a group of the expression took; 0 is the whole match.
    Group(usize),
    /// Text as it stands.
    Literal(String),
}

/// What a route changes in the target of the requests that it forwards.
#[derive(Clone, Debug, Default)]
pub struct Rewrites {
    /// In place of the host.
    pub host: Option<HostRewrite>,
    /// In place of the path.
    pub path: Option<PathRewrite>,
}

/// What takes the place of a host.
#[derive(Clone, Debug)]
pub struct HostRewrite {
    /// The new one.
    pub host: NewHost,
    /// What becomes of the old one, besides `x-envoy-original-host`.
    pub forwarded_host: ForwardedHost,
}

/// Where a new host comes from.
#[derive(Clone, Debug)]
pub enum NewHost {
    /// `auto_host_rewrite`: the name of the endpoint that gets the request, if it has one; with each try anew.
    Endpoint,
    /// `host_rewrite`: what this makes of the request.
    Format(Format),
    /// `host_rewrite_header`: the first value of the header of this name, in lower case.
    Header(String),
    /// `host_rewrite_literal`
    Literal(HeaderValue),
    /// `host_rewrite_path_regex`: made from the path without its query.
    Path(RegexRewrite),
}

/// `append_x_forwarded_host`
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ForwardedHost {
    /// `x-forwarded-host` stays as it came.
    Kept,
    /// The old host becomes the last of the list.
    Appended,
}

/// `redirect`: where the client is sent to. What is not named is the request's own.
#[derive(Clone, Debug, Default)]
pub struct Redirect {
    /// `host_redirect`, with its port if it has one.
    pub host: Option<String>,
    /// The path of the `location` header.
    pub path: RedirectPath,
    /// `port_redirect`
    pub port: Option<u16>,
    /// `https_redirect` or `scheme_redirect`
    pub scheme: Option<String>,
    /// `response_code`
    pub status: RedirectStatus,
    /// `strip_query`, which concerns the request's query and not that of `path_redirect`.
    pub query: RedirectQuery,
}

/// The path of a [`Redirect`].
#[derive(Clone, Debug, Default)]
pub enum RedirectPath {
    /// The request's.
    #[default]
    Kept,
    /// `path_redirect`. With a query, it has the request's query in it no more.
    Replaced(String),
    /// The request's, changed.
    Rewritten(PathRewrite),
}

/// The query of a [`Redirect`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RedirectQuery {
    /// The request's.
    #[default]
    Kept,
    /// `strip_query`: the query is left out.
    Stripped,
}

/// The status of a [`Redirect`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RedirectStatus {
    /// 301
    #[default]
    MovedPermanently,
    /// 302
    Found,
    /// 303
    SeeOther,
    /// 307
    TemporaryRedirect,
    /// 308
    PermanentRedirect,
}

/// Can `bytes` be a host, with or without a port? By the characters of RFC 3986 3.2.2, as the parsers of requests see it.
#[must_use]
pub fn is_host(bytes: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_allowed)
}

/// Can `bytes` be a part of the target of a request? Visible characters; `#` would begin a fragment, which has no place there
/// (RFC 9110 4.2.5).
#[must_use]
pub fn is_part_of_target(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#')
}

impl RegexRewrite {
    /// `text` with every match replaced.
    #[must_use]
    pub fn replace_all<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.pattern.replace_all(text, |found: &regex::Captures<'_>| {
            let pieces = self.substitution.0.iter().map(|piece| match piece {
                Piece::Group(number) => found.get(*number).map_or("", |group| group.as_str()),
                Piece::Literal(text) => text,
            });
            pieces.collect::<String>()
        })
    }
}

impl RedirectStatus {
    /// As a number.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}
