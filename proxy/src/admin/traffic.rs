//! What clients of the admin interface do, under the names that Envoy has for it: `http.admin.` and `listener.admin.`.

use std::cell::Cell;
use std::rc::Rc;

use http::StatusCode;
use tokio::time::Instant;

use crate::net::Conn;
use crate::stats::{Held, HttpStats, ListenerStats, Registry, ResponseStats};

/// The stats of the admin interface's connections and requests.
pub(super) struct Traffic {
    http: HttpStats,
    listener: ListenerStats,
    responses: ResponseStats,
}

/// A connection of a client, counted as open until this is dropped.
pub(super) struct Connected {
    traffic: Rc<Traffic>,
    begun: Instant,
    /// Who ends it; the client, unless something else is known.
    end: Cell<Ending>,
    _active: [Held; 3],
}

/// Who ends a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Ending {
    Local,
    Remote,
}

/// A request, counted as under way until this is dropped.
pub(super) struct Requested {
    begun: Instant,
    _active: Held,
}

impl Traffic {
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            http: HttpStats::new(registry, "admin"),
            listener: ListenerStats::new(registry, "admin"),
            responses: ResponseStats::of_listener(registry, "admin", "admin"),
        }
    }

    /// A connection has been accepted.
    pub(super) fn connect(self: &Rc<Self>, conn: &mut Conn) -> Connected {
        let (http, listener) = (&self.http, &self.listener);
        listener.downstream_cx_total.inc();
        http.downstream_cx_total.inc();
        http.downstream_cx_http1_total.inc();
        conn.count_bytes(&http.bytes);
        let active = [&listener.downstream_cx_active, &http.downstream_cx_active, &http.downstream_cx_http1_active];
        Connected {
            traffic: Rc::clone(self),
            begun: Instant::now(),
            end: Cell::new(Ending::Remote),
            _active: active.map(|gauge| gauge.enter()),
        }
    }

    /// A request has begun to come.
    pub(super) fn begin(&self) -> Requested {
        self.http.downstream_rq_total.inc();
        self.http.downstream_rq_http1_total.inc();
        Requested { begun: Instant::now(), _active: self.http.downstream_rq_active.enter() }
    }

    /// The request has been responded to.
    pub(super) fn end(&self, requested: &Requested, status: StatusCode) {
        self.http.responses.charge(status);
        self.responses.charge(status);
        self.http.downstream_rq_time.record_ms(requested.begun.elapsed());
    }
}

impl Connected {
    /// The proxy closes the connection.
    pub(super) fn is_closed_here(&self) {
        self.end.set(Ending::Local);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let Traffic { http, listener, .. } = &*self.traffic;
        http.downstream_cx_destroy.inc();
        match self.end.get() {
            Ending::Local => http.downstream_cx_destroy_local.inc(),
            Ending::Remote => http.downstream_cx_destroy_remote.inc(),
        }
        listener.downstream_cx_destroy.inc();
        http.downstream_cx_length_ms.record_ms(self.begun.elapsed());
        listener.downstream_cx_length_ms.record_ms(self.begun.elapsed());
    }
}
