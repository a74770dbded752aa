//! Wall time as text, in UTC or in the time of the place.

use std::time::{Duration, SystemTime};

use crate::net::TimeZone;

/// From 1970-01-01, which was a Thursday.
const WEEKDAYS: [&str; 7] = ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// With the days they have in a common year.
const MONTHS: [(&str, u64); 12] = [
    ("January", 31),
    ("February", 28),
    ("March", 31),
    ("April", 30),
    ("May", 31),
    ("June", 30),
    ("July", 31),
    ("August", 31),
    ("September", 30),
    ("October", 31),
    ("November", 30),
    ("December", 31),
];

/// Envoy's form of a local time.
const LOCAL_FORMAT: &str = "%Y-%m-%dT%H:%M:%S.%3f%z";

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// The second last asked for, already written out: most lines of a busy log share it with the line before.
#[derive(Debug, Default)]
pub(super) struct Second {
    unix: Option<u64>,
    text: Vec<u8>,
    /// The time of the place.
    zone: TimeZone,
}

impl Second {
    /// With the time of this place.
    pub(super) fn in_zone(zone: TimeZone) -> Self {
        Self { zone, ..Self::default() }
    }

    /// Appends the time of the place as `format` says, or `2026-11-21T06:08:56.710+0100`.
    pub(super) fn local(&self, format: Option<&str>, at: SystemTime, out: &mut Vec<u8>) {
        let at = since_epoch(at);
        let (seconds, name) = self.zone.offset_at(i64::try_from(at.as_secs()).unwrap_or(i64::MAX));
        let offset = Offset { seconds: seconds.into(), name };
        Written { at, offset, date: Date::of(offset.local(at)) }.write(format.unwrap_or(LOCAL_FORMAT), out);
    }

    /// Appends `2026-11-21T05:08:56.710Z`.
    pub(super) fn iso_8601(&mut self, at: SystemTime, out: &mut Vec<u8>) {
        let unix = since_epoch(at).as_secs();
        if self.unix != Some(unix) {
            self.unix = Some(unix);
            self.text.clear();
            strftime("%Y-%m-%dT%H:%M:%S.", at, &mut self.text);
        }
        out.extend_from_slice(&self.text);
        fraction(since_epoch(at), 3, out);
        out.push(b'Z');
    }
}

/// Appends `at` as `format` says: the conversions of strftime(3) that depend on no locale, and for the
/// second's fraction `%1f` to `%9f` with that many digits, `%f` with nine. Any other stands as it is.
pub(crate) fn strftime(format: &str, at: SystemTime, out: &mut Vec<u8>) {
    let at = since_epoch(at);
    Written { at, offset: UTC, date: Date::of(at) }.write(format, out);
}

/// An instant in the time of some place.
struct Written<'z> {
    /// Since 1970, in UTC.
    at: Duration,
    offset: Offset<'z>,
    date: Date,
}

/// The distance of a place from UTC.
#[derive(Clone, Copy)]
struct Offset<'z> {
    seconds: i64,
    name: &'z str,
}

const UTC: Offset<'static> = Offset { seconds: 0, name: "UTC" };

impl Offset<'_> {
    /// Since midnight of the first day of 1970 in the time of the place; what is before reads as that.
    fn local(self, at: Duration) -> Duration {
        let distance = Duration::from_secs(self.seconds.unsigned_abs());
        if self.seconds < 0 { at.saturating_sub(distance) } else { at.saturating_add(distance) }
    }

    /// `+0100`, or with something between hours and minutes.
    fn write(self, between: &[u8], out: &mut Vec<u8>) {
        let minutes = self.seconds.unsigned_abs() / 60;
        out.push(if self.seconds < 0 { b'-' } else { b'+' });
        padded(minutes / 60, b'0', 2, out);
        out.extend_from_slice(between);
        padded(minutes % 60, b'0', 2, out);
    }
}

impl Written<'_> {
    fn write(&self, format: &str, out: &mut Vec<u8>) {
        write_date(format, self, out);
    }
}

