//! An outcome map: what came of each run over one or two parameters, as text and as a drawing.

use std::fmt::Write;

use super::markup::escape;
use crate::columns;

/// A parameter and its values, in the order in which they were tried.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Axis {
    /// The parameter's name in `sweep`.
    pub name: String,
    /// The values it takes, in the order of the file.
    pub values: Vec<String>,
}

/// The outcomes over a grid of parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OutcomeMap {
    /// From left to right.
    pub across: Axis,
    /// From top to bottom, if there is a second parameter.
    pub down: Option<Axis>,
    /// The different outcomes, in the order in which they came up.
    pub outcomes: Vec<String>,
    /// By row, then by column; none where nothing was run.
    cells: Vec<Vec<Option<Cell>>>,
}

/// A run on the map.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Cell {
    /// Which of the outcomes.
    outcome: usize,
    /// Its place among all runs.
    run: usize,
}

/// Width of a cell of the picture, height of a row, and what lies left of and above the cells. Pixels.
const CELL: usize = 56;
const ROW: usize = 28;
const LEFT: usize = 110;
const TOP: usize = 46;

impl OutcomeMap {
    /// A map of runs: each with its parameters, by name, and its outcome in words. None if the runs do not differ in one or
    /// two parameters.
    #[must_use]
    pub fn new(runs: &[(Vec<(String, String)>, String)]) -> Option<Self> {
        let mut axes: Vec<Axis> = Vec::new();
        for (name, value) in runs.iter().flat_map(|(parameters, _)| parameters) {
            let nth = axes.iter().position(|axis| axis.name == *name).unwrap_or_else(|| {
                axes.push(Axis { name: name.clone(), values: Vec::new() });
                axes.len() - 1
            });
            if let Some(axis) = axes.get_mut(nth).filter(|axis| !axis.values.contains(value)) {
                axis.values.push(value.clone());
            }
        }
        axes.retain(|axis| axis.values.len() > 1);
        if axes.len() > 2 {
            return None;
        }
        let mut axes = axes.into_iter();
        let (across, down) = (axes.next()?, axes.next());
        let rows = down.as_ref().map_or(1, |axis| axis.values.len());
        let mut cells = vec![vec![None; across.values.len()]; rows];
        let mut outcomes: Vec<String> = Vec::new();
        for (run, (parameters, outcome)) in runs.iter().enumerate() {
            let place = |axis: &Axis| {
                let (_, value) = parameters.iter().find(|(name, _)| *name == axis.name)?;
                axis.values.iter().position(|has| has == value)
            };
            let row = down.as_ref().map_or(Some(0), place);
            let Some(cell) =
                row.and_then(|row| cells.get_mut(row)).zip(place(&across)).and_then(|(row, at)| row.get_mut(at))
            else {
                continue;
            };
            let outcome = outcomes.iter().position(|has| has == outcome).unwrap_or_else(|| {
                outcomes.push(outcome.clone());
                outcomes.len() - 1
            });
            *cell = Some(Cell { outcome, run });
        }
        Some(Self { across, down, outcomes, cells })
    }

    /// The places of the runs among all: first one of each outcome, then the others.
    #[must_use]
    pub fn runs(&self) -> Vec<usize> {
        let cells: Vec<Cell> = self.cells.iter().flatten().flatten().copied().collect();
        let is_first = |cell: &Cell| cells.iter().find(|has| has.outcome == cell.outcome) == Some(cell);
        let (first, others): (Vec<Cell>, Vec<Cell>) = cells.iter().partition(|cell| is_first(cell));
        first.into_iter().chain(others).map(|cell| cell.run).collect()
    }

    /// A letter for each run, and what the letters mean.
    #[must_use]
    pub fn to_text(&self) -> String {
        let down = self.down.as_ref();
        let names: Vec<&str> = down.map_or_else(|| vec![""], |axis| axis.values.iter().map(String::as_str).collect());
        let head = down.map_or("", |axis| axis.name.as_str());
        let first = columns::width(names.iter().copied().chain([head]));
        let width = columns::width(self.across.values.iter().map(String::as_str)) + 2;
        let mut text = format!("{:first$}  {}\n{head:first$}", "", self.across.name);
        let mut line = |line: &str| text.push_str(line);
        for value in &self.across.values {
            line(&format!("{value:>width$}"));
        }
        line("\n");
        for (name, row) in names.iter().zip(&self.cells) {
            line(&format!("{name:first$}"));
            for cell in row {
                line(&format!("{:>width$}", cell.map_or('.', |cell| letter(cell.outcome))));
            }
            line("\n");
        }
        for (nth, outcome) in self.outcomes.iter().enumerate() {
            line(&format!("{}: {outcome}\n", letter(nth)));
        }
        text
    }

