//! A network whose connects end, and whose peers close, when the test does it.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use tokio::io::ReadBuf;
use tokio::sync::oneshot;

use crate::net::testing::{Reads, TakesAll};
use crate::net::{
    Accept, Address, Clock, Conn, ConnectOptions, ListenOptions, LocalBoxFuture, LogTarget, LogWriter, Logs, Net, Peek,
    Random, ResolveError,
};

/// The far end of a connection.
#[derive(Debug, Default)]
struct Peer {
    closed: bool,
    reader: Option<Waker>,
}

struct FakeIo(Arc<Mutex<Peer>>);

impl Reads for FakeIo {
    fn poll_read(&mut self, cx: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut peer = self.0.lock().unwrap();
        peer.reader = Some(cx.waker().clone());
        if peer.closed { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn peek(&self) -> Peek {
        if self.0.lock().unwrap().closed { Peek::Closed } else { Peek::Open }
    }
}

#[derive(Default)]
pub(super) struct Network {
    connecting: RefCell<Vec<oneshot::Sender<io::Result<Conn>>>>,
    pub(super) connects: Cell<usize>,
    peers: RefCell<Vec<Arc<Mutex<Peer>>>>,
}

impl Network {
    /// Ends the oldest connect. False if none is under way.
    pub(super) fn end_connect(&self, accepted: bool) -> bool {
        let mut connecting = self.connecting.borrow_mut();
        connecting.retain(|one| !one.is_closed());
        if connecting.is_empty() {
            return false;
        }
        let at = Address::Internal("peer".into());
        let result = match accepted {
            true => {
                let peer = Arc::new(Mutex::new(Peer::default()));
                self.peers.borrow_mut().push(Arc::clone(&peer));
                Ok(Conn::new(Box::new(TakesAll(FakeIo(peer))), at.clone(), at))
            }
            false => Err(io::ErrorKind::ConnectionRefused.into()),
        };
        connecting.remove(0).send(result).is_ok()
    }

    pub(super) fn close(&self, id: usize) {
        let peer = Arc::clone(&self.peers.borrow()[id]);
        let reader = {
            let mut peer = peer.lock().unwrap();
            peer.closed = true;
            peer.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Connections so far.
    pub(super) fn established(&self) -> usize {
        self.peers.borrow().len()
    }
}

pub(super) struct World(pub(super) Rc<Network>);

impl Net for World {
    fn listen(&self, _: &Address, _: &ListenOptions) -> io::Result<Box<dyn Accept>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn connect<'a>(&'a self, _: &'a Address, _: &'a ConnectOptions) -> LocalBoxFuture<'a, io::Result<Conn>> {
        let (sender, receiver) = oneshot::channel();
        self.0.connects.set(self.0.connects.get() + 1);
        self.0.connecting.borrow_mut().push(sender);
        Box::pin(async { receiver.await.unwrap() })
    }

    fn resolve<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Result<Vec<IpAddr>, ResolveError>> {
        Box::pin(async { Err(ResolveError::NoAddress) })
    }
}

impl Clock for World {
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

impl Random for World {
    fn next_u64(&self) -> u64 {
        0
    }
}

impl Logs for World {
    fn open(&self, _: &LogTarget) -> io::Result<Rc<dyn LogWriter>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
