//! Secrets that come from files of their own: SDS, whose files are watched.
//!
//! A file that is of no use concerns its secret alone, which stays as it was read before.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A secret, and what came of reading its file.
#[derive(Clone, Debug)]
pub struct SecretRead {
    /// Its name.
    pub name: String,
    /// The file that it is in.
    pub path: String,
    /// What came of reading the file, and those that it names.
    pub found: Found,
    /// What is in use of it.
    pub(super) kept: Arc<Kept>,
}

/// What came of reading the file of a secret, and those that it names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// The secret, which is in use.
    Secret,
    /// A text that is no response, and why.
    Unreadable(String),
    /// A response that cannot be used, and why.
    Unusable(String),
}

/// A secret as it was read: what stands in its file, and in those that this one names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Kept {
    pub(super) text: String,
    /// `version_info`
    pub(super) version: String,
    /// By path.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

impl SecretRead {
    /// `version_info` of the file that is in use.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.kept.version
    }

    /// Is it the secret of this name in this file?
    #[must_use]
    pub fn is(&self, name: &str, path: &str) -> bool {
        self.name == name && self.path == path
    }

    /// Does its file hold something else than that of `used`?
    #[must_use]
    pub fn replaces(&self, used: &Self) -> bool {
        self.found == Found::Secret && self.kept.text != used.kept.text
    }

    /// Does what is in use of it come from the file at `path` as well?
    #[must_use]
    pub fn names(&self, path: &str) -> bool {
        self.kept.files.contains_key(path)
    }
}

impl Found {
    /// Why the file is of no use.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Secret => None,
            Self::Unreadable(why) | Self::Unusable(why) => Some(why),
        }
    }
}
