//! The process log's line, where a pattern of `--log-format` describes it.

use std::fmt::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::levels::logger_of;
use crate::access_log::time::strftime;

/// A pattern, parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Format(Vec<Piece>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    /// The file of the source and its folders.
    File,
    /// The file of the source, without folders.
    FileName,
    /// The level's name.
    Level,
    /// The level's first letter.
    LevelLetter,
    /// The line of the source.
    Line,
    Logger,
    Message(Escape),
    Process,
    Text(String),
    /// The name of the thread.
    Thread,
    /// Conversions of strftime(3).
    Time(&'static str),
}

/// What happens to characters of a message that would break the line or the document around it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Escape {
    Json,
    LineBreaks,
    Nothing,
}

/// A pattern has an operator that is not known here.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "the operator `%{0}` is not supported; known are %v %_ %j (message), %n (logger), %l %L (level), %t (thread), %P \
     (process), %g %s %# (source), %Y %y %m %d %H %I %M %S %e %p %a %A %b %B %D %T %R %z %E (time, in UTC), %^ %$ and %%"
)]
pub struct FormatError(String);

impl Format {
    /// Parses a pattern in the notation of spdlog, which Envoy uses.
    ///
    /// # Errors
    /// An operator is not known.
    pub fn parse(pattern: &str) -> Result<Self, FormatError> {
        let mut pieces = Vec::new();
        let mut chars = pattern.chars();
        while let Some(char) = chars.next() {
            if char != '%' {
                text(&mut pieces, char);
                continue;
            }
            let operator = chars.next();
            let piece = match operator {
                Some('%') => {
                    text(&mut pieces, '%');
                    continue;
                }
                Some('^' | '$') => continue, // colours, which are for terminals
                Some(operator) => operation(operator),
                None => None,
            };
            pieces.push(piece.ok_or_else(|| FormatError(operator.into_iter().collect()))?);
        }
        Ok(Self(pieces))
    }
}

fn text(pieces: &mut Vec<Piece>, char: char) {
    match pieces.last_mut() {
        Some(Piece::Text(text)) => text.push(char),
        Some(_) | None => pieces.push(Piece::Text(char.into())),
    }
}

fn operation(operator: char) -> Option<Piece> {
    Some(match operator {
        '#' => Piece::Line,
        '_' => Piece::Message(Escape::LineBreaks),
        'A' => Piece::Time("%A"),
        'B' => Piece::Time("%B"),
        'D' => Piece::Time("%m/%d/%y"),
        'E' => Piece::Time("%s"),
        'H' => Piece::Time("%H"),
        'I' => Piece::Time("%I"),
        'L' => Piece::LevelLetter,
        'M' => Piece::Time("%M"),
        'P' => Piece::Process,
        'R' => Piece::Time("%H:%M"),
        'S' => Piece::Time("%S"),
        'T' => Piece::Time("%H:%M:%S"),
        'Y' => Piece::Time("%Y"),
        'a' => Piece::Time("%a"),
        'b' => Piece::Time("%b"),
        'd' => Piece::Time("%d"),
        'e' => Piece::Time("%3f"),
        'g' => Piece::File,
        'j' => Piece::Message(Escape::Json),
        'l' => Piece::Level,
        'm' => Piece::Time("%m"),
        'n' => Piece::Logger,
        'p' => Piece::Time("%p"),
        's' => Piece::FileName,
        't' => Piece::Thread,
        'v' => Piece::Message(Escape::Nothing),
        'y' => Piece::Time("%y"),
        'z' => Piece::Text("+00:00".into()),
        _ => return None,
    })
}

/// A [`Format`] with a clock.
pub(super) struct Formatter {
    pub(super) format: Format,
    pub(super) clock: fn() -> SystemTime,
}

impl<S, N> FormatEvent<S, N> for Formatter
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (at, about) = ((self.clock)(), event.metadata());
        for piece in &self.format.0 {
            piece.write(at, about, event, &mut out)?;
        }
        out.write_char('\n')
    }
}

