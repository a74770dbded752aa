//! Texts and bytes that stand in the file, or in another that the file names.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::bootstrap::DataSource;
use crate::config::bootstrap::source::ConfigSource;
use crate::config::constraints::NonEmpty;
use crate::config::problem::Problem;
use crate::config::surroundings::Content;
use crate::config::yaml::{At, Notes};

/// The largest file that is read for a [`DataSource`]: a bundle of all public certificate authorities has 0.25 MB. Bytes.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// How deep directories of values may lie in each other: Envoy's limit.
const DIRECTORY_DEPTH_MAX: usize = 16;
/// The largest file of such a directory. Bytes.
const DIRECTORY_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Most files of such a directory: each is read whenever the directory changes.
const DIRECTORY_FILES_MAX: usize = 10_000;

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

/// The path of a file that is watched.
pub(super) fn watched<'s>(source: &'s At<ConfigSource>, notes: &Notes) -> Result<&'s At<NonEmpty>, Problem> {
    let path = match (&source.value.path_config_source, &source.value.path) {
        (Some(it), None) => &it.value.path,
        (None, Some(path)) => path,
        (None, None) | (Some(_), Some(_)) => {
            return Err(source.invalid_but("names no source", "write path_config_source: { path: ... }"));
        }
    };
    notes.watch(&path.value);
    Ok(path)
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
pub(super) fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|len| len > FILE_BYTES_MAX) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The texts of all files of a directory, and of those in it, as Envoy reads them: a file `b` in a directory `a` is that of `a.b`.
pub(super) fn directory(path: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    walk(path, "", DIRECTORY_DEPTH_MAX, &mut found)?;
    Ok(found)
}

fn walk(directory: &Path, prefix: &str, depth: usize, found: &mut BTreeMap<String, String>) -> io::Result<()> {
    let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
    // The order of a directory is chance, and one name may stand for another's key.
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let key = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}.{name}") };
        // A link is what it leads to. One that leads nowhere is nothing.
        let Ok(kind) = fs::metadata(entry.path()) else { continue };
        if kind.is_dir() {
            let Some(deeper) = depth.checked_sub(1) else {
                let what = format!("directories lie more than {DIRECTORY_DEPTH_MAX} deep in each other");
                return Err(io::Error::other(what));
            };
            walk(&entry.path(), &key, deeper, found)?;
        } else if kind.is_file() {
            if found.len() == DIRECTORY_FILES_MAX {
                return Err(io::Error::other(format!("it holds more than {DIRECTORY_FILES_MAX} files")));
            }
            found.insert(key, text_of(&entry.path())?);
        }
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a configuration that names a directory means that of the machine that loads it"
)]
fn text_of(path: &Path) -> io::Result<String> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(DIRECTORY_FILE_BYTES_MAX + 1).read_to_string(&mut text));
    let length = read.map_err(named)?;
    if length as u64 > DIRECTORY_FILE_BYTES_MAX {
        return Err(named(io::Error::other(format!("larger than {DIRECTORY_FILE_BYTES_MAX} bytes"))));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_directory_have_the_names_of_those_around_them() {
        let folder = std::env::temp_dir().join(format!("finwait-directory-{}", std::process::id()));
        let inner = folder.join("upstream");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("use_retry"), "0").unwrap();
        fs::write(folder.join("some.key"), "true").unwrap();
        std::os::unix::fs::symlink(folder.join("some.key"), folder.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.join("dangling")).unwrap();
        let texts: Vec<_> =
            directory(&folder).unwrap().into_iter().map(|(key, text)| format!("{key}={text}")).collect();
        assert_eq!(texts, ["link=true", "some.key=true", "upstream.use_retry=0"]);
        std::os::unix::fs::symlink(&folder, inner.join("circle")).unwrap();
        let error = directory(&folder).unwrap_err();
        assert_eq!(error.to_string(), "directories lie more than 16 deep in each other");
        fs::remove_dir_all(&folder).unwrap();
    }
}
