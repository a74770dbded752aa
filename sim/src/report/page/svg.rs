//! The sequence diagram of the page: lanes, arrows, states, timers, and the notes and log lines beside them.

use std::fmt::{self, Write};
use std::time::Duration;

use crate::clock::Millis;
use crate::report::layout::{Rows, lanes};
use crate::report::markup::escape;
use crate::report::sequence::{Crossing, CrossingKind, Item, What};
use crate::trace::spans::{Span, State, Timer};
use crate::trace::{HostId, Trace};
use crate::words::SCRIPT_HOST;

/// From the left edge to the first lane: the time of each row.
const LEFT: f64 = 140.0;
/// Between two lanes at least: less has no room for the words of an arrow.
const GAP_MIN: f64 = 200.0;
/// And at most: more is hard to follow by eye.
const GAP_MAX: f64 = 420.0;
/// From the last lane to the right edge.
const RIGHT: f64 = 90.0;
/// A drawing is at least as wide: what a notebook shows beside its scroll bar.
const WIDTH_MIN: f64 = 1200.0;
/// The names of the hosts.
const HEAD: f64 = 34.0;
/// The height of a printed sheet as a share of its width, names of hosts included: A3 across, with its margins and a heading.
const SHEET: f64 = 0.62;
/// Widths of letters, for cutting lines that do not fit. Measured on the page's monospaced font.
const LETTER: f64 = 6.65;
/// From a lane to the bar of the nearest connection, and from bar to bar.
const BAR: f64 = 7.0;
/// From a lane to words that begin there, beyond the nearest bars.
const LABEL: f64 = 22.0;
/// Between the lines of a note or log line.
const LINE: f64 = 14.0;
/// Lines of a note or log line that are shown; a click shows all of it.
const LINES_MAX: usize = 3;
/// From a lane to its first timer at least, and from timer to timer.
const TIMER: (f64, f64) = (52.0, 12.0);
/// A gap as wide as this has room between the words at both of its ends: timers stand there, with their names.
const GAP_WIDE: f64 = 300.0;
/// Timers beside each other; further ones share the last place.
const TIMERS_MAX: usize = 8;
/// Bars beside each other on one side of a lane; further connections share the last place.
const BARS_MAX: usize = 6;

/// Where lanes stand.
struct Lanes {
    hosts: Vec<HostId>,
    gap: f64,
    width: f64,
}

impl Lanes {
    fn new(trace: &Trace) -> Self {
        let hosts = lanes(trace);
        let gaps = f64::from(u32::try_from(hosts.len().saturating_sub(1).max(1)).unwrap_or(u32::MAX));
        let gap = ((WIDTH_MIN - LEFT - RIGHT) / gaps).clamp(GAP_MIN, GAP_MAX);
        Self { hosts, gap, width: (LEFT + gaps * gap + RIGHT).max(WIDTH_MIN) }
    }

    fn x(&self, host: HostId) -> Option<f64> {
        let nth = self.hosts.iter().position(|lane| *lane == host)?;
        Some(LEFT + self.gap * f64::from(u32::try_from(nth).unwrap_or(u32::MAX)))
    }

    /// Where words about a host begin, whether they go to the right, and in which lines they are set.
    fn label(&self, host: HostId, words: &str) -> (f64, bool, Vec<String>) {
        let x = self.x(host).unwrap_or(LEFT);
        let (left, right) = (x - LABEL - LEFT, self.width - x - LABEL);
        let length = LETTER * f64::from(u32::try_from(words.chars().count()).unwrap_or(u32::MAX));
        let goes_right = length <= right || right >= left;
        let start = if goes_right { x + LABEL } else { x - LABEL };
        (start, goes_right, wrap(words, if goes_right { right } else { left }))
    }
}

