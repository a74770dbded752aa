//! A client: it hands each order to the connection it is for. A connection that was not named before begins with its first
//! order.

use std::collections::BTreeMap;
use std::rc::Rc;

use finwait::net::Outside;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::dialling::Dialling;
use super::http2::{Peer, Side};
use super::line::Line;
use super::{Notebook, ORDERS_MAX, Order, Orders};
use crate::scenario::{self, PeerProtocol};
use crate::tls::ClientEnd;

/// A client, and the connections that it holds.
pub(crate) struct Client {
    outside: Outside,
    manner: scenario::Client,
    dialling: Rc<Dialling>,
    notebook: Notebook,
}

impl Client {
    pub(crate) fn new(outside: Outside, manner: &scenario::Client, tls: Option<ClientEnd>, notebook: Notebook) -> Self {
        let dialling = Rc::new(Dialling::new(manner, tls));
        Self { outside, manner: manner.clone(), dialling, notebook }
    }

    /// Follows orders until there are no more, then leaves.
    pub(crate) async fn run(self, mut orders: Orders) {
        let mut lines: BTreeMap<Option<String>, mpsc::Sender<Order>> = BTreeMap::new();
        let mut tasks = JoinSet::new();
        while let Some(order) = orders.recv().await {
            let name = order.connection.clone();
            let line = lines.entry(name.clone()).or_insert_with(|| {
                let (line, incoming) = mpsc::channel(ORDERS_MAX);
                self.open(name, incoming, &mut tasks);
                line
            });
            if let Err(refused) = line.send(order).await {
                refused.0.finish(Err("the connection follows no more orders".into()));
            }
        }
        drop(lines);
        while tasks.join_next().await.is_some() {}
    }

    fn open(&self, name: Option<String>, orders: Orders, tasks: &mut JoinSet<()>) {
        let (outside, manner, notebook) = (self.outside.clone(), self.manner.clone(), self.notebook.clone());
        let dialling = Rc::clone(&self.dialling);
        match manner.protocol {
            PeerProtocol::Bytes | PeerProtocol::Http1 | PeerProtocol::Http10 => {
                tasks.spawn_local(Line::new(outside, manner, dialling, name, notebook).run(orders));
            }
            PeerProtocol::Http2 => {
                let side = Side::Client { outside, dialling, name };
                tasks.spawn_local(Peer::new(side, manner.http2, manner.idle_timeout, notebook).run(orders));
            }
        }
    }
}
