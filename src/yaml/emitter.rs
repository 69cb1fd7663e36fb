//! Writes pieces of YAML and keeps track of the column, as libyaml's emitter does. Decides no style.
//!
//! Two flags hold the layout together: whether the last thing written was white space (so that no blank is needed before
//! the next), and whether only indentation and `-`, `?`, `:` stand on the line so far (so that a collection may begin here).

use crate::yaml::style::{Position, is_blank, is_break, is_printable};

/// The column after which a single blank becomes a line break.
const WIDTH: usize = 80;

pub(super) struct Emitter {
    out: String,
    column: usize,
    after_space: bool,
    at_indentation: bool,
    open_ended: bool,
}

impl Emitter {
    pub(super) fn new() -> Self {
        Self { out: String::new(), column: 0, after_space: true, at_indentation: true, open_ended: false }
    }

    /// Ends the line, and the document with `...` where its last block would run on without it.
    pub(super) fn finish(mut self) -> String {
        self.indent_to(0);
        if self.open_ended {
            self.out.push_str("...\n");
        }
        self.out
    }

    pub(super) fn is_at_indentation(&self) -> bool {
        self.at_indentation
    }

    fn put(&mut self, c: char) {
        self.out.push(c);
        self.column = if is_break(c) { 0 } else { self.column + 1 };
    }

    fn put_all(&mut self, text: &str) {
        text.chars().for_each(|c| self.put(c));
    }

    fn touch(&mut self) {
        self.after_space = false;
        self.at_indentation = false;
    }

    pub(super) fn blank(&mut self) {
        self.put(' ');
    }

    /// A piece that wants a blank before it: `---`, a tag, an anchor, an opening quote.
    pub(super) fn mark(&mut self, text: &str) {
        if !self.after_space {
            self.blank();
        }
        self.put_all(text);
        self.touch();
    }

    /// A piece that follows without a blank: `:` after a simple key, a closing quote.
    pub(super) fn attach(&mut self, text: &str) {
        self.put_all(text);
        self.touch();
    }

    /// `-`, `?` or `:`, after which a collection may begin on the same line.
    pub(super) fn entry(&mut self, text: &str) {
        if !self.after_space {
            self.blank();
        }
        self.put_all(text);
        self.after_space = false;
    }

    /// Moves to a column, on a new line unless the present one holds nothing but indentation up to there.
    pub(super) fn indent_to(&mut self, column: usize) {
        let is_past = self.column > column || (self.column == column && !self.after_space);
        if !self.at_indentation || is_past {
            self.put('\n');
        }
        while self.column < column {
            self.put(' ');
        }
        self.after_space = true;
        self.at_indentation = true;
    }

    pub(super) fn plain(&mut self, text: &str, indent: usize, position: Position) {
        if !self.after_space && !text.is_empty() {
            self.blank();
        }
        let mut after_blank = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let is_single = !after_blank && !chars.peek().copied().is_some_and(is_blank);
            if is_blank(c) && is_single && position == Position::Elsewhere && self.column > WIDTH {
                self.indent_to(indent);
            } else {
                self.put(c);
            }
            after_blank = is_blank(c);
            self.at_indentation &= is_blank(c);
        }
        self.touch();
    }

    pub(super) fn single_quoted(&mut self, text: &str, indent: usize, position: Position) {
        self.mark("'");
        let (mut after_blank, mut after_break, mut is_first) = (false, false, true);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if is_blank(c) {
                let is_inner = !is_first && !after_blank && chars.peek().is_some_and(|next| !is_blank(*next));
                if is_inner && position == Position::Elsewhere && self.column > WIDTH {
                    self.indent_to(indent);
                } else {
                    self.put(c);
                }
            } else if is_break(c) {
                // One newline alone would read as a blank.
                if !after_break && c == '\n' {
                    self.put('\n');
                }
                self.put(c);
                self.at_indentation = true;
            } else {
                if after_break {
                    self.indent_to(indent);
                }
                if c == '\'' {
                    self.put(c);
                }
                self.put(c);
                self.at_indentation = false;
            }
            // A blank leaves the mark of a break standing, and the other way round, as libyaml has it.
            after_blank = is_blank(c) || (is_break(c) && after_blank);
            after_break = is_break(c) || (is_blank(c) && after_break);
            is_first = false;
        }
        if after_break {
            self.indent_to(indent);
        }
        self.attach("'");
    }

    pub(super) fn double_quoted(&mut self, text: &str, indent: usize, position: Position) {
        self.mark("\"");
        let (mut after_blank, mut is_first) = (false, true);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            if !is_printable(c) || is_break(c) || matches!(c, '"' | '\\') {
                self.put_all(&escaped(c));
            } else if is_blank(c)
                && position == Position::Elsewhere
                && !after_blank
                && !is_first
                && chars.peek().is_some()
                && self.column > WIDTH
            {
                self.indent_to(indent);
                // The next line's leading blanks would be lost.
                if chars.peek().copied().is_some_and(is_blank) {
                    self.put('\\');
                }
            } else {
                self.put(c);
            }
            after_blank = is_blank(c);
            is_first = false;
        }
        self.attach("\"");
    }

    /// A block literal (`|`), with its lines at `indent`.
    pub(super) fn literal(&mut self, text: &str, indent: usize) {
        self.mark("|");
        if text.starts_with(|c| is_blank(c) || is_break(c)) {
            self.attach("2");
        }
        let mut ends = text.chars().rev();
        let (last, last_but_one) = (ends.next(), ends.next());
        self.open_ended = false;
        if !last.is_some_and(is_break) {
            self.attach("-");
        } else if last_but_one.is_none_or(is_break) {
            self.attach("+");
            self.open_ended = true;
        }
        self.put('\n');
        self.at_indentation = true;
        self.after_space = true;
        let mut after_break = true;
        for c in text.chars() {
            if !is_break(c) && after_break {
                self.indent_to(indent);
            }
            self.put(c);
            after_break = is_break(c);
            self.at_indentation = after_break;
        }
    }
}

/// A character within double quotes that cannot stand there itself.
fn escaped(c: char) -> String {
    let letter = escape_letter(c).or(match c {
        '\0' => Some('0'),
        '\u{85}' => Some('N'),
        '\u{2028}' => Some('L'),
        '\u{2029}' => Some('P'),
        _ => None,
    });
    match (letter, u32::from(c)) {
        (Some(letter), _) => format!("\\{letter}"),
        (None, code @ 0..=0xff) => format!("\\x{code:02X}"),
        (None, code @ 0x100..=0xffff) => format!("\\u{code:04X}"),
        (None, code) => format!("\\U{code:08X}"),
    }
}

/// What stands behind the backslash in place of a character, in YAML as in Ruby.
pub(super) fn escape_letter(c: char) -> Option<char> {
    Some(match c {
        '\x07' => 'a',
        '\x08' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\x0b' => 'v',
        '\x0c' => 'f',
        '\r' => 'r',
        '\x1b' => 'e',
        '"' | '\\' => c,
        _ => return None,
    })
}