    /// A field of coloured cells with their letters, and a legend; the cell of the run with the parameters `shown` has a
    /// frame. A cell leads to what `link` returns for its run. For a page with the classes `fine` and `bad`, and `shade0` to
    /// `shade2`.
    #[must_use]
    pub fn to_svg(&self, shown: &[(String, String)], link: impl Fn(usize) -> Option<String>) -> String {
        let (width, legend) = (LEFT + CELL * self.across.values.len() + 20, TOP + ROW * self.cells.len() + 24);
        let width = width.max(720); // outcomes are sentences
        let height = legend + 20 * self.outcomes.len();
        let mut svg = format!(
            "<svg class=\"map\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\" \
             aria-label=\"{}\"><text x=\"{LEFT}\" y=\"14\">{}</text>",
            escape(&self.summary()),
            escape(&self.across.name),
        );
        // Writing to a String cannot fail.
        for (nth, value) in self.across.values.iter().enumerate() {
            let x = LEFT + CELL * nth + CELL / 2;
            let _infallible = write!(svg, "<text x=\"{x}\" y=\"38\" text-anchor=\"middle\">{}</text>", escape(value));
        }
        if let Some(axis) = &self.down {
            let _infallible = write!(svg, "<text x=\"6\" y=\"38\">{}</text>", escape(&axis.name));
        }
        for (nth, row) in self.cells.iter().enumerate() {
            self.draw_row(&mut svg, (nth, row), shown, &link);
        }
        for (nth, outcome) in self.outcomes.iter().enumerate() {
            let y = legend + 20 * nth;
            let _infallible = write!(
                svg,
                "<g class=\"{}\"><rect x=\"6\" y=\"{}\" width=\"14\" height=\"14\" rx=\"2\"/></g>\
                 <text x=\"28\" y=\"{y}\">{}: {} ({})</text>",
                self.class(nth),
                y - 12,
                letter(nth),
                escape(outcome),
                self.count(nth),
            );
        }
        svg.push_str("</svg>");
        svg
    }

    /// The cells of a row, with its name in front.
    fn draw_row(
        &self,
        svg: &mut String,
        (nth, row): (usize, &[Option<Cell>]),
        shown: &[(String, String)],
        link: &impl Fn(usize) -> Option<String>,
    ) {
        let y = TOP + ROW * nth;
        let name = self.down.as_ref().and_then(|axis| axis.values.get(nth)).map_or("", String::as_str);
        let (end, base) = (LEFT - 8, y + 19);
        let _infallible = write!(svg, "<text x=\"{end}\" y=\"{base}\" text-anchor=\"end\">{}</text>", escape(name));
        for (column, cell) in row.iter().enumerate() {
            let Some(Cell { outcome, run }) = cell else { continue };
            let x = LEFT + CELL * column;
            let words = self.outcomes.get(*outcome).map_or("", String::as_str);
            let link = link(*run);
            let (begin, end) = match &link {
                Some(to) => (format!("<a href=\"#{}\">", escape(to)), "</a>"),
                None => (String::new(), ""),
            };
            let _infallible = write!(
                svg,
                "{begin}<g class=\"{}{}\"><rect x=\"{x}\" y=\"{y}\" width=\"{}\" height=\"{}\" rx=\"3\"/><text x=\"{}\" \
                 y=\"{base}\" text-anchor=\"middle\">{}</text><title>{}</title></g>{end}",
                self.class(*outcome),
                if self.is_at(column, nth, shown) { " shown" } else { "" },
                CELL - 3,
                ROW - 3,
                x + CELL / 2 - 1,
                letter(*outcome),
                escape(words),
            );
        }
    }

