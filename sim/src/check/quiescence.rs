//! When everybody has left, nothing may be held any more.

use crate::play::Played;

/// One complaint for each socket that a program still holds.
pub(super) fn check(played: &Played) -> Vec<String> {
    played.left_open.iter().map(|socket| format!("left open: {socket}")).collect()
}
