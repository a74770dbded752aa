//! The two worlds: the system this test runs on, and the simulator.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use finwait::net::tokio::LogFiles;
use finwait::net::{LocalBoxFuture, Outside};
use finwait_sim::kernel::link::Link;
use finwait_sim::world::{Ended, Settings, World};

/// Lets everything that is on its way arrive.
pub(crate) type Settle = fn() -> LocalBoxFuture<'static, ()>;

/// What `program` sees on this system.
pub(crate) fn in_reality(program: impl FnOnce(Outside, Settle) -> LocalBoxFuture<'static, Vec<String>>) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let logs = LogFiles::new();
    let program = program(finwait::net::tokio::outside(&logs), || Box::pin(turn_the_driver()));
    tokio::task::LocalSet::new().block_on(&runtime, program)
}

/// Loopback delivers within the sender's system call; only the driver has to look. Many turns, in case the
/// kernel left the work to another thread.
async fn turn_the_driver() {
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
}

/// What `program` sees on a simulated host whose loopback is like this.
pub(crate) fn in_simulation(
    seed: u64,
    loopback: Link,
    program: impl FnOnce(Outside, Settle) -> LocalBoxFuture<'static, Vec<String>> + 'static,
) -> Vec<String> {
    let mut world = World::new(Settings { seed, ..Settings::default() });
    let host = world.host("host", &[]);
    world.link(host, host, loopback);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let seeing = Rc::clone(&seen);
    world.spawn_main(host, |outside| async move {
        let settle: Settle = || Box::pin(tokio::time::sleep(Duration::from_millis(20)));
        let seen = program(outside, settle).await;
        seeing.replace(seen);
    });
    let run = world.run(Duration::from_secs(3600));
    assert_eq!(run.ended, Ended::AtRest);
    seen.take()
}
