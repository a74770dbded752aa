//! The time of a place: its distance from UTC at each instant, as the system's files of time zones have it (RFC 9636).

use std::sync::Arc;

/// A time zone. UTC by default.
#[derive(Clone, Debug, Default)]
pub struct TimeZone(Option<Arc<Table>>);

/// The distance from UTC at some instant.
#[derive(Debug)]
struct Offset {
    /// Seconds to be added to UTC: positive in the east.
    seconds: i32,
    /// As in `CEST`.
    name: Box<str>,
}

#[derive(Debug)]
struct Table {
    /// From which second since 1970 on which of the offsets holds, in order.
    transitions: Vec<(i64, usize)>,
    /// The first holds before all transitions.
    offsets: Vec<Offset>,
    /// What holds after the last transition.
    rule: Option<Rule>,
}

/// Length of a file's header (RFC 9636 3.1).
const HEADER_BYTES: usize = 44;

impl TimeZone {
    /// What a file says; `None` if it is not a file of a time zone.
    #[must_use]
    pub fn read(file: &[u8]) -> Option<Self> {
        let first = Counts::read(file)?;
        // The block that every reader knows has four bytes for a time; a second one has eight.
        let (counts, block, time_bytes) = match first.version {
            0 => (first, file.get(HEADER_BYTES..)?, 4),
            _ => {
                let second = file.get(HEADER_BYTES + first.block_bytes(4)..)?;
                (Counts::read(second)?, second.get(HEADER_BYTES..)?, 8)
            }
        };
        let table = Table::read(&counts, block, time_bytes)?;
        Some(Self(Some(Arc::new(table))))
    }

    /// The seconds to be added to UTC at a second since 1970, and their name: `CEST`.
    #[must_use]
    pub fn offset_at(&self, unix: i64) -> (i32, &str) {
        self.find(unix).map_or((0, "UTC"), |offset| (offset.seconds, &offset.name))
    }

    fn find(&self, unix: i64) -> Option<&Offset> {
        let table = self.0.as_ref()?;
        let passed = table.transitions.partition_point(|(at, _)| *at <= unix);
        if passed == table.transitions.len()
            && let Some(rule) = &table.rule
        {
            return Some(rule.offset_at(unix));
        }
        let of = passed.checked_sub(1).and_then(|last| table.transitions.get(last)).map_or(0, |(_, offset)| *offset);
        table.offsets.get(of)
    }
}

/// What a header says of the block behind it.
struct Counts {
    version: u8,
    utc_indicators: usize,
    standard_indicators: usize,
    leap_seconds: usize,
    transitions: usize,
    offsets: usize,
    name_bytes: usize,
}

impl Counts {
    fn read(header: &[u8]) -> Option<Self> {
        let rest = header.strip_prefix(b"TZif")?;
        let count = |at: usize| usize::try_from(number(rest.get(16 + 4 * at..)?, 4)?).ok();
        Some(Self {
            version: *rest.first()?,
            utc_indicators: count(0)?,
            standard_indicators: count(1)?,
            leap_seconds: count(2)?,
            transitions: count(3)?,
            offsets: count(4)?,
            name_bytes: count(5)?,
        })
    }

    fn block_bytes(&self, time_bytes: usize) -> usize {
        let transitions = self.transitions.saturating_mul(time_bytes + 1);
        let offsets = self.offsets.saturating_mul(OFFSET_BYTES).saturating_add(self.name_bytes);
        let leap_seconds = self.leap_seconds.saturating_mul(time_bytes + 4);
        let indicators = self.utc_indicators.saturating_add(self.standard_indicators);
        transitions.saturating_add(offsets).saturating_add(leap_seconds).saturating_add(indicators)
    }
}

/// Seconds from UTC, whether it is the time of summer, and where its name begins.
const OFFSET_BYTES: usize = 6;

