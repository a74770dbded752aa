//! A proxy whose memory and stats are read while it is measured.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use crate::rivals::{Kind, Options, Running, free_port};

/// A proxy that has stopped answers its admin interface no more.
const PAGE_MAX: Duration = Duration::from_secs(5);
pub(crate) const MIB: f64 = 1024.0 * 1024.0;

/// A proxy that runs.
pub(crate) struct Watched {
    pub(crate) kind: Kind,
    pub(crate) process: Running,
    /// Where it tells its stats.
    pub(crate) admin: SocketAddr,
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) now_bytes: u64,
    /// The most so far.
    pub(crate) peak_bytes: u64,
}

impl Watched {
    /// Starts it as [`Kind::start`] does.
    pub(crate) fn start(kind: Kind, dir: &Path, app: SocketAddr, options: &Options<'_>) -> Option<Self> {
        let admin = free_port();
        Some(Self { kind, process: kind.start(dir, app, admin, options)?, admin })
    }

    /// Its stats of these names, or that end so, in that order. A proxy that does not have one has none of it.
    pub(crate) fn stats<const N: usize>(&self, names: [&str; N]) -> [u64; N] {
        let listed = self.admin_page("/stats").unwrap_or_default();
        names.map(|name| {
            let line = listed.lines().find_map(|line| line.split_once(&format!("{name}: ")));
            line.and_then(|(_, value)| value.parse().ok()).unwrap_or(0)
        })
    }

    fn admin_page(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(PAGE_MAX))?;
        write!(stream, "GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    }

    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.worker())).unwrap_or_default();
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Memory { now_bytes: bytes("VmRSS:"), peak_bytes: bytes("VmHWM:") }
    }
}
