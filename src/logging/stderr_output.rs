//! What becomes of a log line on its way out: written whole, or counted as lost and told of when a line goes through again.
//! Standard error may be a file on a full disk, or gone; that is no reason to do anything but count. Knows no queue.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;

use crate::sys::errno::{errno_of, words};

/// Lines that were not written whole, and are not reported yet.
#[derive(Default)]
struct Refused {
    lines: u64,
    cause: Option<Errno>,
    /// The last of them stands there in part, without its newline.
    is_cut: bool,
}

/// Where lines are written to, and what was lost on the way.
pub(crate) struct LogOutput<'a, W> {
    write: W,
    /// A line about what was lost.
    warning: fn(&str) -> String,
    /// How many lines there was no room for in the queue, since that was told last.
    dropped: &'a AtomicU64,
    /// How many lines were lost since the start.
    lost_ever: &'a AtomicU64,
    refused: Refused,
}

impl<'a, W: FnMut(&[u8]) -> io::Result<usize>> LogOutput<'a, W> {
    pub(crate) fn new(write: W, warning: fn(&str) -> String, dropped: &'a AtomicU64, lost_ever: &'a AtomicU64) -> Self {
        Self { write, warning, dropped, lost_ever, refused: Refused::default() }
    }

    /// Whatever is wrong with standard error is no reason to do anything but count: there is nowhere else to say so.
    pub(crate) fn on_line(&mut self, line: &[u8]) {
        if let Err(errno) = self.write_line(line) {
            self.refused.lines += 1;
            self.refused.cause = Some(errno);
            self.lost_ever.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.tell_of_refused();
        self.tell_of_dropped();
    }

    fn tell_of_refused(&mut self) {
        let (lines, Some(cause)) = (self.refused.lines, self.refused.cause) else { return };
        let told = (self.warning)(&format!("lost {lines} log lines, cannot write them: {}", words(cause)));
        if self.write_line(told.as_bytes()).is_ok() {
            (self.refused.lines, self.refused.cause) = (0, None);
        }
    }

    fn tell_of_dropped(&mut self) {
        let lost = self.dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let told = (self.warning)(&format!("dropped {lost} log lines that were not read in time"));
            if self.write_line(told.as_bytes()).is_err() {
                self.dropped.fetch_add(lost, Ordering::Relaxed);
            }
        }
    }

    /// The whole line, on a line of its own if a part of another was written before.
    fn write_line(&mut self, line: &[u8]) -> Result<(), Errno> {
        if self.refused.is_cut {
            self.write_bytes(b"\n")?;
            self.refused.is_cut = false;
        }
        self.write_bytes(line)
    }

    fn write_bytes(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match (self.write)(rest) {
                Ok(written) if written > 0 => rest = &rest[written.min(rest.len())..],
                // Nothing written is no progress, and must not be tried for ever.
                outcome => {
                    self.refused.is_cut |= rest.len() < bytes.len();
                    return Err(outcome.map_or_else(|error| errno_of(&error), |_| Errno::EIO));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A disk with so much room, that says how much it took.
    struct Disk {
        room: usize,
        text: Vec<u8>,
    }

    impl Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.room.min(bytes.len());
            self.room -= taken;
            self.text.extend_from_slice(&bytes[..taken]);
            if taken == 0 { Err(Errno::ENOSPC.into()) } else { Ok(taken) }
        }
    }

    fn warning(message: &str) -> String {
        format!("[MASTER 7] WARN: {message}\n")
    }

    /// Writes lines with so much room for each group of them, after so many were dropped; returns what stands there, how many
    /// are counted as lost, and how many as dropped and not told of.
    fn written(dropped: u64, groups: &[(usize, &[&str])]) -> (String, u64, u64) {
        let disk = RefCell::new(Disk { room: 0, text: Vec::new() });
        let (dropped, lost) = (AtomicU64::new(dropped), AtomicU64::new(0));
        let mut output = LogOutput::new(|bytes: &[u8]| disk.borrow_mut().write(bytes), warning, &dropped, &lost);
        for (room, lines) in groups {
            disk.borrow_mut().room = *room;
            lines.iter().for_each(|line| output.on_line(line.as_bytes()));
        }
        let text = String::from_utf8(disk.borrow().text.clone()).unwrap();
        (text, lost.into_inner(), dropped.into_inner())
    }

    fn told(lines: u64) -> String {
        format!("[MASTER 7] WARN: lost {lines} log lines, cannot write them: no space left on device\n")
    }

    #[test]
    fn lines_lost_on_a_full_disk_are_counted_and_told_later() {
        let groups: [(usize, &[&str]); 2] = [(4, &["one\n", "two\n", "three\n"]), (999, &["four\n", "five\n"])];
        assert_eq!(written(0, &groups), (format!("one\nfour\n{}five\n", told(2)), 2, 0));
    }

    #[test]
    fn a_line_that_is_cut_is_lost_and_the_next_begins_a_line_of_its_own() {
        let groups: [(usize, &[&str]); 2] = [(6, &["one\n", "two\n", "three\n"]), (999, &["four\n"])];
        assert_eq!(written(0, &groups), (format!("one\ntw\nfour\n{}", told(2)), 2, 0));
    }

    #[test]
    fn what_could_not_be_told_is_told_later() {
        let first = "two\n[MASTER 7] WARN: lost";
        let groups: [(usize, &[&str]); 3] = [(0, &["one\n"]), (first.len(), &["two\n"]), (999, &["three\n"])];
        assert_eq!(written(0, &groups), (format!("{first}\nthree\n{}", told(1)), 1, 0));
        assert_eq!(written(5, &[(4, &["one\n"])]), ("one\n".to_owned(), 0, 5), "there is no room for this either");
    }

    #[test]
    fn a_short_write_that_goes_on_loses_nothing() {
        let text = RefCell::new(Vec::new());
        let (dropped, lost) = (AtomicU64::new(0), AtomicU64::new(0));
        let one_byte = |bytes: &[u8]| {
            text.borrow_mut().push(bytes[0]);
            Ok(1)
        };
        LogOutput::new(one_byte, warning, &dropped, &lost).on_line(b"one\n");
        assert_eq!((text.into_inner(), lost.into_inner()), (b"one\n".to_vec(), 0));
    }
}
