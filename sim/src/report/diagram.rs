//! A run as a sequence diagram in plain characters: a lane per host, a line per message.

use std::fmt::{self, Write};

use super::layout::lanes;
use crate::clock::Millis;
use crate::report::rounds::shown;
use crate::report::sequence::{Crossing, CrossingKind, Item, What, messages};
use crate::report::timeline::LINES_MAX;
use crate::trace::{HostId, Trace};
use crate::words::SCRIPT_HOST;

/// How a diagram is printed.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Columns that a line may take.
    pub columns: usize,
    /// Whether it is coloured.
    pub colours: bool,
}

/// The time in front of each line.
const TIME: usize = 14;
/// Between two lanes at least: less has no room for a word.
const GAP_MIN: usize = 12;
/// A gap as wide as this has room for spaces around a word.
const GAP_WIDE: usize = 20;
/// And at most: more is hard to follow by eye.
const GAP_MAX: usize = 44;
/// A longer name of a host is broken into lines.
const NAME_MAX: usize = 24;

/// The whole diagram; a line that states how wide it would be if `style` is too narrow for it.
#[must_use]
pub fn diagram(trace: &Trace, style: Style) -> String {
    let lanes = lanes(trace);
    let gaps = lanes.len().saturating_sub(1).max(1);
    // The last lane needs room for half of its host's name, or of a line of it.
    let tail = lanes.last().map_or(0, |host| trace.host(*host).chars().count().min(NAME_MAX) / 2 + 1);
    let gap = style.columns.saturating_sub(TIME + tail) / gaps;
    if gap < GAP_MIN {
        let needed = TIME + tail + gaps * GAP_MIN;
        return format!("A diagram of {} hosts needs {needed} columns; COLUMNS is {}.\n", lanes.len(), style.columns);
    }
    let picture = Picture { trace, lanes, gap: gap.min(GAP_MAX), style };
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _infallible = picture.write(&mut text);
    text
}

struct Picture<'a> {
    trace: &'a Trace,
    lanes: Vec<HostId>,
    gap: usize,
    style: Style,
}

/// What a line's colour means.
#[derive(Clone, Copy)]
enum Colour {
    Bad,
    Connection(usize),
    Log,
    Note,
}

impl Colour {
    /// The escape sequence that begins it (ECMA-48 SGR).
    fn code(self) -> &'static str {
        const CONNECTIONS: [&str; 5] = ["\x1b[36m", "\x1b[34m", "\x1b[35m", "\x1b[32m", "\x1b[96m"];
        match self {
            Self::Bad => "\x1b[1;31m",
            Self::Connection(nth) => CONNECTIONS.get(nth % CONNECTIONS.len()).copied().unwrap_or_default(),
            Self::Log => "\x1b[33m",
            Self::Note => "\x1b[2m",
        }
    }
}

