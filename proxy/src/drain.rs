//! The one shutdown signal and its stages.
//!
//! Whoever holds [`DrainControl`] moves the stage forward; everybody else holds a [`Drain`] and looks.

use tokio::sync::watch;

/// How far shutting down has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Serving.
    Running,
    /// No new connections; what runs is finished, and peers are asked to go elsewhere.
    Draining,
    /// The deadline has passed: what is left is cut.
    Stopped,
}

/// Moves the stage forward.
#[derive(Debug)]
pub struct DrainControl(watch::Sender<Stage>);

/// Sees the stage.
#[derive(Clone, Debug)]
pub struct Drain(watch::Receiver<Stage>);

/// A control and a view of it, in [`Stage::Running`].
#[must_use]
pub fn drain() -> (DrainControl, Drain) {
    let (sender, receiver) = watch::channel(Stage::Running);
    (DrainControl(sender), Drain(receiver))
}

impl DrainControl {
    /// Enters `stage`; never goes back.
    pub fn enter(&self, stage: Stage) {
        self.0.send_if_modified(|so_far| {
            let forward = stage > *so_far;
            if forward {
                *so_far = stage;
            }
            forward
        });
    }
}

impl Drain {
    /// Is it time to finish?
    #[must_use]
    pub fn is_draining(&self) -> bool {
        *self.0.borrow() >= Stage::Draining
    }

    /// Waits until `stage` is reached. A control that was dropped means [`Stage::Stopped`].
    ///
    /// # Cancellation
    /// Safe to drop.
    pub async fn reached(&mut self, stage: Stage) {
        // An error says that the control is gone: nobody is left to let us run on.
        drop(self.0.wait_for(|now| *now >= stage).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stages_only_go_forward() {
        let (control, mut drain) = drain();
        control.enter(Stage::Stopped);
        control.enter(Stage::Draining);
        drain.reached(Stage::Stopped).await;
        assert!(drain.is_draining());
    }

    #[tokio::test]
    async fn a_dropped_control_stops() {
        let (control, mut drain) = drain();
        drop(control);
        drain.reached(Stage::Stopped).await;
    }
}
