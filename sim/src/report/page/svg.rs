//! The sequence diagram of the page: lanes, arrows, states, timers, and what was said beside them.

use std::fmt::{self, Write};
use std::time::Duration;

use super::escape;
use crate::report::layout::{Rows, lanes};
use crate::scenario::SCRIPT_HOST;
use crate::trace::sequence::{Crossing, Item, What};
use crate::trace::spans::{Span, State, Timer};
use crate::trace::story::Millis;
use crate::trace::{HostId, Trace};

/// From the left edge to the first lane: the time of each row.
const LEFT: f64 = 140.0;
/// Between two lanes.
const GAP: f64 = 235.0;
/// From the last lane to what was said.
const ASIDE: f64 = 70.0;
/// What was said, to the right edge.
const SAID: f64 = 640.0;
/// The names of the hosts.
const HEAD: f64 = 40.0;
/// Widths of letters, for cutting lines that do not fit. Measured on the page's monospaced font.
const LETTER: f64 = 6.65;
/// From a lane to the bar of the nearest connection, and from bar to bar.
const BAR: f64 = 7.0;
/// From a lane to the words of an arrow that begins there, beyond the nearest bars.
const LABEL: f64 = 22.0;
/// Bars beside each other on one side of a lane; further connections share the last place.
const BARS_MAX: usize = 6;

/// One zoom level: which items, and what their identifiers begin with.
pub(super) struct Picture<'a> {
    pub(super) trace: &'a Trace,
    pub(super) items: &'a [Item],
    pub(super) spans: &'a [Span],
    pub(super) timers: &'a [Timer],
    pub(super) id: &'a str,
    pub(super) title: &'a str,
}

