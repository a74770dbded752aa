//! Every snapshot beside these tests belongs to a test: one that a renamed test has left behind would be compared with nothing.

use std::fs;
use std::path::Path;

#[test]
fn every_snapshot_belongs_to_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut left_behind = Vec::new();
    for entry in fs::read_dir(tests.join("snapshots")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        // insta's name of a file: the test target, the function, and a number from the second snapshot of a function on.
        let name = file.strip_suffix(".snap").unwrap_or(&file);
        let belongs = name.split_once("__").is_some_and(|(target, function)| {
            let function = function.trim_end_matches(|digit: char| digit.is_ascii_digit()).trim_end_matches('-');
            let [file, folder] = [tests.join(format!("{target}.rs")), tests.join(target).join("main.rs")];
            let source = fs::read_to_string(file).or_else(|_| fs::read_to_string(folder)).unwrap_or_default();
            source.contains(&format!("fn {function}("))
        });
        if !belongs {
            left_behind.push(file);
        }
    }
    assert!(left_behind.is_empty(), "snapshots without a test: {}", left_behind.join(", "));
}
