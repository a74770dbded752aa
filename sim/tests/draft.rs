//! `finwait-sim new` writes a scenario that runs from files as people have them.

use std::path::Path;

use finwait_sim::draft::{Input, draft};
use finwait_sim::scenario::{Family, LeaveOut, Library};
use finwait_sim::suite::Performance;

/// Writes a scenario from files of the repository, and plays it.
fn drafted(paths: &[&str], leave_out: &LeaveOut) -> (String, Performance) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let library = Library::Disk(root);
    let input = |path: &&str| Input { path: (*path).to_owned(), text: library.read(path).expect("the file is there") };
    let inputs: Vec<Input> = paths.iter().map(input).collect();
    let text = draft(&inputs, leave_out).expect("the files are good");
    let performance =
        Family::read(&library, "new.yaml", &text).and_then(|it| it.perform("new.yaml", None)).expect("it runs");
    (text, performance)
}

/// What each client saw, a line each.
fn seen(performance: &Performance) -> Vec<String> {
    let exchanges = &performance.shown.sightings.exchanges;
    exchanges.iter().map(|it| format!("{}: {it}", it.host).split(" after ").next().unwrap_or_default().into()).collect()
}

#[test]
fn three_files_become_three_hops_with_a_websocket() {
    let configs = ["front", "ingress", "sidecar"].map(|name| format!("scenarios/upgrades/configs/{name}.yaml"));
    let paths: Vec<&str> = configs.iter().map(String::as_str).collect();
    let (text, performance) = drafted(&paths, &LeaveOut::Nothing);
    insta::assert_snapshot!(text);
    assert_eq!(performance.complaints.len(), 0, "{:?}", performance.complaints);
    assert_eq!(seen(&performance), ["client: on tunnel1: websocket /: 101"]);
}

#[test]
fn a_sidecar_gets_apps_on_its_machine_and_elsewhere() {
    let (text, performance) = drafted(&["sim/tests/drafts/pod.yaml"], &LeaveOut::Anything);
    insta::assert_snapshot!(text);
    assert_eq!(performance.complaints.len(), 0, "{:?}", performance.complaints);
    insta::assert_snapshot!(seen(&performance).join("\n"));
}

#[test]
fn what_only_envoy_has_is_refused_unless_it_may_be_left_out() {
    let path = "scenarios/configuration/configs/with-a-script.yaml";
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let input = Input { path: path.to_owned(), text: library.read(path).expect("the file is there") };
    let why = draft(&[input], &LeaveOut::Nothing).unwrap_err();
    assert!(why.contains("`leave_out: [HTTP3, envoy.tracers.skywalking, envoy.filters.http.wasm"), "{why}");
    let (_, performance) = drafted(&[path], &LeaveOut::Anything);
    assert_eq!(seen(&performance), ["client: GET /: 200"]);
}
