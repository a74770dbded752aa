//! What a person is told about a scenario file that is none: file, line, the line itself, and what would be right.

use std::path::Path;

use finwait_sim::scenario::{Family, Library, Scenario};

/// Every file under `bad_scenarios/`, with the message it gets. Reading them side by side is the review.
#[test]
fn the_messages_say_where_and_what() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_scenarios");
    let library = Library::Disk(folder.clone());
    let mut names: Vec<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort_unstable();
    let messages: Vec<String> = names
        .iter()
        .map(|name| match Scenario::load(&library, name) {
            Ok(_) => format!("{name} is accepted"),
            Err(error) => error.to_string(),
        })
        .collect();
    insta::assert_snapshot!(messages.join("\n\n"));
}

#[test]
fn the_deepest_nesting_fits_the_stack_of_a_thread() {
    let script = format!("{}{{ wait: 1s }}{}", "{ background: [".repeat(22), "] }".repeat(22));
    let inline = format!("{}1{}", "[".repeat(44), "]".repeat(44));
    let text = format!("about: x\nhosts: {{ p: {{ inline: {{ a: {inline} }} }} }}\nscript: [{script}]\n");
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).into());
    let read = std::thread::spawn(move || Family::read(&library, "deep.yaml", &text).map(|family| family.runs.len()));
    assert_eq!(read.join().unwrap().unwrap(), 1); // 2 MiB
}

/// A scenario that cannot end stops at its limit, and tells who waits for what.
#[test]
fn a_scenario_without_end_names_the_steps_that_wait() {
    let text = "\
about: Three wait for what never comes.
limit: 10s
hosts:
  client: { client: { connect: app:80 } }
  app: { app: { protocol: bytes } }
script:
  - background:
      - client.a: GET /never-answered
      - barrier: all
  - background:
      - app.7: { receive: anything }
      - { event: heard, wait: 1s }
  - background:
      - { follows: heard, wait: 1s }
  - wait: 1s
  - barrier: all
";
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).into());
    let performance = Family::read(&library, "endless.yaml", text).unwrap().perform("endless.yaml", None).unwrap();
    let complaints: Vec<String> = performance.complaints.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(complaints.join("\n"));
}

#[test]
fn the_program_refuses_with_exit_status_two() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_scenarios/unknown-key.yaml");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_finwait-sim")).arg("run").arg(file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("did you mean `latency`?"));
}
