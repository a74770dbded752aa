//! Explanations do not depend on what the proxies log: not on the format, and not on there being a log at all.

use std::path::Path;

use finwait_sim::explain::explain;
use finwait_sim::scenario::{Library, Role, Scenario};
use serde_json::Value;

/// One of each kind of failure.
const SCENARIOS: [&str; 7] = [
    "errors/a-path-without-a-route-is-a-404.yaml",
    "errors/an-app-that-thinks-too-long-is-a-504.yaml",
    "keepalive/a-client-that-answers-no-ping-is-let-go.yaml",
    "keepalive/a-post-that-crosses-the-apps-fin-is-a-503.yaml",
    "limits/an-open-websocket-counts-as-a-request.yaml",
    "timeouts/a-request-that-stops-within-its-head-is-idle.yaml",
    "upgrades/a-silent-websocket-is-cut-after-five-minutes.yaml",
];

#[test]
fn a_log_that_says_next_to_nothing_is_enough() {
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
        if let Role::Proxy { text, .. } = &mut host.role {
            *text = change(std::mem::take(text));
        }
    }
    let played = scenario.play(None).expect("it plays");
    explain(&scenario, &played).iter().map(ToString::to_string).collect()
}
