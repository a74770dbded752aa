//! Steps that are done many times: what a flood or a crowd needs, without a file of thousands of lines.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_yaml::{Location, Spanned};

use super::action::Action;
use super::step::{Cue, Step};

/// Rounds that a script may ask for. Ten times the largest crowd that a limit of Envoy's is about.
const ROUNDS_MAX: u32 = 10_000;
/// What stands for the number of the round in a connection's name.
pub(super) const ROUND: &str = "#";

/// Steps, and how often they are done, one round after the other.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// How often.
    pub times: u32,
    /// By how much the streams of frames are higher in each round than in the one before.
    streams: u32,
    /// In one round.
    pub(super) steps: Vec<Spanned<Cue>>,
}

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

    /// What is said where a round begins.
    #[must_use]
    pub fn heading(&self, number: u32) -> String {
        format!("{HEADING}{number} of {}", self.times)
    }
}

const HEADING: &str = "round ";

/// The number of the round that begins with this heading.
#[must_use]
pub(crate) fn round_of(heading: &str) -> Option<u32> {
    heading.strip_prefix(HEADING)?.split(' ').next()?.parse().ok()
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

/// What cannot be said of a step that is done more than once, with its place.
pub(super) fn misfit(steps: &[Spanned<Cue>]) -> Option<(Location, &'static str)> {
    steps.iter().find_map(|cue| {
        let what = match &cue.value {
            Cue { at: Some(_), .. } => "`at` is one instant, and a `repeat` has many: say `after`",
            Cue { event: Some(_), .. } => "an `event` happens once, and what stands in a `repeat` does not",
            Cue { step: Step::Barrier(_), .. } => "a `barrier` is passed once, and what stands in a `repeat` is not",
            Cue { step: Step::Repeat(_), .. } => "a `repeat` stands in no other",
            Cue { step, .. } => return misfit(step.inner()),
        };
        Some((cue.referenced, what))
    })
}

impl<'de> Deserialize<'de> for Repeat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            times: u32,
            #[serde(default)]
            streams: u32,
            steps: Vec<Spanned<Cue>>,
        }
        let Fields { times, streams, steps } = Fields::deserialize(deserializer)?;
        if !(1..=ROUNDS_MAX).contains(&times) {
            return Err(D::Error::custom(format!("`times` is a number from 1 to {ROUNDS_MAX}")));
        }
        if steps.is_empty() {
            return Err(D::Error::custom("a `repeat` needs `steps`"));
        }
        Ok(Self { times, streams, steps })
    }
}

#[cfg(test)]
mod tests {
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
