//! Who takes part, and how the script reaches them: orders for actors, a word to stop for proxies. A host that was killed
//! can be started again with the same part.

use std::cell::RefCell;
use std::rc::Rc;

use finwait::net::{LocalBoxFuture, Outside};
use finwait::stats::Number;
use tokio::sync::mpsc;

use crate::actor::{Alb, App, Client, Notebook, Order, Orders, Sightings};
use crate::proxy::{Numbers, Proxy, Stop};
use crate::scenario::Role;
use crate::trace::HostId;
use crate::world::Control;

/// Orders an actor may have waiting: one for each part of a script that speaks to it at once.
const ORDERS_MAX: usize = 64;

/// Deadlines that a proxy may be told before it looks.
const DEADLINES_MAX: usize = 4;

/// What somebody is, wherever he is started.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) id: HostId,
    pub(super) role: Role,
}

/// Those who take part.
pub(super) struct Cast {
    control: Control,
    sightings: Rc<RefCell<Sightings>>,
    seats: RefCell<Vec<Seat>>,
    /// Ways to those who were killed. Dropping one would have them leave in order first.
    former: RefCell<Vec<Way>>,
}

/// One of them.
struct Seat {
    part: Part,
    way: Way,
}

/// How somebody is reached. Dropping the way tells him to leave.
enum Way {
    Actor(mpsc::Sender<Order>),
    Gone,
    Proxy { stop: mpsc::Sender<Stop>, numbers: Numbers },
}

/// What runs on a host.
pub(super) type Program = Box<dyn FnOnce(Outside) -> LocalBoxFuture<'static, ()>>;

impl Cast {
    pub(super) fn new(control: Control, sightings: Rc<RefCell<Sightings>>) -> Self {
        Self { control, sightings, seats: RefCell::default(), former: RefCell::default() }
    }

    /// Adds somebody; the program has to be started on his host.
    pub(super) fn enter(self: &Rc<Self>, part: Part) -> Program {
        let (way, program) = self.prepare(&part);
        self.seats.borrow_mut().push(Seat { part, way });
        program
    }

    /// Starts somebody again who was killed.
    pub(super) fn restart(self: &Rc<Self>, name: &str) {
        let part = self.seats.borrow().iter().find(|seat| seat.part.name == name).map(|seat| seat.part.clone());
        let Some(part) = part else { return };
        let (way, program) = self.prepare(&part);
        self.control.start(part.id, program);
        self.replace(name, way);
    }

    /// Somebody was killed: no order reaches him, and his numbers died with him.
    pub(super) fn lose(&self, name: &str) {
        self.replace(name, Way::Gone);
    }

    fn replace(&self, name: &str, way: Way) {
        if let Some(seat) = self.seats.borrow_mut().iter_mut().find(|seat| seat.part.name == name) {
            let former = std::mem::replace(&mut seat.way, way);
            self.former.borrow_mut().push(former);
        }
    }

    fn prepare(self: &Rc<Self>, part: &Part) -> (Way, Program) {
        match &part.role {
            Role::Alb(alb) => {
                let (alb, control, id) = (alb.clone(), self.control.clone(), part.id);
                self.actor(part, move |outside, notebook, orders| {
                    Box::pin(async move {
                        if let Err(error) = Alb::new(outside, alb, notebook).run(orders).await {
                            control.note(id, format!("cannot serve: {error}"));
                        }
                    })
                })
            }
            Role::App(app) => {
                let (app, control, id) = (app.clone(), self.control.clone(), part.id);
                self.actor(part, move |outside, notebook, orders| {
                    Box::pin(async move {
                        if let Err(error) = App::new(outside, &app, notebook).run(orders).await {
                            control.note(id, format!("cannot serve: {error}"));
                        }
                    })
                })
            }
            Role::Client(client) => {
                let client = client.clone();
                self.actor(part, move |outside, notebook, orders| {
                    Box::pin(Client::new(outside, &client, notebook).run(orders))
                })
            }
            Role::Proxy { file, text, exact, .. } => match Proxy::new(file, text, *exact) {
                Ok(proxy) => self.proxy(part.id, proxy),
                // It was accepted when the scenario began, and has not changed.
                Err(why) => {
                    self.control.note(part.id, why);
                    (Way::Gone, Box::new(|_| Box::pin(async {})))
                }
            },
        }
    }

    fn actor(
        &self,
        part: &Part,
        play: impl FnOnce(Outside, Notebook, Orders) -> LocalBoxFuture<'static, ()> + 'static,
    ) -> (Way, Program) {
        let (orders, incoming) = mpsc::channel(ORDERS_MAX);
        let notebook = Notebook::new(&part.name, part.id, self.control.clone(), &self.sightings);
        (Way::Actor(orders), Box::new(move |outside| play(outside, notebook, incoming)))
    }

    fn proxy(&self, id: HostId, proxy: Proxy) -> (Way, Program) {
        let (stop, stopped) = mpsc::channel(DEADLINES_MAX);
        let (control, numbers) = (self.control.clone(), proxy.numbers());
        for warning in &proxy.warnings {
            control.note(id, warning);
        }
        let program = move |outside| -> LocalBoxFuture<'static, ()> {
            Box::pin(async move {
                if let Err(error) = proxy.run(outside, stopped).await {
                    control.note(id, format!("cannot run: {error}"));
                }
            })
        };
        (Way::Proxy { stop, numbers }, Box::new(program))
    }

    /// The way to an actor.
    pub(super) fn orders(&self, name: &str) -> Result<mpsc::Sender<Order>, String> {
        let seats = self.seats.borrow();
        match seats.iter().find(|seat| seat.part.name == name).map(|seat| &seat.way) {
            Some(Way::Actor(orders)) => Ok(orders.clone()),
            Some(Way::Gone) => Err("it has stopped".into()),
            Some(Way::Proxy { .. }) | None => Err("nobody takes orders there".into()),
        }
    }

    /// Tells a proxy to stop. One that has stopped by itself does not hear it, as its note tells.
    pub(super) fn drain(&self, name: &str, how: Stop) {
        let seats = self.seats.borrow();
        if let Some(Way::Proxy { stop, .. }) = seats.iter().find(|seat| seat.part.name == name).map(|seat| &seat.way) {
            let _heard = stop.try_send(how);
        }
    }

    /// The names of the proxies, in order.
    pub(super) fn proxies(&self) -> Vec<String> {
        let seats = self.seats.borrow();
        let proxies = seats.iter().filter(|seat| matches!(seat.part.role, Role::Proxy { .. }));
        proxies.map(|seat| seat.part.name.clone()).collect()
    }

    /// Sends home those that `leave` names.
    pub(super) fn dismiss(&self, leaves: impl Fn(&Role) -> bool) {
        for seat in self.seats.borrow_mut().iter_mut().filter(|seat| leaves(&seat.part.role)) {
            seat.way = Way::Gone;
        }
    }

    /// The numbers of the proxies that were not killed.
    pub(super) fn numbers(&self) -> Vec<(String, Vec<Number>)> {
        let numbers = |seat: &Seat| match &seat.way {
            Way::Proxy { numbers, .. } => Some((seat.part.name.clone(), numbers.now())),
            Way::Actor(_) | Way::Gone => None,
        };
        self.seats.borrow().iter().filter_map(numbers).collect()
    }
}
