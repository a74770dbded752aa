//! Steps that are done many times: what a flood or a crowd needs, without a file of thousands of lines.

use serde_yaml::{Location, Spanned};

use super::action::Action;
use super::{Cue, Repeat, Step};
use crate::words::round_heading;

/// What stands for the number of the round in a connection's name.
pub(crate) const ROUND: &str = "#";

impl Repeat {
    /// The steps of one round; the first is 1.
    #[must_use]
    pub fn round(&self, number: u32) -> Vec<Spanned<Cue>> {
        let mut steps = self.steps.clone();
        let above = self.streams.saturating_mul(number.saturating_sub(1));
        for cue in &mut steps {
            in_round(cue, number, above);
        }
        steps
    }

    /// The note where a round begins.
    #[must_use]
    pub fn heading(&self, number: u32) -> String {
        round_heading(number, self.times)
    }
}

fn in_round(cue: &mut Spanned<Cue>, number: u32, above: u32) {
    match &mut cue.value.step {
        Step::Background(inner) => {
            for cue in inner {
                in_round(cue, number, above);
            }
        }
        Step::Do { connection, action, .. } => {
            if let Some(connection) = connection {
                *connection = connection.replace(ROUND, &number.to_string());
            }
            if let Action::SendFrame { frame, .. } | Action::ReceiveFrame(frame) = action
                && let Some(stream) = frame.fields.stream.as_mut().filter(|stream| **stream != 0)
            {
                *stream = stream.saturating_add(above);
            }
        }
        Step::Barrier(_) | Step::Happen(_) | Step::Nothing | Step::Repeat(_) | Step::Wait(_) => {}
    }
}

/// What is not permitted in a step that is done more than once, with its place.
pub(crate) fn misfit(steps: &[Spanned<Cue>]) -> Option<(Location, &'static str)> {
    steps.iter().find_map(|cue| {
        let what = match &cue.value {
            Cue { at: Some(_), .. } => "`at` is not allowed in a `repeat`; write `after`",
            Cue { event: Some(_), .. } => "`event` is not allowed in a `repeat`, because its steps run many times",
            Cue { step: Step::Barrier(_), .. } => {
                "`barrier` is not allowed in a `repeat`, because its steps run many times"
            }
            Cue { step: Step::Repeat(_), .. } => "a `repeat` is not allowed in a `repeat`",
            Cue { step, .. } => return misfit(step.inner()),
        };
        Some((cue.referenced, what))
    })
}

#[cfg(test)]
mod tests {
    use crate::words::round_of;

    use super::*;

    #[test]
    fn a_round_has_its_number_and_its_streams() {
        let repeat: Repeat = serde_yaml::from_str(
            "{ times: 3, streams: 2, steps: [{ background: [{ client: { frame: { rst_stream: { stream: 1, code: 8 } } } }] }] }",
        )
        .unwrap();
        let frame = |number| {
            let round = repeat.round(number);
            round.first().and_then(|cue| cue.value.step.inner().first().map(|cue| cue.value.to_string())).unwrap()
        };
        assert_eq!(frame(1).replace("stream 1", "stream 5"), frame(3));
        assert_eq!(round_of(&repeat.heading(3)), Some(3));
    }
}
