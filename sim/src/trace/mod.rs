//! What was seen: every event of a run, in order.
//!
//! A [`Trace`] is append-only and ordered by virtual time, then by sequence. It is complete: two runs are the
//! same run exactly if [`Trace::to_text`] gives the same bytes.

pub mod accounts;
pub mod conversation;
pub mod spans;
pub mod wire;

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use finwait::access_log::ResponseFlag;

use crate::segment::Segment;
use conversation::Conversation;

/// A simulated host, by the order in which hosts were made.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct HostId(pub(crate) usize);

impl HostId {
    /// Its place in [`Trace::hosts`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A proxy's account of a stream that is over, in the words of [`accounts`]: whatever its configuration logs.
    Account {
        /// The proxy's host.
        host: HostId,
        /// The line as the access log has it.
        line: String,
    },
    /// A gate let the first bytes of a segment pass; the rest waits. It is delivered once more for each cut.
    Cut {
        /// The packet, by the sequence of its [`Event::Sent`].
        packet: u64,
        /// How much of its payload has passed.
        bytes: u64,
    },
    /// A fault lets a segment arrive later than its link would.
    Delayed {
        /// The packet, by the sequence of its [`Event::Sent`].
        packet: u64,
        /// How much later.
        by: Duration,
    },
    /// A segment reached a host's kernel. `packet` is the sequence of its [`Event::Sent`].
    Delivered {
        /// Where it arrived.
        host: HostId,
        /// The packet, by the sequence of its [`Event::Sent`].
        packet: u64,
    },
    /// A segment will never arrive.
    Dropped {
        /// The packet, by the sequence of its [`Event::Sent`].
        packet: u64,
        /// Why it was lost.
        why: Loss,
    },
    /// A segment waits for a hold to be released.
    Held {
        /// The packet, by the sequence of its [`Event::Sent`].
        packet: u64,
    },
    /// A host's processes were started, ended or cut off.
    Host {
        /// The host concerned.
        host: HostId,
        /// What happened to it.
        change: HostChange,
    },
    /// A program wrote a line to a log.
    Log {
        /// On which host.
        host: HostId,
        /// To which file.
        target: String,
        /// The line, without its line end.
        line: String,
    },
    /// An actor noted what it did or saw.
    Note {
        /// Which host the actor is on.
        host: HostId,
        /// The note.
        text: String,
    },
    /// A kernel sent a segment.
    Sent {
        /// The host that sends.
        host: HostId,
        /// The segment as it leaves.
        segment: Segment,
    },
    /// A connection reached a point that programs care about.
    Socket {
        /// On which host.
        host: HostId,
        /// Its end of the connection.
        local: SocketAddr,
        /// The other end.
        peer: SocketAddr,
        /// What happened to it.
        change: Change,
    },
}

/// Why a segment never arrives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// The link lost it by chance.
    Chance,
    /// A fault took it.
    Fault,
    /// No host has its destination address.
    NoHost,
    /// The receiving host has no power.
    NoPower,
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// A SYN found the listener's backlog full and was dropped.
    BacklogFull,
    /// The handshake is done.
    Opened,
    /// The peer's kernel refused the connection.
    Refused,
    /// The peer's kernel reset the connection.
    Reset,
    /// The peer did not respond for too long.
    TimedOut,
}

/// What happened to a host.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HostChange {
    /// Its processes were killed; its kernel closed their sockets.
    Killed,
    /// It lost power: kernel and all.
    PoweredOff,
    /// A process was started after the beginning of the run.
    Started,
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Virtual time since the beginning of the run.
    pub at: Duration,
    /// What happened.
    pub event: Event,
}

/// The secrets of an encrypted connection, in the terms of the NSS key log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Secret {
    /// What it is for, such as `CLIENT_TRAFFIC_SECRET_0`.
    pub label: String,
    /// The random of the ClientHello, which distinguishes connections.
    pub client_random: Vec<u8>,
    /// The secret.
    pub secret: Vec<u8>,
}