impl Table {
    fn read(counts: &Counts, block: &[u8], time_bytes: usize) -> Option<Self> {
        let (times, rest) = block.split_at_checked(counts.transitions.checked_mul(time_bytes)?)?;
        let (kinds, rest) = rest.split_at_checked(counts.transitions)?;
        let (offsets, rest) = rest.split_at_checked(counts.offsets.checked_mul(OFFSET_BYTES)?)?;
        let names = rest.get(..counts.name_bytes)?;
        let offset = |bytes: &[u8]| {
            let name = names.get(usize::from(*bytes.get(5)?)..)?.split(|byte| *byte == 0).next()?;
            let seconds = i32::try_from(number(bytes, 4)?).ok()?;
            Some(Offset { seconds, name: String::from_utf8_lossy(name).into() })
        };
        let offsets: Vec<Offset> = offsets.chunks_exact(OFFSET_BYTES).map(offset).collect::<Option<_>>()?;
        let transition = |(time, kind): (&[u8], &u8)| {
            let kind = usize::from(*kind);
            offsets.get(kind).and(number(time, time_bytes)).map(|time| (time, kind))
        };
        let transitions = times.chunks_exact(time_bytes).zip(kinds).map(transition).collect::<Option<_>>()?;
        let footer = block.get(counts.block_bytes(time_bytes)..).unwrap_or_default();
        let footer = footer.strip_prefix(b"\n").and_then(|footer| footer.split(|byte| *byte == b'\n').next());
        let rule = footer.and_then(|footer| Rule::read(std::str::from_utf8(footer).ok()?));
        (!offsets.is_empty()).then_some(Self { transitions, offsets, rule })
    }
}

/// A signed number of so many bytes, the first of which is the highest.
fn number(bytes: &[u8], len: usize) -> Option<i64> {
    let bytes = bytes.get(..len)?;
    let negative = bytes.first()? & 0x80 != 0;
    Some(bytes.iter().fold(if negative { -1 } else { 0 }, |number, byte| (number << 8) | i64::from(*byte)))
}

/// What holds from some year on: an offset, or two in turn, as in `CET-1CEST,M3.5.0,M10.5.0/3` (RFC 9636 3.3.1).
#[derive(Debug)]
struct Rule {
    standard: Offset,
    summer: Option<Summer>,
}

#[derive(Debug)]
struct Summer {
    offset: Offset,
    begin: Turn,
    end: Turn,
}

/// An instant of each year: a day, and seconds from its midnight, in the time that holds before.
#[derive(Debug)]
struct Turn {
    day: Day,
    seconds: i64,
}

#[derive(Debug)]
enum Day {
    /// From 1 to 365, without the 29th of February: `J60`.
    Julian(i64),
    /// From 0 to 365: `60`.
    Ordinal(i64),
    /// Of a month (1 to 12) in a week (1 to 5, the last) on a day (0 is Sunday): `M3.5.0`.
    Weekday { month: i64, week: i64, weekday: i64 },
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

impl Rule {
    fn read(text: &str) -> Option<Self> {
        let (name, rest) = read_name(text)?;
        let (west, rest) = read_time(rest)?;
        let standard = Offset { seconds: i32::try_from(-west).ok()?, name: name.into() };
        if rest.is_empty() {
            return Some(Self { standard, summer: None });
        }
        let (name, rest) = read_name(rest)?;
        let (west, rest) = if rest.starts_with(',') { (west - 60 * 60, rest) } else { read_time(rest)? };
        let offset = Offset { seconds: i32::try_from(-west).ok()?, name: name.into() };
        let (begin, end) = rest.strip_prefix(',')?.split_once(',')?;
        let summer = Summer { offset, begin: Turn::read(begin)?, end: Turn::read(end)? };
        Some(Self { standard, summer: Some(summer) })
    }

