//! Where things stand in a picture of a run: hosts as lanes from left to right, time from top to bottom.
//!
//! Time is not to scale. Each item has a row of its own, arrivals lie between the rows in their order, and a pause is
//! named rather than drawn; so that a race of microseconds and an idle hour fit one picture.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::report::sequence::{Item, What};
use crate::trace::{HostId, Trace};
use crate::words::SCRIPT_HOST;

/// Height of an item.
const ROW: f64 = 22.0;
/// Between an arrival and what came before it.
const ARRIVAL: f64 = 9.0;
/// Height of a pause.
const PAUSE: f64 = 30.0;
/// A wait as long as this is named.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Below the hosts' names.
const TOP: f64 = 16.0;

/// The vertical part of the picture.
pub(crate) struct Rows {
    /// The rows of the items, in their order.
    pub(crate) items: Vec<f64>,
    /// Waits: where they stand and how long they were.
    pub(crate) pauses: Vec<(f64, Duration)>,
    /// Height of everything.
    pub(crate) height: f64,
    /// Where each instant begins.
    instants: BTreeMap<Duration, f64>,
}

impl Rows {
    /// `more` is the height that an item needs beyond a row.
    pub(crate) fn new(items: &[Item], more: impl Fn(&Item) -> f64) -> Self {
        let mut rows = Self { items: Vec::new(), pauses: Vec::new(), height: TOP, instants: BTreeMap::new() };
        // What arrives at an instant comes before what it causes.
        let arrivals = items.iter().filter_map(|item| Some((arrived(item)?, None)));
        let sent = items.iter().enumerate().map(|(nth, item)| (item.moment.at, Some(nth)));
        let mut points: Vec<(Duration, Option<usize>)> = arrivals.chain(sent).collect();
        points.sort_unstable();
        let mut before = None;
        for (at, item) in points {
            let is_later = before != Some(at);
            if let Some(before) = before
                && at.saturating_sub(before) >= PAUSE_MIN
            {
                rows.pauses.push((rows.height + PAUSE * 0.8, at.saturating_sub(before)));
                rows.height += PAUSE;
            }
            before = Some(at);
            match item {
                Some(nth) => {
                    rows.height += ROW;
                    rows.items.push(rows.height);
                    rows.instants.entry(at).or_insert(rows.height);
                    rows.height += items.get(nth).map_or(0.0, &more);
                }
                None if is_later => rows.height += ARRIVAL,
                None => {} // several arrive together
            }
            rows.instants.entry(at).or_insert(rows.height);
        }
        rows.height += ROW;
        rows
    }

    /// Where an instant stands; between two that have a place, in proportion.
    pub(crate) fn at(&self, at: Duration) -> f64 {
        let before = self.instants.range(..=at).next_back();
        let after = self.instants.range(at..).next();
        match (before, after) {
            (Some((from, y_from)), Some((until, y_until))) if from < until => {
                let part = at.saturating_sub(*from).as_secs_f64() / until.saturating_sub(*from).as_secs_f64();
                y_from + (y_until - y_from) * part
            }
            (Some((_, y)), _) | (None, Some((_, y))) => *y,
            (None, None) => TOP,
        }
    }
}

fn arrived(item: &Item) -> Option<Duration> {
    if let What::Crossing(crossing) = &item.what { crossing.arrived } else { None }
}

/// The hosts that have a lane, from left to right: all but the machine that reads the script.
pub(crate) fn lanes(trace: &Trace) -> Vec<HostId> {
    (0..trace.hosts().len()).map(HostId).filter(|host| trace.host(*host) != SCRIPT_HOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::conversation::Moment;

    #[test]
    fn every_item_has_a_row_and_a_pause_has_room() {
        let note = |nth: usize, millis| Item {
            moment: Moment { at: Duration::from_millis(millis), event: nth },
            what: What::Note { host: HostId(0), text: String::new() },
        };
        let rows = Rows::new(&[note(0, 1), note(1, 1), note(2, 5001)], |_| 0.0);
        assert_eq!(rows.items.len(), 3);
        assert!(rows.items.is_sorted_by(|above, below| above + ROW <= *below), "{:?}", rows.items);
        assert_eq!(rows.pauses.len(), 1);
        assert_eq!(rows.at(Duration::from_millis(1)), rows.items[0]);
        assert!(rows.at(Duration::from_millis(2000)) > rows.items[0]);
        assert!(rows.at(Duration::from_millis(2000)) < rows.items[2]);
    }
}
