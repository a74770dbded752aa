//! `disk_layer`: runtime values from the files of a directory, whose names are the keys.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::data_source;
use super::runtime_keys::{note_key, place};
use crate::config::error::{Name, Place};
use crate::config::problem::{Problem, unknown};
use crate::config::runtime::RuntimeValue;
use crate::config::yaml::{Entry, Node, Notes, Value, snake_case};

/// The fields of a disk layer.
struct Written<'n> {
    root: &'n str,
    subdirectory: &'n str,
    appends_cluster: bool,
}

/// The values that the files of the directory hold; `None`, as in Envoy no layer at all, if there is no such directory. `cluster` is
/// the service cluster of the node.
pub(super) fn values(
    entry: &Entry,
    path: &str,
    cluster: Option<&str>,
    notes: &Notes,
) -> Result<Option<BTreeMap<String, RuntimeValue>>, Problem> {
    let at = place(path, entry);
    let Written { root, subdirectory, appends_cluster } = written(&entry.value, &at)?;
    let mut directory = format!("{root}/{subdirectory}");
    if appends_cluster {
        let Some(cluster) = cluster else {
            let what =
                "append_service_cluster needs node.cluster in the configuration; --service-cluster does not set it";
            return Err(Problem::invalid(&at, what));
        };
        directory = format!("{directory}/{cluster}");
    }
    if notes.surroundings().files.is_some() {
        notes.note(&at, "has no values here: no directory is read; write them in a static_layer");
        return Ok(None);
    }
    notes.watch(root);
    let texts = match data_source::directory(Path::new(&directory)) {
        Ok(texts) => texts,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            notes.note(&at, format!("has no values: there is no directory {directory:?}"));
            return Ok(None);
        }
        Err(error) => {
            let remedy = "name a directory whose files the user of this process may read";
            return Err(Problem::invalid(&at, format!("cannot read {directory:?}: {error}; {remedy}")));
        }
    };
    let values: BTreeMap<String, RuntimeValue> = texts.into_iter().map(|(key, text)| (key, value(&text))).collect();
    for (key, value) in &values {
        value.check(key).map_err(|error| Problem::invalid(&at, format!("in {directory:?}: {error}")))?;
        note_key(notes, &Place { path: format!("{}.{key}", at.path), at: at.at }, key);
    }
    Ok(Some(values))
}

fn written<'n>(node: &'n Node, at: &Place) -> Result<Written<'n>, Problem> {
    let mut written = Written { root: "", subdirectory: "", appends_cluster: false };
    let Value::Map(entries) = &node.value else {
        return Err(Problem::invalid(at, "takes symlink_root and subdirectory"));
    };
    for entry in entries {
        match (&*snake_case(&entry.key), &entry.value.value) {
            (_, Value::Null) => {}
            ("symlink_root", Value::Text(text)) => written.root = text,
            ("subdirectory", Value::Text(text)) => written.subdirectory = text,
            ("append_service_cluster", Value::Bool(is_on)) => written.appends_cluster = *is_on,
            ("symlink_root" | "subdirectory", _) => {
                return Err(Problem::invalid(&place(&at.path, entry), "the name of a directory is a text"));
            }
            ("append_service_cluster", _) => {
                return Err(Problem::invalid(&place(&at.path, entry), "true or false"));
            }
            (key, _) => {
                let known = ["append_service_cluster", "subdirectory", "symlink_root"];
                return Err(Problem::at(&place(&at.path, entry), unknown(Name::Field, key, &known)));
            }
        }
    }
    if written.root.is_empty() || written.subdirectory.is_empty() {
        return Err(Problem::invalid(at, "takes symlink_root and subdirectory, which are not empty"));
    }
    Ok(written)
}

/// The value that a file holds: its lines without comments, and without the blanks at their end.
fn value(text: &str) -> RuntimeValue {
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let text = lines.join("\n");
    RuntimeValue::parse(text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blanks_at_the_end_are_no_value() {
        for (text, expected) in
            [("# a comment\n0\n", "0"), ("true  \n", "true"), ("# nothing\n", ""), ("a\n\nb", "a\nb"), ("", "")]
        {
            assert_eq!(value(text).to_string(), expected, "{text:?}");
        }
        assert_eq!(value("50\n"), RuntimeValue::Number(50.0));
    }
}