    fn offset_at(&self, unix: i64) -> &Offset {
        // Some 17,000 years on both sides: what no clock shows needs no rule.
        const FARTHEST: i64 = 1 << 39;
        let unix = unix.clamp(-FARTHEST, FARTHEST);
        let Some(Summer { offset, begin, end }) = &self.summer else { return &self.standard };
        let year = year_of((unix + i64::from(self.standard.seconds)).div_euclid(DAY_SECONDS));
        let begin = begin.of_year(year) - i64::from(self.standard.seconds);
        let end = end.of_year(year) - i64::from(offset.seconds);
        // South of the equator summer lasts over the turn of the year.
        let is_summer = if begin < end { (begin..end).contains(&unix) } else { !(end..begin).contains(&unix) };
        if is_summer { offset } else { &self.standard }
    }
}

impl Turn {
    fn read(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').map_or((text, None), |(day, time)| (day, Some(time)));
        let day = match day.as_bytes().first()? {
            b'J' => Day::Julian(day.get(1..)?.parse().ok().filter(|day| (1..=365).contains(day))?),
            b'M' => {
                let mut parts = day.get(1..)?.split('.').map(|part| part.parse::<i64>().ok());
                let (month, week, weekday) = (parts.next()??, parts.next()??, parts.next()??);
                let is_valid = (1..=12).contains(&month) && (1..=5).contains(&week) && (0..=6).contains(&weekday);
                is_valid.then_some(Day::Weekday { month, week, weekday })?
            }
            _ => Day::Ordinal(day.parse().ok().filter(|day| (0..=365).contains(day))?),
        };
        let seconds = time.map_or(Some((2 * 60 * 60, "")), read_time)?;
        seconds.1.is_empty().then_some(Self { day, seconds: seconds.0 })
    }

    /// Seconds since 1970 in the time of the place.
    fn of_year(&self, year: i64) -> i64 {
        let day = match self.day {
            Day::Julian(day) => days_before(year, 1) + day - i64::from(day < 60 || !is_leap(year)),
            Day::Ordinal(day) => days_before(year, 1) + day,
            Day::Weekday { month, week, weekday } => {
                let first = days_before(year, month);
                let next = if month == 12 { days_before(year + 1, 1) } else { days_before(year, month + 1) };
                // 1970-01-01 was a Thursday, which is 4.
                let day = first + (weekday - (first + 4)).rem_euclid(7) + 7 * (week - 1);
                if day < next { day } else { day - 7 }
            }
        };
        day * DAY_SECONDS + self.seconds
    }
}

/// A name of letters, or of anything between angle brackets, and what follows it.
fn read_name(text: &str) -> Option<(&str, &str)> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>');
    }
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(name, _)| !name.is_empty())
}

/// Seconds of `[+-]h[h[h]][:mm[:ss]]`, and what follows.
fn read_time(text: &str) -> Option<(i64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && !":+-".contains(c)).unwrap_or(text.len());
    let (time, rest) = text.split_at_checked(end)?;
    let (sign, digits) = match time.as_bytes().first()? {
        b'-' => (-1, time.get(1..)?),
        b'+' => (1, time.get(1..)?),
        _ => (1, time),
    };
    let mut seconds = 0;
    for (part, unit) in digits.split(':').zip([60 * 60, 60, 1]) {
        seconds += i64::from(part.parse::<u8>().ok()?) * unit;
    }
    Some((sign * seconds, rest))
}

fn is_leap(year: i64) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// Days from 1970 to the first of a month in the Gregorian calendar.
fn days_before(year: i64, month: i64) -> i64 {
    const BEFORE: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let past = year - 1;
    let leap_days = past.div_euclid(4) - past.div_euclid(100) + past.div_euclid(400) - 477;
    let in_year = usize::try_from(month - 1).ok().and_then(|at| BEFORE.get(at)).copied().unwrap_or_default();
    (year - 1970) * 365 + leap_days + in_year + i64::from(month > 2 && is_leap(year))
}

