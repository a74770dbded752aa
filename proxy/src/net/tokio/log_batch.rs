//! Whole lines of a log, collected to be written at once, and the file that takes them.

use std::io::{self, Write};

/// Lines are collected to pieces of this size, in which they wait and are written. Bytes.
pub(super) const BATCH_BYTES: usize = 64 * 1024; // Envoy's flush size

/// Whole lines, one behind the other.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each line ends in `bytes`.
    ends: Vec<usize>,
}

impl Batch {
    /// Room for `bytes` of `lines`, and for a usual number of them at least.
    pub(super) fn with_room_for(bytes: usize, lines: usize) -> Self {
        const LINES: usize = BATCH_BYTES / 128;
        Self { bytes: Vec::with_capacity(bytes.max(BATCH_BYTES)), ends: Vec::with_capacity(lines.max(LINES)) }
    }

    /// A single line, in as much memory as it needs.
    pub(super) fn of(line: &[u8]) -> Self {
        Self { bytes: line.to_vec(), ends: vec![line.len()] }
    }

    pub(super) fn push(&mut self, line: &[u8]) {
        if self.bytes.capacity() == 0 {
            *self = Self::with_room_for(line.len(), 1);
        }
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(super) fn lines(&self) -> usize {
        self.ends.len()
    }

    /// The length of all lines. Bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether `more` bytes fit without growing.
    pub(super) fn has_room_for(&self, more: usize) -> bool {
        self.bytes.len() + more <= self.bytes.capacity()
    }

    /// Empties it. What it grew to for one long line is given back.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > BATCH_BYTES {
            *self = Self::default();
        }
        self.bytes.clear();
        self.ends.clear();
    }

    pub(super) fn append(&mut self, other: &Self) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| before + end));
    }

    /// The memory it holds. Bytes.
    pub(super) fn held(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// Lines that a file did not take.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) lines: usize,
    pub(super) error: io::Error,
}

/// A file, or something like one, that gets whole lines.
pub(super) struct Output<W> {
    to: W,
    /// The rest of a line whose beginning was written before an error. It is written first, so that the line becomes whole
    /// and the next begins behind its end.
    unfinished: Vec<u8>,
}

impl<W: Write> Output<W> {
    pub(super) fn new(to: W) -> Self {
        Self { to, unfinished: Vec::new() }
    }

    /// Goes on with another file. Whether a line was left unfinished in the old one.
    pub(super) fn go_on_with(&mut self, to: W) -> bool {
        let was_unfinished = !self.unfinished.is_empty();
        *self = Self::new(to);
        was_unfinished
    }

    /// Writes the lines of `batch`. `waits` is called where no more is taken at the moment, and returns whether to go on.
    pub(super) fn write(&mut self, batch: &Batch, mut waits: impl FnMut() -> bool) -> Result<(), Lost> {
        let mut rest = std::mem::take(&mut self.unfinished);
        if let Err((written, error)) = self.write_bytes(&rest, &mut waits) {
            self.unfinished = rest.split_off(written);
            return Err(Lost { lines: batch.lines(), error });
        }
        let Err((written, error)) = self.write_bytes(&batch.bytes, &mut waits) else { return Ok(()) };
        let whole = batch.ends.partition_point(|end| *end <= written);
        let begun = whole.checked_sub(1).map_or(0, |last| batch.ends[last]) < written;
        if begun {
            self.unfinished = batch.bytes[written..batch.ends[whole]].to_vec();
        }
        Err(Lost { lines: batch.lines() - whole - usize::from(begun), error })
    }

    /// Writes `bytes`; on an error, how many of them were written before it.
    fn write_bytes(&mut self, bytes: &[u8], waits: &mut impl FnMut() -> bool) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while written < bytes.len() {
            match self.to.write(&bytes[written..]) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && waits() => {}
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// Takes so many bytes with each call, then fails once.
    struct Failing {
        plan: VecDeque<usize>,
        taken: Vec<u8>,
    }

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.plan.pop_front() {
                Some(0) => Err(io::ErrorKind::StorageFull.into()),
                Some(at_most) => {
                    let taken = bytes.len().min(at_most);
                    self.taken.extend_from_slice(&bytes[..taken]);
                    Ok(taken)
                }
                None => {
                    self.taken.extend_from_slice(bytes);
                    Ok(bytes.len())
                }
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn lines_stay_whole_and_in_order_wherever_writing_fails(plan in prop::collection::vec(0_usize..12, 0..40)) {
            let mut output = Output::new(Failing { plan: plan.into(), taken: Vec::new() });
            let (mut lost, mut number) = (0, 0);
            for size in [1, 3, 2, 4, 1, 5, 3, 2, 1, 1, 1, 1] {
                let mut lines = Batch::default();
                for _ in 0..size {
                    number += 1;
                    lines.push(format!("line {number}\n").as_bytes());
                }
                if let Err(failed) = output.write(&lines, || true) {
                    lost += failed.lines;
                }
            }
            output.to.plan.clear();
            output.write(&Batch::default(), || true).unwrap();
            let text = String::from_utf8(output.to.taken).unwrap();
            let numbers: Vec<usize> =
                text.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
            prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
            prop_assert_eq!(numbers.len() + lost, number);
        }
    }
}