/// A line of the NSS key log.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.label)?;
        self.client_random.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(" ")?;
        self.secret.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Every event of a run.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    hosts: Vec<String>,
    entries: Vec<Entry>,
    /// The numbers of events go on when nothing is kept.
    sequence: u64,
    forgets: bool,
    secrets: Vec<Secret>,
    /// What [`Trace::conversations`] has found; nothing until the run is over.
    conversations: OnceLock<Vec<Conversation>>,
}

/// Traces are equal if the same happened to the same hosts.
impl PartialEq for Trace {
    fn eq(&self, other: &Self) -> bool {
        (&self.hosts, &self.entries, self.sequence, self.forgets)
            == (&other.hosts, &other.entries, other.sequence, other.forgets)
    }
}

impl Trace {
    /// A trace that numbers events but keeps none: for runs of which only the outcome matters.
    pub(crate) fn forgetful() -> Self {
        Self { forgets: true, ..Self::default() }
    }

    pub(crate) fn add_host(&mut self, name: &str) {
        self.hosts.push(name.into());
    }

    /// Appends; gives the event's sequence.
    pub(crate) fn push(&mut self, at: Duration, event: Event) -> u64 {
        if !self.forgets {
            self.conversations.take();
            self.entries.push(Entry { at, event });
        }
        self.sequence += 1;
        self.sequence - 1
    }

    /// Appends [`Event::Sent`]; its sequence is the packet's number.
    pub(crate) fn sent(&mut self, at: Duration, host: HostId, segment: &Segment) -> u64 {
        if self.forgets {
            self.sequence += 1;
            return self.sequence - 1;
        }
        self.push(at, Event::Sent { host, segment: segment.clone() })
    }

    /// Keeps a secret of an encrypted connection; both ends have the same.
    pub(crate) fn push_secret(&mut self, secret: Secret) {
        if !self.forgets && !self.secrets.contains(&secret) {
            self.secrets.push(secret);
        }
    }

    /// The secrets of all encrypted connections, in the order in which they were known.
    #[must_use]
    pub fn secrets(&self) -> &[Secret] {
        &self.secrets
    }

    /// Everything, in order; an entry's index is its sequence.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All connections, in the order in which they were opened. They are read once.
    #[must_use]
    pub fn conversations(&self) -> &[Conversation] {
        self.conversations.get_or_init(|| conversation::conversations(self))
    }

    /// The names of the hosts, by [`HostId::index`].
    #[must_use]
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// A host's name.
    #[must_use]
    pub fn host(&self, host: HostId) -> &str {
        self.hosts.get(host.0).map_or("?", String::as_str)
    }

    /// Who has been seen with an address.
    #[must_use]
    pub fn owner(&self, ip: IpAddr) -> Option<HostId> {
        self.entries.iter().find_map(|entry| {
            if let Event::Sent { host, segment } = &entry.event {
                return (segment.from.ip() == ip).then_some(*host);
            }
            let Event::Delivered { host, packet } = &entry.event else { return None };
            self.segment(*packet).filter(|segment| segment.to.ip() == ip).map(|_| *host)
        })
    }

    /// The segment with the packet number that [`Event::Delivered`] and its like refer to.
    #[must_use]
    pub fn segment(&self, packet: u64) -> Option<&Segment> {
        self.sent_by(packet).map(|(_, segment)| segment)
    }

    /// The same, with the host that sent it.
    #[must_use]
    pub fn sent_by(&self, packet: u64) -> Option<(HostId, &Segment)> {
        let entry = self.entries.get(usize::try_from(packet).ok()?)?;
        if let Event::Sent { host, segment } = &entry.event { Some((*host, segment)) } else { None }
    }

    /// The lines of all logs, in order: when, on which host, what.
    #[must_use]
    pub fn log(&self) -> Vec<(Duration, &str, &str)> {
        let mut lines = Vec::new();
        for entry in &self.entries {
            if let Event::Log { host, line, .. } = &entry.event {
                lines.push((entry.at, self.host(*host), line.as_str()));
            }
        }
        lines
    }

