//! A server that responds to every request the same way, and to every WebSocket handshake the same way.

mod http1;
mod websocket;

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use finwait::net::{Address, Conn, ListenOptions, Outside};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::select;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::by_hand::ByHand;
use super::http2::{Peer, Side};
use super::service::Service;
use super::{Notebook, ORDERS_MAX, Order, Orders};
use crate::scenario::{self, Action, PeerProtocol};
use crate::tls::AppEnd;

/// An app, with what its connections share.
pub(crate) struct App {
    outside: Outside,
    shared: Rc<AppShared>,
}

struct AppShared {
    manner: scenario::App,
    /// How TLS is used; clear text if absent.
    tls: Option<AppEnd>,
    notebook: Notebook,
    /// What it is besides an app.
    service: Option<Rc<Service>>,
    /// Requests so far that were no upgrade, and not for the service.
    requests: Cell<usize>,
    /// Where the script reaches each connection, in the order in which they were accepted.
    connections: RefCell<Vec<mpsc::Sender<Order>>>,
    /// The place of the newest WebSocket among them.
    newest: Cell<Option<usize>>,
    /// Orders for connections that have not come yet.
    early: RefCell<Vec<Order>>,
}

impl App {
    pub(crate) fn new(outside: Outside, manner: &scenario::App, tls: Option<AppEnd>, notebook: Notebook) -> Self {
        let (connections, newest, early) = Default::default();
        let service = manner.service().map(|replies| Rc::new(Service::new(replies)));
        let (manner, requests) = (manner.clone(), Cell::new(0));
        let shared = AppShared { manner, tls, notebook, service, requests, connections, newest, early };
        Self { outside, shared: Rc::new(shared) }
    }

    /// Serves until there are no more orders, then closes everything.
    ///
    /// # Errors
    /// The port cannot be listened on.
    pub(crate) async fn run(self, mut orders: Orders) -> io::Result<()> {
        let any = std::net::Ipv4Addr::UNSPECIFIED;
        let at = Address::Socket((any, self.shared.manner.port).into());
        let mut listener = self.outside.net.listen(&at, &ListenOptions::default())?;
        let mut connections = JoinSet::new();
        loop {
            // The script comes first: what it orders happens before what arrives in the same instant.
            select! {
                biased;
                order = orders.recv() => match order {
                    Some(order) => self.shared.pass_on(order).await,
                    None => return Ok(()), // dropping the set closes the connections
                },
                conn = listener.accept() => {
                    let (orders, incoming) = mpsc::channel(ORDERS_MAX);
                    let number = self.shared.add(orders).await;
                    connections.spawn_local(serve(conn?, Rc::clone(&self.shared), number, incoming));
                }
            }
        }
    }
}

impl AppShared {
    /// Adds a connection, and hands it the orders that were there before it. Gives its place.
    async fn add(&self, orders: mpsc::Sender<Order>) -> usize {
        let number = self.connections.borrow().len();
        self.connections.borrow_mut().push(orders);
        for order in self.early.take() {
            self.pass_on(order).await;
        }
        number
    }

    /// Hands the script's order to the connection it is for.
    async fn pass_on(&self, order: Order) {
        let wanted = order.connection.as_deref().and_then(|number| number.parse::<usize>().ok());
        let place = wanted.map_or_else(|| self.newest(), |number| number.checked_sub(1));
        let orders = place.and_then(|place| self.connections.borrow().get(place).cloned());
        let waits = wanted.is_some() || !self.manner.protocol.is_http1();
        match orders {
            Some(orders) => {
                if let Err(refused) = orders.send(order).await {
                    refused.0.finish(Err("the connection is closed".into()));
                }
            }
            None if waits => self.early.borrow_mut().push(order),
            None => order.finish(Err("the app has no open WebSocket".into())),
        }
    }

    /// The newest WebSocket, if one is open; else the newest open connection.
    fn newest(&self) -> Option<usize> {
        let connections = self.connections.borrow();
        let is_open = |place: &usize| connections.get(*place).is_some_and(|orders| !orders.is_closed());
        self.newest.get().filter(is_open).or_else(|| (0..connections.len()).rev().find(is_open))
    }
}

async fn serve(conn: Conn, shared: Rc<AppShared>, number: usize, orders: Orders) {
    let conn = match &shared.tls {
        None => conn,
        Some(tls) => match tls.accept(conn).await {
            Ok(conn) => conn,
            Err(error) => return shared.notebook.note(format!("the TLS handshake fails: {error}")),
        },
    };
    let program = shared.manner.programs.get(number).or(shared.manner.programs.last()).cloned().unwrap_or_default();
    match (&shared.manner.response_bytes, shared.manner.protocol) {
        (Some(bytes), _) => respond_with_bytes(conn, bytes).await,
        (None, PeerProtocol::Bytes) => by_hand(conn, &shared, program, orders).await,
        (None, PeerProtocol::Http1 | PeerProtocol::Http10) => http1::serve(conn, &shared, number, orders).await,
        (None, PeerProtocol::Http2) => {
            let scenario::App { reply, first, http2, read_rate, idle_timeout, .. } = shared.manner.clone();
            let side = Side::Server { reply, first: first.into(), read_rate, service: shared.service.clone() };
            let peer = Peer::new(side, http2, idle_timeout, shared.notebook.clone());
            peer.serve(conn, program, orders).await;
        }
    }
}

async fn respond_with_bytes(mut conn: Conn, bytes: &str) {
    // The peer's bytes are read before the response, or closing would be a reset.
    let mut space = [0; 16 * 1024];
    if matches!(conn.read(&mut space).await, Ok(1..)) && conn.write_all(bytes.as_bytes()).await.is_ok() {
        drop(conn.shutdown().await); // a peer that is gone needs no farewell
        while matches!(conn.read(&mut space).await, Ok(1..)) {}
    }
}

/// Follows its program, then the script.
async fn by_hand(conn: Conn, shared: &AppShared, program: Vec<Action>, mut orders: Orders) {
    let mut bytes = ByHand::new(conn);
    for action in program {
        shared.notebook.note(action.to_string());
        if let Err(why) = bytes.carry_out(&action, &shared.notebook).await {
            shared.notebook.note(format!("its program ends: {why}"));
            return;
        }
    }
    while !bytes.is_over() {
        let Some(order) = orders.recv().await else { return };
        let mut waiting = None;
        let result = {
            let mut work = std::pin::pin!(bytes.carry_out(&order.action, &shared.notebook));
            // What is done is done: an order to leave in the same instant comes too late to interrupt it.
            select! {
                biased;
                result = &mut work => result,
                next = orders.recv() => match next {
                    Some(next) if next.action.interrupts() => {
                        waiting = Some(next);
                        Ok(())
                    }
                    Some(next) => {
                        next.finish(Err("the connection is busy with another step".into()));
                        work.await
                    }
                    None => return,
                },
            }
        };
        order.finish(result);
        if let Some(leave) = waiting {
            let left = bytes.carry_out(&leave.action, &shared.notebook).await;
            leave.finish(left);
        }
    }
}
