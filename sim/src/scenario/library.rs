//! Where scenario files are: in the repository, or inside the program.

use std::io;
use std::path::{Path, PathBuf};

/// A place to read scenarios and their configuration files from. Paths in it use `/`.
#[derive(Clone, Debug)]
pub enum Library {
    /// Below this folder.
    Disk(PathBuf),
    /// In the program, as they were when it was built.
    Embedded,
}

/// The repository's `scenarios/` and `proxy/examples/`, put here by build.rs: paths in order, with their content.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/scenarios.rs"));

impl Library {
    /// The `scenarios/` of the current folder, or else the program's own.
    #[must_use]
    pub fn find() -> Self {
        if Path::new("scenarios").is_dir() { Self::Disk(PathBuf::from(".")) } else { Self::Embedded }
    }

    /// The paths of all scenarios, in order: `scenarios/<topic>/<sentence>.yaml`. Files deeper down belong to
    /// scenarios and are none themselves.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn scenarios(&self) -> io::Result<Vec<String>> {
        let Self::Disk(root) = self else {
            let is_scenario = |path: &str| {
                path.starts_with("scenarios/") && path.matches('/').count() == 2 && path.ends_with(".yaml")
            };
            return Ok(EMBEDDED.iter().map(|(path, _)| (*path).to_owned()).filter(|path| is_scenario(path)).collect());
        };
        let mut found = Vec::new();
        for topic in names(&root.join("scenarios"))? {
            let folder = root.join("scenarios").join(&topic);
            if folder.is_dir() {
                let files = names(&folder)?.into_iter().filter(|name| name.ends_with(".yaml"));
                found.extend(files.map(|name| format!("scenarios/{topic}/{name}")));
            }
        }
        Ok(found)
    }

    /// The content of a file.
    ///
    /// # Errors
    /// There is no such file, or it is not UTF-8.
    pub fn read(&self, path: &str) -> io::Result<String> {
        match self {
            Self::Disk(root) => std::fs::read_to_string(root.join(path)),
            Self::Embedded => {
                let path = plain(path);
                let found = EMBEDDED.iter().find(|(has, _)| *has == path);
                found.map(|(_, text)| (*text).to_owned()).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
        }
    }
}

/// The names in a folder, sorted: the order of a directory is chance.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// The path of a file that the file of `path` names: relative to its folder, unless it begins at the root.
pub(super) fn beside(path: &str, named: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) if !named.starts_with('/') => format!("{folder}/{named}"),
        _ => named.to_owned(),
    }
}

/// A path without detours: `a/../b` is `b`.
pub(crate) fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        if part == ".." && parts.last().is_some_and(|last| *last != "..") {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_beside_the_one_that_names_them() {
        for (path, named, expected) in
            [("a/b.yaml", "c", "a/c"), ("b.yaml", "c", "c"), ("a/b.yaml", "/c", "/c"), ("/b.yaml", "c", "/c")]
        {
            assert_eq!(beside(path, named), expected);
        }
    }

    #[test]
    fn paths_lose_their_detours() {
        for (path, expected) in [("a/../b/c", "b/c"), ("a/b", "a/b"), ("../a", "../a"), ("a/b/../../c", "c")] {
            assert_eq!(plain(path), expected);
        }
    }
}
