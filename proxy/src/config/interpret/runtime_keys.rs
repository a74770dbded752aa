//! Keys of the runtime that have a value in some layer, and where they stand.

use crate::config::error::Place;
use crate::config::runtime::{acts, limited};
use crate::config::yaml::{At, Entry, Notes};

/// A key has a value in some layer: something has to read it, and what it names has to be there.
pub(super) fn note_key(notes: &Notes, at: &Place, key: &str) {
    let key_at = || At { place: at.clone(), value: key.to_owned() };
    if !acts(key) {
        notes.needs_reader(key_at());
    }
    if limited(key).is_some() {
        notes.needs_owner(key_at());
    }
}

/// The place of a field.
pub(super) fn place(path: &str, entry: &Entry) -> Place {
    Place { path: format!("{path}.{}", entry.key), at: Some(entry.at) }
}