fn write_date(format: &str, written: &Written<'_>, out: &mut Vec<u8>) {
    let Written { at, offset, date } = written;
    let at = *at;
    let second_of_day = offset.local(at).as_secs() % DAY_SECONDS;
    let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
    let hour_of_12 = (hour + 11) % 12 + 1;
    let mut chars = format.chars();
    while let Some(char) = chars.next() {
        if char != '%' {
            push(char, out);
            continue;
        }
        match chars.next() {
            Some('%') | None => out.push(b'%'),
            Some('A') => out.extend_from_slice(date.weekday.as_bytes()),
            Some('a') => out.extend(date.weekday.bytes().take(3)),
            Some('B') => out.extend_from_slice(date.month_name.as_bytes()),
            Some('b' | 'h') => out.extend(date.month_name.bytes().take(3)),
            Some('c') => write_date("%a %b %e %T %Y", written, out),
            Some('D' | 'x') => write_date("%m/%d/%y", written, out),
            Some('d') => padded(date.day, b'0', 2, out),
            Some('e') => padded(date.day, b' ', 2, out),
            Some('F') => write_date("%Y-%m-%d", written, out),
            Some('f') => fraction(at, 9, out),
            Some('H') => padded(hour, b'0', 2, out),
            Some('I') => padded(hour_of_12, b'0', 2, out),
            Some('j') => padded(date.day_of_year, b'0', 3, out),
            Some('M') => padded(minute, b'0', 2, out),
            Some('m') => padded(date.month, b'0', 2, out),
            Some('n') => out.push(b'\n'),
            Some('p') => out.extend_from_slice(if hour < 12 { b"AM" } else { b"PM" }),
            Some('R') => write_date("%H:%M", written, out),
            Some('S') => padded(second, b'0', 2, out),
            Some('s') => padded(at.as_secs(), b'0', 1, out),
            Some('T' | 'X') => write_date("%H:%M:%S", written, out),
            Some('t') => out.push(b'\t'),
            Some('u') => padded((date.day_of_week + 6) % 7 + 1, b'0', 1, out),
            Some('w') => padded(date.day_of_week, b'0', 1, out),
            Some('Y') => padded(date.year, b'0', 4, out),
            Some('y') => padded(date.year % 100, b'0', 2, out),
            Some('Z') => out.extend_from_slice(offset.name.as_bytes()),
            Some('z') => offset.write(b"", out),
            Some('E') if chars.as_str().starts_with('z') => {
                chars.next();
                offset.write(b":", out);
            }
            Some(digit @ '1'..='9') if chars.as_str().starts_with('f') => {
                chars.next();
                fraction(at, digit.to_digit(10).unwrap_or(9), out);
            }
            Some(other) => {
                out.push(b'%');
                push(other, out);
            }
        }
    }
}

/// A day in the Gregorian calendar.
struct Date {
    year: u64,
    /// From 1.
    month: u64,
    month_name: &'static str,
    /// From 1.
    day: u64,
    /// From 1.
    day_of_year: u64,
    /// From 0, which is Sunday.
    day_of_week: u64,
    weekday: &'static str,
}

impl Date {
    fn of(since_epoch: Duration) -> Self {
        let days = since_epoch.as_secs() / DAY_SECONDS;
        // Whole cycles of 400 years first, which all have the same days; at most 400 steps are left.
        let (mut year, mut left) = (1970 + days / 146_097 * 400, days % 146_097);
        while left >= year_days(year) {
            left -= year_days(year);
            year += 1;
        }
        let day_of_year = left + 1;
        let (mut month, mut month_name) = (12, "December");
        for (number, (name, days)) in (1..).zip(MONTHS) {
            let days = days + u64::from(number == 2 && is_leap(year));
            if left < days {
                (month, month_name) = (number, name);
                break;
            }
            left -= days;
        }
        let weekday = WEEKDAYS.into_iter().cycle().nth(usize::try_from(days % 7).unwrap_or(0)).unwrap_or_default();
        Self { year, month, month_name, day: left + 1, day_of_year, day_of_week: (days + 4) % 7, weekday }
    }
}