impl Piece {
    fn write(&self, at: SystemTime, about: &Metadata<'_>, event: &Event<'_>, out: &mut dyn Write) -> fmt::Result {
        match self {
            Self::File => out.write_str(about.file().unwrap_or_default()),
            Self::FileName => {
                let name = about.file().and_then(|file| Path::new(file).file_name()?.to_str());
                out.write_str(name.unwrap_or_default())
            }
            Self::Level => out.write_str(level(about)),
            Self::LevelLetter => out.write_str(level(about).get(..1).unwrap_or_default().to_ascii_uppercase().as_str()),
            Self::Line => write!(out, "{}", about.line().unwrap_or_default()),
            Self::Logger => out.write_str(logger_of(about.target())),
            Self::Message(escape) => out.write_str(&escape.apply(message(event))),
            Self::Process => write!(out, "{}", std::process::id()),
            Self::Text(text) => out.write_str(text),
            Self::Thread => out.write_str(std::thread::current().name().unwrap_or("unnamed")),
            Self::Time(conversion) => {
                let mut text = Vec::new();
                strftime(conversion, at, &mut text);
                out.write_str(&String::from_utf8_lossy(&text))
            }
        }
    }
}

/// In Envoy's words.
fn level(about: &Metadata<'_>) -> &'static str {
    match *about.level() {
        tracing::Level::TRACE => "trace",
        tracing::Level::DEBUG => "debug",
        tracing::Level::INFO => "info",
        tracing::Level::WARN => "warning",
        tracing::Level::ERROR => "error",
    }
}

impl Escape {
    fn apply(self, message: String) -> String {
        match self {
            Self::Json => {
                let quoted = serde_json::Value::String(message).to_string();
                quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
            }
            Self::LineBreaks => message.replace('\n', "\\n"),
            Self::Nothing => message,
        }
    }
}

/// The sentence, then each field as ` name=value`.
fn message(event: &Event<'_>) -> String {
    let mut message = Message::default();
    event.record(&mut message);
    message.sentence + &message.fields
}

#[derive(Default)]
struct Message {
    sentence: String,
    fields: String,
}

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.sentence, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("writing to a String does not fail");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::process_log::testing::Lines;

    /// What a line looks like in a format.
    fn line(pattern: &str) -> String {
        let clock = || SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_042);
        let lines = Lines::default();
        let formatter = Formatter { format: Format::parse(pattern).unwrap(), clock };
        let subscriber = tracing_subscriber::fmt().with_writer(lines.clone()).event_format(formatter).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "finwait::cluster", name = "web", size = 2, "two\nlines \"quoted\"");
        });
        lines.text()
    }

    #[test]
    fn each_operator_is_filled_in() {
        let cases = [
            (
                "[%Y-%m-%d %T.%e][%l][%n] 100%% %_",
                "[2023-11-14 22:13:20.042][warning][upstream] 100% two\\nlines \"quoted\" name=web size=2\n",
            ),
            ("%L %E %z %s|%^%$|", "W 1700000000 +00:00 format.rs||\n"),
            ("{\"m\":\"%j\"}", "{\"m\":\"two\\nlines \\\"quoted\\\" name=web size=2\"}\n"),
            ("%v", "two\nlines \"quoted\" name=web size=2\n"),
            ("%D %R %I%p %a %b", "11/14/23 22:13 10PM Tue Nov\n"),
        ];
        for (pattern, want) in cases {
            assert_eq!(line(pattern), want, "{pattern}");
        }
    }

    #[test]
    fn an_unknown_operator_is_refused_by_its_name() {
        for (pattern, operator) in [("%q", "`%q`"), ("%8l", "`%8`"), ("%*", "`%*`"), ("100%", "`%`")] {
            let error = Format::parse(pattern).unwrap_err().to_string();
            assert!(error.contains(operator), "{pattern}: {error}");
        }
    }
}