impl Picture<'_> {
    fn write(&self, out: &mut String) -> fmt::Result {
        self.names(out)?;
        for Item { moment, what } in shown(self.trace, messages(self.trace), LINES_MAX) {
            let mut line = self.blank('|');
            put(&mut line, 0, &format!("{:>11}", Millis(moment.at).to_string()));
            let colour = match &what {
                What::Crossing(crossing) => self.arrow(&mut line, crossing),
                What::Log { host, line: text } => {
                    self.remark(&mut line, &format!("# {}: {text}", self.trace.host(*host)));
                    Colour::Log
                }
                What::Note { host, text } => {
                    let text = match self.trace.host(*host) {
                        SCRIPT_HOST => format!("* {text}"),
                        name => format!("* {name}: {text}"),
                    };
                    self.remark(&mut line, &text);
                    Colour::Note
                }
            };
            let line = text(&line);
            match self.style.colours {
                true => writeln!(out, "{}{line}\x1b[0m", colour.code())?,
                false => writeln!(out, "{line}")?,
            }
        }
        Ok(())
    }

    /// The names of the hosts, each above its lane, in as many lines as the longest needs.
    fn names(&self, out: &mut String) -> fmt::Result {
        let room = self.gap.saturating_sub(2).clamp(1, NAME_MAX);
        let broken = |host: &HostId| {
            let letters: Vec<char> = self.trace.host(*host).chars().collect();
            letters.chunks(room).map(|line| line.iter().collect::<String>()).collect::<Vec<_>>()
        };
        let names: Vec<Vec<String>> = self.lanes.iter().map(broken).collect();
        let height = names.iter().map(Vec::len).max().unwrap_or_default();
        for row in 0..height {
            let mut line = self.blank(' ');
            for (nth, name) in names.iter().enumerate() {
                let part =
                    (row + name.len()).checked_sub(height).and_then(|at| name.get(at)).map_or("", String::as_str);
                put(&mut line, self.x(nth).saturating_sub(part.chars().count() / 2), part);
            }
            writeln!(out, "{}", text(&line))?;
        }
        Ok(())
    }

    /// A line with nothing but lanes.
    fn blank(&self, lane: char) -> Vec<char> {
        let mut line = vec![' '; self.style.columns];
        for nth in 0..self.lanes.len() {
            if let Some(place) = line.get_mut(self.x(nth)) {
                *place = lane;
            }
        }
        line
    }

    fn x(&self, lane: usize) -> usize {
        TIME + lane * self.gap
    }

    /// `|--- GET / HTTP/1.1 --->|`, from lane to lane; what gets lost ends in an x.
    fn arrow(&self, line: &mut [char], crossing: &Crossing) -> Colour {
        let lane = |host: HostId| self.lanes.iter().position(|lane| *lane == host);
        let from = lane(crossing.from).map_or(TIME, |nth| self.x(nth));
        let to = crossing.to.and_then(lane).map_or(from + self.gap, |nth| self.x(nth));
        let (left, right) = (from.min(to) + 1, from.max(to));
        let is_lost = crossing.arrived.is_none();
        let room = right.saturating_sub(left);
        for place in line.iter_mut().take(right).skip(left) {
            *place = if is_lost { '.' } else { '-' };
        }
        let label = match self.gap {
            ..GAP_WIDE => {
                // What every response begins with is left out.
                let text = crossing.text.strip_prefix("HTTP/1.1 ").unwrap_or(&crossing.text);
                cut(text, room.saturating_sub(2)).trim_end().to_owned()
            }
            _ => cut(&format!(" {} ", crossing.text), room.saturating_sub(4)),
        };
        let start = left + room.saturating_sub(label.chars().count()) / 2;
        put(line, start, &label);
        let (end, point) = if from < to { (right.saturating_sub(1), '>') } else { (left, '<') };
        if let Some(place) = line.get_mut(end) {
            *place = if is_lost { 'x' } else { point };
        }
        match is_lost || crossing.kind == CrossingKind::Reset {
            true => Colour::Bad,
            false => Colour::Connection(crossing.connection),
        }
    }

    fn remark(&self, line: &mut [char], text: &str) {
        put(line, TIME + 2, &cut(text, self.style.columns.saturating_sub(TIME + 2)));
    }
}

fn put(line: &mut [char], at: usize, text: &str) {
    for (place, letter) in line.iter_mut().skip(at).zip(text.chars()) {
        *place = letter;
    }
}

fn text(line: &[char]) -> String {
    line.iter().collect::<String>().trim_end().to_owned()
}

/// What fits into `room`, with dots where it was cut.
fn cut(text: &str, room: usize) -> String {
    let plain = |letter: char| if letter.is_control() { ' ' } else { letter };
    if text.chars().count() <= room {
        return text.chars().map(plain).collect();
    }
    let kept: String = text.chars().take(room.saturating_sub(3)).map(plain).collect();
    format!("{}.. ", kept.trim_end())
}

