//! Every scenario that turmoil can express ends on its sockets as it ends on ours: the same statuses and bodies, the same
//! response flags in the logs, the same messages over WebSockets, the same requests at the apps. Not the same times.
//!
//! turmoil is a network model by other hands, so a mistake of ours would have to be made twice. What it cannot express it
//! refuses by name, which the test prints. Scenarios that end otherwise there are named here, with the reason, and each of
//! those names must stay true.

#![expect(clippy::print_stdout, reason = "what is left out is said where people look")]

use std::path::Path;

use finwait_sim::actor::{Exchange, Outcome};
use finwait_sim::explore::outcome::flags;
use finwait_sim::play::Played;
use finwait_sim::scenario::{Library, Scenario};
use finwait_sim::trace::story::Timeline;
use libtest_mimic::{Arguments, Failed, Trial};

/// Scenarios that end otherwise on turmoil, and why.
const DIFFERENT: [(&str, &str); 1] = [(
    "shared-connections/a-reader-that-stalls-starves-the-others-where-windows-are-equal",
    "turmoil's receive window counts writes of any size, not bytes: the reader that stalls stops nobody",
)];

fn main() {
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let files = library.scenarios().expect("the repository has scenarios");
    let test = |file: &String| {
        let (library, file) = (library.clone(), file.clone());
        let name = file.trim_start_matches("scenarios/").trim_end_matches(".yaml").to_owned();
        Trial::test(name, move || compare(&library, &file))
    };
    let mut trials: Vec<Trial> = files.iter().map(test).collect();
    trials.push(Trial::test("every exception is a scenario", move || exceptions_exist(&files)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn compare(library: &Library, file: &str) -> Result<(), Failed> {
    let scenario = Scenario::load(library, file)?;
    let there = match scenario.play_on_turmoil(scenario.seed) {
        Ok(played) => told(&scenario, &played),
        Err(refused) => {
            println!("{file}: {}", refused.what());
            return Ok(());
        }
    };
    let here = told(&scenario, &scenario.play(None)?);
    match DIFFERENT.iter().find(|(name, _)| file.ends_with(&format!("/{name}.yaml"))) {
        None if here != there => Err(format!("ours:\n{here}\n\nturmoil's:\n{there}").into()),
        Some((_, why)) if here == there => Err(format!("it ends alike, although: {why}").into()),
        None | Some(_) => Ok(()),
    }
}

fn exceptions_exist(files: &[String]) -> Result<(), Failed> {
    let gone = DIFFERENT.iter().find(|(name, _)| !files.iter().any(|file| file.ends_with(&format!("/{name}.yaml"))));
    gone.map_or(Ok(()), |(name, _)| Err(format!("there is no scenario {name}").into()))
}

/// The application-level result, one fact a line.
fn told(scenario: &Scenario, played: &Played) -> String {
    let mut facts: Vec<String> = played.sightings.exchanges.iter().map(exchange).collect();
    facts.extend(played.sightings.deliveries.iter().map(|it| {
        let received = it.tunnel.as_ref().map(|talk| &talk.received);
        format!("{} was asked {}, then heard {received:?}", it.host, it.asked)
    }));
    // Lines of different hosts may change places: their order is a matter of microseconds.
    for host in &scenario.hosts {
        let lines = Timeline::log(&played.trace).into_iter().filter(|(_, at, _)| *at == host.name);
        facts.extend(lines.map(|(_, _, line)| format!("{} logged {}", host.name, flags(line))));
    }
    facts.extend(played.refused.iter().map(|(host, why)| format!("{host} refuses its configuration: {why}")));
    if let Some((_, why)) = &played.stuck {
        facts.push(format!("stuck: {why}"));
    }
    assert!(!facts.is_empty(), "{}: a run of which nothing can be told proves nothing", scenario.file);
    facts.join("\n")
}

fn exchange(exchange: &Exchange) -> String {
    let outcome = match &exchange.outcome {
        Outcome::Answer { status, body, .. } => format!("{status} {}", String::from_utf8_lossy(body)),
        Outcome::Failed(_) => "no answer".into(),
        Outcome::Waiting => "no answer yet".into(),
    };
    let received = exchange.tunnel.as_ref().map(|talk| &talk.received);
    format!("{}: {}: {outcome}, then heard {received:?}", exchange.host, exchange.asked)
}
