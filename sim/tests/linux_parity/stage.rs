//! Plays scripts on sockets, whichever world they belong to, and says what each step saw.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use finwait::net::{Accept, Address, Conn, ConnectOptions, ListenOptions, LocalBoxFuture, Outside};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use Action::*;
use Who::*;

use crate::worlds::Settle;

/// Who does what.
pub(crate) type Step = (Who, Action);

/// Some steps of a row: who does what, and what they see.
pub(crate) type Script = &'static [(Who, Action, &'static str)];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Who {
    /// The end that connected.
    Client,
    /// The end that accepted, or listens.
    Server,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// Drop the connection with SO_LINGER 0.
    Abort,
    /// Take a connection out of the backlog.
    Accept,
    /// Drop the connection.
    Close,
    /// Stop listening.
    CloseListener,
    /// Begin to connect, and see how far it got.
    Connect,
    /// Wait until the connection that was begun last is open.
    Connected,
    /// Listen with this backlog.
    Listen(u32),
    /// Read once.
    Read,
    /// Read to the end, in pieces of this size.
    ReadAll(usize),
    /// Read one byte.
    ReadByte,
    /// Finish the sending direction.
    Shutdown,
    /// Write once.
    Write(&'static str),
    /// Write until it blocks, 64 MiB at most.
    WriteUntilBlocked,
}

/// Who is on stage.
struct Stage {
    outside: Outside,
    settle: Settle,
    listener: Option<Box<dyn Accept>>,
    /// Where it listens, or did.
    address: Address,
    connecting: Option<LocalBoxFuture<'static, io::Result<Conn>>>,
    client: Option<Conn>,
    server: Option<Conn>,
    /// Connections that later ones have replaced; they stay open.
    earlier: Vec<Conn>,
    /// Bytes that [`WriteUntilBlocked`] got rid of.
    flooded: usize,
}

/// Plays a script; one line per step.
pub(crate) async fn play(script: Vec<Step>, outside: Outside, settle: Settle) -> Vec<String> {
    let mut stage = Stage {
        outside,
        settle,
        listener: None,
        address: at("127.0.0.1", 0),
        connecting: None,
        client: None,
        server: None,
        earlier: Vec::new(),
        flooded: 0,
    };
    let mut seen = Vec::new();
    for (who, action) in script {
        let saw = stage.act(who, action).await.unwrap_or_else(|error| format!("{:?}", error.kind()));
        seen.push(format!("{who:?} {action:?}: {saw}"));
        settle().await;
    }
    seen
}

impl Stage {
    async fn act(&mut self, who: Who, action: Action) -> io::Result<String> {
        match action {
            Abort => {
                self.end(who).take().unwrap().abort();
                Ok("ok".into())
            }
            Accept => {
                let conn = self.listener.as_mut().unwrap().accept().await?;
                self.earlier.extend(self.server.replace(conn));
                Ok("accepted".into())
            }
            Close => {
                drop(self.end(who).take().unwrap());
                Ok("ok".into())
            }
            CloseListener => {
                drop(self.listener.take().unwrap());
                Ok("ok".into())
            }
            Connect => {
                self.connecting = Some(self.connect());
                self.see_connecting(10).await
            }
            Connected => {
                let connecting = self.connecting.take().unwrap_or_else(|| self.connect());
                self.earlier.extend(self.client.replace(connecting.await?));
                Ok("connected".into())
            }
            Listen(backlog) => {
                let how = ListenOptions { backlog, ..ListenOptions::default() };
                let listener = self.outside.net.listen(&self.address, &how)?;
                self.address = listener.local().clone();
                self.listener = Some(listener);
                Ok("listens".into())
            }
            Read => self.read(who, 4096).await,
            ReadAll(piece) => self.read_all(who, piece).await,
            ReadByte => self.read(who, 1).await,
            Shutdown => {
                let conn = self.end(who).as_mut().unwrap();
                poll_fn(|cx| Pin::new(&mut *conn).poll_shutdown(cx)).await?;
                Ok("ok".into())
            }
            Write(text) => match self.write(who, text.as_bytes()).await? {
                None => Ok("pending".into()),
                Some(written) => Ok(format!("wrote {written}")),
            },
            WriteUntilBlocked => self.flood(who).await,
        }
    }

    fn end(&mut self, who: Who) -> &mut Option<Conn> {
        match who {
            Client => &mut self.client,
            Server => &mut self.server,
        }
    }

    fn connect(&self) -> LocalBoxFuture<'static, io::Result<Conn>> {
        let (net, to) = (Rc::clone(&self.outside.net), self.address.clone());
        Box::pin(async move { net.connect(&to, &ConnectOptions::default()).await })
    }

    async fn see_connecting(&mut self, patience: usize) -> io::Result<String> {
        let mut connecting = self.connecting.take().unwrap();
        for _ in 0..patience {
            if let Poll::Ready(conn) = poll_fn(|cx| Poll::Ready(connecting.as_mut().poll(cx))).await {
                self.earlier.extend(self.client.replace(conn?));
                return Ok("connected".into());
            }
            (self.settle)().await;
        }
        self.connecting = Some(connecting);
        Ok("pending".into())
    }

    async fn read(&mut self, who: Who, len: usize) -> io::Result<String> {
        let mut buffer = vec![0; len];
        Ok(match self.read_into(who, &mut buffer, 10).await? {
            None => "pending".into(),
            Some(0) => "end".into(),
            Some(len) => String::from_utf8_lossy(&buffer[..len]).into_owned(),
        })
    }

    async fn read_all(&mut self, who: Who, piece: usize) -> io::Result<String> {
        // A bad wire may need many retransmissions, each later than the one before by twice the time.
        const PATIENCE: usize = 100_000;
        let mut total = 0;
        let mut buffer = vec![0; piece];
        loop {
            match self.read_into(who, &mut buffer, PATIENCE).await? {
                None => return Ok(format!("{total} bytes, pending")),
                Some(0) if total == self.flooded => return Ok("all bytes, end".into()),
                Some(0) => return Ok(format!("{total} bytes, end")),
                Some(len) => total += len,
            }
        }
    }

    /// None: nothing came, though everything that was on its way has had the time to.
    async fn read_into(&mut self, who: Who, buffer: &mut [u8], patience: usize) -> io::Result<Option<usize>> {
        for _ in 0..patience {
            let conn = self.end(who).as_mut().unwrap();
            let mut buf = ReadBuf::new(buffer);
            match poll_fn(|cx| Poll::Ready(Pin::new(&mut *conn).poll_read(cx, &mut buf))).await {
                Poll::Ready(result) => return result.map(|()| Some(buf.filled().len())),
                Poll::Pending => (self.settle)().await,
            }
        }
        Ok(None)
    }

    /// None: it would block, and goes on doing so.
    async fn write(&mut self, who: Who, bytes: &[u8]) -> io::Result<Option<usize>> {
        for _ in 0..10 {
            let conn = self.end(who).as_mut().unwrap();
            match poll_fn(|cx| Poll::Ready(Pin::new(&mut *conn).poll_write(cx, bytes))).await {
                Poll::Ready(result) => return result.map(Some),
                Poll::Pending => (self.settle)().await,
            }
        }
        Ok(None)
    }

    async fn flood(&mut self, who: Who) -> io::Result<String> {
        const FLOOD_BYTES_MAX: usize = 64 << 20;
        while self.flooded < FLOOD_BYTES_MAX {
            match self.write(who, &[7; 65_536]).await? {
                None => return Ok("blocked".into()),
                Some(written) => self.flooded += written,
            }
        }
        Ok("never blocked".into())
    }
}

/// An address in text and a port.
pub(crate) fn at(ip: &str, port: u16) -> Address {
    Address::Socket(SocketAddr::new(ip.parse().unwrap(), port))
}
