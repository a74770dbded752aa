//! The reference of the language is right: every example in `scenarios/README.md` is played, and all it expects holds.

use std::path::Path;

use finwait_sim::scenario::{Family, Intervention, Library};
use libtest_mimic::{Arguments, Failed, Trial};

/// Where the examples stand, as far as the files they name are concerned.
const PLACE: &str = "scenarios/keepalive/example.yaml";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = std::fs::read_to_string(root.join("scenarios/README.md")).expect("the reference is there");
    let examples = examples(&text);
    let base = examples.first().map(|(_, text)| text.clone()).unwrap_or_default();
    let library = Library::Disk(root);
    let mut trials: Vec<Trial> = examples
        .into_iter()
        .map(|(line, example)| {
            let (library, text) = (library.clone(), complete(&example, &base));
            Trial::test(format!("scenarios/README.md:{line}"), move || play(&library, &text))
        })
        .collect();
    let keys = known_keys(&text);
    trials.push(Trial::test("every key has an example", move || has_examples(&text, &keys)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// The yaml blocks, each with the line it begins in.
fn examples(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut block: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match (&mut block, line) {
            (None, "```yaml") => block = Some((number + 2, String::new())),
            (None, _) => {}
            (Some(_), "```") => found.extend(block.take()),
            (Some((_, text)), line) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    found
}

/// An example with what it leaves out, from the first of them.
fn complete(example: &str, base: &str) -> String {
    let mut whole = example.to_owned();
    for key in ["about", "hosts", "script"] {
        if !has_key(example, key) {
            whole.push_str(&section(base, key));
        }
    }
    whole
}

fn has_key(text: &str, key: &str) -> bool {
    text.lines().any(|line| line.split_once(':').is_some_and(|(has, _)| has == key))
}

/// A top-level key with everything below it.
fn section(text: &str, key: &str) -> String {
    let begins = |line: &&str| line.split_once(':').is_some_and(|(has, _)| has == key);
    let mut lines = text.lines().skip_while(|line| !begins(line));
    let first = lines.next().map(|line| format!("{line}\n")).unwrap_or_default();
    let rest: String = lines.take_while(|line| line.starts_with(' ')).map(|line| format!("{line}\n")).collect();
    first + &rest
}

fn play(library: &Library, text: &str) -> Result<(), Failed> {
    let family = Family::read(library, PLACE, text)?;
    let (performance, again) = (family.perform(PLACE, None)?, family.perform(PLACE, None)?);
    if performance.shown.trace.to_text() != again.shown.trace.to_text() {
        return Err("played again it takes another course".into());
    }
    if performance.complaints.is_empty() {
        return Ok(());
    }
    let complaints: Vec<String> = performance.complaints.iter().map(ToString::to_string).collect();
    Err(format!("{}\n\n{}", complaints.join("\n"), performance.text).into())
}

/// The keys that the parser knows, by its own account, wherever an unknown one is refused.
fn known_keys(reference: &str) -> Vec<String> {
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let base = examples(reference).first().map(|(_, text)| text.clone()).unwrap_or_default();
    let places = [
        "nobody_knows_this: 1",
        "links: { client-app: { nobody_knows_this: 1 } }",
        "hosts: { a: { nobody_knows_this: 1 } }",
        "hosts: { a: { client: { nobody_knows_this: 1 } } }",
        "hosts: { a: { client: { http2: { nobody_knows_this: 1 } } } }",
        "hosts: { a: { app: { nobody_knows_this: 1 } } }",
        "hosts: { a: { app: { reply: { nobody_knows_this: 1 } } } }",
        "hosts: { a: { alb: { nobody_knows_this: 1 } } }",
        "script: [{ client: { nobody_knows_this: 1 } }]",
        "script: [{ client: { frame: { data: { nobody_knows_this: 1 } } } }]",
        "script: [{ client: { websocket_frame: { text: { nobody_knows_this: 1 } } } }]",
        "script: [{ drop: { nobody_knows_this: 1 } }]",
        "script: [{ gate: { nobody_knows_this: 1 } }]",
        "script: [{ stall: { nobody_knows_this: 1 } }]",
        "script: [{ drain: { nobody_knows_this: 1 } }]",
        "script: [{ clock: { nobody_knows_this: 1 } }]",
        "script: [{ repeat: { nobody_knows_this: 1 } }]",
        "script: [{ resolve: { nobody_knows_this: 1 } }]",
        "expect: [{ client: { nobody_knows_this: 1 } }]",
        "except: [nobody_knows_this]",
        "hosts: { a: { client: { connect: a:80, protocol: nobody_knows_this } } }",
        "hosts: { a: { app: { websocket: nobody_knows_this } } }",
        "hosts: { a: { alb: { connect: a:80, reuse: nobody_knows_this } } }",
        "script: [{ client: { closed: nobody_knows_this } }]",
        "script: [{ client: { frame: nobody_knows_this } }]",
        "script: [{ client: { websocket_frame: nobody_knows_this } }]",
        "script: [{ drop: { direction: app -> proxy, segment: nobody_knows_this } }]",
        "script: [{ client: nobody_knows_this }]",
    ];
    let mut keys: Vec<String> = Intervention::WORDS.into_iter().map(str::to_owned).collect();
    for place in places {
        let error = Family::read(&library, PLACE, &complete(&format!("{place}\n"), &base));
        let message = error.expect_err("a key that nobody knows").to_string();
        let (_, known) = message.split_once("known here are ").expect("so far from any key all are named");
        let line = known.lines().next().unwrap_or_default();
        keys.extend(line.split(", ").map(str::to_owned));
    }
    keys
}

fn has_examples(reference: &str, keys: &[String]) -> Result<(), Failed> {
    let examples: String = examples(reference).into_iter().map(|(_, text)| text).collect();
    let words: Vec<&str> = examples.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing: Vec<&str> = keys.iter().map(String::as_str).filter(|key| !words.contains(key)).collect();
    if missing.is_empty() { Ok(()) } else { Err(format!("without an example: {}", missing.join(", ")).into()) }
}
