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

/// A terminal is what util-linux's `script` makes of a pipe.
#[test]
fn colours_are_for_terminals_without_no_color() {
    let on_terminal = |no_color: Option<&str>| {
        let mut terminal = Command::new("script");
        terminal
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .env("COLUMNS", "80")
            .env_remove("NO_COLOR");
        terminal.envs(no_color.map(|value| ("NO_COLOR", value)));
        terminal
            .arg("-qec")
            .arg(format!("'{}' run {POST}", env!("CARGO_BIN_EXE_finwait-sim")))
            .arg("/dev/null")
            .output()
    };
    let Ok(plain) = on_terminal(Some("1")) else {
        eprintln!("SKIPPED: no `script` is installed, which would be a terminal");
        return;
    };
    let has_colours = |output: &Output| output.stdout.contains(&0x1b);
    assert!(String::from_utf8_lossy(&plain.stdout).contains("THE SAME AS A DIAGRAM"), "it ran");
    assert!(!has_colours(&plain), "NO_COLOR is heard");
    // no-color.org: an empty value is none.
    for no_color in [None, Some("")] {
        assert!(has_colours(&on_terminal(no_color).expect("it ran a moment ago")), "NO_COLOR {no_color:?}");
    }
    let piped = run(&[POST], "80");
    assert!(!has_colours(&piped) && !piped.stderr.contains(&0x1b), "no colours in a pipe");
}

#[test]
fn a_diagram_that_cannot_fit_reports_the_width_needed() {
    let output = run(&["scenarios/upgrades/a-websocket-crosses-three-hops.yaml"], "50");
    let text = String::from_utf8(output.stdout).expect("a story is text");
    assert!(text.ends_with("A diagram of 5 hosts needs 64 columns; COLUMNS is 50.\n"), "{text}");
}

#[test]
fn json_has_the_whole_result() {
    let output = run(&["--json", POST], "80");
    let result: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    for (of, keys) in [
        (
            &result,
            "about complaints connections exchanges explanations held hosts left_open left_out refs scenario seed segments stats streams timeline timers took_ns version",
        ),
        (
            &result["exchanges"][1],
            "began_ns body body_bytes client connection ended failed headers request responded_ns status websocket",
        ),
        (
            &result["streams"][1],
            "client details flags method over_ns path proxy server status termination took_ms upstream",
        ),
        (&result["explanations"][0], "changes client closed_first hops outcome retry sent"),
        (&result["explanations"][0]["hops"][0], "because did host log without"),
        (&result["timeline"][0], "at_ns host kind text"),
        (&result["segments"][0], "arrived_ns at_ns bytes connection fates fields from kind lost text to"),
        (&result["timers"][0], "fired from_ns host name until_ns"),
        (&result["connections"][0], "connection from_ns host peer state until_ns"),
    ] {
        let has: Vec<&str> = of.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(has.join(" "), keys);
    }
    assert_eq!(result["left_out"], json!([]), "the configuration is whole");
    assert_eq!(result["version"], 1);
    assert_eq!(result["streams"][1]["flags"], json!(["UC"]));
    let fired = result["timers"].as_array().expect("timers").iter().find(|timer| timer["fired"] == true);
    assert_eq!(fired.expect("one ended something")["name"], "idle_timeout 5s");
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
    assert_eq!(String::from_utf8_lossy(&output.stderr), "--html and --pcap show one run: name one scenario\n");
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
