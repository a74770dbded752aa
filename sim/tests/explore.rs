//! Exploring finds what a plain run does not show, makes it small, and says the same however many threads do it.

use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use finwait_sim::course::{Course, Perturbation};
use finwait_sim::explore::shrink::shrink;
use finwait_sim::explore::write::with_sweep;
use finwait_sim::explore::{Outcome, Shard, Table, course, explore};
use finwait_sim::scenario::{Family, Library, Scenario};

/// Holds on its plain course, and breaks if the app's FIN is 250 us late.
const BEHIND_THE_FIN: &str = "scenarios/keepalive/a-post-just-after-the-apps-fin-gets-a-fresh-connection.yaml";

fn library() -> Library {
    Library::Disk(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
}

fn table(scenario: &Scenario, seeds: &[u64], jobs: usize) -> Table {
    let jobs = NonZeroUsize::new(jobs).expect("at least one");
    explore(scenario, seeds, jobs, &AtomicBool::new(false), |_| {}).expect("the scenario can be played")
}

#[test]
fn a_fin_that_is_late_is_found_and_made_small() {
    let library = library();
    let scenario = Scenario::load(&library, BEHIND_THE_FIN).unwrap();
    let table = table(&scenario, &Shard::WHOLE.seeds(200), 2);
    let (failing, row) = table.failures().into_iter().next().expect("some seed in 200 delays the FIN");
    assert_eq!(failing.summary, "client 200, 503; proxy -, UC");
    assert!(row.runs < table.runs() / 2, "most seeds hold");

    let smallest = shrink(&library, &scenario, &row.seeds, failing).unwrap();
    assert_eq!(smallest.failure, "status: expected 200, got 503");
    assert!((1..=3).contains(&smallest.schedule.len()), "{:?}", smallest.schedule);

    // What was written down shows the same when it is played as any other scenario.
    let written = Scenario::read(&library, BEHIND_THE_FIN, smallest.text).unwrap();
    assert_eq!(Outcome::of(&written, &written.play(None).unwrap()).complaints, ["status: expected 200"]);
    // And without its schedule it does not.
    let plain = written.play_on(written.seed, &Course::Plain).unwrap();
    assert_eq!(Outcome::of(&written, &plain).complaints, [""; 0]);
}

/// What seeds vary: latencies, clocks and their rate, who runs first, when kernels are looked at, who gets the processor.
#[test]
fn every_kind_of_departure_comes_to_some_host_with_some_seed() {
    let scenario = Scenario::load(&library(), "scenarios/upgrades/a-websocket-crosses-three-hops.yaml").unwrap();
    let mut kinds: Vec<String> = Vec::new();
    for seed in 1..=40 {
        for perturbed in scenario.play_on(seed, &course(&scenario)).unwrap().perturbed {
            let named = perturbed.what.rename(|host| Some(host.index().to_string())).unwrap();
            kinds.push(named.to_yaml().split([' ', ':']).nth(1).unwrap().to_owned());
        }
    }
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds, ["ahead", "delay", "first", "read_delay", "slow", "stall"]);
}

