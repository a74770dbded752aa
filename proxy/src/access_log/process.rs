//! What logs and headers say of the process itself, wherever it runs.

use std::fmt;
use std::rc::Rc;

use crate::net::Net;

/// What knows the process. By default nothing is known of it.
#[derive(Clone, Default)]
pub struct Process(Option<Rc<dyn Net>>);

impl Process {
    /// The process that `net` is of.
    #[must_use]
    pub fn of(net: &Rc<dyn Net>) -> Self {
        Self(Some(Rc::clone(net)))
    }

    /// `%HOSTNAME%`
    pub(crate) fn host_name(&self) -> Option<String> {
        self.0.as_ref()?.host_name()
    }

    /// `%ENVIRONMENT(NAME)%`
    pub(crate) fn environment(&self, name: &str) -> Option<String> {
        self.0.as_ref()?.environment(name)
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Process").field(&self.0.is_some()).finish()
    }
}
