//! Finds every problem of a file, where reading it ends at the first.
//!
//! What a problem is about is left out of the tree, and the rest is read again, until nothing is wrong or the problems are
//! many. What may be wrong only because something has been left out is no problem of the file, and goes without a word.

use super::error::Cause;
use super::problem::Problem;
use super::yaml::Node;

/// Problems that are told of one file. Each costs another reading.
const PROBLEMS_MAX: usize = 100;

/// How far reading came before a problem ended it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Stage {
    /// The messages were read one by one.
    Decoding,
    /// They were put together.
    Interpretation,
}

/// The problems of `tree`, of which `first` ended reading it, in the order of the file. `read` reads a tree.
pub(super) fn problem(
    mut tree: Node,
    first: (Stage, Problem),
    read: impl Fn(&Node) -> Result<(), (Stage, Problem)>,
) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    let mut next = Some(first);
    // The first is told whatever it is; each one that is not told leaves something out, too.
    for _ in 0..PROBLEMS_MAX {
        let Some((at, problem)) = next.take() else { break };
        let path = problem.place.as_ref().map(|place| place.path.clone()).unwrap_or_default();
        if found.is_empty() || !is_doubtful(at, &path, &problem, &left_out) {
            found.push(problem);
        }
        if tree.leave_out(&path).is_none() {
            break;
        }
        let ends_here =
            path.starts_with(CLUSTERS) && (path.ends_with("].name") || path.ends_with(']') && !path.contains("]."));
        left_out.push(path);
        // Without a cluster, or its name, the routes that lead to it would be wrong.
        next = if ends_here { None } else { read(&tree).err() };
    }
    found.sort_by_key(|problem| problem.place.as_ref().and_then(|place| place.at.map(|at| (at.line, at.column))));
    found
}

const CLUSTERS: &str = "static_resources.clusters";

/// May this be wrong only because another part has been left out? A message is checked with all that it holds, an item of a
/// list against the others of the list.
fn is_doubtful(at: Stage, path: &str, problem: &Problem, left_out: &[String]) -> bool {
    let lacks = |message: &str| left_out.iter().any(|path| is_within(path, message));
    match at {
        Stage::Decoding => matches!(*problem.cause, Cause::Missing { .. }) && lacks(path),
        Stage::Interpretation => lacks(checked_with(path)),
    }
}

/// The list that `path` is an item of, or else the nearest item of a list that it is in, or else the whole file.
fn checked_with(path: &str) -> &str {
    let end = match path.ends_with(']') {
        true => path.rfind('['),
        false => path.rfind(']').map(|at| at + 1),
    };
    path.get(..end.unwrap_or(0)).unwrap_or_default()
}

/// Is `path` in the message or list at `outer`?
fn is_within(path: &str, outer: &str) -> bool {
    outer.is_empty() || path.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_checked_together_is_the_nearest_item_or_its_list() {
        for (path, with) in [
            ("static_resources.listeners[0].address.pipe.mode", "static_resources.listeners[0]"),
            ("static_resources.listeners[1]", "static_resources.listeners"),
            ("a[0].b[12].c", "a[0].b[12]"),
            ("admin.address", ""),
            ("typed_per_filter_config[\"envoy.filters.http.cors\"]", "typed_per_filter_config"),
        ] {
            assert_eq!(checked_with(path), with, "{path}");
        }
        assert!(is_within("a[1].b", "a[1]") && !is_within("a[10].b", "a[1]") && is_within("a", ""));
    }
}