impl Picture<'_> {
    /// The whole drawing.
    pub(super) fn draw(&self, out: &mut String) -> fmt::Result {
        let rows = Rows::new(self.items);
        let lanes = lanes(self.trace);
        let (width, height) = (self.said_x(lanes.len()) + SAID, HEAD + rows.height + 10.0);
        write!(
            out,
            "<svg id=\"{}\" class=\"sequence\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"group\" aria-label=\"{}\">",
            self.id,
            escape(self.title),
        )?;
        for (nth, host) in lanes.iter().enumerate() {
            let (x, name) = (lane_x(nth), escape(self.trace.host(*host)));
            write!(out, "<line class=\"lane\" x1=\"{x}\" x2=\"{x}\" y1=\"{HEAD}\" y2=\"{}\"/>", height - 6.0)?;
            write!(out, "<text class=\"host\" x=\"{x}\" y=\"24\" text-anchor=\"middle\">{name}</text>")?;
        }
        for (y, pause) in &rows.pauses {
            let y = HEAD + y;
            write!(out, "<line class=\"pause\" x1=\"10\" x2=\"{width}\" y1=\"{y}\" y2=\"{y}\"/>")?;
            write!(out, "<text class=\"pause\" x=\"10\" y=\"{}\">{} pass</text>", y - 4.0, duration(*pause))?;
        }
        self.states(out, &rows, &lanes)?;
        self.timers(out, &rows, &lanes)?;
        let mut before = None;
        for (nth, item) in self.items.iter().enumerate() {
            let Some(y) = rows.items.get(nth).map(|y| HEAD + y) else { continue };
            if before.replace(item.moment.at) != Some(item.moment.at) {
                let at = Millis(item.moment.at);
                write!(out, "<text class=\"time\" x=\"105\" y=\"{}\" text-anchor=\"end\">{at} ms</text>", y + 3.0)?;
            }
            match &item.what {
                What::Crossing(crossing) => {
                    let until = crossing.arrived.map(|at| HEAD + rows.at(at));
                    self.crossing(out, (nth, item.moment.at), crossing, (y, until), &lanes)?;
                }
                What::Log { host, line } => self.said(out, (nth, "log"), *host, line, y, &lanes)?,
                What::Note { host, text } => self.said(out, (nth, "note"), *host, text, y, &lanes)?,
            }
        }
        out.write_str("</svg>")
    }

    fn said_x(&self, lanes: usize) -> f64 {
        lane_x(lanes.saturating_sub(1)) + ASIDE
    }

    /// Bars on both sides of each lane: a connection's stands on the side of its peer.
    fn states(&self, out: &mut String, rows: &Rows, lanes: &[HostId]) -> fmt::Result {
        let mut taken: Vec<(f64, Duration, usize)> = Vec::new();
        let mut places: Vec<((HostId, usize), f64)> = Vec::new();
        for Span { host, connection, peer, state, from, until } in self.spans {
            let Some(lane) = lane(lanes, *host) else { continue };
            let known = places.iter().find(|(of, _)| *of == (*host, *connection)).map(|(_, x)| *x);
            let x = known.unwrap_or_else(|| {
                let is_left = peer.and_then(|peer| self::lane(lanes, peer)).is_some_and(|peer| peer < lane);
                let side = if is_left { -BAR } else { BAR };
                // The first place that no other connection has at this time.
                let ends = self.spans.iter().filter(|span| span.host == *host && span.connection == *connection);
                let end = ends.map(|span| span.until).max().unwrap_or(*until);
                let mut x = lane_x(lane) + side;
                for _ in 1..BARS_MAX {
                    if !taken.iter().any(|(at, busy, _)| *at == x && busy > from) {
                        break;
                    }
                    x += side;
                }
                taken.push((x, end, *connection));
                places.push(((*host, *connection), x));
                x
            });
            let (top, bottom) = (HEAD + rows.at(*from), HEAD + rows.at(*until));
            let class = match state {
                State::Connecting => "connecting",
                State::Open => "open",
                State::PeerFinished | State::WeFinished => "half",
            };
            write!(
                out,
                "<rect class=\"state {class} c{}\" x=\"{}\" y=\"{top}\" width=\"4\" height=\"{}\" rx=\"1\"><title>{}, \
                 connection {connection}: {}, from {} to {} ms</title></rect>",
                connection % 6,
                x - 2.0,
                (bottom - top).max(2.0),
                escape(self.trace.host(*host)),
                state.words(),
                Millis(*from),
                Millis(*until),
            )?;
        }
        Ok(())
    }

    /// Brackets beside the lanes.
    fn timers(&self, out: &mut String, rows: &Rows, lanes: &[HostId]) -> fmt::Result {
        for (nth, Timer { host, name, from, until }) in self.timers.iter().enumerate() {
            let Some(lane) = lane(lanes, *host) else { continue };
            let (top, bottom) = (HEAD + rows.at(*from), HEAD + rows.at(*until));
            let x = lane_x(lane) + 22.0 + 5.0 * f64::from(u32::try_from(nth % 4).unwrap_or_default());
            let name = escape(name);
            write!(
                out,
                "<g class=\"timer\"><path d=\"M{x0} {top}H{x}V{bottom}H{x0}\"/><title>{}: {name}, from {} to {} ms</title>\
                 <text x=\"{tx}\" y=\"{ty}\">{}</text></g>",
                escape(self.trace.host(*host)),
                Millis(*from),
                Millis(*until),
                cut(&name, GAP - 40.0),
                x0 = x - 5.0,
                tx = x + 4.0,
                ty = bottom - 6.0,
            )?;
        }
        Ok(())
    }

    fn crossing(
        &self,
        out: &mut String,
        (nth, at): (usize, Duration),
        crossing: &Crossing,
        (y, until): (f64, Option<f64>),
        lanes: &[HostId],
    ) -> fmt::Result {
        let Some(from) = lane(lanes, crossing.from) else { return Ok(()) };
        let to = crossing.to.and_then(|to| lane(lanes, to));
        let x1 = lane_x(from);
        let way = to.map_or(GAP, |to| lane_x(to) - x1);
        // What never arrives ends half way; so does what was sent to nobody.
        let (x2, y2) = match until {
            Some(until) => (x1 + way, until.max(y + 5.0)),
            None => (x1 + way / 2.0, y + 8.0),
        };
        let heading = heading(self.trace, crossing);
        let arrival = crossing.arrived.map_or("never arrives".into(), |at| format!("arrives at {} ms", Millis(at)));
        let kind = kind(crossing);
        write!(
            out,
            "<g class=\"item crossing {kind} c{}\" id=\"{}{nth}\" data-n=\"{nth}\" role=\"button\" tabindex=\"-1\" \
             aria-label=\"{} ms, {}, {arrival}\">",
            crossing.connection % 6,
            self.id,
            Millis(at),
            escape(&heading),
        )?;
        write!(out, "<line class=\"hit\" x1=\"{x1}\" y1=\"{y}\" x2=\"{x2}\" y2=\"{y2}\"/>")?;
        write!(out, "<line class=\"arrow\" x1=\"{x1}\" y1=\"{y}\" x2=\"{x2}\" y2=\"{y2}\"/>")?;
        head(out, (x1, y), (x2, y2), crossing.arrived.is_some())?;
        // At the sender, where each arrow has a row to itself.
        let room = way.abs().min(GAP) - 44.0;
        let label = cut(&format!("{} {}", crossing.connection, crossing.text), room);
        let (x, anchor) = if way < 0.0 { (x1 - LABEL, "end") } else { (x1 + LABEL, "start") };
        let y = y + (y2 - y) * LABEL / (x2 - x1).abs().max(LABEL) - 4.0;
        write!(out, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text></g>", escape(&label))
    }

    fn said(
        &self,
        out: &mut String,
        (nth, class): (usize, &str),
        host: HostId,
        text: &str,
        y: f64,
        lanes: &[HostId],
    ) -> fmt::Result {
        let x = self.said_x(lanes.len());
        let name = self.trace.host(host);
        let whole = if name == SCRIPT_HOST { text.to_owned() } else { format!("{name}: {text}") };
        write!(
            out,
            "<g class=\"item {class}\" id=\"{}{nth}\" data-n=\"{nth}\" role=\"button\" tabindex=\"-1\" \
             aria-label=\"{class} of {}\">",
            self.id,
            escape(&whole),
        )?;
        if let Some(lane) = lane(lanes, host) {
            let from = lane_x(lane);
            write!(out, "<circle cx=\"{from}\" cy=\"{y}\" r=\"3.5\"/>")?;
            write!(out, "<line class=\"leader\" x1=\"{from}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\"/>", x - 4.0)?;
        }
        write!(out, "<rect class=\"hit\" x=\"{x}\" y=\"{}\" width=\"{SAID}\" height=\"18\"/>", y - 11.0)?;
        write!(out, "<text x=\"{x}\" y=\"{}\">{}</text></g>", y + 3.5, escape(&cut(&whole, SAID - 6.0)))
    }
}

