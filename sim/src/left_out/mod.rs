//! What is left out of a configuration so that it loads: extensions, fields and values that Envoy has and finwait has not.
//!
//! The proxy is strict, and names all that it refuses. Where a scenario permits it, [`load`] leaves out what was refused
//! and reads the file again, until it loads. What a filter was the only content of goes with it. Every place that was left
//! out is on record with what may have become different by that, as [`effect`] knows it.

mod effect;
mod widen;

use finwait::config::{Cause, ConfigError, Name, Places};

use crate::scenario::{LeaveOut, steps};
pub use effect::Effect;

/// Readings of one file. Each leaves out at least one thing more than the one before.
const READINGS_MAX: usize = 64;

/// One place of a configuration that is not read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LeftOut {
    /// As the errors of a configuration spell it.
    pub(crate) path: String,
    /// Where it begins.
    line: Option<usize>,
    /// What stands there.
    what: String,
    pub(crate) effect: Effect,
    /// The last part of its name, and the name, as a scenario may call it.
    names: Vec<String>,
    /// The names of what stands inside it and would have been left out as well.
    within: Vec<String>,
}

/// What comes of `read`, which reads `text` without what is at some paths, and what had to be left out for it.
pub(crate) fn load<T>(
    text: &str,
    wanted: &LeaveOut,
    read: impl Fn(&[String]) -> Result<T, ConfigError>,
) -> Result<(T, Vec<LeftOut>), Box<ConfigError>> {
    let mut left_out: Vec<LeftOut> = Vec::new();
    let places = Places::read(text);
    for _ in 0..READINGS_MAX {
        let paths: Vec<String> = left_out.iter().map(|it| it.path.clone()).collect();
        let error = match read(&paths) {
            Ok(read) => {
                left_out.sort_by_key(|it| it.line);
                return Ok((read, without_inner(left_out)));
            }
            Err(error) => error,
        };
        let before = left_out.len();
        let found: Vec<_> = all(&error).map(|problem| candidate(problem, &left_out)).collect();
        if found.iter().any(Option::is_none) {
            return Err(Box::new(error));
        }
        for mut next in found.into_iter().flatten().filter(|it| permits(wanted, it)) {
            if left_out.iter().all(|it| it.path != next.path) {
                next.line = steps(&next.path)
                    .and_then(|steps| places.as_ref()?.find(&steps.iter().map(String::as_str).collect::<Vec<_>>()))
                    .map(|at| at.line);
                left_out.push(next);
            }
        }
        if left_out.len() == before {
            return Err(Box::new(error));
        }
    }
    read(&left_out.iter().map(|it| it.path.clone()).collect::<Vec<_>>()).map(|read| (read, left_out)).map_err(Box::new)
}

/// How a scenario may call all that it leaves out and what an error is about; nothing if something cannot be left out.
pub(crate) fn names(error: &ConfigError, leave_out: &LeaveOut) -> Vec<String> {
    let mut names = leave_out.names().to_vec();
    for problem in all(error) {
        let name = candidate(problem, &[]).and_then(|it| it.names.into_iter().next());
        match name {
            Some(name) if names.contains(&name) => {}
            Some(name) => names.push(name),
            None => return Vec::new(),
        }
    }
    names
}

/// The problems of a file.
fn all(error: &ConfigError) -> impl Iterator<Item = &ConfigError> {
    std::iter::once(error).chain(&*error.others)
}

fn permits(wanted: &LeaveOut, it: &LeftOut) -> bool {
    match wanted {
        LeaveOut::Anything => true,
        // What cannot be without what was left out has no name of its own.
        LeaveOut::Named(names) | LeaveOut::Wherever(names) => {
            it.names.is_empty() || it.names.iter().any(|name| names.contains(name))
        }
        LeaveOut::Nothing => false,
    }
}

/// Without places inside of others that are left out too.
fn without_inner(left_out: Vec<LeftOut>) -> Vec<LeftOut> {
    let is_inner = |it: &LeftOut| left_out.iter().any(|other| widen::is_inside(&it.path, &other.path));
    let inner: Vec<bool> = left_out.iter().map(is_inner).collect();
    // What was left out first is the reason why the rest had to be, so that it stays by name.
    let named = |outer: &LeftOut| {
        left_out.iter().find(|it| widen::is_inside(&it.path, &outer.path) && !it.names.is_empty()).cloned()
    };
    let kept = left_out.iter().zip(inner).filter(|(_, is_inner)| !is_inner).map(|(it, _)| match named(it) {
        Some(cause) if it.names.is_empty() => {
            let what = format!("{}, for the sake of the {}", it.what, cause.what);
            LeftOut { what, effect: cause.effect.of_whole(), names: cause.names, ..it.clone() }
        }
        Some(_) | None => it.clone(),
    });
    let inside = |outer: &LeftOut| {
        let inner = left_out.iter().filter(|it| widen::is_inside(&it.path, &outer.path));
        inner.flat_map(|it| it.names.clone()).collect()
    };
    kept.map(|it| LeftOut { within: inside(&it), ..it }).collect()
}

