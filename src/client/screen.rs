//! Standard output and error, and what may be shown there: colours and redrawing on a terminal only, and nothing from outside
//! that would steer one, whatever stands there: a terminal is at the end of many pipes. A reader that has left is no
//! error; it is remembered, so that a command that writes for ever can end.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

use crate::base::printable;
use crate::client::text::{Surface, Text};

pub(super) struct Screen<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
    surface: Surface,
    trouble: Option<io::Error>,
}

impl<'a> Screen<'a> {
    pub(super) fn new(out: &'a mut dyn Write, err: &'a mut dyn Write, surface: Surface) -> Self {
        Self { out, err, surface, trouble: None }
    }

    pub(super) fn surface(&self) -> Surface {
        self.surface
    }

    /// Writes as Ruby's `puts` does: with a newline at its end, unless it has one.
    pub(super) fn say(&mut self, text: impl Into<Text>) {
        let text = text.into().shown_on(self.surface);
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        self.write(&format!("{text}{newline}"));
    }

    /// Takes the place of everything on a terminal; anywhere else it is one more text.
    pub(super) fn replace(&mut self, text: impl Into<Text>) {
        let text = text.into().shown_on(self.surface);
        // Cursor to the corner, and from there nothing stays.
        let before = if self.surface.is_terminal() { "\x1b[H\x1b[J" } else { "" };
        self.write(&format!("{before}{text}"));
    }

    /// Lines on standard error. A failure to write there cannot be reported.
    pub(super) fn report_error(&mut self, text: &dyn Display) {
        let text = text.to_string();
        let _not_reported = writeln!(self.err, "{}", printable::lines(&text)).and_then(|()| self.err.flush());
    }

    /// Whether nothing that is said is read any more.
    pub(super) fn is_closed(&self) -> bool {
        self.trouble.is_some()
    }

    /// Why output was lost; that its reader has left is no reason.
    pub(super) fn trouble(&self) -> Option<&io::Error> {
        self.trouble.as_ref().filter(|error| error.kind() != ErrorKind::BrokenPipe)
    }

    fn write(&mut self, text: &str) {
        if self.trouble.is_none() {
            let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
            self.trouble = written.err();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::on_surface;
    use crate::client::text::Colour;

    /// A disk or a pipe in this state.
    struct Broken(ErrorKind);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_end_once() {
        let ((), out, err) = on_surface(Surface::Plain, |screen| {
            screen.say("a");
            screen.say("b\n");
            screen.say("");
            screen.report_error(&"c");
            screen.replace("d\n");
        });
        assert_eq!((out.as_str(), err.as_str()), ("a\nb\n\nd\n", "c\n"));
    }

    #[test]
    fn what_is_said_cannot_steer_a_terminal_on_either_output() {
        for surface in [Surface::Plain, Surface::Terminal, Surface::ColourTerminal] {
            let ((), out, err) = on_surface(surface, |screen| {
                screen.say("a\x1b]0;t\x07\n\tb");
                screen.say(Text::painted("\u{9b}2J", Colour::Red));
                screen.report_error(&"x\u{202e}\r\ny");
            });
            assert!(out.starts_with("a\\x1b]0;t\\x07\n\tb\n") && out.contains("\\x9b2J"), "{out:?}");
            assert_eq!(err, "x\\u{202e}\\x0d\ny\n");
        }
    }

    #[test]
    fn a_reader_who_leaves_is_no_trouble_but_a_full_disk_is() {
        for (kind, is_trouble) in [(ErrorKind::BrokenPipe, false), (ErrorKind::StorageFull, true)] {
            let (mut out, mut err) = (Broken(kind), Vec::new());
            let mut screen = Screen::new(&mut out, &mut err, Surface::Plain);
            screen.say("x");
            screen.say("y");
            assert!(screen.is_closed());
            assert_eq!(screen.trouble().is_some(), is_trouble);
        }
    }
}