/// The lines of the hosts, and of the times in which nothing happens.
fn lanes_and_pauses(out: &mut String, lanes: &Lanes, rows: &Rows) -> fmt::Result {
    let (width, height) = (lanes.width, rows.height + 10.0);
    for host in &lanes.hosts {
        let x = lanes.x(*host).unwrap_or(LEFT);
        write!(out, "<line class=\"lane\" x1=\"{x}\" x2=\"{x}\" y1=\"0\" y2=\"{}\"/>", height - 6.0)?;
    }
    for (y, pause) in &rows.pauses {
        write!(out, "<line class=\"pause\" x1=\"10\" x2=\"{width}\" y1=\"{y}\" y2=\"{y}\"/>")?;
        write!(out, "<text class=\"pause\" x=\"10\" y=\"{}\">{} pass</text>", y - 4.0, duration(*pause))?;
    }
    Ok(())
}

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
    /// The whole drawing: the names of the hosts, which stay in sight, and what happened below them.
    pub(super) fn draw(&self, out: &mut String) -> fmt::Result {
        let lanes = Lanes::new(self.trace);
        let rows = Rows::new(self.items, |item| self.more(item, &lanes));
        let (width, height) = (lanes.width, rows.height + 10.0);
        write!(
            out,
            "<svg class=\"hosts\" viewBox=\"0 0 {width} {HEAD}\" width=\"{width}\" height=\"{HEAD}\" aria-hidden=\"true\">\
             <g id=\"{}-hosts\" class=\"drawing\">",
            self.id,
        )?;
        for host in &lanes.hosts {
            let (x, name) = (lanes.x(*host).unwrap_or(LEFT), escape(self.trace.host(*host)));
            write!(out, "<text class=\"host\" x=\"{x}\" y=\"22\" text-anchor=\"middle\">{name}</text>")?;
        }
        write!(
            out,
            "</g></svg><svg id=\"{}\" class=\"sequence\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"group\" aria-label=\"{}\">\
             <g id=\"{}-all\" class=\"drawing\">",
            self.id,
            escape(self.title),
            self.id,
        )?;
        lanes_and_pauses(out, &lanes, &rows)?;
        self.states(out, &rows, &lanes)?;
        self.timers(out, &rows, &lanes)?;
        // Arrows lie under all words.
        out.write_str("<g aria-hidden=\"true\">")?;
        for (item, &y) in self.items.iter().zip(&rows.items) {
            let What::Crossing(crossing) = &item.what else { continue };
            let Some((from, to)) = ends(crossing, y, &rows, &lanes) else { continue };
            let ((x1, y1), (x2, y2)) = (from, to);
            write!(out, "<g class=\"{} c{}\">", kind(crossing), crossing.connection % 6)?;
            write!(out, "<line class=\"arrow\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>")?;
            head(out, from, to, crossing.arrived.is_some())?;
            out.write_str("</g>")?;
        }
        out.write_str("</g>")?;
        let mut before = None;
        for (nth, (item, &y)) in self.items.iter().zip(&rows.items).enumerate() {
            if before.replace(item.moment.at) != Some(item.moment.at) {
                let at = Millis(item.moment.at);
                write!(out, "<text class=\"time\" x=\"105\" y=\"{}\" text-anchor=\"end\">{at} ms</text>", y + 3.0)?;
            }
            match &item.what {
                What::Crossing(crossing) => {
                    let Some(ends) = ends(crossing, y, &rows, &lanes) else { continue };
                    self.crossing(out, (nth, item.moment.at), crossing, ends, lanes.gap)?;
                }
                What::Log { host, .. } => self.remark(out, (nth, "log"), *host, &words(self.trace, item), y, &lanes)?,
                What::Note { host, .. } => {
                    self.remark(out, (nth, "note"), *host, &words(self.trace, item), y, &lanes)?
                }
            }
        }
        out.write_str("</g></svg>")?;
        self.sheets(out, width, height)
    }

    /// The same for paper, cut into sheets: a drawing that is higher than a sheet would begin on one of its own.
    fn sheets(&self, out: &mut String, width: f64, height: f64) -> fmt::Result {
        let id = self.id;
        let part = width * SHEET - HEAD;
        out.write_str("<div class=\"sheets\" aria-hidden=\"true\">")?;
        let mut from = 0.0;
        while from < height {
            let high = part.min(height - from);
            write!(
                out,
                "<div><svg viewBox=\"0 0 {width} {HEAD}\"><use href=\"#{id}-hosts\"/></svg>\
                 <svg viewBox=\"0 {from} {width} {high}\"><use href=\"#{id}-all\"/></svg></div>"
            )?;
            from += part;
        }
        out.write_str("</div>")
    }

    /// The height of an item beyond its row.
    fn more(&self, item: &Item, lanes: &Lanes) -> f64 {
        let (What::Log { host, .. } | What::Note { host, .. }) = &item.what else { return 0.0 };
        let (_, _, lines) = lanes.label(*host, &words(self.trace, item));
        LINE * f64::from(u32::try_from(lines.len().saturating_sub(1)).unwrap_or_default())
    }

    /// Bars on both sides of each lane: a connection's stands on the side of its peer.
    fn states(&self, out: &mut String, rows: &Rows, lanes: &Lanes) -> fmt::Result {
        let mut taken: Vec<(f64, Duration, usize)> = Vec::new();
        let mut places: Vec<((HostId, usize), f64)> = Vec::new();
        for Span { host, connection, peer, state, from, until } in self.spans {
            let Some(lane) = lanes.x(*host) else { continue };
            let known = places.iter().find(|(of, _)| *of == (*host, *connection)).map(|(_, x)| *x);
            let x = known.unwrap_or_else(|| {
                let is_left = peer.and_then(|peer| lanes.x(peer)).is_some_and(|peer| peer < lane);
                let side = if is_left { -BAR } else { BAR };
                // The first place that no other connection has at this time.
                let ends = self.spans.iter().filter(|span| span.host == *host && span.connection == *connection);
                let end = ends.map(|span| span.until).max().unwrap_or(*until);
                let mut x = lane + side;
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
            let (top, bottom) = (rows.at(*from), rows.at(*until));
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

    /// Brackets beside the lanes: those of timers that ended something stand out, the others have their names along them
    /// where there is room.
    fn timers(&self, out: &mut String, rows: &Rows, lanes: &Lanes) -> fmt::Result {
        let mut taken: Vec<(HostId, usize, f64)> = Vec::new();
        for Timer { host, name, from, until, has_fired } in self.timers {
            let Some(lane) = lanes.x(*host) else { continue };
            let (top, bottom) = (rows.at(*from), rows.at(*until).max(rows.at(*from) + 3.0));
            let is_free = |place: &usize| !taken.iter().any(|(on, at, end)| on == host && at == place && *end > top);
            let place = (0..TIMERS_MAX).find(is_free).unwrap_or(TIMERS_MAX - 1);
            taken.push((*host, place, bottom));
            // The last lane has its timers on the left, where there is room for their names.
            let side = if lane + GAP_MIN > lanes.width { -1.0 } else { 1.0 };
            let is_wide = lanes.gap >= GAP_WIDE && side > 0.0 && lane + lanes.gap < lanes.width;
            let first = if is_wide { lanes.gap * 0.45 } else { TIMER.0 };
            let x = lane + side * (first + TIMER.1 * f64::from(u32::try_from(place).unwrap_or_default()));
            let (class, how) =
                if *has_fired { ("timer fired", "ended it after") } else { ("timer", "ran, and was stopped after") };
            let lasted = duration(until.saturating_sub(*from));
            write!(
                out,
                "<g class=\"{class}\"><path d=\"M{x0} {top:.1}H{x}V{bottom:.1}H{x0}\"/><title>{}: {} {how} {lasted}, from {} to \
                 {} ms</title>",
                escape(self.trace.host(*host)),
                escape(name),
                Millis(*from),
                Millis(*until),
                x0 = x - side * 5.0,
            )?;
            let (tx, anchor) = (x + side * 4.0, if side > 0.0 { "start" } else { "end" });
            if *has_fired {
                let ty = bottom - 14.0; // above the row of what it caused
                write!(out, "<text x=\"{tx}\" y=\"{ty:.1}\" text-anchor=\"{anchor}\">{}</text>", escape(name))?;
            } else if is_wide && LETTER * f64::from(u32::try_from(name.len()).unwrap_or(u32::MAX)) < bottom - top {
                let (x, y) = (x + 9.0 * side.max(0.3), top + 3.0);
                write!(
                    out,
                    "<text transform=\"rotate(90 {x} {y})\" x=\"{x}\" y=\"{y:.1}\" dy=\"6\">{}</text>",
                    escape(name)
                )?;
            }
            out.write_str("</g>")?;
        }
        Ok(())
    }

    fn crossing(
        &self,
        out: &mut String,
        (nth, at): (usize, Duration),
        crossing: &Crossing,
        ((x1, y), (x2, y2)): (Point, Point),
        gap: f64,
    ) -> fmt::Result {
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
        // At the sender, where each arrow has a row to itself.
        let room = gap - 2.0 * LABEL;
        let label = cut(&format!("{} {}", crossing.connection, crossing.text), room);
        let (x, anchor) = if x2 < x1 { (x1 - LABEL, "end") } else { (x1 + LABEL, "start") };
        let y = y + (y2 - y) * LABEL / (x2 - x1).abs().max(LABEL) - 4.0;
        write!(out, "<text x=\"{x}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text></g>", escape(&label))
    }

    fn remark(
        &self,
        out: &mut String,
        (nth, class): (usize, &str),
        host: HostId,
        text: &str,
        y: f64,
        lanes: &Lanes,
    ) -> fmt::Result {
        write!(
            out,
            "<g class=\"item {class}\" id=\"{}{nth}\" data-n=\"{nth}\" role=\"button\" tabindex=\"-1\" \
             aria-label=\"{class} of {}\">",
            self.id,
            escape(text),
        )?;
        let (x, goes_right, lines) = lanes.label(host, text);
        let letters = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
        let width = LETTER * f64::from(u32::try_from(letters).unwrap_or(u32::MAX));
        let height = LINE * f64::from(u32::try_from(lines.len()).unwrap_or(u32::MAX)) + 4.0;
        let left = if goes_right { x } else { x - width };
        write!(
            out,
            "<rect class=\"hit\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{height}\" rx=\"3\"/>",
            left - 3.0,
            y - 11.0,
            width + 6.0
        )?;
        if let Some(lane) = lanes.x(host) {
            write!(out, "<circle cx=\"{lane}\" cy=\"{y}\" r=\"3.5\"/>")?;
            write!(out, "<line class=\"leader\" x1=\"{lane}\" x2=\"{x}\" y1=\"{y}\" y2=\"{y}\"/>")?;
        }
        let anchor = if goes_right { "start" } else { "end" };
        write!(out, "<text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\">", y + 3.5)?;
        for (nth, line) in lines.iter().enumerate() {
            let dy = if nth == 0 { 0.0 } else { LINE };
            write!(out, "<tspan x=\"{x}\" dy=\"{dy}\">{}</tspan>", escape(line))?;
        }
        out.write_str("</text></g>")
    }
}

/// A note or log line, with its host.
fn words(trace: &Trace, item: &Item) -> String {
    let (What::Log { host, line: text } | What::Note { host, text }) = &item.what else { return String::new() };
    match trace.host(*host) {
        SCRIPT_HOST => text.clone(),
        name => format!("{name}: {text}"),
    }
}

/// A place in the drawing.
type Point = (f64, f64);

/// Where an arrow begins and ends. What never arrives ends half way; so does a segment to an address of no host.
fn ends(crossing: &Crossing, y: f64, rows: &Rows, lanes: &Lanes) -> Option<(Point, Point)> {
    let x = lanes.x(crossing.from)?;
    let way = crossing.to.and_then(|to| lanes.x(to)).map_or(lanes.gap, |to| to - x);
    Some(match crossing.arrived {
        Some(at) => ((x, y), (x + way, rows.at(at).max(y + 5.0))),
        None => ((x, y), (x + way / 2.0, y + 8.0)),
    })
}

/// Who sends what to whom.
pub(super) fn heading(trace: &Trace, crossing: &Crossing) -> String {
    let to = crossing.to.map_or("no host", |to| trace.host(to));
    format!("{} to {to}, connection {}: {}", trace.host(crossing.from), crossing.connection, crossing.text)
}

/// How an arrow looks.
fn kind(crossing: &Crossing) -> &'static str {
    match crossing.kind {
        _ if crossing.arrived.is_none() => "lost",
        CrossingKind::Reset => "reset",
        CrossingKind::End => "end",
        CrossingKind::Signal => "signal",
        CrossingKind::Message => "message",
    }
}

/// The arrow's point, or a cross where it gets lost.
fn head(out: &mut String, (x1, y1): Point, (x2, y2): Point, arrived: bool) -> fmt::Result {
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

/// Lines of at most `width`, broken at spaces where there are any; the last ends in dots if it is not the end.
fn wrap(text: &str, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let fits = |text: &str| LETTER * f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX)) <= width;
    for word in text.split_inclusive(' ') {
        if !line.is_empty() && !fits(&format!("{line}{}", word.trim_end())) {
            lines.push(std::mem::take(&mut line));
        }
        line.push_str(word);
    }
    lines.push(line);
    if lines.len() > LINES_MAX {
        lines.truncate(LINES_MAX);
        let last = lines.pop().unwrap_or_default();
        lines.push(format!("{last}\u{2026}"));
    }
    lines.iter().map(|line| cut(line.trim_end(), width + LETTER)).collect()
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

/// A time as people write it.
pub(super) fn duration(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", Millis(time)),
        1..120 => format!("{}.{:03} s", time.as_secs(), time.subsec_millis()),
        secs => format!("{} min {} s", secs / 60, secs % 60),
    }
}
