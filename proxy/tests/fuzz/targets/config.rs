//! Configuration files: a file is accepted or refused in the same way each time, an error names a place that the file has,
//! and the JSON that `/config_dump` shows means the same as the file.

use finwait::config::{Config, ConfigError, Differences, Loaded, Place};

/// The text of a configuration file.
///
/// # Panics
/// If one of the properties does not hold.
pub fn config_yaml(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    for differences in [Differences::ALL, Differences::NONE] {
        match Config::from_yaml_with(text, "file.yaml", differences) {
            Ok(loaded) => {
                loaded.warnings.iter().for_each(|warning| is_in(text, &warning.place, &warning.to_string()));
                means_the_same_as_json(&loaded, differences);
            }
            Err(error) => is_in(text, &error.place, &error.to_string()),
        }
    }
}

/// The place is a line of `text`, and the column is one of that line or just behind it.
fn is_in(text: &str, place: &Place, said: &str) {
    assert!(said.starts_with("file.yaml"), "{said}");
    let Some(at) = place.at else { return };
    let text = text.replace("\r\n", "\n").replace('\r', "\n"); // YAML's line ends
    // An error at the end of the file stands behind its last line.
    let lines = text.lines().count() + 1;
    assert!((1..=lines).contains(&at.line), "{lines} lines: {said}");
    let columns = text.lines().nth(at.line - 1).map_or(0, |line| line.chars().count()) + 1;
    assert!((1..=columns).contains(&at.column), "{columns} columns: {said}");
}

fn means_the_same_as_json(loaded: &Loaded, differences: Differences) {
    let json = loaded.config.dump.to_string();
    let again = Config::from_yaml_with(&json, "file.yaml", differences);
    let meaning = |loaded: &Loaded| {
        let Config {
            admin,
            node,
            zone,
            connections_max,
            internal_buffer_bytes,
            listeners,
            clusters,
            differences,
            runtime,
            stats,
            dump,
            watched_files,
            dns_caches,
            secrets,
        } = &loaded.config;
        format!(
            "{admin:?} {node:?} {zone:?} {connections_max:?} {internal_buffer_bytes:?} {listeners:#?} {clusters:#?} {differences:?} {runtime:?} {stats:?} {dump} {watched_files:?} {dns_caches:?} {secrets:?}"
        )
    };
    match again {
        Ok(again) => assert_eq!(meaning(&again), meaning(loaded)),
        Err(ConfigError { .. }) => panic!("{json} is refused: {}", again.expect_err("it was refused")),
    }
}
