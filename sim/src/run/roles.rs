//! What runs on each host, and how the script reaches it: orders for actors, a deadline for proxies. A host that was killed
//! can be started again with the same role.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use finwait::net::{LocalBoxFuture, Outside};
use finwait::stats::Snapshot;
use tokio::sync::{mpsc, oneshot};

use super::InForce;
use crate::actor::{Alb, AlbTls, App, Client, Notebook, Order, Orders, Sightings};
use crate::clock::Millis;
use crate::left_out::LeftOut;
use crate::proxy::{Given, NextConfig, Numbers, Proxy, Stop};
use crate::scenario::{self, AppTls, ClientTls, PeerProtocol, ProxyConfig, Reload, Role};
use crate::tls::{AppEnd, Authorities, ClientEnd, describe_certificate, describe_file};
use crate::trace::HostId;
use crate::world::Control;

/// Orders an actor may have waiting: one for each sequence of a script that commands it at once.
const ORDERS_MAX: usize = 64;

/// Deadlines that a proxy may be given before it reads the first.
const DEADLINES_MAX: usize = 4;

/// A host and its role, which stays the same when it is started again.
#[derive(Clone)]
pub(super) struct Placement {
    pub(super) name: String,
    pub(super) id: HostId,
    pub(super) role: Role,
}

/// The programs of all hosts.
pub(super) struct Roles {
    control: Control,
    authorities: Authorities,
    /// What was made up, by host.
    certificates: RefCell<Vec<(String, String)>>,
    /// What configurations were read without, by host.
    left_out: RefCell<Vec<(String, LeftOut)>>,
    sightings: Rc<RefCell<Sightings>>,
    running: RefCell<Vec<Running>>,
    /// The proxies that were started, each with what comes when it accepts connections or has ended.
    starting: RefCell<Vec<(String, oneshot::Receiver<()>)>>,
    /// The configurations that proxies have been given, in this order.
    reloads: Rc<RefCell<Vec<InForce>>>,
    /// The configuration of each proxy that was given another while it runs, with its files as they are.
    in_force: Rc<RefCell<BTreeMap<HostId, ProxyConfig>>>,
    /// Handles of programs that were killed. Dropping one would stop its program in order first.
    former: RefCell<Vec<Handle>>,
}

/// The program of one host.
struct Running {
    placement: Placement,
    handle: Handle,
}

/// How a program is reached. Dropping the handle makes it stop.
enum Handle {
    Actor(mpsc::Sender<Order>),
    Gone,
    Proxy { stop: mpsc::Sender<Stop>, reload: mpsc::UnboundedSender<NextConfig>, numbers: Numbers },
}

/// What runs on a host.
pub(super) type Program = Box<dyn FnOnce(Outside) -> LocalBoxFuture<'static, ()>>;

impl Roles {
    pub(super) fn new(control: Control, authorities: Authorities, sightings: Rc<RefCell<Sightings>>) -> Self {
        let (certificates, left_out, running, starting, reloads, in_force, former) = Default::default();
        Self { control, authorities, certificates, left_out, sightings, running, starting, reloads, in_force, former }
    }

    /// Adds a host; the program has to be started on it.
    pub(super) fn add(self: &Rc<Self>, placement: Placement) -> Program {
        let (handle, program) = self.prepare(&placement);
        self.running.borrow_mut().push(Running { placement, handle });
        program
    }

    /// Starts the program of a host again that was killed.
    pub(super) fn restart(self: &Rc<Self>, name: &str) {
        let placement =
            self.running.borrow().iter().find(|it| it.placement.name == name).map(|it| it.placement.clone());
        let Some(placement) = placement else { return };
        self.in_force.borrow_mut().remove(&placement.id);
        let (handle, program) = self.prepare(&placement);
        self.control.start(placement.id, program);
        self.replace(name, handle);
    }

    /// A killed host receives no orders; its stats are gone.
    pub(super) fn mark_killed(&self, name: &str) {
        self.replace(name, Handle::Gone);
    }

    fn replace(&self, name: &str, handle: Handle) {
        if let Some(it) = self.running.borrow_mut().iter_mut().find(|it| it.placement.name == name) {
            let former = std::mem::replace(&mut it.handle, handle);
            self.former.borrow_mut().push(former);
        }
    }

    fn prepare(self: &Rc<Self>, placement: &Placement) -> (Handle, Program) {
        match &placement.role {
            Role::Alb(alb) => self.alb(placement, alb),
            Role::App(app) => self.app(placement, app),
            Role::Client(client) => self.client(placement, client),
            Role::Proxy(config) => match Proxy::new(self.given(config, &placement.name)) {
                Ok(proxy) => {
                    for what in &proxy.certificates {
                        self.note_certificate(&placement.name, what.clone());
                    }
                    for it in &proxy.left_out {
                        self.note_left_out(&placement.name, it);
                    }
                    self.proxy(placement, proxy)
                }
                // It was accepted when the scenario began, and has not changed.
                Err(why) => {
                    self.control.note(placement.id, why);
                    (Handle::Gone, Box::new(|_| Box::pin(async {})))
                }
            },
        }
    }

