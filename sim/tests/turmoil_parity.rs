//! Every scenario that turmoil can express ends on its sockets as it ends on ours: the same statuses and bodies, the same
//! response flags in the logs, the same messages over WebSockets, the same requests at the apps. Not the same times.
//!
//! turmoil is a network model by other hands, so a mistake of ours would have to be made twice. What it cannot express it
//! refuses by name, which the test prints. Scenarios that end otherwise there are named here, with the reason, and each of
//! those names must stay true.

#![expect(clippy::print_stdout, reason = "what is left out is said where people look")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use finwait_sim::actor::{Delivery, Exchange, Outcome};
use finwait_sim::run::Played;
use finwait_sim::trace::flags;

use finwait_sim::scenario::{Family, Library, Scenario};
use libtest_mimic::{Arguments, Failed, Trial};

/// Scenarios that end otherwise on turmoil, and why.
const DIFFERENT: [(&str, &str); 5] = [
    (
        "balancing/a-post-on-a-preconnected-connection-crosses-the-apps-fin",
        "turmoil's app has its connection two crossings of the link later: its idle time ends when the request has come",
    ),
    (
        "balancing/an-endpoint-that-is-new-gets-its-share-slowly",
        "turmoil's packets take whole ticks: a request comes when the new endpoint's share, which grows with time, is another",
    ),
    (
        "health/ejections-within-the-merge-window-take-effect-together",
        "turmoil's packets take whole ticks: the window of an ejection ends between other requests",
    ),
    (
        "http2/streams-opened-only-to-be-reset-end-the-connection",
        "turmoil hands over each write by itself: a request has been passed on before its reset is read",
    ),
    (
        "shared-connections/a-stalled-reader-starves-others-where-stream-and-connection-windows-are-equal",
        "turmoil's receive window counts writes of any size, not bytes: the reader that stalls stops nobody",
    ),
];

/// How the runs ended there, for the last line.
#[derive(Default)]
struct Tally {
    alike: usize,
    different: usize,
    /// By what they need and turmoil does not have.
    refused: BTreeMap<String, usize>,
}

fn main() {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let library = Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    let files = library.scenarios().expect("the repository has scenarios");
    let test = |file: &String| {
        let (library, file, tally) = (library.clone(), file.clone(), Arc::clone(&tally));
        let name = file.trim_start_matches("scenarios/").trim_end_matches(".yaml").to_owned();
        Trial::test(name, move || compare(&library, &file, &tally))
    };
    let mut trials: Vec<Trial> = files.iter().map(test).collect();
    trials.push(Trial::test("every exception is a scenario", move || exceptions_exist(&files)));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    println!("{}", tally.lock().expect("no test panics while it counts").told());
    conclusion.exit();
}

impl Tally {
    fn told(&self) -> String {
        let Self { alike, different, refused } = self;
        let all: usize = refused.values().sum();
        let reasons: String = refused.iter().map(|(why, times)| format!("\n  {times}: {why}")).collect();
        let differing: String = DIFFERENT.iter().map(|(name, why)| format!("\n  {name}: {why}")).collect();
        format!(
            "of the runs {alike} end alike on turmoil, {different} otherwise, as said beforehand:{differing}\n{all} are \
             left out by name:{reasons}"
        )
    }
}

/// Every run of a file, with its own seed.
fn compare(library: &Library, file: &str, tally: &Mutex<Tally>) -> Result<(), Failed> {
    let family = Family::load(library, file)?;
    let reason = DIFFERENT.iter().find(|(name, _)| file.ends_with(&format!("/{name}.yaml"))).map(|(_, why)| why);
    let mut differs = false;
    for scenario in &family.runs {
        let there = match scenario.play_on_turmoil(scenario.seed) {
            Ok(played) => told(scenario, &played),
            Err(refused) => {
                println!("{file}: {}", refused.what());
                let why = refused.what().trim_start_matches("turmoil cannot express it: ").to_owned();
                *tally.lock().expect("no test panics while it counts").refused.entry(why).or_default() += 1;
                continue;
            }
        };
        let here = told(scenario, &scenario.play(None)?);
        if here.is_empty() && there.is_empty() {
            let why = "a run without requests and log lines has nothing to compare".to_owned();
            println!("{file}: {why}");
            *tally.lock().expect("no test panics while it counts").refused.entry(why).or_default() += 1;
            continue;
        }
        if here != there && reason.is_none() {
            return Err(format!("{}\nours:\n{here}\n\nturmoil's:\n{there}", scenario.label).into());
        }
        differs |= here != there;
        let mut tally = tally.lock().expect("no test panics while it counts");
        *(if here == there { &mut tally.alike } else { &mut tally.different }) += 1;
    }
    match reason {
        Some(why) if !differs => Err(format!("it ends alike, although: {why}").into()),
        None | Some(_) => Ok(()),
    }
}

fn exceptions_exist(files: &[String]) -> Result<(), Failed> {
    let gone = DIFFERENT.iter().find(|(name, _)| !files.iter().any(|file| file.ends_with(&format!("/{name}.yaml"))));
    gone.map_or(Ok(()), |(name, _)| Err(format!("there is no scenario {name}").into()))
}

/// The application-level result, one fact a line.
fn told(scenario: &Scenario, played: &Played) -> String {
    let mut facts: Vec<String> = Vec::new();
    // What different hosts do in the same instant may change places: its order is a matter of chance.
    for host in &scenario.hosts {
        facts.extend(played.sightings.exchanges.iter().filter(|it| it.host == host.name).map(exchange));
    }
    let mut deliveries: Vec<String> = played.sightings.deliveries.iter().map(delivery).collect();
    deliveries.sort_unstable();
    facts.append(&mut deliveries);
    for host in &scenario.hosts {
        let lines = played.trace.log().into_iter().filter(|(_, at, _)| *at == host.name);
        facts.extend(lines.map(|(_, _, line)| format!("{} logged {}", host.name, flags(line))));
    }
    facts.extend(played.refused.iter().map(|(host, why)| format!("{host} refuses its configuration: {why}")));
    if let Some((_, why)) = &played.stuck {
        facts.push(format!("stuck: {why}"));
    }
    facts.join("\n")
}

fn delivery(delivery: &Delivery) -> String {
    let received = delivery.tunnel.as_ref().map(|talk| &talk.received);
    format!("{} received {}, then heard {received:?}", delivery.host, delivery.request)
}

fn exchange(exchange: &Exchange) -> String {
    let outcome = match &exchange.outcome {
        Outcome::Response { status, body, .. } => format!("{status} {}", String::from_utf8_lossy(body)),
        Outcome::Failed(_) => "no response".into(),
        Outcome::Waiting => "no response yet".into(),
    };
    let received = exchange.tunnel.as_ref().map(|talk| &talk.received);
    format!("{}: {}: {outcome}, then heard {received:?}", exchange.host, exchange.request)
}
