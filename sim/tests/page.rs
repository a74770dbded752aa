//! The page of a run, as a browser shows it: it draws, its program runs without a complaint, and a click shows details.
//!
//! Where no Chromium is installed the test says so and passes: it proves nothing there, and stops nobody.

use std::path::{Path, PathBuf};
use std::process::Command;

use finwait_sim::check::check;
use finwait_sim::report::map::OutcomeMap;
use finwait_sim::report::page::{Page, page};
use finwait_sim::report::story;
use finwait_sim::scenario::{Family, Library, Scenario};

#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = browser() else {
        eprintln!("SKIPPED: there is no Chromium here, so no page was opened");
        return;
    };
    for (file, item, shown) in [
        ("upgrades/a-websocket-crosses-three-hops", "messages6", "HEADERS stream 1 CONNECT /chat"),
        ("keepalive/a-post-that-crosses-the-apps-fin-is-a-503", "segments4", "PSH-ACK, "),
        ("errors/an-unreachable-address-is-a-503-uf-after-the-connect-timeout", "messages3", "never arrived"),
    ] {
        let (dom, log) = open(browser, &written(file), item);
        assert!(dom.contains("data-ready=\"yes\""), "{file}: the program did not run to its end\n{log}");
        assert!(dom.contains("What came of each run"), "{file}: there is no map");
        assert!(!log.contains("CONSOLE"), "{file}: the browser's console says\n{log}");
        let details = dom.split("<aside").nth(1).and_then(|rest| rest.split("</aside>").next()).unwrap_or_default();
        assert!(details.contains(shown), "{file}: the details of {item} are\n{details}");
    }
}

/// 4,000 requests of which none is like another, and one that fails among them.
#[test]
fn the_page_of_a_long_run_stays_below_two_megabytes() {
    const BYTES_MAX: usize = 2_000_000;
    let mut text = String::from(
        "about: 4,000 requests, one of which fails.\nlimit: 1h\nhosts:\n  \
         client: { ip: 10.0.0.1, client: { connect: proxy:80 } }\n  \
         proxy: { ip: 10.0.0.2, config: configs/one-hop.yaml }\n  \
         app: { ip: 10.0.0.3, app: { protocol: http1 } }\nscript:\n",
    );
    for nth in 0..4_000 {
        // Numbers without a pattern: a stretch that follows itself would be shown once.
        text.push_str(&format!("  - client: GET /item/{}\n", nth * 7_919 % 10_007));
        if nth == 2_000 {
            text.push_str("  - kill: app\n  - client: GET /while-the-app-is-gone\n  - restart: app\n");
        }
    }
    let library = Library::Disk(repository());
    let mut family = Family::read(&library, "scenarios/keepalive/unwritten.yaml", &text).expect("it is a scenario");
    family.name_remedies(); // playing it again and again would take minutes
    let scenario = family.runs.swap_remove(0);
    let played = scenario.play(None).expect("it plays");
    let story = story(&scenario, &played);
    let complaints = check(&scenario, &played, &story);
    let page = page(Page { scenario: &scenario, played: &played, complaints: &complaints, map: None, others: &[] });
    for (what, text) in [("the story", &story), ("the page", &page)] {
        assert!(text.len() < BYTES_MAX, "{what} has {} bytes", text.len());
        assert!(text.contains("lines are left out here"), "{what}");
        assert!(text.contains("GET /while-the-app-is-gone HTTP/1.1"), "{what} shows the failure");
    }
}

#[test]
fn every_page_is_complete_by_itself() {
    let library = Library::Disk(repository());
    for file in library.scenarios().unwrap() {
        let html = html(&library, &file, None);
        for outside in ["src=", "href=\"http", "url(", "@import", "fetch(", "XMLHttpRequest"] {
            assert!(!html.contains(outside), "{file}: {outside}");
        }
        assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count(), "{file}");
        assert!(html.contains("role=\"button\""), "{file}");
    }
}

/// A cell of a map leads to the story of its run; that of the run that is shown leads nowhere.
#[test]
fn cells_lead_to_the_stories_of_their_runs() {
    let library = Library::Disk(repository());
    let file = "scenarios/keepalive/a-post-around-the-apps-idle-timeout.yaml";
    let mut family = Family::load(&library, file).unwrap();
    family.name_remedies();
    let performance = family.perform(file, None).unwrap();
    let others = family.others(&performance, None).unwrap();
    let scenario = family.shown_in(&performance);
    let map = performance.map.as_ref();
    let page =
        page(Page { scenario, played: &performance.shown, complaints: &performance.complaints, map, others: &others });
    let linked: Vec<&str> = page.split("<a href=\"#run-").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(linked.len(), family.runs.len() - 1, "{linked:?}");
    for number in linked {
        let story =
            page.split(&format!("<pre id=\"run-{number}\">")).nth(1).and_then(|rest| rest.split("</pre>").next());
        let story = story.unwrap_or_else(|| panic!("there is no story of run {number}"));
        assert!(story.contains("WHAT THE CLIENTS SAW"), "{story}");
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn html(library: &Library, file: &str, map: Option<&OutcomeMap>) -> String {
    let scenario = Scenario::load(library, file).expect("shipped scenarios load");
    let played = scenario.play(None).expect("shipped configurations are accepted");
    let story = story(&scenario, &played);
    let complaints = check(&scenario, &played, &story);
    page(Page { scenario: &scenario, played: &played, complaints: &complaints, map, others: &[] })
}

/// The page of a scenario, in a file.
fn written(scenario: &str) -> PathBuf {
    let name = format!("{}-{}.html", std::process::id(), scenario.replace('/', "-"));
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let html = html(&Library::Disk(repository()), &format!("scenarios/{scenario}.yaml"), Some(&map()));
    std::fs::write(&path, html).expect("the folder for temporary files can be written to");
    path
}

/// Idle timeouts against latencies.
fn map() -> OutcomeMap {
    let times = |name: &str, time: i32| (name.to_owned(), format!("{time}ms"));
    let grid = (0..8).flat_map(|idle| (0..4).map(move |latency| (4_960 + 20 * idle, 5 * latency)));
    let runs: Vec<_> = grid
        .map(|(idle, latency)| {
            let outcome =
                if (5_000 - 2 * latency..=5_000).contains(&idle) { "client 200, 503" } else { "client 2 x 200" };
            (vec![times("gap", idle), times("latency", latency)], outcome.to_owned())
        })
        .collect();
    OutcomeMap::new(&runs).expect("two parameters make a map")
}

fn browser() -> Option<&'static str> {
    ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
}

/// What a browser makes of a page with one item chosen, and what it logs meanwhile.
fn open(browser: &str, page: &Path, item: &str) -> (String, String) {
    let profile = page.with_extension("profile");
    let mut program = Command::new(browser);
    program.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]);
    program.args(["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]);
    program.arg(format!("--user-data-dir={}", profile.display()));
    // The page's own time: its program is done in an instant of it.
    program.args(["--virtual-time-budget=1000", "--timeout=20000", "--dump-dom"]);
    let output = program.arg(format!("file://{}#{item}", page.display())).output().expect("the browser starts");
    for made in [std::fs::remove_file(page), std::fs::remove_dir_all(&profile)] {
        if let Err(error) = made {
            eprintln!("could not be removed: {error}");
        }
    }
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