    fn alb(&self, placement: &Placement, alb: &scenario::Alb) -> (Handle, Program) {
        let (alb, control, id) = (alb.clone(), self.control.clone(), placement.id);
        let listener = self.app_end(placement, alb.listener_tls.as_ref(), PeerProtocol::Http1);
        let target = self.client_end(placement, alb.target_tls.as_ref(), (&alb.connect, PeerProtocol::Http1));
        let tls = listener.and_then(|listener| Ok(AlbTls { listener, target: target? }));
        self.actor(placement, move |outside, notebook, orders| {
            Box::pin(async move {
                let tls = match tls {
                    Ok(tls) => tls,
                    Err(why) => return control.note(id, format!("cannot serve: {why}")),
                };
                if let Err(error) = Alb::new(outside, alb, tls, notebook).run(orders).await {
                    control.note(id, format!("cannot serve: {error}"));
                }
            })
        })
    }

    fn app(&self, placement: &Placement, app: &scenario::App) -> (Handle, Program) {
        let (app, control, id) = (app.clone(), self.control.clone(), placement.id);
        let tls = self.app_end(placement, app.tls.as_ref(), app.protocol);
        self.actor(placement, move |outside, notebook, orders| {
            Box::pin(async move {
                let tls = match tls {
                    Ok(tls) => tls,
                    Err(why) => return control.note(id, format!("cannot serve: {why}")),
                };
                if let Err(error) = App::new(outside, &app, tls, notebook).run(orders).await {
                    control.note(id, format!("cannot serve: {error}"));
                }
            })
        })
    }

    fn client(&self, placement: &Placement, client: &scenario::Client) -> (Handle, Program) {
        let (client, control, id) = (client.clone(), self.control.clone(), placement.id);
        let tls = self.client_end(placement, client.tls.as_ref(), (&client.connect, client.protocol));
        self.actor(placement, move |outside, notebook, orders| {
            Box::pin(async move {
                match tls {
                    Ok(tls) => Client::new(outside, &client, tls, notebook).run(orders).await,
                    Err(why) => control.note(id, format!("cannot use TLS: {why}")),
                }
            })
        })
    }

    /// The TLS of a host that is connected to; none if it has no settings.
    fn app_end(
        &self,
        Placement { name, .. }: &Placement,
        tls: Option<&AppTls>,
        protocol: PeerProtocol,
    ) -> Result<Option<AppEnd>, String> {
        let end = tls.map(|tls| {
            self.note_certificate(name, describe_certificate("its certificate", name, &tls.certificate));
            AppEnd::new(tls, name, protocol, &self.authorities)
        });
        end.transpose()
    }

    /// The TLS of a host that connects to another; none if it has no settings.
    fn client_end(
        &self,
        Placement { name, .. }: &Placement,
        tls: Option<&ClientTls>,
        (to, protocol): (&str, PeerProtocol),
    ) -> Result<Option<ClientEnd>, String> {
        let end = tls.map(|tls| {
            if let Some(certificate) = &tls.certificate {
                self.note_certificate(name, describe_certificate("its certificate", name, certificate));
            }
            ClientEnd::new(tls, (name, to), protocol, &self.authorities)
        });
        end.transpose()
    }

