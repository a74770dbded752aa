//! What lasted: the states of connections, and waits that a timer measured.

use std::time::Duration;

use super::conversation::{Conversation, Lane, Signal, SignalKind};
use super::{HostId, Trace};

/// How one end of a connection was for a while.
#[derive(Debug)]
pub struct Span {
    /// The host at whose end it was.
    pub host: HostId,
    /// Counted from 1 in the order in which connections were opened.
    pub connection: usize,
    /// The host at the other end, if there is one.
    pub peer: Option<HostId>,
    /// How it was.
    pub state: State,
    /// When it began, in virtual time.
    pub from: Duration,
    /// When it ended, in virtual time.
    pub until: Duration,
}

/// The states of one end, as far as a person distinguishes them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// SYN was sent, and no SYN-ACK has come.
    Connecting,
    /// Both directions are open.
    Open,
    /// The peer has finished, this end has not.
    PeerFinished,
    /// This end has finished, the peer has not.
    WeFinished,
}

impl State {
    /// In words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::PeerFinished => "the peer has finished",
            Self::WeFinished => "finished, the peer has not",
        }
    }
}

/// A wait that a timer measured, or would have.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timer {
    /// Where it ran.
    pub host: HostId,
    /// Its name, with its value.
    pub name: String,
    /// When it began to run.
    pub from: Duration,
    /// When it ended the wait, or the wait ended otherwise.
    pub until: Duration,
    /// Whether it ended the wait.
    pub has_fired: bool,
}

/// The states of both ends of every connection.
#[must_use]
pub fn spans(trace: &Trace) -> Vec<Span> {
    let end = trace.entries().last().map_or(Duration::ZERO, |entry| entry.at);
    let mut spans = Vec::new();
    for (nth, conversation) in trace.conversations().iter().enumerate() {
        let Conversation { client, server, from_client, from_server, .. } = conversation;
        let mut push = |host, peer, times: Times| {
            let named = times.states(end).into_iter();
            spans.extend(named.map(|(state, from, until)| Span {
                host,
                connection: nth + 1,
                peer,
                state,
                from,
                until,
            }));
        };
        push(*client, *server, Times::new(from_client, from_server));
        if let Some(server) = server {
            push(*server, Some(*client), Times::new(from_server, from_client));
        }
    }
    spans
}

/// When what happened to one end.
struct Times {
    began: Option<Duration>,
    opened: Option<Duration>,
    we_finished: Option<Duration>,
    peer_finished: Option<Duration>,
    reset: Option<Duration>,
}

impl Times {
    fn new(ours: &Lane, theirs: &Lane) -> Self {
        let sent =
            |kind| ours.signals.iter().filter(move |signal| signal.kind == kind).map(|signal| signal.sent.at).min();
        let came = |kind| {
            theirs.signals.iter().filter(move |signal| signal.kind == kind).filter_map(|s: &Signal| s.arrived).min()
        };
        // The end that accepts begins with the SYN, and is open at once as far as a capture shows.
        let accepted = came(SignalKind::Syn);
        Self {
            began: accepted.or(sent(SignalKind::Syn)),
            opened: accepted.or(came(SignalKind::SynAck)),
            we_finished: sent(SignalKind::Fin),
            peer_finished: came(SignalKind::Fin),
            reset: sent(SignalKind::Rst).into_iter().chain(came(SignalKind::Rst)).min(),
        }
    }

    fn states(&self, end: Duration) -> Vec<(State, Duration, Duration)> {
        let Some(began) = self.began else { return Vec::new() };
        let both_finished = self.we_finished.zip(self.peer_finished).map(|(ours, theirs)| ours.max(theirs));
        let over = self.reset.into_iter().chain(both_finished).min().unwrap_or(end);
        let first_finish = self.we_finished.into_iter().chain(self.peer_finished).min();
        let opened = self.opened.unwrap_or(over).min(over);
        let finished = first_finish.unwrap_or(over).min(over);
        let half = if first_finish == self.we_finished { State::WeFinished } else { State::PeerFinished };
        let states = [(State::Connecting, began, opened), (State::Open, opened, finished), (half, finished, over)];
        states.into_iter().filter(|(_, from, until)| from < until).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_states_of_one_end_follow_each_other() {
        let times = |reset, peer_finished| Times {
            began: Some(MS(1)),
            opened: Some(MS(2)),
            we_finished: Some(MS(5)),
            peer_finished,
            reset,
        };
        assert_eq!(
            times(None, Some(MS(7))).states(MS(9)),
            [(State::Connecting, MS(1), MS(2)), (State::Open, MS(2), MS(5)), (State::WeFinished, MS(5), MS(7))]
        );
        assert_eq!(times(Some(MS(4)), None).states(MS(9)).last(), Some(&(State::Open, MS(2), MS(4))));
        assert_eq!(times(None, None).states(MS(9)).last(), Some(&(State::WeFinished, MS(5), MS(9))));
    }
}
