//! The table of bounds in `BOUNDS.md` has the values of the constants that it names.

use std::path::Path;

use super::source::{Crate, Source, read};

/// The line above the table.
const HEADING: &str = "# Bounds";

#[test]
fn the_table_of_bounds_has_the_values_of_the_constants() {
    let table = read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("BOUNDS.md"));
    let (_, section) = table.split_once(HEADING).expect("it has a table of bounds");
    let section = section.split("\n## ").next().unwrap_or_default();
    let finwait = Crate::read("proxy", "finwait");
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut findings = Vec::new();
    let mut count = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [_, value, _, _, constant] = cells[..] else { panic!("{row}: a row has five cells") };
        let of_code = constant.trim_matches('`').split_once(' ').and_then(|(file, name)| bound(&finwait, file, name));
        match of_code {
            None => {
                findings.push(format!("{constant}: there is no such constant with a value that this test can read"))
            }
            Some(of_code) if of_code != value => {
                findings.push(format!("{constant} is {of_code}; the table says {value}"));
            }
            Some(_) => count += 1,
        }
    }
    assert!(findings.is_empty(), "write the table in BOUNDS.md anew:\n{}", findings.join("\n"));
    assert!(count > 20, "only {count} rows");
}

/// The value of a constant as the table has it.
fn bound(finwait: &Crate, file: &str, name: &str) -> Option<String> {
    let source = finwait.sources.iter().find(|source| source.name == format!("src/{file}"))?;
    let expression = constant(source, name)?;
    if let Some(call) = expression.strip_prefix("Duration::from_") {
        let (unit, number) = call.strip_suffix(')')?.split_once('(')?;
        return Some(format!("{number} {}", if unit == "secs" { "s" } else { "ms" }));
    }
    let number: u64 = match expression.split_once(" << ") {
        Some((one, bits)) => one.parse::<u64>().ok()?.checked_shl(bits.parse().ok()?)?,
        None => expression
            .split(" * ")
            .map(|factor| factor.replace('_', "").parse::<u64>().ok())
            .product::<Option<u64>>()?,
    };
    let is_bytes = name.contains("BYTES") || expression.ends_with(" * 1024");
    Some(match number {
        _ if is_bytes && number.is_multiple_of(1 << 20) => format!("{} MiB", number >> 20),
        _ if is_bytes && number.is_multiple_of(1 << 10) => format!("{} KiB", number >> 10),
        _ => expression.replace('_', ","),
    })
}

/// The expression of `const NAME: TYPE = EXPRESSION;`.
fn constant<'s>(source: &'s Source, name: &str) -> Option<&'s str> {
    source.lines().find_map(|line| {
        let (_, declaration) = line.split_once("const ")?;
        let (_, expression) = declaration.strip_prefix(name)?.strip_prefix(": ")?.split_once(" = ")?;
        expression.split(';').next()
    })
}