    fn given<'a>(&'a self, config: &'a ProxyConfig, host: &'a str) -> Given<'a> {
        Given::new(config, host, &self.authorities)
    }

    fn note_certificate(&self, host: &str, what: String) {
        let mut certificates = self.certificates.borrow_mut();
        if !certificates.iter().any(|(of, has)| of == host && *has == what) {
            certificates.push((host.into(), what));
        }
    }

    /// The certificates that the world made up: whose, and what they are.
    pub(super) fn certificates(&self) -> Vec<(String, String)> {
        self.certificates.borrow().clone()
    }

    fn note_left_out(&self, host: &str, it: &LeftOut) {
        let mut left_out = self.left_out.borrow_mut();
        if !left_out.iter().any(|(of, has)| of == host && has == it) {
            left_out.push((host.into(), it.clone()));
        }
    }

    /// What configurations were read without: whose, and what.
    pub(super) fn left_out(&self) -> Vec<(String, LeftOut)> {
        self.left_out.borrow().clone()
    }

    fn actor(
        &self,
        placement: &Placement,
        play: impl FnOnce(Outside, Notebook, Orders) -> LocalBoxFuture<'static, ()> + 'static,
    ) -> (Handle, Program) {
        let (orders, incoming) = mpsc::channel(ORDERS_MAX);
        let notebook = Notebook::new(&placement.name, placement.id, self.control.clone(), &self.sightings);
        (Handle::Actor(orders), Box::new(move |outside| play(outside, notebook, incoming)))
    }

    fn proxy(&self, placement: &Placement, proxy: Proxy) -> (Handle, Program) {
        let id = placement.id;
        let (stop, stopped) = mpsc::channel(DEADLINES_MAX);
        let (reload, reloads) = mpsc::unbounded_channel();
        let (control, numbers) = (self.control.clone(), proxy.numbers());
        for warning in &proxy.warnings {
            control.note(id, warning);
        }
        let (ready, starts) = oneshot::channel();
        self.starting.borrow_mut().push((placement.name.clone(), starts));
        let program = move |outside| -> LocalBoxFuture<'static, ()> {
            Box::pin(async move {
                if let Err(error) = proxy.run(outside, ready, stopped, reloads).await {
                    control.note(id, format!("cannot run: {error}"));
                }
            })
        };
        (Handle::Proxy { stop, reload, numbers }, Box::new(program))
    }

    /// The proxies that were started since the last call, each with what comes when it accepts connections or has ended.
    pub(super) fn take_starting(&self) -> Vec<(String, oneshot::Receiver<()>)> {
        self.starting.take()
    }

    /// Where an actor takes its orders.
    pub(super) fn orders(&self, name: &str) -> Result<mpsc::Sender<Order>, String> {
        let running = self.running.borrow();
        match running.iter().find(|it| it.placement.name == name).map(|it| &it.handle) {
            Some(Handle::Actor(orders)) => Ok(orders.clone()),
            Some(Handle::Gone) => Err("it has stopped".into()),
            Some(Handle::Proxy { .. }) | None => Err("it takes no orders".into()),
        }
    }

    /// Signals a proxy to stop. One that has stopped by itself does not get it, as its note states.
    pub(super) fn drain(&self, name: &str, how: Stop) {
        let running = self.running.borrow();
        if let Some(Handle::Proxy { stop, .. }) =
            running.iter().find(|it| it.placement.name == name).map(|it| &it.handle)
        {
            let _sent = stop.try_send(how);
        }
    }

    /// Gives a proxy another configuration; the files that it names hold what they hold by now. One that has stopped does not
    /// read it.
    pub(super) fn reload(&self, name: &str, config: ProxyConfig) {
        self.give(name, Vec::new(), |before| ProxyConfig {
            certificates: before.certificates,
            files: before.files,
            ..config
        });
    }

    /// Has files of a proxy hold what the step says. One that has stopped does not read them.
    pub(super) fn change_files(&self, reload: &Reload) {
        let Reload { host, files, certificates, .. } = reload;
        for (path, file) in certificates.iter() {
            let from = format!("{path} from {} ms on", Millis(self.control.now()));
            self.note_certificate(host, describe_file(&from, host, file));
        }
        let changed = reload.paths().map(str::to_owned).collect();
        self.give(host, changed, |before| before.with_files(files).with_certificates(certificates));
    }

    /// Gives a proxy what `next` makes of the configuration that it has been given last.
    fn give(&self, name: &str, changed: Vec<String>, next: impl FnOnce(ProxyConfig) -> ProxyConfig) {
        let running = self.running.borrow();
        let Some(it) = running.iter().find(|it| it.placement.name == name) else { return };
        let Handle::Proxy { reload, .. } = &it.handle else { return };
        let id = it.placement.id;
        let given = self.in_force.borrow().get(&id).cloned();
        let first = || match &it.placement.role {
            Role::Proxy(config) => Some(config.clone()),
            Role::Alb(_) | Role::App(_) | Role::Client(_) => None,
        };
        let Some(before) = given.or_else(first) else { return };
        let config = next(before);
        let (in_force, whole) = (Rc::clone(&self.in_force), changed.is_empty());
        if !whole {
            in_force.borrow_mut().insert(id, config.clone()); // files have changed, whatever the proxy makes of them
        }
        let (host, authorities, given) = (name.to_owned(), self.authorities.clone(), config.clone());
        let (control, reloads) = (self.control.clone(), Rc::clone(&self.reloads));
        let done = Box::new(move |outcome: Result<String, String>| match outcome {
            Ok(what) => {
                control.note(id, what);
                if whole {
                    in_force.borrow_mut().insert(id, config.clone());
                }
                reloads.borrow_mut().push(InForce { from: control.now(), host: id, config });
            }
            Err(why) => control.note(id, why),
        });
        let _sent = reload.send(NextConfig { config: given, changed, host, authorities, done });
    }

    /// The configurations that proxies put in force while they ran.
    pub(super) fn reloads(&self) -> Vec<InForce> {
        self.reloads.borrow().clone()
    }

    /// The names of the proxies, in order.
    pub(super) fn proxies(&self) -> Vec<String> {
        let running = self.running.borrow();
        let proxies = running.iter().filter(|it| matches!(it.placement.role, Role::Proxy { .. }));
        proxies.map(|it| it.placement.name.clone()).collect()
    }

    /// Stops the programs of these roles.
    pub(super) fn stop(&self, stops: impl Fn(&Role) -> bool) {
        for it in self.running.borrow_mut().iter_mut().filter(|it| stops(&it.placement.role)) {
            it.handle = Handle::Gone;
        }
    }

    /// The numbers of the proxies that were not killed.
    pub(super) fn numbers(&self) -> Vec<(String, Snapshot)> {
        let numbers = |it: &Running| match &it.handle {
            Handle::Proxy { numbers, .. } => Some((it.placement.name.clone(), numbers.now())),
            Handle::Actor(_) | Handle::Gone => None,
        };
        self.running.borrow().iter().filter_map(numbers).collect()
    }
}