/// The year of a day since 1970.
fn year_of(day: i64) -> i64 {
    let mut year = 1970 + day.div_euclid(366);
    while days_before(year + 1, 1) <= day {
        year += 1;
    }
    year
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of the second version with these transitions and offsets, and this rule.
    fn file(transitions: &[(i64, u8)], offsets: &[(i32, u8)], names: &[u8], rule: &str) -> Vec<u8> {
        let count = |number: usize| u32::try_from(number).unwrap().to_be_bytes();
        let header = |counts: [usize; 6]| {
            let mut header = b"TZif2".to_vec();
            header.extend([0; 15]);
            header.extend(counts.into_iter().flat_map(count));
            header
        };
        let mut file = header([0, 0, 0, 0, 0, 0]);
        file.extend(header([0, 0, 0, transitions.len(), offsets.len(), names.len()]));
        file.extend(transitions.iter().flat_map(|(at, _)| at.to_be_bytes()));
        file.extend(transitions.iter().map(|(_, of)| of));
        for (seconds, name) in offsets {
            file.extend(seconds.to_be_bytes());
            file.extend([0, *name]);
        }
        file.extend(names);
        file.extend(format!("\n{rule}\n").bytes());
        file
    }

    #[test]
    fn transitions_hold_until_the_rule_begins() {
        let offsets = [(3208, 0), (7200, 4), (3600, 9)];
        let transitions = [(-2_422_054_408, 2), (1_774_746_000, 1), (1_792_890_000, 2)];
        let zone = file(&transitions, &offsets, b"LMT\0CEST\0CET\0", "CET-1CEST,M3.5.0,M10.5.0/3");
        let zone = TimeZone::read(&zone).unwrap();
        // `TZ=Europe/Berlin date -d @SECONDS` says the same.
        for (unix, expected) in [
            (-3_000_000_000, (3208, "LMT")),
            (0, (3600, "CET")),
            (1_774_745_999, (3600, "CET")),
            (1_774_746_000, (7200, "CEST")),
            (1_792_889_999, (7200, "CEST")),
            (1_795_237_736, (3600, "CET")),
            (1_806_195_599, (3600, "CET")),
            (1_806_195_600, (7200, "CEST")),
            (1_824_944_399, (7200, "CEST")),
            (1_824_944_400, (3600, "CET")),
            (4_102_444_800, (3600, "CET")),
        ] {
            assert_eq!(zone.offset_at(unix), expected, "{unix}");
        }
        assert_eq!(TimeZone::default().offset_at(0), (0, "UTC"));
    }

    #[test]
    fn rules_are_read_in_all_their_forms() {
        let zone = |rule: &str| TimeZone::read(&file(&[], &[(0, 0)], b"-\0", rule)).unwrap();
        let (january, july) = (1_800_000_000, 1_815_000_000);
        for (rule, in_january, in_july) in [
            ("UTC0", (0, "UTC"), (0, "UTC")),
            ("<+0530>-5:30", (19_800, "+0530"), (19_800, "+0530")),
            ("EST5EDT,M3.2.0,M11.1.0", (-18_000, "EST"), (-14_400, "EDT")),
            ("AEST-10AEDT,M10.1.0,M4.1.0/3", (39_600, "AEDT"), (36_000, "AEST")),
            ("IST-1GMT0,M10.5.0,M3.5.0/1", (0, "GMT"), (3600, "IST")),
            ("A3B,J60,J300", (-10_800, "A"), (-7200, "B")),
            ("A3B2:30:15,59/-1,300/26:00", (-10_800, "A"), (-9015, "B")),
        ] {
            let zone = zone(rule);
            assert_eq!((zone.offset_at(january), zone.offset_at(july)), (in_january, in_july), "{rule}");
        }
        // A rule that is none leaves what the transitions say.
        for rule in ["", "CET", "CET-1CEST", "CET-1CEST,M13.1.0,M1.1.0", "CET-1CEST,Jx,J2", "-1"] {
            assert_eq!(zone(rule).offset_at(january), (0, "-"), "{rule}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_and_no_rule_panics(file in proptest::collection::vec(proptest::num::u8::ANY, 0..200), rule in "[A-Z<>0-9:,./MJ+-]{0,30}", unix in proptest::num::i64::ANY) {
            let header = [b"TZif2".as_slice(), &file].concat();
            for bytes in [&file, &header] {
                if let Some(zone) = TimeZone::read(bytes) {
                    let _offset = zone.offset_at(unix);
                }
            }
            if let Some(rule) = Rule::read(&rule) {
                let _offset = rule.offset_at(unix);
            }
        }
    }
}