/// An app with a slow clock closes its idle connection later, by as much as its clock says and no more.
#[test]
fn a_slow_clock_stretches_an_idle_timeout_by_its_share() {
    let scenario = Scenario::load(&library(), BEHIND_THE_FIN).unwrap();
    let fin = |schedule: &str| {
        let course = Course::Fixed(serde_yaml::from_str(schedule).unwrap());
        let played = scenario.play_on(scenario.seed, &course).unwrap();
        let text = played.trace.to_text();
        let line = text.lines().find(|line| line.contains(" app sends ") && line.contains("FIN")).expect("it closes");
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let late = fin("[{ slow: 200ppm, host: app }]") - fin("[]");
    assert!((late - 0.001).abs() < 1e-6, "200 millionths of 5 s are 1 ms, not {late} s");
    assert!(fin("[{ slow: 200ppm, host: proxy }]") - fin("[]") < 1e-6, "another's clock");
}

#[test]
fn what_a_seed_drew_can_be_repeated_from_its_schedule() {
    let scenario = Scenario::load(&library(), "scenarios/upgrades/a-websocket-crosses-three-hops.yaml").unwrap();
    let mut departures = 0;
    for seed in 1..=20 {
        let drawn = scenario.play_on(seed, &course(&scenario)).unwrap();
        let name = |perturbation: &Perturbation| {
            perturbation.rename(|host| drawn.trace.hosts().get(host.index()).cloned()).unwrap()
        };
        let schedule: Vec<_> = drawn.perturbed.iter().map(|perturbed| name(&perturbed.what)).collect();
        departures += schedule.len();
        let repeated = scenario.play_on(seed, &Course::Fixed(schedule)).unwrap();
        assert_eq!(repeated.trace.to_text(), drawn.trace.to_text(), "seed {seed}");
    }
    assert!(departures > 100, "{departures}: the seeds must depart for this to say anything");
}

/// What nothing but the proxy's own protection keeps from being a 503: it looks before it sends, and sends a GET again.
#[test]
fn without_protection_a_get_that_meets_the_fin_is_a_503_of_three_departures_at_most() {
    let library = library();
    let text = library.read(BEHIND_THE_FIN).unwrap().replace("{ request: POST /second, body: once }", "GET /second");
    let bare = text.replace("config: configs/one-hop.yaml,", "config: configs/one-hop.yaml, exact: true,");
    assert_ne!(text, bare);
    let read = |text: String| Scenario::read(&library, BEHIND_THE_FIN, text).unwrap();
    assert_eq!(table(&read(text), &Shard::WHOLE.seeds(200), 2).failures(), []);

    let bare = read(bare);
    let table = table(&bare, &Shard::WHOLE.seeds(200), 2);
    let (failing, row) = table.failures().into_iter().next().expect("some seed in 200 has the GET meet the FIN");
    assert_eq!(failing.summary, "client 200, 503; proxy -, UC");
    let smallest = shrink(&library, &bare, &row.seeds, failing).unwrap();
    assert!((1..=3).contains(&smallest.schedule.len()), "{:?}", smallest.schedule);
    let written = read(smallest.text);
    assert_eq!(Outcome::of(&written, &written.play(None).unwrap()).complaints, failing.complaints);
}

/// Whatever is late: each frame arrives as it was sent, whatever it holds, over HTTP/1 and HTTP/2, in clear text and encrypted.
#[test]
fn websocket_frames_cross_three_hops_with_every_seed() {
    for path in [
        "scenarios/upgrades/websocket-frames-cross-three-hops-as-they-were-sent.yaml",
        "scenarios/tls/websocket-frames-cross-three-hops-over-tls-as-they-were-sent.yaml",
    ] {
        let family = Family::load(&library(), path).unwrap();
        let scenario = family.runs.first().unwrap();
        assert_eq!(table(scenario, &Shard::WHOLE.seeds(30), 2).failures(), [], "{path}");
    }
}

#[test]
fn the_table_does_not_depend_on_threads() {
    let scenario = Scenario::load(&library(), BEHIND_THE_FIN).unwrap();
    assert_eq!(table(&scenario, &Shard::WHOLE.seeds(90), 3), table(&scenario, &Shard::WHOLE.seeds(90), 1));
}

fn program(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_finwait-sim"));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(arguments)
        .output()
        .expect("the program starts")
}

/// Five runs of one file, most of which break an expectation with some seed.
const AROUND_THE_TIMEOUT: &str = "scenarios/keepalive/a-post-around-the-apps-idle-timeout.yaml";

#[test]
fn merged_parts_are_what_one_machine_would_have_found() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("merge");
    std::fs::create_dir_all(&folder).unwrap();
    let explore = |more: &[&str]| program(&[&["explore", AROUND_THE_TIMEOUT], more].concat());
    let part = |part: &str| {
        let path = folder.join(part.replace('/', "-of-"));
        let output = explore(&["--seeds", "40", "--shard", part, "--json"]);
        std::fs::write(&path, output.stdout).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let [one, two, three] = ["1/3", "2/3", "3/3"].map(part);
    let whole = explore(&["--seeds", "40", "--json"]);
    let merged = explore(&["--json", "--merge", &three, &one, &two]);
    assert_eq!(String::from_utf8(merged.stdout).unwrap(), String::from_utf8(whole.stdout).unwrap());
    assert_eq!((merged.status.code(), whole.status.code()), (Some(1), Some(1)));

    // Part of the parts is told as such; what does not belong together is refused.
    let out = folder.to_str().unwrap();
    let told = String::from_utf8(explore(&["--out", out, "--merge", &one, &three]).stdout).unwrap();
    assert!(told.contains("of the 40 seeds, part 2/3 is missing"), "{told}");
    let another = part("1/2");
    let refusals = [
        (vec![&*one, &*one], "has seeds of part 1/3"),
        (vec![&*one, &*another], "part 1/2 in "),
        (vec![AROUND_THE_TIMEOUT], "is not what `explore --json` writes"),
    ];
    for (files, why) in refusals {
        let refused = explore(&[&["--merge"], &*files].concat());
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(2) && told.contains(why), "{told}");
    }
    let of_others = program(&["explore", BEHIND_THE_FIN, "--merge", &one]);
    let told = String::from_utf8(of_others.stderr).unwrap();
    assert!(told.contains(&format!("is the result of another version of {BEHIND_THE_FIN}")), "{told}");
}

