//! Who names whom: the modules of one folder as a graph, and the circles in it.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Crate, Module};

/// The modules of one folder, each with the others that it names.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// One graph for each folder, by its path; the crate's own is under the empty path. What a folder's `mod.rs` and the files
/// below name counts as named by the folder.
pub(crate) fn graphs(of: &Crate) -> BTreeMap<Module, Graph> {
    let mut graphs: BTreeMap<Module, Graph> = BTreeMap::new();
    for source in &of.sources {
        for named in of.named_by(source) {
            let shared = source.module.iter().zip(&named).take_while(|(one, other)| one == other).count();
            let (Some(from), Some(to)) = (source.module.get(shared), named.get(shared)) else {
                continue; // a parent and its child
            };
            let graph = graphs.entry(named[..shared].to_vec()).or_default();
            graph.entry(to.clone()).or_default();
            graph.entry(from.clone()).or_default().insert(to.clone());
        }
    }
    graphs
}

/// The modules that name each other, directly or through others: each with all that are in a circle with it.
pub(crate) fn circles(graph: &Graph) -> BTreeSet<BTreeSet<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph.keys().map(|from| (from, reachable(graph, from))).collect();
    let mut circles = BTreeSet::new();
    for (from, others) in &reach {
        let circle: BTreeSet<String> =
            others.iter().filter(|other| reach[*other].contains(from)).map(|other| (*other).clone()).collect();
        if !circle.is_empty() {
            circles.insert(circle);
        }
    }
    circles
}

fn reachable<'g>(graph: &'g Graph, from: &String) -> BTreeSet<&'g String> {
    let mut found = BTreeSet::new();
    let mut waiting: Vec<&String> = graph[from].iter().collect();
    while let Some(module) = waiting.pop() {
        if found.insert(module) {
            waiting.extend(&graph[module]);
        }
    }
    found
}
