//! Why a connection did not come about, in Envoy's words.

use std::io;

use crate::cluster::Failure;
use crate::net::{Address, BindError};

/// Why there is no connection to `at`, as Envoy words it. A connect to a Unix domain socket fails at once, and the text has its
/// address.
pub(super) fn connect_failure(at: &Address, error: &io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(BindError::Address { from, error }) => {
            return Failure::Bind(format!("failed to bind to {from}: {}", in_words(error)));
        }
        Some(BindError::Options(_)) => return Failure::Bind("Setting socket options failed".to_owned()),
        None => {}
    }
    Failure::Connect(match at {
        Address::Internal(_) | Address::Pipe(_) => {
            format!("immediate connect error: {}|remote address:{at}", in_words(error))
        }
        Address::Socket(_) => format!("delayed connect error: {}", in_words(error)),
    })
}

/// The system's reason as Envoy prints it: the words without the number.
fn in_words(error: &io::Error) -> String {
    const WORDS: [(io::ErrorKind, &str); 10] = [
        (io::ErrorKind::AddrInUse, "Address already in use"),
        (io::ErrorKind::AddrNotAvailable, "Cannot assign requested address"),
        (io::ErrorKind::ConnectionRefused, "Connection refused"),
        (io::ErrorKind::ConnectionReset, "Connection reset by peer"),
        (io::ErrorKind::TimedOut, "Connection timed out"),
        (io::ErrorKind::HostUnreachable, "No route to host"),
        (io::ErrorKind::NetworkUnreachable, "Network is unreachable"),
        (io::ErrorKind::InvalidInput, "Invalid argument"),
        (io::ErrorKind::NotFound, "No such file or directory"),
        (io::ErrorKind::PermissionDenied, "Permission denied"),
    ];
    let known = WORDS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| without_number(error), |(_, words)| (*words).to_owned())
}

/// The standard library adds the number of the error.
fn without_number(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}