#[test]
fn every_run_of_a_file_is_explored_or_those_that_were_chosen() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("runs");
    let explore = |more: &[&str]| {
        let arguments = ["explore", AROUND_THE_TIMEOUT, "--seeds", "10", "--out", folder.to_str().unwrap()];
        let output = program(&[&arguments, more].concat());
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let tables = |told: &str| told.lines().filter(|line| line.starts_with("10 seeds of ")).count();
    let (all, _) = explore(&[]);
    assert_eq!(tables(&all), 5, "{all}");
    let (two, _) = explore(&["--only", "gap=4970ms", "--only", "gap=5025ms"]);
    assert_eq!(tables(&two), 2, "{two}");
    // Both were found with seed 7 or near it: runs do not write over each other's files.
    assert!(two.contains("a-post-around-the-apps-idle-timeout-gap-4970ms-seed-7.yaml"), "{two}");
    let (nothing, refused) = explore(&["--only", "gap=1s"]);
    assert_eq!(nothing, "");
    assert!(refused.contains("no run with gap=1s: there are 4970ms, 4985ms"), "{refused}");
}

#[test]
fn the_program_writes_a_scenario_that_it_replays() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("explore");
    let out = folder.to_str().unwrap();
    let explored = program(&["explore", BEHIND_THE_FIN, "--seeds", "100", "--out", out]);
    assert_eq!(explored.status.code(), Some(1), "a seed that fails is a failure");
    let told = String::from_utf8(explored.stdout).unwrap();
    assert!(told.contains("client 200, 503; proxy -, UC"), "{told}");
    assert!(explored.stderr.is_empty(), "no bar where there is no terminal");

    // It finds its configuration from there.
    let written = told.lines().find_map(|line| line.trim().strip_prefix("replay it: finwait-sim run ")).unwrap();
    let replayed = program(&["run", written]);
    assert_eq!(replayed.status.code(), Some(1));
    assert!(String::from_utf8(replayed.stderr).unwrap().contains("status: expected 200, got 503"));
}

