//! Changes to headers and to what else has names and values, typed.

use http::HeaderName;

use super::log_format::Format;

/// A change to what has a name and a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mutation<N> {
    /// Adds a value, or replaces those that are there.
    Append {
        /// Of what has this name.
        name: N,
        /// What the value is made from.
        value: Format,
        /// What happens to values that are there.
        action: AppendAction,
        /// `keep_empty_value`: a value that comes out empty is set. Always, for a query parameter.
        keeps_empty: bool,
    },
    /// Takes off all of this name.
    Remove(N),
}

/// `append_action`, or `action` of a query parameter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AppendAction {
    /// Only where there is none.
    AddIfAbsent,
    /// Beside those that are there.
    AppendIfExistsOrAdd,
    /// In place of those that are there, if there are any.
    OverwriteIfExists,
    /// In place of those that are there.
    OverwriteIfExistsOrAdd,
}

/// What a route, or something above it, changes in heads.
#[derive(Clone, Debug, Default)]
pub struct HeaderEdits {
    /// In requests that are forwarded.
    pub request: Edits,
    /// In responses, the proxy's own among them.
    pub response: Edits,
}

/// What is changed in a head.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edits {
    /// What is taken off. It goes first.
    pub remove: Vec<HeaderName>,
    /// What is set.
    pub add: Vec<Mutation<HeaderName>>,
}

impl HeaderEdits {
    /// Does it change nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.request, &self.response].iter().all(|edits| edits.remove.is_empty() && edits.add.is_empty())
    }
}
