//! Keys of session tickets, wherever they stand.

use super::data_source;
use crate::config::bootstrap::tls::TlsSessionTicketKeys;
use crate::config::error::Cause;
use crate::config::problem::Problem;
use crate::config::surroundings::Content;
use crate::config::tls::TicketKeys;
use crate::config::yaml::{At, Notes};

pub(super) fn read(written: &At<TlsSessionTicketKeys>, notes: &Notes) -> Result<TicketKeys, Problem> {
    let keys = &written.value.keys;
    if keys.is_empty() {
        return Err(written.invalid_but("there is no key", "write keys: [{ filename: ... }], each of 80 random bytes"));
    }
    let read = keys.iter().map(|key| data_source::certificates(key, Content::TicketKey, notes));
    let read = read.collect::<Result<Vec<_>, _>>()?;
    let bytes: Vec<_> = read.iter().map(|key| key.value.clone()).collect();
    TicketKeys::new(&bytes).map_err(|(nth, error)| {
        let place = read.get(nth).map_or(&written.place, |key| &key.place);
        let cause =
            Cause::Invalid { what: error.to_string(), remedy: Some("write one with `openssl rand 80`".to_owned()) };
        Problem::at(place, cause)
    })
}
