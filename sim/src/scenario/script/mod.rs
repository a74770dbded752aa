//! The lines of a script: when, and what. What an actor does is an [`Action`]; what happens to the world is an
//! [`Intervention`].

mod action;
mod field_lines;
mod http2_frame;
mod intervention;
mod payload;
mod reload;
pub(super) mod repeat;
mod reply;
mod websocket_frame;

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_yaml::Spanned;

use crate::scenario::error::nearest;
use crate::scenario::units::Time;
pub use action::{Action, Ending, Request};
pub use field_lines::{ExpectedFields, ExpectedValue, FieldLines};
pub use http2_frame::{ErrorCode, Frame, FrameFields, FrameKind, setting};
pub use intervention::{ClockStep, Direction, Draining, Gate, Intervention, NameAnswer, Naming, Pair, Segments, Stall};
pub use payload::Payload;
pub use reload::Reload;
pub use reply::Reply;
pub use websocket_frame::{Opcode, WebSocketFields, WebSocketFrame};

/// One line of a script. It begins when the one before it has ended.
#[derive(Clone, Debug)]
pub struct Cue {
    /// It begins no earlier than this, counted from the beginning of the run.
    pub at: Option<Time>,
    /// It begins this much later.
    pub after: Option<Time>,
    /// What `orders` and `follows` call it.
    pub event: Option<String>,
    /// It begins when this event has ended.
    pub follows: Option<String>,
    /// The step itself.
    pub step: Step,
}

/// What a step of the script does.
#[derive(Clone, Debug)]
pub enum Step {
    /// Lines that run beside those that follow. The script is over when all of them are.
    Background(Vec<Spanned<Cue>>),
    /// Waits until every part of the script that names this barrier has come to it.
    Barrier(String),
    /// An actor does something.
    Do {
        /// The host it lives on.
        host: String,
        /// Which of its connections; the one it has, or its newest, if absent.
        connection: Option<String>,
        /// What it does.
        action: Action,
    },
    /// Something happens to the world.
    Happen(Intervention),
    /// Nothing: the line only has `at`.
    Nothing,
    /// Lines that are done many times.
    Repeat(Repeat),
    /// Virtual time passes.
    Wait(Time),
}

/// Rounds that a script may request. Ten times the largest crowd that a limit of Envoy's is about.
const ROUNDS_MAX: u32 = 10_000;
/// Steps, and how often they are done, one round after the other.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// How many times the step is repeated.
    pub times: u32,
    /// By how much the streams of frames are higher in each round than in the one before.
    pub(crate) streams: u32,
    /// In one round.
    pub(crate) steps: Vec<Spanned<Cue>>,
}

/// Keys of a line that are no host's name.
pub(crate) const WORDS: [&str; 8] = ["after", "at", "background", "barrier", "event", "follows", "repeat", "wait"];

impl Step {
    /// The steps of its background or of one round, or none.
    #[must_use]
    pub fn inner(&self) -> &[Spanned<Cue>] {
        match self {
            Self::Background(cues) => cues,
            Self::Repeat(repeat) => &repeat.steps,
            Self::Barrier(_) | Self::Do { .. } | Self::Happen(_) | Self::Nothing | Self::Wait(_) => &[],
        }
    }
}

impl fmt::Display for Cue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.step, self.at) {
            (Step::Nothing, Some(at)) => write!(f, "at {at}"),
            (Step::Do { connection: Some(connection), action, .. }, _) => write!(f, "on {connection}: {action}"),
            (Step::Do { action, .. }, _) => write!(f, "{action}"),
            (Step::Background(_), _) => f.write_str("in the background"),
            (Step::Barrier(name), _) => write!(f, "barrier {name}"),
            (Step::Happen(intervention), _) => write!(f, "{intervention}"),
            (Step::Nothing, None) => f.write_str("nothing"),
            (Step::Repeat(repeat), _) => write!(f, "repeat {} times", repeat.times),
            (Step::Wait(time), _) => write!(f, "wait {time}"),
        }
    }
}

/// The message about a step that is almost spelt like one.
fn misspelt<E: Error>(word: &str) -> Option<E> {
    let known: Vec<&str> = WORDS.into_iter().chain(Intervention::WORDS).collect();
    // It may be a host's name just as well, so it has to be very near.
    let meant = nearest(word, &known, (word.len() / 3).min(2))?;
    Some(E::custom(format!("`{word}` is neither a step nor a host: did you mean `{meant}`?")))
}

impl<'de> Deserialize<'de> for Cue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OneStep)
    }
}

struct OneStep;

impl<'de> Visitor<'de> for OneStep {
    type Value = Cue;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a step such as `wait: 2s` or `client: GET /`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cue, A::Error> {
        let mut cue = Cue { at: None, after: None, event: None, follows: None, step: Step::Nothing };
        while let Some(key) = map.next_key::<String>()? {
            let step = match key.as_str() {
                "after" => {
                    cue.after = Some(map.next_value()?);
                    continue;
                }
                "at" => {
                    cue.at = Some(map.next_value()?);
                    continue;
                }
                "event" => {
                    cue.event = Some(map.next_value()?);
                    continue;
                }
                "follows" => {
                    cue.follows = Some(map.next_value()?);
                    continue;
                }
                "background" => Step::Background(map.next_value()?),
                "barrier" => Step::Barrier(map.next_value()?),
                "repeat" => Step::Repeat(map.next_value()?),
                "wait" => Step::Wait(map.next_value()?),
                word if Intervention::has(word) => Step::Happen(Intervention::read(word, &mut map)?),
                _ => {
                    // What is no action may be what a misspelt step is about.
                    let action = map.next_value().map_err(|error| misspelt(&key).unwrap_or(error))?;
                    Step::Do { host: key.clone(), connection: None, action }
                }
            };
            if !matches!(cue.step, Step::Nothing) {
                return Err(A::Error::custom(format!(
                    "`{key}` needs a step of its own: a line has one, beside `at`, `after`, `event` and `follows`"
                )));
            }
            cue.step = step;
        }
        match (&cue.step, cue.at, cue.after) {
            (Step::Nothing, None, Some(after)) => cue.step = Step::Wait(after),
            (Step::Nothing, None, None) => {
                return Err(A::Error::custom("a line needs a step, such as `wait: 2s` or `client: GET /`"));
            }
            _ => return Ok(cue),
        }
        cue.after = None;
        Ok(cue)
    }
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
