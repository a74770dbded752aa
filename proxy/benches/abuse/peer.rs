//! One connection of an attack, which never waits for the other end to read.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use crate::frame::{PREFACE, SETTINGS, frame};

/// A response that an attack waits for.
const RESPONSE_MAX: Duration = Duration::from_secs(10);
/// Between two looks at a socket that takes no more.
const POLL: Duration = Duration::from_micros(200);
/// The receive buffer of a peer that does not read, so that the other end feels it soon.
const NARROW_BYTES: usize = 4096;

pub(crate) struct Peer(TcpStream);

impl Peer {
    pub(crate) fn connect(at: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(at)?)
    }

    /// With the smallest of receive buffers.
    pub(crate) fn connect_narrow(at: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(NARROW_BYTES)?;
        socket.connect(&at.into())?;
        Self::over(socket.into())
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self(stream))
    }

    /// With preface and these settings.
    pub(crate) fn http2(at: SocketAddr, settings: &[u8]) -> io::Result<Self> {
        let mut peer = Self::connect(at)?;
        peer.offer(&[PREFACE, &frame(SETTINGS, 0, 0, settings)].concat())?;
        Ok(peer)
    }

    /// Sends everything, reading whatever comes so that the other end goes on.
    pub(crate) fn send(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() && Instant::now() < until {
            let written = self.offer(left)?;
            left = &left[written..];
            if written == 0 {
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Sends everything and reads nothing.
    pub(crate) fn send_unread(&mut self, bytes: &[u8], until: Instant) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() && Instant::now() < until {
            let written = self.write_some(left)?;
            left = &left[written..];
            if written == 0 {
                thread::sleep(POLL);
            }
        }
        Ok(())
    }

    /// Sends what the socket takes, and throws away what has come.
    pub(crate) fn offer(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.read_some(&mut Vec::new())?;
        self.write_some(bytes)
    }

    pub(crate) fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
            written => written,
        }
    }

    /// Reads until it is there; all that has come.
    pub(crate) fn wait_for(&mut self, is_there: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
        let until = Instant::now() + RESPONSE_MAX;
        let mut got = Vec::new();
        loop {
            let read = self.read_some(&mut got);
            if is_there(&got) {
                return Ok(got);
            }
            read?;
            if Instant::now() >= until {
                return Err(ErrorKind::TimedOut.into());
            }
            thread::sleep(POLL);
        }
    }

    /// Reads until the other end has closed; a reset is an error.
    pub(crate) fn read_to_end(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let until = Instant::now() + RESPONSE_MAX;
        loop {
            match self.read_some(into) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(error),
                Ok(()) if Instant::now() >= until => return Err(ErrorKind::TimedOut.into()),
                Ok(()) => thread::sleep(POLL),
            }
        }
    }

    /// What has come; an error once the connection is over.
    pub(crate) fn read_some(&mut self, into: &mut Vec<u8>) -> io::Result<()> {
        let mut bytes = [0; 16 * 1024];
        loop {
            match self.0.read(&mut bytes) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => into.extend_from_slice(&bytes[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes with RST.
    pub(crate) fn reset(self) -> io::Result<()> {
        SockRef::from(&self.0).set_linger(Some(Duration::ZERO))
    }
}
