//! What the file arguments of `run` mean: files, folders of scenarios, patterns, and `-` for standard input.

use std::io;
use std::path::Path;

use finwait_sim::scenario::Library;

/// Standard input.
pub(super) const STDIN: &str = "-";

/// What one argument stands for.
pub(super) enum Named {
    /// All that a folder or a pattern has.
    Many(Vec<String>),
    /// One file.
    One(String),
}

/// The scenarios that an argument stands for, in order.
///
/// # Errors
/// A folder or pattern has no scenario, or cannot be read.
pub(super) fn expand(argument: &str) -> io::Result<Named> {
    let path = Path::new(argument);
    if argument == STDIN || path.is_file() {
        return Ok(Named::One(argument.into()));
    }
    let is_pattern = argument.contains(['*', '?']);
    let found = if path.is_dir() {
        below(path)?
    } else if is_pattern {
        let fixed = argument.split('/').take_while(|part| !part.contains(['*', '?'])).collect::<Vec<_>>().join("/");
        let root = if fixed.is_empty() && !argument.starts_with('/') { "." } else { fixed.as_str() };
        let on_disk = if Path::new(root).is_dir() { below(Path::new(root))? } else { in_program("")? };
        on_disk.into_iter().filter(|file| matches(argument, file)).collect()
    } else {
        in_program(argument)?
    };
    match found.is_empty() {
        true if is_pattern || path.is_dir() => {
            Err(io::Error::other(format!("{argument}: no scenario there: a scenario has the key `hosts`")))
        }
        // A file that is not there, or one within the program: loading it has the message.
        true => Ok(Named::One(argument.into())),
        false => Ok(Named::Many(found)),
    }
}

/// The scenarios within a folder of those that the program brings.
fn in_program(folder: &str) -> io::Result<Vec<String>> {
    let folder = format!("{}/", folder.trim_end_matches('/'));
    let all = Library::find().scenarios()?;
    Ok(all.into_iter().filter(|file| folder == "/" || file.starts_with(&folder)).collect())
}

/// The scenarios in a folder and those inside it, in order.
fn below(folder: &Path) -> io::Result<Vec<String>> {
    let mut entries =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    entries.sort_unstable(); // the order of a directory is chance
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(below(&path)?);
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            // A configuration has no such key. What cannot be read is no scenario either.
            let is_scenario = std::fs::read_to_string(&path).is_ok_and(|text| has_hosts(&text));
            let name = path.to_string_lossy();
            found.extend(is_scenario.then(|| name.strip_prefix("./").unwrap_or(&name).to_owned()));
        }
    }
    Ok(found)
}

fn has_hosts(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("hosts:"))
}

/// Whether a path is as a pattern has it: `*` and `?` within a name, `**` for any folders.
fn matches(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) =
        (pattern.trim_start_matches("./").split('/').collect(), path.split('/').collect());
    parts_match(&pattern, &path)
}

fn parts_match(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => (0..=path.len()).any(|at| parts_match(rest, path.get(at..).unwrap_or_default())),
        (Some((first, rest)), Some((name, names))) => {
            let (first, name): (Vec<char>, Vec<char>) = (first.chars().collect(), name.chars().collect());
            name_matches(&first, &name) && parts_match(rest, names)
        }
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn name_matches(pattern: &[char], name: &[char]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some(('*', rest)), _) => (0..=name.len()).any(|at| name_matches(rest, name.get(at..).unwrap_or_default())),
        (Some((letter, rest)), Some((has, others))) => (*letter == '?' || letter == has) && name_matches(rest, others),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_within_names_unless_they_have_two_stars() {
        for (pattern, path, expected) in [
            ("scenarios/*/a-*.yaml", "scenarios/tls/a-b.yaml", true),
            ("scenarios/*.yaml", "scenarios/tls/a.yaml", false),
            ("./scenarios/**", "scenarios/tls/a.yaml", true),
            ("**/a.yaml", "scenarios/tls/a.yaml", true),
            ("scenarios/tl?/a.yaml", "scenarios/tls/a.yaml", true),
            ("scenarios/tl?/a.yaml", "scenarios/tl/a.yaml", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
