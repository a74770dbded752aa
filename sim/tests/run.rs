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
fn folders_and_patterns_get_a_line_for_each_and_a_total() {
    let text = |arguments: &[&str]| String::from_utf8(run(arguments, "100").stdout).expect("lines are text");
    let lines = text(&["scenarios/links", "scenarios/clients/a-websocket*"]);
    assert!(lines.starts_with("ok    scenarios/links/"), "{lines}");
    assert!(lines.contains("ok    scenarios/clients/a-websocket-whose-app-half-closes"), "{lines}");
    assert!(lines.ends_with(" scenarios: 3 ok, 0 failed\n"), "{lines}");
    let none = run(&["sim/src"], "100");
    assert_eq!(none.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&none.stderr), "sim/src: no scenario there: a scenario has the key `hosts`\n");
}

#[test]
fn standard_input_is_a_scenario_too() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_finwait-sim"));
    program.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/keepalive"));
    let post = std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(POST)).expect("it is there");
    let output = program.args(["run", "--no-remedies", "-"]).stdin(post).output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("THE SAME AS A DIAGRAM"));
}

#[test]
fn heads_are_printed_hop_by_hop() {
    let text = String::from_utf8(run(&["--heads", "--no-remedies", POST], "100").stdout).expect("it is text");
    let heads = text.split("THE HEADER FIELDS, HOP BY HOP\n").nth(1).expect("they are there");
    assert!(heads.starts_with("      1.500  client -> proxy, connection 1: GET /first HTTP/1.1\n"), "{heads}");
    assert!(heads.contains("\n             x-envoy-expected-rq-timeout-ms: 15000\n"), "{heads}");
}

#[test]
fn two_runs_are_compared_by_their_events_and_their_fields() {
    let file = "scenarios/filters/grpc-web-turns-an-error-of-http-into-a-status.yaml";
    let text = String::from_utf8(run(&[file, "--diff", "speaks=http2"], "100").stdout).expect("it is text");
    assert!(text.lines().all(|line| line.chars().count() <= 140), "{text}");
    assert!(text.contains("WHERE THEY PART: after 2 lines that are alike, A at 1.500 ms, B at 1.500 ms\n"), "{text}");
    assert!(text.contains("\n      1.500 client -> proxy  POST /pkg.Service.. <\n"), "{text}");
    assert!(text.contains("    connection\n      A  close\n      B  (absent)\n"), "{text}");
    let same = String::from_utf8(run(&[POST, "--diff", POST], "100").stdout).expect("it is text");
    assert!(same.contains("THEY DO NOT PART: ") && same.ends_with("HOP BY HOP\n  none\n"), "{same}");
}

/// Names as Kubernetes gives them, longer than a lane of the diagram is wide.
#[test]
fn long_names_of_hosts_are_broken_and_lines_stay_aligned() {
    let (proxy, app) = ("the-ingress-gateway-7d9f8c6b5-x2x4z", "app-with-a-name-of-kubernetes-5b9c7d-zzz");
    let text = format!(
        "about: Long names.\nhosts:\n  client: {{ client: {{ connect: {proxy}:80 }} }}\n  {proxy}: {{ ip: 10.0.0.2, config: \
         long-names-config.yaml }}\n  {app}: {{ ip: 10.0.0.3, app: {{ protocol: bytes, programs: \
         [[receive_request, rst]] }} }}\nscript: [{{ client: POST / }}]\n"
    );
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join("long-names.yaml");
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/keepalive/configs/one-hop.yaml");
    std::fs::copy(config, folder.join("long-names-config.yaml")).expect("the folder can be written to");
    std::fs::write(&file, text).expect("the folder for temporary files can be written to");
    let output = run(&[&file.display().to_string()], "100");
    let text = String::from_utf8(output.stdout).expect("a story is text");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let width = app.len() + 2;
    for name in [proxy, app, "closed first", "a retry"] {
        assert!(text.contains(&format!("\n{name:>width$}  ")), "{name}: {text}");
    }
    let diagram = text.split("THE SAME AS A DIAGRAM\n").nth(1).expect("there is one");
    let names: Vec<&str> = diagram.lines().take(2).collect();
    assert!(names[0].contains("the-ingress-gateway-7d9f") && names[1].contains("8c6b5-x2x4z"), "{diagram}");
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
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "--html, --pcap and --diff are about one run: name one scenario\n"
    );
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

#[test]
fn names_that_leave_nothing_out_are_refused() {
    let file = "scenarios/keepalive/a-post-that-crosses-the-apps-fin-is-a-503.yaml";
    for command in ["run", "sweep", "explore"] {
        let mut program = Command::new(env!("CARGO_BIN_EXE_finwait-sim"));
        program.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        let output = program.args([command, file, "--leave-out", "lua,tracing"]).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{command}");
        let expected = format!(
            "{file}: nothing is left out by the name `lua` or `tracing`: finwait has it, or the configuration has not; take the \
             name away, or correct it\n"
        );
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{command}");
    }
}