/// Long lines of `text` in several, each of at most `columns`. What is continued begins where the last column of a table
/// does, or is indented by as much as it was, and four; paragraphs are set anew.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    const COLUMNS_MIN: usize = 40; // narrower than this nothing reads well
    let columns = columns.max(COLUMNS_MIN);
    let mut fitting = String::new();
    let mut carried = String::new();
    for line in text.lines() {
        if !is_prose(line) && !carried.is_empty() {
            fitting.push_str(&format!("{}\n", std::mem::take(&mut carried)));
        }
        let whole =
            if carried.is_empty() { line.to_owned() } else { format!("{} {line}", std::mem::take(&mut carried)) };
        let indent = line.chars().take_while(|letter| *letter == ' ').count();
        let table = line.get(..line.floor_char_boundary(columns * 2 / 3)).unwrap_or_default().trim_end();
        let hang = match is_prose(line) {
            true => 0,
            // A line may be indented by more than fits; some room is left for its text.
            false => table.rfind("  ").map_or(indent + 4, |at| at + 2).max(indent).min(columns * 2 / 3),
        };
        let mut rest = whole.as_str();
        let mut margin = 0;
        while let Some((first, after)) = broken(rest, columns - margin, columns - hang) {
            fitting.push_str(&format!("{:margin$}{first}\n", ""));
            rest = after;
            margin = hang;
        }
        if is_prose(line) && whole.chars().count() > columns {
            carried = rest.to_owned(); // the next line of the paragraph goes on here
            continue;
        }
        fitting.push_str(format!("{:margin$}{rest}", "").trim_end());
        fitting.push('\n');
    }
    if !carried.is_empty() {
        fitting.push_str(&format!("{carried}\n"));
    }
    fitting
}

/// Whether a line belongs to a paragraph: no table, no heading, and not empty.
fn is_prose(line: &str) -> bool {
    let is_heading = !line.chars().any(char::is_lowercase);
    !line.starts_with(' ') && !line.contains("  ") && !is_heading && !line.starts_with("See ")
}

/// A line that is too long, in two: at a space, if what follows it fits into a line of its own; or else behind a stroke of
/// a path; or else anywhere.
fn broken(line: &str, columns: usize, next: usize) -> Option<(&str, &str)> {
    let (end, _) = line.char_indices().nth(columns)?;
    let head = line.get(..end)?;
    let is_shorter = |at: usize| {
        line.get(at + 1..).and_then(|rest| rest.split(' ').next()).is_some_and(|word| word.chars().count() <= next)
    };
    if line.get(end..).is_some_and(|rest| rest.starts_with(' ')) {
        return Some((head, line.get(end..)?.trim_start()));
    }
    let space = head.rfind(' ').filter(|at| head.get(..*at).is_some_and(|before| !before.trim().is_empty()));
    let at = space.filter(|at| *at > columns / 3 || is_shorter(*at));
    let at = at.or_else(|| head.rfind('/').map(|at| at + 1).filter(|at| *at > columns / 3)).unwrap_or(end);
    Some((line.get(..at)?.trim_end(), line.get(at..)?.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_at_spaces_and_hang() {
        let text = "short\nproxy  one two three four five six seven eight nine ten\n";
        let fitting = fit(text, 40);
        assert_eq!(fitting, "short\nproxy  one two three four five six seven\n       eight nine ten\n");
        let path = "a name  in (scenarios/a-topic/a-sentence-that-is-long.yaml:12)\n";
        assert_eq!(fit(path, 46), "a name  in (scenarios/a-topic/\n        a-sentence-that-is-long.yaml:12)\n");
        let prose = "These are the first words of\nsome paragraph, and it goes\n\nHEADING OF SOME WORDS\n";
        assert_eq!(fit(prose, 40), prose, "what fits stays as it is");
        let prose = "A paragraph that is longer than forty columns are\nwide is set anew.\nSee there.\n";
        assert_eq!(
            fit(prose, 40),
            "A paragraph that is longer than forty\ncolumns are wide is set anew.\nSee there.\n"
        );
        for indent in [39, 40, 41, 100] {
            let indented = format!("{}{}", " ".repeat(indent), "x".repeat(100));
            assert!(fit(&indented, 40).lines().all(|line| line.len() <= 40), "{indent}");
        }
        let long = "x".repeat(100);
        assert!(fit(&long, 40).lines().all(|line| line.len() <= 40));
    }

    #[test]
    fn what_does_not_fit_is_cut() {
        assert_eq!(cut(" abc ", 5), " abc ");
        assert_eq!(cut(" abcdefgh ", 8), " abcd.. ");
    }
}
