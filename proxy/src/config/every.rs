//! Finds every problem of a file, where reading it ends at the first.
//!
//! What a problem is about is left out of the tree, and the rest is read again, until nothing is wrong or the problems are
//! many. What is wrong only because something has been left out is no problem of the file: a message that lacks a field
//! goes without a word if one of its fields was left out before, and checks that compare parts of the file with each
//! other are not made any more.

use std::collections::BTreeSet;

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

/// The problems of `tree`, of which `first` ended reading it at `stage`, in the order of the file. `read` reads a tree.
pub(super) fn problem(
    mut tree: Node,
    first: (Stage, Problem),
    read: impl Fn(&Node) -> Result<(), (Stage, Problem)>,
) -> Vec<Problem> {
    let stage = first.0;
    let mut found = Vec::new();
    let mut incomplete = BTreeSet::new();
    let mut next = Some(first);
    while let Some((at, problem)) = next.take() {
        let path = problem.place.as_ref().map(|place| place.path.clone()).unwrap_or_default();
        if !found.is_empty() && is_doubtful(at, stage, &problem) {
            break;
        }
        if !(matches!(*problem.cause, Cause::Missing { .. }) && incomplete.contains(&path)) {
            found.push(problem);
        }
        let Some(message) = tree.leave_out(&path) else { break };
        incomplete.insert(message);
        if found.len() < PROBLEMS_MAX {
            next = read(&tree).err();
        }
    }
    found.sort_by_key(|problem| problem.place.as_ref().and_then(|place| place.at.map(|at| (at.line, at.column))));
    found
}

/// May this be wrong only because another part has been left out?
fn is_doubtful(at: Stage, first: Stage, problem: &Problem) -> bool {
    match (first, at) {
        (_, Stage::Decoding) => false,
        (Stage::Decoding, Stage::Interpretation) => true,
        (Stage::Interpretation, Stage::Interpretation) => {
            !matches!(*problem.cause, Cause::Unsupported { .. } | Cause::Unknown { .. } | Cause::Old { .. })
        }
    }
}