fn year_days(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// A clock that is set to before 1970 reads as 1970.
fn since_epoch(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The first `digits` (1 to 9) digits of the second's fraction.
fn fraction(at: Duration, digits: u32, out: &mut Vec<u8>) {
    let digits = digits.clamp(1, 9);
    let value = at.subsec_nanos() / 10_u32.pow(9 - digits);
    padded(value.into(), b'0', digits as usize, out);
}

/// Decimal, filled up on the left to at least `width`.
fn padded(number: u64, fill: u8, width: usize, out: &mut Vec<u8>) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number);
    out.extend(std::iter::repeat_n(fill, width.saturating_sub(text.len())));
    out.extend_from_slice(text.as_bytes());
}

fn push(char: char, out: &mut Vec<u8>) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(unix: u64, nanos: u32) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::new(unix, nanos)
    }

    #[test]
    fn strftime_writes_what_the_system_does() {
        // `date -u -d @SECONDS +FORMAT` says the same.
        let cases = [
            (0, "%Y-%m-%d %H:%M:%S %j %u %w %A", "1970-01-01 00:00:00 001 4 4 Thursday"),
            (951_782_400, "%F %j %a %b", "2000-02-29 060 Tue Feb"),
            (4_107_542_400, "%F", "2100-03-01"),
            (1_795_237_736, "%FT%TZ", "2026-11-21T05:08:56Z"),
            (
                1_795_237_736,
                "%c|%D|%I:%M %p|%e|%y|%Z %z|%s",
                "Sat Nov 21 05:08:56 2026|11/21/26|05:08 AM|21|26|UTC +0000|1795237736",
            ),
            (1_798_761_599, "%F %T %j %B %u", "2026-12-31 23:59:59 365 December 4"),
            (43_200, "%I %p %R", "12 PM 12:00"),
            (0, "%3f %6f %9f %f", "710 710000 710000123 710000123"),
            (0, "100%% %Q %3x %", "100% %Q %3x %"),
            (0, "Zürich %d%n%t.", "Zürich 01\n\t."),
        ];
        for (unix, format, want) in cases {
            let mut out = Vec::new();
            strftime(format, at(unix, 710_000_123), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{format}");
        }
    }

    #[test]
    fn lines_of_one_second_share_its_text() {
        let mut second = Second::default();
        let mut out = Vec::new();
        for (unix, nanos) in [(1_795_237_736, 710_999_999), (1_795_237_736, 5_000_000), (1_795_237_737, 0)] {
            second.iso_8601(at(unix, nanos), &mut out);
            out.push(b' ');
        }
        let want = "2026-11-21T05:08:56.710Z 2026-11-21T05:08:56.005Z 2026-11-21T05:08:57.000Z ";
        assert_eq!(String::from_utf8(out).unwrap(), want);
    }

    #[test]
    fn local_times_show_their_distance_from_utc() {
        for (seconds, name, format, want) in [
            (3600, "CET", LOCAL_FORMAT, "2026-11-21T06:08:56.710+0100"),
            (-12_600, "NST", "%F %T %z %Ez %Z %s %j", "2026-11-21 01:38:56 -0330 -03:30 NST 1795237736 325"),
            (72_000, "X", "%F %R %c", "2026-11-22 01:08 Sun Nov 22 01:08:56 2026"),
            (0, "UTC", "%Ez", "+00:00"),
        ] {
            let at = Duration::new(1_795_237_736, 710_999_999);
            let (offset, mut out) = (Offset { seconds, name }, Vec::new());
            Written { at, offset, date: Date::of(offset.local(at)) }.write(format, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_format_renders_and_dates_go_up(format in "(%\\PC?|\\PC){0,8}", day in 0_u64..4_000_000, nanos in 0_u32..1_000_000_000) {
            let mut out = Vec::new();
            strftime(&format, at(day * DAY_SECONDS, nanos), &mut out);
            proptest::prop_assert!(String::from_utf8(out).is_ok(), "{format}");
            let iso = |day: u64| {
                let mut out = Vec::new();
                strftime("%Y-%m-%d", at(day * DAY_SECONDS, 0), &mut out);
                out
            };
            // Years have four digits in this range, so the texts compare as the days do.
            proptest::prop_assert!(day > 2_900_000 || iso(day) < iso(day + 1));
        }
    }
}
