//! Unix domain sockets of the system.
//!
//! A path belongs to the process and not to one of its workers, since the system has no SO_REUSEPORT for it: the first worker
//! binds, the others accept from the same socket. The last that stops accepting takes the file away, unless another process
//! has put its own there meanwhile.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as Bound;
use std::sync::{Mutex, PoisonError};

use ::tokio::net::{UnixListener, UnixStream};
use socket2::{Domain, SockAddr, Socket, Type};

use super::{Accept, Address, Conn, ListenOptions, LocalBoxFuture, Spare, Stream};
use crate::net::Pipe;

/// The sockets that this process is bound to, by path.
static BOUND: Mutex<BTreeMap<String, Shared>> = Mutex::new(BTreeMap::new());

/// A socket from which workers accept.
struct Shared {
    socket: Bound,
    /// How many accept from it.
    acceptors: usize,
    /// Device and inode of its file; `None` in the abstract namespace.
    file: Option<(u64, u64)>,
}

/// Whether a listener can be bound here without taking the path from another process.
///
/// # Errors
/// Something accepts connections there.
pub(super) fn check_free(pipe: &Pipe) -> io::Result<()> {
    let bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if bound.contains_key(&pipe.path) { Ok(()) } else { check_unused(pipe) }
}

fn check_unused(pipe: &Pipe) -> io::Result<()> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&socket_address(pipe)?) {
        // With a full backlog it would block, which also means that the path is in use.
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Ok(()),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

/// Binds and listens, or accepts from what a worker of this process has bound.
pub(super) fn listen(pipe: &Pipe, how: &ListenOptions) -> io::Result<Box<dyn Accept>> {
    let mut bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let socket = match bound.get_mut(&pipe.path) {
        Some(shared) => {
            let socket = shared.socket.try_clone()?;
            shared.acceptors += 1;
            socket
        }
        None => {
            // An address that is shared with other processes is taken from them, as Envoy takes every path.
            if !how.reuse_port {
                check_unused(pipe)?;
            }
            let (socket, file) = bind(pipe, how)?;
            let own = socket.try_clone()?;
            bound.insert(pipe.path.clone(), Shared { socket, acceptors: 1, file });
            own
        }
    };
    drop(bound);
    let place = Place(Some(pipe.path.clone())); // left again if the rest fails
    set_mode(pipe)?;
    let (listener, local) = (UnixListener::from_std(socket)?, Address::Pipe(Pipe::new(&*pipe.path)));
    Ok(Box::new(Listening { listener, local, place, spare: Spare::default() }))
}

fn bind(pipe: &Pipe, how: &ListenOptions) -> io::Result<(Bound, Option<(u64, u64)>)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let is_abstract = pipe.abstract_name().is_some();
    // A socket that a process has left behind. Any other file stays, and the path is in use.
    if !is_abstract && fs::symlink_metadata(&pipe.path).is_ok_and(|file| file.file_type().is_socket()) {
        fs::remove_file(&pipe.path)?;
    }
    socket.bind(&socket_address(pipe)?)?;
    let file = if is_abstract { None } else { identity(&pipe.path) };
    set_mode(pipe)?; // before a client can connect
    socket.listen(i32::try_from(how.backlog).unwrap_or(i32::MAX))?;
    Ok((socket.into(), file))
}

fn set_mode(pipe: &Pipe) -> io::Result<()> {
    match pipe.mode {
        Some(mode) if pipe.abstract_name().is_none() => {
            fs::set_permissions(&pipe.path, fs::Permissions::from_mode(mode))
        }
        Some(_) | None => Ok(()),
    }
}

/// Which file is at a path.
fn identity(path: &str) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

fn socket_address(pipe: &Pipe) -> io::Result<SockAddr> {
    let Some(name) = pipe.abstract_name() else { return SockAddr::unix(&pipe.path) };
    // In the abstract namespace a NUL precedes the name (unix(7)).
    SockAddr::unix(format!("\0{name}"))
}

/// Opens a connection.
pub(super) async fn connect(pipe: &Pipe) -> io::Result<Conn> {
    let stream = match pipe.abstract_name() {
        None => UnixStream::connect(&pipe.path).await?,
        Some(name) => UnixStream::connect(&format!("\0{name}")).await?,
    };
    let peer = Address::Pipe(Pipe::new(&*pipe.path));
    Ok(Conn::new(Box::new(Stream(stream)), Address::Pipe(Pipe::new("")), peer))
}

struct Listening {
    listener: UnixListener,
    local: Address,
    place: Place,
    spare: Spare,
}

impl Accept for Listening {
    fn accept(&mut self) -> LocalBoxFuture<'_, io::Result<Conn>> {
        Box::pin(async move {
            let (stream, _) = self.spare.accept(async || self.listener.accept().await).await?;
            // A client has no path of its own; Envoy shows the listener's.
            Ok(Conn::new(Box::new(Stream(stream)), self.local.clone(), self.local.clone()))
        })
    }

    /// Without its file a socket is not found any more.
    fn admit_no_more(&mut self) -> io::Result<()> {
        self.place.leave();
        Ok(())
    }

    fn keep_spare(&mut self) {
        self.spare.keep(&self.listener);
    }

    fn local(&self) -> &Address {
        &self.local
    }
}

/// The path where one acceptor accepts, as long as it does.
struct Place(Option<String>);

impl Place {
    /// Takes the file away if no other acceptor is there.
    fn leave(&mut self) {
        let Some(path) = self.0.take() else { return };
        let mut bound = BOUND.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(shared) = bound.get_mut(&path) else { return };
        shared.acceptors = shared.acceptors.saturating_sub(1);
        if shared.acceptors > 0 {
            return;
        }
        if shared.file.is_some() && shared.file == identity(&path) {
            // If it stays, a client that connects is refused.
            drop(fs::remove_file(&path));
        }
        bound.remove(&path);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}
