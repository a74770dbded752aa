//! Texts and bytes that stand in the file, or in another that the file names.

use std::fs::File;
use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::bootstrap::DataSource;
use crate::config::constraints::NonEmpty;
use crate::config::problem::Problem;
use crate::config::surroundings::Content;
use crate::config::yaml::{At, Notes};

/// The largest file that is read for a [`DataSource`]: a bundle of all public certificate authorities has 0.25 MB. Bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// What `written` stands for, at the place of the value that says so.
#[expect(
    clippy::disallowed_methods,
    reason = "a configuration that names a variable means that of the process that loads it"
)]
pub(super) fn bytes(written: &At<DataSource>) -> Result<At<Vec<u8>>, Problem> {
    let DataSource { environment_variable, filename, inline_bytes, inline_string } = &written.value;
    match (environment_variable, filename, inline_bytes, inline_string) {
        (None, None, None, Some(text)) => Ok(at(text, text.value.clone().into_bytes())),
        (None, None, Some(coded), None) => {
            let bytes = STANDARD.decode(&coded.value).map_err(|error| coded.invalid(format!("no base64: {error}")))?;
            Ok(at(coded, bytes))
        }
        (None, Some(path), None, None) => {
            let bytes = file(path)?;
            Ok(at(path, bytes))
        }
        (Some(name), None, None, None) => {
            let value = std::env::var(&*name.value).map_err(|error| {
                name.invalid_but(format!("the variable {}: {error}", &*name.value), "set it, or write inline_string")
            })?;
            Ok(at(name, value.into_bytes()))
        }
        _ => {
            Err(written.invalid("takes exactly one of filename, inline_bytes, inline_string and environment_variable"))
        }
    }
}

/// The same of certificates and keys, which come from where the configuration is loaded.
pub(super) fn certificates(written: &At<DataSource>, content: Content, notes: &Notes) -> Result<At<Vec<u8>>, Problem> {
    match &written.value.filename {
        Some(path) => Ok(at(path, certificate_file(path, content, notes)?)),
        None => bytes(written),
    }
}

/// The content of a file of certificates or keys.
fn certificate_file(path: &At<NonEmpty>, content: Content, notes: &Notes) -> Result<Vec<u8>, Problem> {
    let elsewhere = notes.surroundings().read(&path.value, content);
    elsewhere.map_or_else(|| file(path), |read| found(path, read))
}

/// The content of a file.
pub(super) fn file(path: &At<NonEmpty>) -> Result<Vec<u8>, Problem> {
    found(path, read(&path.value))
}

/// What came of reading the file at `path`.
pub(super) fn found(path: &At<NonEmpty>, read: io::Result<Vec<u8>>) -> Result<Vec<u8>, Problem> {
    read.map_err(|error| {
        path.invalid_but(
            format!("cannot read {:?}: {error}", &*path.value),
            "name a file that the user of this process may read; the path is relative to the working directory",
        )
    })
}

/// The same where it has to be a text.
pub(super) fn text(written: &At<DataSource>) -> Result<At<String>, Problem> {
    let At { place, value } = bytes(written)?;
    match String::from_utf8(value) {
        Ok(value) => Ok(At { place, value }),
        Err(_) => Err(Problem::invalid(&place, "not a text in UTF-8")),
    }
}

fn at<T, V>(written: &At<T>, value: V) -> At<V> {
    At { place: written.place.clone(), value }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a configuration that names a file means that of the machine that loads it"
)]
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}
