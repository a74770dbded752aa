//! A blocking HTTP/1.1 client, many of them as a load on a process, and a configuration that needs no application.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

#[expect(clippy::disallowed_types, reason = "the binary under test is reached over real sockets")]
type TcpStream = std::net::TcpStream;

/// A step that takes longer has failed.
const STEP_MAX: Duration = Duration::from_secs(30);

/// The same configuration with a proxy that answers by itself.
pub(crate) fn answering(yaml: &str) -> String {
    yaml.replace("route: { cluster: app }", "direct_response: { status: 200, body: { inline_string: ok } }")
}

/// A client that keeps its connection while the server does.
pub(crate) struct Client {
    at: SocketAddr,
    conn: Option<BufReader<TcpStream>>,
}

impl Client {
    pub(crate) fn new(at: SocketAddr) -> Self {
        Self { at, conn: None }
    }

    /// One request; an error unless it is answered 200.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<()> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => connect(self.at)?,
        };
        write!(conn.get_mut(), "GET {path} HTTP/1.1\r\nhost: here\r\n\r\n")?;
        let (mut head, mut length, mut closes) = (String::new(), 0, false);
        loop {
            let mut line = String::new();
            if conn.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line == "\r\n" {
                break;
            }
            length = line.strip_prefix("content-length: ").map_or(length, |value| value.trim().parse().unwrap_or(0));
            closes |= line == "connection: close\r\n";
            head += &line;
        }
        conn.read_exact(&mut vec![0; length])?;
        if !closes {
            self.conn = Some(conn);
        }
        if head.starts_with("HTTP/1.1 200 ") { Ok(()) } else { Err(io::Error::other(head)) }
    }
}

fn connect(at: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let conn = TcpStream::connect(at)?;
    conn.set_read_timeout(Some(STEP_MAX))?;
    conn.set_write_timeout(Some(STEP_MAX))?;
    conn.set_nodelay(true)?;
    Ok(BufReader::new(conn))
}

/// Clients that send one request after the other; half of them on a connection that they keep, half on fresh ones.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(at: SocketAddr, clients: usize, path: &str) -> Self {
        let mut load =
            Self { stop: Arc::default(), count: Arc::default(), failures: Arc::default(), clients: Vec::new() };
        for number in 0..clients {
            let (stop, count, failures) = (Arc::clone(&load.stop), Arc::clone(&load.count), Arc::clone(&load.failures));
            let path = path.to_owned();
            load.clients.push(std::thread::spawn(move || {
                let mut client = Client::new(at);
                while !stop.load(Relaxed) {
                    if let Err(error) = client.get(&path) {
                        failures.lock().unwrap().push(error.to_string());
                    }
                    count.fetch_add(1, Relaxed);
                    if number.is_multiple_of(2) {
                        client.conn = None;
                    }
                }
            }));
        }
        load
    }

    /// Waits until so many more requests have ended.
    pub(crate) fn wait_for(&self, more: usize) {
        let until = self.count.load(Relaxed) + more;
        while self.count.load(Relaxed) < until {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }

    /// What has gone wrong so far.
    pub(crate) fn failures(&self) -> Vec<String> {
        self.failures.lock().unwrap().clone()
    }

    /// Lets every client finish its request; how many requests there were.
    pub(crate) fn stop(self) -> usize {
        self.stop.store(true, Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        self.count.load(Relaxed)
    }
}
