//! Ctrl-C: the first ends the work under way, so that what it has found can be printed; the second ends the program.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Builder;
use tokio::signal::ctrl_c;

/// 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

static STOPPED: AtomicBool = AtomicBool::new(false);

/// What the first Ctrl-C from now on sets.
///
/// # Errors
/// There is no thread or no event loop to wait for it.
pub(super) fn stop_on_interrupt() -> io::Result<&'static AtomicBool> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let wait = move || {
        runtime.block_on(async {
            while ctrl_c().await.is_ok() {
                if STOPPED.swap(true, Ordering::Relaxed) {
                    std::process::exit(INTERRUPTED);
                }
            }
        });
    };
    std::thread::Builder::new().name("interrupt".into()).spawn(wait)?;
    Ok(&STOPPED)
}
