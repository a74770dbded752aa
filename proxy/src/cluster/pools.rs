//! The pools of one endpoint: one for each origin that its connections have.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::origin::Origin;
use super::pool::Pool;

/// The pools of one endpoint and priority: one for each origin that its connections have.
pub(super) struct Pools {
    /// The pool of connections that take nothing.
    plain: Rc<Pool>,
    others: RefCell<Others>,
}

#[derive(Default)]
struct Others {
    pools: BTreeMap<Origin, Rc<Pool>>,
    /// As many were in use when those that are not were last taken out.
    in_use: usize,
}

/// So many pools of other origins may an endpoint have, of one worker and priority, beside those with requests: clients choose
/// the hosts by which their connections differ. Circuit breakers bound the requests.
const IDLE_POOLS_MAX: usize = 1024;

/// So many pools that are not in use may be there beside as many again as are.
const UNUSED_MIN: usize = 8;

impl Others {
    /// Makes room: closes the connections of a pool without requests.
    fn close_idle(&mut self) {
        let is_idle = |pool: &&Rc<Pool>| Rc::strong_count(pool) == 1 && !pool.has_requests();
        let Some((origin, _)) = self.pools.iter().find(|(_, pool)| is_idle(pool)) else { return };
        let origin = origin.clone();
        if let Some(pool) = self.pools.remove(&origin) {
            pool.drain();
        }
    }
}

impl Pools {
    pub(super) fn new(plain: Rc<Pool>) -> Self {
        Self { plain, others: RefCell::default() }
    }

    /// The pool of connections that take nothing.
    pub(super) fn plain(&self) -> &Pool {
        &self.plain
    }

    /// The pool of `origin`; `open` makes it.
    pub(super) fn of(&self, origin: &Origin, open: impl FnOnce(Origin) -> Rc<Pool>) -> Rc<Pool> {
        if *origin == Origin::default() {
            self.plain.share(origin);
            return Rc::clone(&self.plain);
        }
        let mut others = self.others.borrow_mut();
        if let Some(pool) = others.pools.get(origin) {
            pool.share(origin);
            return Rc::clone(pool);
        }
        if others.pools.len() >= IDLE_POOLS_MAX {
            others.close_idle();
        }
        if others.pools.len() >= others.in_use.saturating_mul(2) + UNUSED_MIN {
            others.pools.retain(|_, pool| Rc::strong_count(pool) > 1 || pool.is_in_use());
            others.in_use = others.pools.len();
        }
        let pool = open(origin.clone());
        others.pools.insert(origin.clone(), Rc::clone(&pool));
        pool
    }

    /// Does `each` with every pool.
    pub(super) fn for_each(&self, mut each: impl FnMut(&Pool)) {
        each(&self.plain);
        let others: Vec<_> = self.others.borrow().pools.values().map(Rc::clone).collect();
        others.iter().for_each(|pool| each(pool));
    }
}
