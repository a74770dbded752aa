//! The binary, as a process of its own, and what it says on standard error.

use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// Until it says what is waited for, on however busy a machine.
const WORDS_MAX: Duration = Duration::from_secs(30);

/// The binary, running. Dropped, it is killed.
pub(crate) struct Finwait {
    child: Child,
    lines: Receiver<String>,
    /// All of standard error so far.
    said: String,
}

impl Finwait {
    /// Starts it in `folder`.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> io::Result<Self> {
        Self::start_with(folder, arguments, Stdio::null())
    }

    /// The same, with a standard output.
    pub(crate) fn start_with(folder: &Path, arguments: &[&str], stdout: Stdio) -> io::Result<Self> {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_finwait")).args(arguments).current_dir(folder), stdout)
    }

    /// Starts it by a command, with a standard output.
    pub(crate) fn spawn(command: &mut Command, stdout: Stdio) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let (to_test, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if to_test.send(line).is_err() {
                    return; // the test is over
                }
            }
        });
        Ok(Self { child, lines, said: String::new() })
    }

    /// Waits for a line with `words`; what follows them there.
    pub(crate) fn until(&mut self, words: &str) -> io::Result<String> {
        loop {
            let line = self.lines.recv_timeout(WORDS_MAX).map_err(|error| self.failure(words, error))?;
            self.said += &format!("{line}\n");
            if let Some((_, rest)) = line.split_once(words) {
                return Ok(rest.to_owned());
            }
        }
    }

    /// Sends a signal, named without its SIG.
    pub(crate) fn signal(&self, name: &str) -> io::Result<()> {
        // No crate for one signal: a shell has kill built in.
        let sent = Command::new("sh").args(["-c", &format!("kill -s {name} {}", self.child.id())]).status()?;
        if sent.success() { Ok(()) } else { Err(io::Error::other("the signal could not be sent")) }
    }

    /// Waits for the end, through a silence of at most `silence`; how it ended, and all of standard error.
    pub(crate) fn end(mut self, silence: Duration) -> io::Result<(ExitStatus, String)> {
        loop {
            match self.lines.recv_timeout(silence) {
                Ok(line) => self.said += &format!("{line}\n"),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(timeout @ RecvTimeoutError::Timeout) => return Err(self.failure("its end", timeout)),
            }
        }
        Ok((self.child.wait()?, std::mem::take(&mut self.said)))
    }

    fn failure(&self, awaited: &str, error: RecvTimeoutError) -> io::Error {
        io::Error::other(format!("no {awaited:?}: {error} after\n{}", self.said))
    }
}

impl Drop for Finwait {
    fn drop(&mut self) {
        // Fails if it has ended, and that is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