#[test]
fn a_run_of_a_sweep_is_written_without_the_sweep() {
    let library = library();
    let text = library.read(BEHIND_THE_FIN).unwrap().replace("wait: 5s", "wait: $gap");
    let swept = with_sweep(&text, &[("gap", &["4s".into(), "5s".into()])]);
    let family = Family::read(&library, BEHIND_THE_FIN, &swept).unwrap();
    let scenario = family.runs.last().unwrap();
    let table = table(scenario, &Shard::WHOLE.seeds(100), 1);
    let (failing, row) = table.failures().into_iter().next().expect("some seed in 100 delays the FIN");
    let smallest = shrink(&library, scenario, &row.seeds, failing).unwrap();
    assert!(smallest.text.contains("wait: 5s") && !smallest.text.contains("sweep"), "{}", smallest.text);
}

#[test]
fn a_sweep_over_two_parameters_is_drawn_as_a_map() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sweep");
    std::fs::create_dir_all(folder.join("configs")).unwrap();
    let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/keepalive");
    std::fs::copy(scenarios.join("configs/one-hop.yaml"), folder.join("configs/one-hop.yaml")).unwrap();
    let text = library().read(BEHIND_THE_FIN).unwrap();
    let text = text.replace("wait: 5s", "wait: $gap").replace("latency: 10ms", "latency: $latency");
    std::fs::write(folder.join("gap.yaml"), text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_finwait-sim"))
        .current_dir(&folder)
        .args(["sweep", "gap.yaml", "--over", "gap=4970ms,4990ms,5010ms", "--over", "latency=1ms,20ms"])
        .output()
        .unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    let rows: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.contains(&vec!["1ms", "A", "A", "A"]), "{told}");
    assert!(rows.contains(&vec!["20ms", "B", "B", "A"]), "{told}");
    assert_eq!(output.status.code(), Some(1), "the file expects 200 everywhere");
}

/// Whether a process has a handler of its own for SIGINT, which is bit 1 of those that it catches.
#[cfg(target_os = "linux")]
fn catches_interrupts(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 0b10 != 0)
}

#[test]
#[cfg(target_os = "linux")]
fn an_interrupt_ends_the_exploration_and_prints_what_was_found() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_finwait-sim"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args([
            "explore",
            "scenarios/close/which-requests-keep-the-client-connection-open.yaml",
            "--seeds",
            "100000000",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    while !catches_interrupts(child.id()) {
        assert!(child.try_wait().unwrap().is_none(), "it ends before all seeds are played");
        std::thread::yield_now();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("stopped after ") && told.contains(" runs of "), "{told}");
    // The signal may have come before the first seed was played, or after some.
    assert!(String::from_utf8(output.stdout).unwrap().contains(" seeds of scenarios/close/"));
    assert_eq!(output.status.code(), Some(1), "not all seeds were played");
}

#[test]
fn failures_of_one_cause_have_one_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("causes");
    drop(std::fs::remove_dir_all(&folder)); // of an earlier run
    std::fs::create_dir_all(&folder).unwrap();
    let text = library().read(BEHIND_THE_FIN).unwrap();
    // The client does the same twice, and either may meet the FIN.
    let (script, expect) = (text.find("script:").unwrap(), text.find("expect:").unwrap());
    let steps = &text[script + "script:".len()..expect];
    let all_succeed = "  - client: { status: 200 }\n".repeat(4);
    let text = format!("{}script:{steps}{}\nexpect:\n{all_succeed}", &text[..script], steps.trim_end());
    std::fs::write(folder.join("twice.yaml"), text).unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/keepalive/configs/one-hop.yaml");
    std::fs::create_dir_all(folder.join("configs")).unwrap();
    std::fs::copy(config, folder.join("configs/one-hop.yaml")).unwrap();
    let explored = Command::new(env!("CARGO_BIN_EXE_finwait-sim"))
        .current_dir(&folder)
        .args(["explore", "twice.yaml", "--seeds", "60"])
        .output()
        .unwrap();
    let told = String::from_utf8(explored.stdout).unwrap();
    let files = std::fs::read_dir(folder.join("twice.findings")).unwrap().count();
    assert_eq!(told.matches("replay it: ").count(), files, "{told}");
    assert!(told.contains("for the cause that twice.findings/"), "{told}");
}