    /// The complete trace as text, one event a line, payloads included as a checksum.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (sequence, entry) in self.entries.iter().enumerate() {
            // Writing to a String cannot fail.
            let _infallible =
                writeln!(text, "{:>16} #{sequence} {}", Seconds(entry.at), EntryText { trace: self, entry });
        }
        text
    }
}

/// The response flags in an access-log line, wherever its format puts them; `-` if there are none.
#[must_use]
pub fn flags(line: &str) -> String {
    let words = line.split(|c: char| !c.is_ascii_alphanumeric());
    let flags: Vec<&str> = words.filter(|word| word.parse::<ResponseFlag>().is_ok()).collect();
    if flags.is_empty() { "-".into() } else { flags.join(",") }
}

/// A time with all its nanoseconds.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{:09}", self.0.as_secs(), self.0.subsec_nanos()))
    }
}

struct EntryText<'a> {
    trace: &'a Trace,
    entry: &'a Entry,
}

impl fmt::Display for EntryText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |host: &HostId| self.trace.host(*host);
        match &self.entry.event {
            Event::Account { host, line } => write!(f, "{} account {line:?}", name(host)),
            Event::Cut { packet, bytes } => write!(f, "cut #{packet} after {bytes} bytes"),
            Event::Delayed { packet, by } => write!(f, "delayed #{packet} {by:?}"),
            Event::Delivered { host, packet } => write!(f, "{} receives #{packet}", name(host)),
            Event::Dropped { packet, why } => write!(f, "lost #{packet} {why:?}"),
            Event::Held { packet } => write!(f, "held #{packet}"),
            Event::Host { host, change } => write!(f, "{} {change:?}", name(host)),
            Event::Log { host, target, line } => write!(f, "{} log {target} {line:?}", name(host)),
            Event::Note { host, text } => write!(f, "{} note {text:?}", name(host)),
            Event::Sent { host, segment } => {
                write!(f, "{} sends {segment} sum={:016x}", name(host), checksum(&segment.payload))
            }
            Event::Socket { host, local, peer, change } => {
                write!(f, "{} socket {local} -> {peer} {change:?}", name(host))
            }
        }
    }
}

/// FNV-1a: enough to see that payloads differ.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3))
}

/// The trace of a run that is under way. The lock is there because a connection must be `Send`; a run has one
/// thread, so it is never contended.
#[derive(Clone, Default)]
pub(crate) struct SharedTrace(Arc<Mutex<Trace>>);

impl SharedTrace {
    pub(crate) fn new(trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(trace)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Trace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The trace so far; what is recorded later starts from nothing.
    pub(crate) fn take(&self) -> Trace {
        std::mem::take(&mut *self.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_found_wherever_they_stand() {
        assert_eq!(flags("503 UC upstream_reset_before_response_started POST /a"), "UC");
        assert_eq!(flags("{\"flags\":\"UF,URX\",\"status\":503}"), "UF,URX");
        assert_eq!(flags("200 - via_upstream GET /UCX"), "-");
    }

    #[test]
    fn text_shows_every_field_that_can_differ() {
        let mut trace = Trace::default();
        trace.add_host("a");
        let at = Duration::from_nanos(1_000_250_001);
        trace.push(at, Event::Note { host: HostId(0), text: "hello".into() });
        trace.push(at, Event::Dropped { packet: 0, why: Loss::Chance });
        assert_eq!(trace.to_text(), "     1.000250001 #0 a note \"hello\"\n     1.000250001 #1 lost #0 Chance\n");
    }

    #[test]
    fn a_forgetful_trace_counts_all_the_same() {
        let mut trace = Trace::forgetful();
        let note = || Event::Note { host: HostId(0), text: String::new() };
        assert_eq!(trace.push(Duration::ZERO, note()), 0);
        assert_eq!(trace.push(Duration::ZERO, note()), 1);
        assert!(trace.entries().is_empty());
    }
}
