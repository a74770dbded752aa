//! The secrets of a connection, for a file that lets a capture of it be decrypted.

use std::fmt::Write;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::KeyLog;

use crate::config::tls::KeyLogFile;
use crate::net::{Address, LogTarget, Logs};

/// Collects the secrets of one handshake. They are written when it is dropped, so also where the handshake fails or is given up.
pub(super) struct Keys<'l> {
    collected: Arc<Collected>,
    logs: &'l dyn Logs,
    path: &'l str,
}

/// What rustls calls, from wherever it does the handshake.
#[derive(Debug)]
struct Collected {
    lines: Mutex<Vec<String>>,
    /// What got the secrets anyway.
    also: Arc<dyn KeyLog>,
}

impl<'l> Keys<'l> {
    /// Of a connection between these addresses; `None` if they are not written. `also` gets them besides.
    pub(super) fn of(
        file: Option<&'l KeyLogFile>,
        (local, peer): (&Address, &Address),
        logs: &'l dyn Logs,
        also: &Arc<dyn KeyLog>,
    ) -> Option<Self> {
        let file = file.filter(|file| file.is_for(local, peer))?;
        let collected = Arc::new(Collected { lines: Mutex::default(), also: Arc::clone(also) });
        Some(Self { collected, logs, path: &file.path })
    }

    /// What rustls gets for the connection.
    pub(super) fn of_rustls(&self) -> Arc<dyn KeyLog> {
        Arc::<Collected>::clone(&self.collected)
    }
}

impl Drop for Keys<'_> {
    fn drop(&mut self) {
        let lines = mem::take(&mut *self.collected.lines.lock().unwrap_or_else(PoisonError::into_inner));
        if lines.is_empty() {
            return;
        }
        match self.logs.open(&LogTarget::File(self.path.to_owned())) {
            Ok(log) => lines.iter().for_each(|line| log.write_line(line.as_bytes())),
            Err(error) => tracing::warn!(path = self.path, %error, "a log of TLS keys cannot be opened"),
        }
    }
}

impl KeyLog for Collected {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let line = line(label, client_random, secret);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        if self.also.will_log(label) {
            self.also.log(label, client_random, secret);
        }
    }
}

/// A line of the key log format of NSS, which RFC 9850 describes.
fn line(label: &str, client_random: &[u8], secret: &[u8]) -> String {
    let mut line = label.to_owned();
    for bytes in [client_random, secret] {
        line.push(' ');
        bytes.iter().for_each(|byte| write!(line, "{byte:02x}").unwrap_or_default());
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_label_the_random_and_the_secret() {
        assert_eq!(line("CLIENT_RANDOM", &[0, 0xab], &[1, 2, 0xff]), "CLIENT_RANDOM 00ab 0102ff\n");
    }
}
