//! Keys that were fetched, for as long as they are kept: those of one connection manager on one worker.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::time::Instant;

use crate::config::jwks::Keys;
use crate::config::jwt_authn::RemoteKeys;

/// By the places of those who have them in the file: as many as configurations that were served have named.
#[derive(Default)]
pub(super) struct FetchedKeys(RefCell<BTreeMap<String, (Arc<Keys>, Instant)>>);

impl FetchedKeys {
    /// Those that are not too old.
    pub(super) fn get(&self, remote: &RemoteKeys) -> Option<Arc<Keys>> {
        let all = self.0.borrow();
        let (keys, fetched) = all.get(&remote.place)?;
        (fetched.elapsed() < remote.kept_for).then(|| Arc::clone(keys))
    }

    pub(super) fn keep(&self, remote: &RemoteKeys, keys: &Arc<Keys>) {
        self.0.borrow_mut().insert(remote.place.clone(), (Arc::clone(keys), Instant::now()));
    }
}
