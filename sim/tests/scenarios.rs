//! One test per scenario file: everything it expects holds, and its story is the one under `golden/`.
//!
//! A new or changed story waits beside its golden file until somebody has read it (`cargo insta review`); in CI nothing
//! is written. One more test looks for golden files whose scenario is gone.

use std::path::{Path, PathBuf};

use finwait_sim::scenario::Library;
use finwait_sim::suite::{Performance, perform};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let root = repository();
    let library = Library::Disk(root.clone());
    let files = library.scenarios().expect("the repository has scenarios");
    let test = |file: &String| {
        let (library, file) = (library.clone(), file.clone());
        Trial::test(name(&file).to_owned(), move || replay(&library, &file))
    };
    let mut trials: Vec<Trial> = files.iter().map(test).collect();
    trials.push(Trial::test("every golden file has its scenario", move || no_orphans(&root.join("golden"), &files)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `<topic>/<sentence>`.
fn name(file: &str) -> &str {
    file.trim_start_matches("scenarios/").trim_end_matches(".yaml")
}

fn replay(library: &Library, file: &str) -> Result<(), Failed> {
    let Performance { text: story, complaints, .. } = perform(library, file, None)?;
    if !complaints.is_empty() {
        let complaints: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        return Err(format!("{}\n\n{story}", complaints.join("\n")).into());
    }
    let (topic, sentence) = name(file).split_once('/').ok_or("a scenario lives in a topic")?;
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(repository().join("golden").join(topic));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(sentence, story)); // a difference panics, which fails the trial
    Ok(())
}

fn no_orphans(golden: &Path, scenarios: &[String]) -> Result<(), Failed> {
    let mut orphans = Vec::new();
    for topic in std::fs::read_dir(golden)? {
        let topic = topic?;
        for file in std::fs::read_dir(topic.path())? {
            let path = format!("{}/{}", topic.file_name().to_string_lossy(), file?.file_name().to_string_lossy());
            let Some(sentence) = path.strip_suffix(".snap") else { continue };
            if !scenarios.contains(&format!("scenarios/{sentence}.yaml")) {
                orphans.push(format!("golden/{path} has no scenario"));
            }
        }
    }
    if orphans.is_empty() { Ok(()) } else { Err(orphans.join("\n").into()) }
}