    /// Is this cell that of the run with the parameters `shown`?
    fn is_at(&self, column: usize, row: usize, shown: &[(String, String)]) -> bool {
        let across = (&self.across, self.across.values.get(column));
        let down = self.down.as_ref().map(|axis| (axis, axis.values.get(row)));
        let mut values = std::iter::once(across).chain(down);
        values.all(|(axis, value)| shown.iter().any(|(name, has)| *name == axis.name && Some(has) == value))
    }

    /// What a cell looks like: what failed is red, and outcomes of one colour differ in their shades.
    fn class(&self, outcome: usize) -> String {
        const SHADES: usize = 3;
        let kind = |nth: usize| self.outcomes.get(nth).is_some_and(|words| is_bad(words));
        let before = (0..outcome).filter(|nth| kind(*nth) == kind(outcome)).count();
        format!("{} shade{}", if kind(outcome) { "bad" } else { "fine" }, before % SHADES)
    }

    /// `3 of 12 runs`.
    fn count(&self, outcome: usize) -> String {
        let runs = || self.cells.iter().flatten().flatten();
        format!("{} of {} runs", runs().filter(|has| has.outcome == outcome).count(), runs().count())
    }

    /// The map for who cannot see it.
    fn summary(&self) -> String {
        let by = self.down.as_ref().map_or_else(String::new, |axis| format!(" and {}", axis.name));
        let counted = self.outcomes.iter().enumerate().map(|(nth, outcome)| format!("{outcome}: {}", self.count(nth)));
        format!("Outcomes by {}{by}. {}", self.across.name, counted.collect::<Vec<_>>().join(". "))
    }
}

/// Whether the words name a failure: a status from 400 on, or none.
fn is_bad(outcome: &str) -> bool {
    let has_status =
        outcome.split([' ', ',', ';']).filter_map(|word| word.parse().ok()).any(|n: u16| (400..600).contains(&n));
    has_status || ["no response", "waiting", "stuck", "refuses"].iter().any(|word| outcome.contains(word))
}

/// A to Z, and then the question what all these outcomes are.
fn letter(outcome: usize) -> char {
    ('A'..='Z').nth(outcome).unwrap_or('?')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(parameters: &[(&str, &str)], outcome: &str) -> (Vec<(String, String)>, String) {
        (parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(), outcome.into())
    }

    #[test]
    fn two_parameters_make_a_field() {
        let runs = [
            run(&[("idle", "4s"), ("latency", "1ms")], "200"),
            run(&[("idle", "6s"), ("latency", "1ms")], "503"),
            run(&[("idle", "4s"), ("latency", "9ms")], "200"),
        ];
        let map = OutcomeMap::new(&runs).unwrap();
        assert_eq!(map.to_text(), "         idle\nlatency  4s  6s\n1ms       A   B\n9ms       A   .\nA: 200\nB: 503\n");
        let svg = map.to_svg(&[("idle".into(), "6s".into()), ("latency".into(), "1ms".into())], |run| {
            (run == 2).then(|| "run-2".into())
        });
        assert!(svg.contains("<a href=\"#run-2\"><g class=\"fine shade0\">"), "{svg}");
        assert_eq!(map.runs(), [0, 1, 2]);
        assert_eq!((svg.matches("<title>").count(), svg.matches("</g>").count()), (3, 5));
        assert_eq!((svg.matches("class=\"bad shade0 shown\"").count(), svg.matches(" shown\"").count()), (1, 1));
        assert!(svg.contains("Outcomes by idle and latency. 200: 2 of 3 runs. 503: 1 of 3 runs"), "{svg}");
    }

    #[test]
    fn one_parameter_makes_a_row_and_three_make_no_map() {
        let row = OutcomeMap::new(&[run(&[("gap", "1s")], "a"), run(&[("gap", "2s")], "b")]).unwrap();
        assert_eq!(row.to_text(), "  gap\n  1s  2s\n   A   B\nA: a\nB: b\n");
        let many = ["x", "y"].map(|v| run(&[("a", v), ("b", v), ("c", v)], v));
        assert_eq!(OutcomeMap::new(&many), None);
        assert_eq!(OutcomeMap::new(&[run(&[], "a")]), None);
    }
}
