//! Scenario files: a file is read or refused in the same way each time, and an error quotes a line that the file has.

use finwait_sim::scenario::{Library, Scenario};

/// Beside the configurations that the seeds name.
const FILE: &str = "scenarios/topic/fuzz.yaml";

/// The text of a scenario.
///
/// # Panics
/// If one of the properties does not hold.
pub fn scenario_yaml(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    let read = || Scenario::read(&Library::Embedded, FILE, text.to_owned());
    match (read(), read()) {
        (Ok(first), Ok(second)) => assert_eq!(format!("{first:?}"), format!("{second:?}")),
        (Err(first), Err(second)) => {
            let said = first.to_string();
            assert_eq!(said, second.to_string());
            // With `$name` the file has as many texts as runs.
            if !text.contains('$') {
                quotes_a_line_of(text, &said);
            }
        }
        (first, second) => panic!("it depends on chance: {first:?} {second:?}"),
    }
}

/// `file:line:column: what`, then the line.
fn quotes_a_line_of(text: &str, said: &str) {
    let Some(place) = said.strip_prefix(FILE).and_then(|rest| rest.strip_prefix(':')) else { return };
    let mut numbers = place.splitn(3, ':').map(|number| number.parse::<usize>().ok());
    let (Some(Some(line)), Some(Some(column))) = (numbers.next(), numbers.next()) else { return };
    let text = text.replace("\r\n", "\n").replace('\r', "\n"); // YAML's line ends
    let quoted = text.lines().nth(line.wrapping_sub(1));
    let Some(quoted) = quoted else { panic!("no such line: {said}") };
    assert!((1..=quoted.chars().count() + 1).contains(&column), "no such column: {said}");
    let is_cut = quoted.chars().count() > 140;
    assert!(is_cut || said.contains(&format!("\n  {line} | {quoted}\n")), "another line: {said}");
}
