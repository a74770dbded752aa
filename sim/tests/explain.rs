//! Explanations do not depend on what the proxies log: not on the format, and not on there being a log at all.

use std::path::Path;

use finwait_sim::explain::explain;
use finwait_sim::scenario::{Library, ProxyConfig, Role, Scenario};
use serde_json::Value;

/// One of each kind of failure.
const SCENARIOS: [&str; 7] = [
    "errors/a-path-without-a-route-is-a-404.yaml",
    "errors/a-response-after-the-route-timeout-is-a-504.yaml",
    "keepalive/a-client-that-acknowledges-no-ping-is-closed.yaml",
    "keepalive/a-post-that-crosses-the-apps-fin-is-a-503.yaml",
    "limits/an-open-websocket-counts-as-a-request.yaml",
    "timeouts/a-request-that-stops-within-its-head-is-closed-by-idle-timeout.yaml",
    "upgrades/a-silent-websocket-is-cut-after-five-minutes.yaml",
];

#[test]
fn explanations_do_not_need_the_access_log_format() {
    for file in SCENARIOS {
        let as_it_is = explained(file, |text| text);
        let terse =
            explained(file, |text| text.replace("%RESPONSE_CODE_DETAILS%", "-").replace("%RESPONSE_FLAGS%", "-"));
        assert!(as_it_is.contains("to change it"), "{file}: {as_it_is}");
        assert_eq!(as_it_is, terse, "{file}");
    }
}

#[test]
fn no_log_is_enough() {
    for file in SCENARIOS {
        // A file that has no log: its lines are others, and so only the deeds are compared.
        let deeds = |text: String| text.lines().filter(|line| !line.contains(".yaml")).collect::<Vec<_>>().join("\n");
        let silent = explained(file, |text| {
            let mut config: Value = serde_yaml::from_str(&text).expect("the configuration is YAML");
            remove_logs(&mut config);
            config.to_string()
        });
        assert_eq!(deeds(explained(file, |text| text)), deeds(silent), "{file}");
    }
}

/// A failure of the suite whose cause is not found would show that a kind of cause is missing.
#[test]
fn every_golden_file_has_its_causes() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden");
    for topic in std::fs::read_dir(golden).expect("the golden files are there") {
        for file in std::fs::read_dir(topic.expect("it can be read").path()).expect("it is a folder") {
            let file = file.expect("it can be read").path();
            let text = std::fs::read_to_string(&file).expect("it is text");
            assert!(!text.contains("cause not found"), "{}", file.display());
        }
    }
}

/// What the app saw decides: its GET or POST over HTTP/1, or the CONNECT that HTTP/2 makes of either.
#[test]
fn a_handshake_is_as_safe_as_its_method() {
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    for (method, expected) in [
        ("GET", "a retry  safe: GET is idempotent (RFC 9110 9.2.2); in this run an app received it"),
        ("POST", "a retry  not safe: POST may have been processed; in this run an app received it"),
    ] {
        let text = HANDSHAKE.replace("METHOD", method);
        let scenario = Scenario::read(&library, "scenarios/upgrades/unwritten.yaml", text);
        let scenario = scenario.unwrap_or_else(|error| panic!("{error}"));
        let played = scenario.play(None).expect("it plays");
        let told: String = explain(&scenario, &played).iter().map(ToString::to_string).collect();
        assert!(told.contains(expected), "{told}");
    }
    for (file, expected) in [
        (
            "http2/an-extended-connect-does-not-wait-for-settings.yaml",
            "a retry  safe: app refused the CONNECT with 404, and no tunnel was opened (RFC 9110 9.3.6)",
        ),
        (
            "http2/reset-codes-decide-between-502-upe-and-503-ur.yaml",
            "a retry  not safe: CONNECT may have opened a tunnel, and is not idempotent",
        ),
    ] {
        let told = explained(file, |text| text);
        assert!(told.contains(expected), "{told}");
    }
}

/// In what the repository shows, every change of a setting has been tried, or it says why not.
#[test]
fn no_remedy_is_shown_that_was_not_tried() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden");
    let (mut named, mut tried) = (0, 0);
    for folder in std::fs::read_dir(golden).expect("there are goldens").flatten() {
        for file in std::fs::read_dir(folder.path()).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).expect("a golden is text");
            let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
            let mut is_change = false;
            for pair in lines.windows(2) {
                let [line, next] = pair else { continue };
                is_change = line.starts_with("to change it") || (is_change && !line.is_empty());
                let is_setting = [".yaml:", ".yaml)"].iter().any(|place| line.contains(place)) && line.ends_with(')');
                let is_trial = |line: &str| line.starts_with("tried  ") || line.starts_with("not tried  ");
                if is_change && is_setting && !is_trial(line) {
                    named += 1;
                    assert!(is_trial(next), "{}: {line}\n{next}", file.path().display());
                    tried += usize::from(next.starts_with("tried"));
                }
            }
        }
    }
    assert!(tried > 0 && tried * 10 > named * 9, "{tried} of {named} were tried");
}

/// A handshake whose connection the app resets.
const HANDSHAKE: &str = r#"
about: A handshake is lost.
hosts:
  client: { client: { connect: proxy:80, protocol: bytes }, ip: 10.0.0.1 }
  proxy:
    config: ../keepalive/configs/one-hop.yaml
    ip: 10.0.0.2
    patch:
      static_resources.listeners[0].filter_chains[0].filters[0].typed_config.upgrade_configs: [{ upgrade_type: websocket }]
  app: { ip: 10.0.0.3, app: { protocol: bytes, programs: [[receive_request, rst]] } }
script:
  - client: connect
  - client: { send: "METHOD /chat HTTP/1.1\r\nhost: proxy\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n" }
  - client: { receive: "\r\n\r\n" }
"#;

fn remove_logs(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("access_log");
            fields.values_mut().for_each(remove_logs);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_logs),
        Value::Bool(_) | Value::Null | Value::Number(_) | Value::String(_) => {}
    }
}

/// What is said about a scenario whose proxies read something else.
fn explained(file: &str, change: impl Fn(String) -> String) -> String {
    let path = format!("scenarios/{file}");
    let mut scenario = Scenario::load(&Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")), &path)
        .expect("the scenario is in order");
    for host in &mut scenario.hosts {
        if let Role::Proxy(ProxyConfig { text, .. }) = &mut host.role {
            *text = change(std::mem::take(text));
        }
    }
    let played = scenario.play(None).expect("it plays");
    explain(&scenario, &played).iter().map(ToString::to_string).collect()
}
