//! Lines as they come, from a socket or from standard input, up to a deadline. Reads only what is there, and knows nothing of what a line means.

use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;

use crate::base::Mono;
use crate::sys::interrupt::Interrupts;
use crate::sys::unix_client::wait_readable;

/// How much is read at a time.
const CHUNK: usize = 64 * 1024;

pub(super) struct LineReader<R> {
    source: R,
    line_max: usize,
    unread: Vec<u8>,
    /// So much of `unread` is known to have no newline.
    scanned: usize,
    has_ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Without its newline.
    Line(Vec<u8>),
    /// Nothing more comes; with what came after the last newline.
    End(Vec<u8>),
    /// It is `until`.
    Nothing,
    Interrupted,
}

impl<R: Read + AsFd> LineReader<R> {
    /// A line longer than `line_max` bytes is an error.
    pub(super) fn new(source: R, line_max: usize) -> Self {
        Self { source, line_max, unread: Vec::new(), scanned: 0, has_ended: false }
    }

    pub(super) fn source(&mut self) -> &mut R {
        &mut self.source
    }

    /// Waits for the next line. A line that is there already is given even when the time is over.
    pub(super) fn next(&mut self, until: Option<Mono>, interrupts: Option<&Interrupts>) -> io::Result<Next> {
        loop {
            if let Some(line) = self.take_line() {
                return Ok(Next::Line(line));
            }
            if self.has_ended {
                self.scanned = 0;
                return Ok(Next::End(std::mem::take(&mut self.unread)));
            }
            if self.unread.len() > self.line_max {
                return Err(io::Error::other(format!("a line has more than {} bytes", self.line_max)));
            }
            let mut fds = vec![self.source.as_fd()];
            fds.extend(interrupts.map(AsFd::as_fd));
            match wait_readable(&fds, until)? {
                Some(0) => self.read()?,
                Some(_) => return Ok(Next::Interrupted),
                None => return Ok(Next::Nothing),
            }
        }
    }

    fn take_line(&mut self) -> Option<Vec<u8>> {
        let Some(at) = self.unread[self.scanned..].iter().position(|byte| *byte == b'\n') else {
            self.scanned = self.unread.len();
            return None;
        };
        let end = self.scanned + at;
        let rest = self.unread.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.unread, rest);
        line.truncate(end);
        self.scanned = 0;
        Some(line)
    }

    fn read(&mut self) -> io::Result<()> {
        let mut chunk = [0; CHUNK];
        match self.source.read(&mut chunk) {
            Ok(0) => self.has_ended = true,
            Ok(length) => self.unread.extend_from_slice(&chunk[..length]),
            // A connection that was reset is one that has ended; what came before has been read.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => self.has_ended = true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;
    use crate::sys::clock;

    fn soon() -> Option<Mono> {
        Some(clock::now().after(Duration::from_millis(5)))
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        let mut lines = LineReader::new(reader, 100);
        writer.write_all(b"one\ntwo\nthr").unwrap();
        assert_eq!(lines.next(None, None).unwrap(), Next::Line(b"one".to_vec()));
        assert_eq!(lines.next(soon(), None).unwrap(), Next::Line(b"two".to_vec()));
        assert_eq!(lines.next(soon(), None).unwrap(), Next::Nothing);
        writer.write_all(b"ee\n\nrest").unwrap();
        drop(writer);
        assert_eq!(lines.next(None, None).unwrap(), Next::Line(b"three".to_vec()));
        assert_eq!(lines.next(None, None).unwrap(), Next::Line(Vec::new()));
        assert_eq!(lines.next(None, None).unwrap(), Next::End(b"rest".to_vec()));
        assert_eq!(lines.next(None, None).unwrap(), Next::End(Vec::new()));
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        let mut lines = LineReader::new(reader, 4);
        writer.write_all(b"12345").unwrap();
        assert_eq!(lines.next(None, None).unwrap_err().to_string(), "a line has more than 4 bytes");
    }

    #[test]
    fn an_interrupt_ends_the_waiting_but_loses_no_line() {
        let (mut writer, reader) = UnixStream::pair().unwrap();
        let (mut signal, heard) = UnixStream::pair().unwrap();
        let interrupts = Interrupts::from_socket(heard);
        let mut lines = LineReader::new(reader, 100);
        signal.write_all(b"x").unwrap();
        assert_eq!(lines.next(None, Some(&interrupts)).unwrap(), Next::Interrupted);
        writer.write_all(b"late\n").unwrap();
        assert_eq!(lines.next(None, Some(&interrupts)).unwrap(), Next::Line(b"late".to_vec()));
    }
}
