//! What a proxy records of each stream when it is over, apart from what its configuration logs.
//!
//! The proxy has no hook for it: the simulator gives each connection manager one more access log, of its own format, and
//! keeps its lines as [`Event::Account`]. So an explanation does not depend on the format that the logs of a configuration have,
//! or on his having any.

use std::time::Duration;

use finwait::access_log::{ConnectionTermination, Details, ResponseFlag};
use finwait::config::listener::{AccessLog, LogForm, LogPath};
use finwait::config::log_filter::LogFilter;
use finwait::config::log_format::Format;

use super::{Event, HostId, Trace, flags};

/// Where the log goes: no file can have this name, so no configuration means it by chance.
pub(crate) const PATH: &str = "\0accounts";

/// What a line has. No value has a tab in it: paths and addresses cannot, the other words are the proxy's own.
const FORMAT: &str = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%\t%DOWNSTREAM_LOCAL_ADDRESS%\t%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\t\
    %RESPONSE_CODE%\t%RESPONSE_FLAGS%\t%RESPONSE_CODE_DETAILS%\t%CONNECTION_TERMINATION_DETAILS%\t%DURATION%\t\
    %REQ(:METHOD)%\t%UPSTREAM_REMOTE_ADDRESS%";

/// A stream, as its proxy saw it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// The proxy's host.
    pub host: HostId,
    /// When it was over.
    pub at: Duration,
    /// Where it stands in the trace.
    pub event: usize,
    /// The client's end of the connection it came on.
    pub client: String,
    /// The proxy's end.
    pub server: String,
    /// The method; `-` if no head was read.
    pub method: String,
    /// The path that was requested; `-` if no head was read.
    pub path: String,
    /// The status that was sent; 0 if none was.
    pub status: u16,
    /// `%RESPONSE_FLAGS%`
    pub flags: Vec<ResponseFlag>,
    /// `%RESPONSE_CODE_DETAILS%`
    pub details: Option<Details>,
    /// `%CONNECTION_TERMINATION_DETAILS%`
    pub termination: Option<ConnectionTermination>,
    /// How long it took, to the millisecond below.
    pub took: Duration,
    /// The endpoint to which the last attempt had a connection; none if no attempt had one.
    pub upstream: Option<String>,
}

/// The log that writes accounts.
pub(crate) fn log() -> AccessLog {
    let format =
        Format::parse(FORMAT).expect("FORMAT is in the language that parse reads; each run of a proxy shows it");
    AccessLog {
        filter: LogFilter::Always,
        form: LogForm::Lines { to: LogPath::File(PATH.into()), format: format.into() },
    }
}

/// All accounts of a run, in the order in which they were given.
#[must_use]
pub fn accounts(trace: &Trace) -> Vec<Account> {
    let mut accounts = Vec::new();
    for (event, entry) in trace.entries().iter().enumerate() {
        if let Event::Account { host, line } = &entry.event {
            accounts.extend(read(*host, entry.at, event, line));
        }
    }
    accounts
}

/// Status and flags of each line that a host has logged, whatever the format of its logs: no times, no other text.
#[must_use]
pub fn logged(trace: &Trace, name: &str) -> Vec<String> {
    let mut logged = Vec::new();
    let entries = trace.entries();
    for (nth, entry) in entries.iter().enumerate() {
        let Event::Log { host, line, .. } = &entry.event else { continue };
        if trace.host(*host) != name {
            continue;
        }
        // The account of a request stands directly behind its line.
        let account = entries.get(nth + 1).and_then(|next| {
            let Event::Account { host: of, line } = &next.event else { return None };
            if of == host { read(*of, next.at, nth + 1, line) } else { None }
        });
        logged.push(match account {
            Some(account) => {
                let flags: Vec<&str> = account.flags.iter().map(|flag| flag.short()).collect();
                let flags = if flags.is_empty() { "-".into() } else { flags.join(",") };
                format!("{} {flags}", account.status)
            }
            // A connection's, of a tcp_proxy.
            None if line.starts_with(|c: char| c.is_ascii_digit()) => {
                line.split(' ').take(2).collect::<Vec<_>>().join(" ")
            }
            None => flags(line),
        });
    }
    logged
}

fn read(host: HostId, at: Duration, event: usize, line: &str) -> Option<Account> {
    let mut words = line.split('\t');
    let mut next = || words.next();
    Some(Account {
        host,
        at,
        event,
        client: next()?.to_owned(),
        server: next()?.to_owned(),
        path: next()?.to_owned(),
        status: next()?.parse().ok()?,
        flags: known(next()?).map_or(Ok(Vec::new()), |flags| flags.split(',').map(str::parse).collect()).ok()?,
        details: known(next()?).map(str::parse).transpose().ok()?,
        termination: known(next()?).map(str::parse).transpose().ok()?,
        took: Duration::from_millis(next()?.parse().ok()?),
        method: next()?.to_owned(),
        upstream: known(next()?).map(str::to_owned),
    })
}

/// A value, if there is one.
fn known(word: &str) -> Option<&str> {
    (word != "-").then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_read_as_it_was_written() {
        let line = "10.0.0.1:30001\t10.0.0.2:80\t/a\t503\tURX,UF\tupstream_reset_before_response_started{remote_reset}\t-\t12\tGET\t10.0.0.3:80";
        let account = read(HostId(1), Duration::ZERO, 7, line).expect("it has all its words");
        assert_eq!((account.status, account.method.as_str()), (503, "GET"));
        assert_eq!((account.termination, account.took), (None, Duration::from_millis(12)));
        assert_eq!(account.flags, [ResponseFlag::URX, ResponseFlag::UF]);
        let silent = read(HostId(1), Duration::ZERO, 7, "a\tb\t-\t0\t-\t-\t-\t0\t-\t-").expect("it has all its words");
        assert!(silent.flags.is_empty() && silent.details.is_none() && silent.upstream.is_none());
        assert_eq!(read(HostId(1), Duration::ZERO, 7, "too short"), None);
    }
}