/// What to leave out because of a problem; none if the file is wrong.
fn candidate(problem: &ConfigError, left_out: &[LeftOut]) -> Option<LeftOut> {
    let path = &problem.place.path;
    match &*problem.cause {
        Cause::Unsupported { name, .. } | Cause::Unknown { name: name @ Name::Type(_), .. } if !path.is_empty() => {
            let path = widen::feature(path, name);
            Some(LeftOut {
                line: None,
                what: what(name, &path),
                effect: effect::of(name, &path),
                names: called(name, &path),
                within: Vec::new(),
                path,
            })
        }
        // All that is wrong by itself was told at the first reading: without what was left out since, this is nothing.
        Cause::Invalid { .. } | Cause::Missing { .. } => {
            let lacks = |outer: &&str| left_out.iter().any(|it| widen::is_inside(&it.path, outer));
            let item = Some(path.as_str()).filter(|path| path.ends_with(']')).filter(lacks);
            let outer = item.or_else(|| widen::enclosing(path).filter(lacks))?.to_owned();
            let what = format!("`{}`", last_key(&outer));
            Some(LeftOut {
                line: None,
                what,
                effect: Effect::UNKNOWN,
                names: Vec::new(),
                within: Vec::new(),
                path: outer,
            })
        }
        Cause::Old { .. }
        | Cause::Syntax(_)
        | Cause::Unknown { .. }
        | Cause::Unsupported { .. }
        | Cause::WrongType { .. }
        | _ => None,
    }
}

/// `HTTP filter envoy.filters.http.lua`, or `field rate_limits`.
fn what(name: &Name, path: &str) -> String {
    match name {
        Name::Extension { kind, name } => format!("{kind} {name}"),
        Name::Field => format!("field {}", last_key(path)),
        Name::Type(url) => format!("extension of the type {}", url.trim_start_matches("type.googleapis.com/")),
        Name::Value(value) => format!("value {value} of {}", last_key(path)),
    }
}

/// What a scenario may call it.
fn called(name: &Name, path: &str) -> Vec<String> {
    let last_part = |name: &str| name.rsplit('.').next().unwrap_or(name).to_owned();
    match name {
        Name::Extension { name, .. } => vec![(*name).to_owned(), last_part(name), last_key(path)],
        Name::Field => vec![last_key(path)],
        Name::Type(name) | Name::Value(name) => vec![name.clone(), last_part(name), last_key(path)],
    }
}

/// The key at the end of a path, or the one before the number of an item.
fn last_key(path: &str) -> String {
    let steps = steps(path).unwrap_or_default();
    steps.into_iter().rfind(|step| step.parse::<usize>().is_err()).unwrap_or_default()
}

/// The names of nothing that was left out.
pub(crate) fn unused<'n>(names: &'n [String], left_out: &[&LeftOut]) -> Vec<&'n str> {
    let is_used = |name: &&String| left_out.iter().any(|it| it.names.contains(name) || it.within.contains(name));
    names.iter().filter(|name| !is_used(name)).map(String::as_str).collect()
}

/// That names are of nothing.
pub(crate) fn unused_text(unused: &[&str]) -> String {
    format!(
        "nothing is left out by the name {}: finwait has it, or the configuration has not; take the name away, or correct it",
        unused.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
    )
}

impl LeftOut {
    /// Whether it stands in the message at `outer`.
    pub(crate) fn is_inside(&self, outer: &[String]) -> bool {
        steps(&self.path).is_some_and(|steps| steps.starts_with(outer))
    }

    /// Whether it is a part of a cluster.
    pub(crate) fn is_in_cluster(&self) -> bool {
        self.path.starts_with("static_resources.clusters")
    }

    /// What it is and where: `HTTP filter envoy.filters.http.lua (front.yaml:12)`.
    #[must_use]
    pub fn name(&self, file: &str) -> String {
        match self.line {
            Some(line) => format!("{} ({file}:{line})", self.what),
            None => format!("{} ({file})", self.what),
        }
    }

    /// In one line, as the head of a story has it.
    #[must_use]
    pub fn describe(&self, file: &str) -> String {
        format!("{}: {}", self.name(file), self.effect)
    }
}
