//! One worker's output: the pipe that it writes to, the line under way, and its last lines. What it is read into is said by a caller;
//! nothing here logs.

use std::collections::VecDeque;
use std::os::fd::AsFd;

use serde::{Deserialize, Serialize};

use crate::base::{Pid, Slot, Version};
use crate::capture::lines::Lines;
use crate::logging::line::Speaker;
use crate::sys::fd_passing::Record;
use crate::sys::output_pipe::{Found, read_some};

/// How many lines of each worker are kept for those who ask why it has died.
pub(crate) const LAST_LINES_MAX: usize = 10;

/// How much is kept of each of them.
const LAST_LINE_BYTES_MAX: usize = 512;

/// Stands behind one that was longer.
const SHORTENED: &str = "...";

/// Stands for a loader, which has no slot. Masters and relays of earlier versions show it as a number.
const NO_SLOT: Slot = Slot(u32::MAX);

/// Which worker or loader wrote it, as each of its lines in the log begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Writer {
    pub(crate) pid: Pid,
    pub(crate) slot: Slot,
    pub(crate) version: Version,
}

impl Writer {
    pub(crate) fn loader(pid: Pid, version: Version) -> Self {
        Self { pid, slot: NO_SLOT, version }
    }

    /// As the log has it.
    pub(crate) fn speaker(self) -> Speaker {
        match self {
            Self { pid, slot: NO_SLOT, version } => Speaker::Loader { pid, version },
            Self { pid, slot, version } => Speaker::Worker { slot, pid, version },
        }
    }

    /// As the relay is told. Masters and relays of all versions agree on it.
    pub(crate) fn to_record(self) -> Record {
        let [a, b, c, d] = self.pid.0.to_ne_bytes();
        let [e, f, g, h] = self.slot.0.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = self.version.0.to_ne_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
    }

    pub(crate) fn from_record(record: Record) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = record;
        Self {
            pid: Pid(i32::from_ne_bytes([a, b, c, d])),
            slot: Slot(u32::from_ne_bytes([e, f, g, h])),
            version: Version(u64::from_ne_bytes([i, j, k, l, m, n, o, p])),
        }
    }
}

/// `F` is its pipe: a number while it is described, an open descriptor otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Source<F> {
    pub(crate) writer: Writer,
    /// None: no process can write to it any more. Processes that a worker has started may do so after its end.
    pub(crate) pipe: Option<F>,
    lines: Lines,
    /// The oldest first.
    last_lines: VecDeque<String>,
    /// Whether the worker has ended.
    pub(crate) is_ended: bool,
    /// Whether the relay has the pipe, too.
    pub(crate) is_relayed: bool,
}

impl<F> Source<F> {
    pub(crate) fn new(writer: Writer, pipe: F) -> Self {
        Self {
            writer,
            pipe: Some(pipe),
            lines: Lines::default(),
            last_lines: VecDeque::new(),
            is_ended: false,
            is_relayed: false,
        }
    }

    /// The same with its pipe in another form. One that has none there is at its end.
    pub(crate) fn with_pipe<G>(self, form: impl FnOnce(F) -> Option<G>) -> Source<G> {
        let Self { writer, pipe, lines, last_lines, is_ended, is_relayed } = self;
        Source { writer, pipe: pipe.and_then(form), lines, last_lines, is_ended, is_relayed }
    }

    pub(crate) fn last_lines(&self) -> Vec<String> {
        self.last_lines.iter().cloned().collect()
    }

    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.lines.unfinished_bytes()
    }

    /// Gives out what there is of the line under way; the rest of it begins with a mark.
    pub(crate) fn cut(&mut self, say: &mut impl FnMut(Writer, &str)) {
        let Self { writer, lines, last_lines, .. } = self;
        lines.cut(|line| give(*writer, &line, last_lines, say));
    }
}

impl<F: AsFd> Source<F> {
    /// Reads once, and says how much; each line that is complete is said and kept. At the end, closes the pipe.
    pub(crate) fn read(&mut self, buffer: &mut [u8], say: &mut impl FnMut(Writer, &str)) -> Found {
        let Self { writer, pipe, lines, last_lines, .. } = self;
        let Some(open) = pipe else { return Found::End };
        let found = read_some(open, buffer);
        let give = |line: String| give(*writer, &line, last_lines, say);
        match found {
            Found::Bytes(length) => lines.take(buffer.get(..length).unwrap_or_default(), give),
            Found::Nothing => {}
            Found::End => {
                lines.finish(give);
                *pipe = None;
            }
        }
        found
    }
}

fn give(writer: Writer, line: &str, last_lines: &mut VecDeque<String>, say: &mut impl FnMut(Writer, &str)) {
    say(writer, line);
    // An empty line tells no reason.
    if line.is_empty() {
        return;
    }
    if last_lines.len() == LAST_LINES_MAX {
        last_lines.pop_front();
    }
    last_lines.push_back(shortened(line));
}

fn shortened(line: &str) -> String {
    if line.len() <= LAST_LINE_BYTES_MAX {
        return line.to_owned();
    }
    let end = (0..=LAST_LINE_BYTES_MAX - SHORTENED.len()).rev().find(|end| line.is_char_boundary(*end));
    format!("{}{SHORTENED}", line.get(..end.unwrap_or(0)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::output_pipe::OutputPipe;

    const WRITER: Writer = Writer { pid: Pid(4711), slot: Slot(2), version: Version(u64::MAX - 1) };

    #[test]
    fn a_writer_comes_through_a_record() {
        let loader = Writer::loader(Pid(4711), Version(2));
        for (writer, name) in [(WRITER, "worker 2"), (loader, "loader")] {
            assert_eq!(Writer::from_record(writer.to_record()), writer);
            assert_eq!(writer.speaker().named().split(',').next(), Some(name));
        }
    }

    #[test]
    fn lines_are_said_and_the_last_of_them_kept_beyond_the_end() {
        let OutputPipe { reader, writer } = OutputPipe::new().unwrap();
        let mut source = Source::new(WRITER, reader);
        let mut said = Vec::new();
        let mut say = |_, line: &str| said.push(line.to_owned());
        let text: Vec<String> = (1..=30).map(|number| format!("line {number}\n\n")).collect();
        nix::unistd::write(&writer, text.concat().as_bytes()).unwrap();
        nix::unistd::write(&writer, b"the end").unwrap();
        let mut buffer = [0; 50];
        while source.read(&mut buffer, &mut say) != Found::Nothing {}
        assert_eq!(source.last_lines().last().unwrap(), "line 30");
        drop(writer);
        assert_eq!(source.read(&mut buffer, &mut say), Found::End);
        assert!(source.pipe.is_none());
        let expected: Vec<_> = (22..=30).map(|number| format!("line {number}")).chain(["the end".to_owned()]).collect();
        assert_eq!(source.last_lines(), expected);
        assert_eq!(said.len(), 61);
    }

    #[test]
    fn of_a_long_line_the_beginning_is_kept() {
        for (length, expected) in [(512, 512), (513, 512), (20_000, 512)] {
            assert_eq!(shortened(&"x".repeat(length)).len(), expected);
        }
        let shown = shortened(&"€".repeat(400));
        assert!(shown.ends_with("€...") && shown.len() <= LAST_LINE_BYTES_MAX, "{}", shown.len());
    }
}