/// Who sends what to whom.
pub(super) fn heading(trace: &Trace, crossing: &Crossing) -> String {
    let to = crossing.to.map_or("nobody", |to| trace.host(to));
    format!("{} to {to}, connection {}: {}", trace.host(crossing.from), crossing.connection, crossing.text)
}

/// How an arrow looks.
fn kind(crossing: &Crossing) -> &'static str {
    let is = |word: &str| crossing.text.split([' ', ',', '-']).any(|part| part == word);
    match () {
        () if crossing.arrived.is_none() => "lost",
        () if is("RST") || is("RST_STREAM") => "reset",
        () if is("FIN") || is("GOAWAY") => "end",
        () if is("SYN") || crossing.size == 0 => "signal",
        () => "message",
    }
}

/// The arrow's point, or a cross where it gets lost.
fn head(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), arrived: bool) -> fmt::Result {
    let length = (x2 - x1).hypot(y2 - y1).max(1.0);
    let (dx, dy) = ((x2 - x1) / length, (y2 - y1) / length);
    if arrived {
        let (bx, by) = (x2 - 9.0 * dx, y2 - 9.0 * dy);
        let (ax, ay, cx, cy) = (bx - 4.0 * dy, by + 4.0 * dx, bx + 4.0 * dy, by - 4.0 * dx);
        write!(out, "<path class=\"head\" d=\"M{x2:.1} {y2:.1}L{ax:.1} {ay:.1}L{cx:.1} {cy:.1}Z\"/>")
    } else {
        let (a, b, c, d) = (x2 - 5.0, y2 - 5.0, x2 + 5.0, y2 + 5.0);
        write!(out, "<path class=\"cross\" d=\"M{a} {b}L{c} {d}M{a} {d}L{c} {b}\"/>")
    }
}

fn lane(lanes: &[HostId], host: HostId) -> Option<usize> {
    lanes.iter().position(|lane| *lane == host)
}

fn lane_x(nth: usize) -> f64 {
    LEFT + GAP * f64::from(u32::try_from(nth).unwrap_or(u32::MAX))
}

/// What fits into `width`.
fn cut(text: &str, width: f64) -> String {
    let mut room = width;
    let mut fitting = String::new();
    for letter in text.chars() {
        room -= LETTER;
        if room < LETTER {
            fitting.push('\u{2026}');
            return fitting;
        }
        fitting.push(if letter.is_control() { ' ' } else { letter });
    }
    fitting
}

/// A time as people say it.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", Millis(time)),
        1..120 => format!("{}.{:03} s", time.as_secs(), time.subsec_millis()),
        secs => format!("{} min {} s", secs / 60, secs % 60),
    }
}
