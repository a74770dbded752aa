//! The machines of one worker: each script has one, with global variables that last from request to request.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, UNIX_EPOCH};

use crate::config::lua::Script;
use crate::config::script::Machine;
use crate::net::Clock;

/// The machines of the scripts that a connection manager runs: as many as its configurations have that are still served.
#[derive(Default)]
pub(super) struct Scripts(RefCell<Vec<Loaded>>);

struct Loaded {
    script: Weak<Script>,
    /// `None` if it could not be loaded again.
    machine: Option<Rc<Machine>>,
}

impl Scripts {
    /// The machine of a script, which is loaded for its first request.
    pub(super) fn machine(&self, script: &Arc<Script>, clock: &dyn Clock) -> Option<Rc<Machine>> {
        let mut all = self.0.borrow_mut();
        let is_its = |loaded: &&Loaded| std::ptr::eq(loaded.script.as_ptr(), Arc::as_ptr(script));
        if let Some(loaded) = all.iter().find(is_its) {
            return loaded.machine.clone();
        }
        all.retain(|loaded| loaded.script.strong_count() > 0);
        let now = clock.wall().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let loaded = Machine::load(&script.code, now.as_secs_f64());
        // It was loaded when the configuration was read.
        let machine = loaded.inspect_err(|why| tracing::error!("script load error: {why}")).ok().map(Rc::new);
        all.push(Loaded { script: Arc::downgrade(script), machine: machine.clone() });
        machine
    }
}
