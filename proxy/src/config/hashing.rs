//! What of a request or of a connection says which endpoint it goes to, typed: `hash_policy`.

use std::time::Duration;

use http::HeaderName;

use super::rewrite::RegexRewrite;

/// One of several hash policies, whose hashes are joined.
#[derive(Clone, Debug)]
pub struct HashPolicy {
    /// What is hashed.
    pub of: Hashed,
    /// `terminal`: those behind it do not count once there is a hash.
    pub ends: bool,
}

/// What is hashed.
#[derive(Clone, Debug)]
pub enum Hashed {
    /// A cookie.
    Cookie(HashedCookie),
    /// All values of a header, in whatever order.
    Header {
        /// Its name.
        name: HeaderName,
        /// What is changed in each value before.
        rewrite: Option<RegexRewrite>,
    },
    /// The first query parameter of this name, as it is written.
    Query(String),
    /// The address of the client, without its port.
    SourceIp,
}

/// A cookie that says which endpoint a client is used to.
#[derive(Clone, Debug)]
pub struct HashedCookie {
    /// Its name.
    pub name: String,
    /// Clients without it get one.
    pub given: Option<GivenCookie>,
}

/// A cookie for a client that has none.
#[derive(Clone, Debug)]
pub struct GivenCookie {
    /// `Max-Age`, in whole seconds; zero is left out, which is the end of the browser's session.
    pub ttl: Duration,
    /// What stands in the header behind the value and `Max-Age`.
    pub rest: String,
}
