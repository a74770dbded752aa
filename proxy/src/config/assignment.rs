//! Endpoints that a cluster has from a file of their own: EDS, whose file is watched.
//!
//! What is wrong in such a file concerns its cluster alone, which keeps the endpoints that it has.

use serde_json::Value;

/// The file of a cluster of type EDS, and what came of reading it.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// Where it is.
    pub path: String,
    /// `service_name`: what the assignment is called; empty: as the cluster.
    pub service: String,
    /// `version_info` of the file that was read last.
    pub version: String,
    /// What came of reading it.
    pub found: Found,
    /// The assignment in force, as it was written; null before the first.
    pub(super) message: Value,
}

/// What came of reading a file of endpoints.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// An assignment, which is in force.
    Assignment,
    /// No resource.
    Nothing,
    /// A text that is no response, and why.
    Unreadable(String),
    /// A response that cannot be used, and why.
    Unusable(String),
}

impl Found {
    /// Why the file is of no use.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Assignment | Self::Nothing => None,
            Self::Unreadable(why) | Self::Unusable(why) => Some(why),
        }
    }
}

impl Assigned {
    /// Has it brought another assignment than `used`?
    #[must_use]
    pub fn replaces(&self, used: &Self) -> bool {
        self.found == Found::Assignment && self.message != used.message
    }
}
