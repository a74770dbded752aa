//! What holds in every run is looked at in every run: scenarios that break an invariant, and what is said of them.

use std::path::Path;

use finwait_sim::scenario::{Family, Library};

const ANSWERS_TWICE: &str = r#"
about: An app answers a request twice.
hosts:
  client: { client: { connect: app:80 } }
  app: { app: { answer_bytes: "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n" } }
script:
  - client: GET /
"#;

const ASKS_TWICE: &str = r#"
about: A POST arrives twice, with the id of one request.
hosts:
  client: { client: { connect: app:80 } }
  app: { app: {} }
script:
  - client.a: { request: POST /pay, headers: { x-request-id: one } }
  - client.b: { request: POST /pay, headers: { x-request-id: one } }
"#;

const LIES: &str = r#"
about: What one side says in pieces, the other side has not said.
hosts:
  client: { client: { connect: app:80 } }
  app: { app: { websocket: echo } }
script:
  - client: { websocket: /chat }
  - client: { websocket_frame: { text: { text: not recorded as said } } }
  - wait: 10ms
"#;

#[test]
fn broken_invariants_are_told() {
    let cases = [
        (ANSWERS_TWICE, "app answered 2 times to 1 requests of client", "one_answer"),
        (ASKS_TWICE, "POST /pay reached an app 2 times", "one_delivery"),
        (LIES, "app did not receive over its WebSocket what client had sent", "tunnels_keep_order"),
    ];
    for (text, expected, name) in cases {
        let complaints = complaints(text);
        assert!(complaints.iter().any(|complaint| complaint.contains(expected)), "{name}: {complaints:?}");
        let excepted = complaints_with_exception(text, name);
        assert!(!excepted.iter().any(|complaint| complaint.contains(expected)), "{name}: {excepted:?}");
    }
}

fn complaints_with_exception(text: &str, name: &str) -> Vec<String> {
    complaints(&format!("{text}except: [{name}]\n"))
}

fn complaints(text: &str) -> Vec<String> {
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).into());
    let family = Family::read(&library, "test.yaml", text).expect("this is a scenario");
    let performance = family.perform("test.yaml", None).expect("no proxy can refuse anything");
    performance.complaints.iter().map(ToString::to_string).collect()
}
