//! The `run` command, as a person and as a program read what it prints.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const POST: &str = "scenarios/keepalive/a-post-that-crosses-the-apps-fin-is-a-503.yaml";

#[test]
fn what_is_printed_fits_the_terminal() {
    for columns in ["80", "140"] {
        let output = run(&[POST], columns);
        let text = String::from_utf8(output.stdout).expect("a story is text");
        let width: usize = columns.parse().unwrap();
        let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > width).collect();
        assert!(long.is_empty(), "{}", long.join("\n"));
        assert!(text.contains("THE SAME AS A DIAGRAM"), "{text}");
        assert!(text.contains("----- FIN -----"), "{text}");
        assert!(!text.contains('\x1b'), "no colours in a pipe");
    }
}

#[test]
fn a_diagram_that_cannot_fit_says_what_it_needs() {
    let output = run(&["scenarios/upgrades/a-websocket-crosses-three-hops.yaml"], "50");
    let text = String::from_utf8(output.stdout).expect("a story is text");
    assert!(text.ends_with("A diagram of 5 hosts needs 64 columns; COLUMNS says 50.\n"), "{text}");
}

#[test]
fn json_has_the_whole_result() {
    let output = run(&["--json", POST], "80");
    let result: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(result["held"], true);
    assert_eq!(result["exchanges"][1]["status"], 503);
    let explanation = &result["explanations"][0];
    assert_eq!(explanation["retry"]["safe"], false);
    assert_eq!(
        explanation["hops"][1]["because"],
        json!({"host": "app", "name": "idle_timeout", "value": "5s", "file": POST, "line": 7, "written": true})
    );
    assert_eq!(explanation["changes"][0]["setting"]["name"], "common_http_protocol_options.idle_timeout");
    let timeline = result["timeline"].as_array().expect("a timeline");
    assert!(
        timeline
            .iter()
            .any(|item| item["text"] == "FIN" && item["from"] == "app" && item["arrived_ns"] == 5_042_000_000_u64)
    );
}

#[test]
fn a_page_shows_one_run() {
    let output = run(&["--html", "unwritten.html", POST, POST], "80");
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "a page and a capture show one run each: name one scenario\n");
}

fn run(arguments: &[&str], columns: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_finwait-sim"));
    program.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).env("COLUMNS", columns);
    program.arg("run").args(arguments).output().expect("the program starts")
}

#[test]
fn the_scenarios_of_the_program_run_anywhere() {
    let elsewhere = std::env::temp_dir();
    let file = "scenarios/errors/a-path-without-a-route-is-a-404.yaml";
    let output = Command::new(env!("CARGO_BIN_EXE_finwait-sim")).args(["run", file]).current_dir(elsewhere).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
