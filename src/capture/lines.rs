//! Bytes as a process writes them, in pieces of any size, to lines that can be shown. A line comes out whole when its end has come; one
//! that is too long comes in parts, which say so. Reads nothing, and logs nothing.

use serde::{Deserialize, Serialize};

use crate::base::{printable, wire};

/// The longest line that stays whole, without its newline.
pub(crate) const LINE_BYTES_MAX: usize = 16 * 1024;

/// Stands at the end of each part of a line but the last, and at the beginning of each but the first.
const CUT: &str = "[cut]";

/// A tab is as many blanks, where every other character that moves a cursor is shown as an escape: stack traces are full of tabs.
const TAB: &str = "    ";

/// No character of UTF-8 has more bytes.
const CHAR_BYTES_MAX: usize = 4;

/// The line under way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lines {
    #[serde(with = "wire")]
    unfinished: Vec<u8>,
    /// Whether parts of it came out already.
    is_cut: bool,
}

impl Lines {
    /// Takes the next bytes, and gives out each line that is complete with them.
    pub(crate) fn take(&mut self, bytes: &[u8], mut give: impl FnMut(String)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, is_end) = piece.strip_suffix(b"\n").map_or((piece, false), |piece| (piece, true));
            self.unfinished.extend_from_slice(piece);
            while self.unfinished.len() > LINE_BYTES_MAX {
                self.give_part(cut_at(&self.unfinished), &mut give);
            }
            if is_end {
                self.give_last(&mut give);
            }
        }
    }

    /// What was written behind the last newline: nothing will come behind it.
    pub(crate) fn finish(&mut self, mut give: impl FnMut(String)) {
        if !self.unfinished.is_empty() || self.is_cut {
            self.give_last(&mut give);
        }
    }

    /// The same as a part: more may come, and begins with a mark.
    pub(crate) fn cut(&mut self, mut give: impl FnMut(String)) {
        if !self.unfinished.is_empty() {
            self.give_part(self.unfinished.len(), &mut give);
        }
    }

    pub(crate) fn unfinished_bytes(&self) -> usize {
        self.unfinished.len()
    }

    fn give_part(&mut self, length: usize, give: &mut impl FnMut(String)) {
        let part: Vec<u8> = self.unfinished.drain(..length).collect();
        let text = format!("{}{CUT}", self.shown(&part));
        self.is_cut = true;
        give(text);
    }

    fn give_last(&mut self, give: &mut impl FnMut(String)) {
        let line = std::mem::take(&mut self.unfinished);
        let text = self.shown(line.strip_suffix(b"\r").unwrap_or(&line));
        self.is_cut = false;
        give(text);
    }

    fn shown(&self, bytes: &[u8]) -> String {
        let parts: Vec<String> = bytes.split(|byte| *byte == b'\t').map(printable::bytes).collect();
        format!("{}{}", if self.is_cut { CUT } else { "" }, parts.join(TAB))
    }
}

/// Where a line is cut that is too long: not within a character.
fn cut_at(line: &[u8]) -> usize {
    let is_within = |at: &usize| line.get(*at).is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000);
    let places = (LINE_BYTES_MAX + 1 - CHAR_BYTES_MAX..=LINE_BYTES_MAX).rev();
    places.into_iter().find(|at| !is_within(at)).unwrap_or(LINE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let (mut lines, mut given) = (Lines::default(), Vec::new());
        pieces.iter().for_each(|piece| lines.take(piece, |line| given.push(line)));
        lines.finish(|line| given.push(line));
        assert_eq!(lines, Lines::default());
        given
    }

    #[test]
    fn lines_come_out_whole_wherever_they_are_broken() {
        let text = b"one\n\ntwo\r\nthree";
        let whole = ["one", "", "two", "three"];
        assert_eq!(lines(&[text]), whole);
        for at in 0..=text.len() {
            assert_eq!(lines(&[&text[..at], &text[at..]]), whole, "broken at {at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(&bytes), whole);
        assert!(lines(&[]).is_empty() && lines(&[b""]).is_empty());
    }

    #[test]
    fn what_steers_a_terminal_or_is_no_text_is_shown_and_not_done() {
        let text = b"\tat com.example\x1b[2J \xff\xfe \xe2\x80\xae\n[MASTER 1] INFO: x\0\n";
        assert_eq!(lines(&[text]), [r"    at com.example\x1b[2J \xff\xfe \u{202e}", r"[MASTER 1] INFO: x\x00"]);
    }

    #[test]
    fn a_line_of_the_greatest_length_is_whole_and_a_longer_one_comes_in_marked_parts() {
        let most = "x".repeat(LINE_BYTES_MAX);
        assert!(lines(&[most.as_bytes(), b"\n"]).concat() == most);
        let longer = format!("{most}y\nz\n");
        assert_eq!(lines(&[longer.as_bytes()]), [format!("{most}[cut]"), "[cut]y".to_owned(), "z".to_owned()]);
        let parts = lines(&["y".repeat(3 * LINE_BYTES_MAX).as_bytes()]);
        let y = "y".repeat(LINE_BYTES_MAX);
        assert_eq!(parts, [format!("{y}[cut]"), format!("[cut]{y}[cut]"), format!("[cut]{y}")]);
    }

    #[test]
    fn no_line_is_cut_within_a_character() {
        for before in 0..CHAR_BYTES_MAX {
            let text = format!("{}{}", "x".repeat(before), "🦄".repeat(LINE_BYTES_MAX / 2));
            let parts = lines(&[text.as_bytes()]);
            assert_eq!(parts.concat().replace(CUT, ""), text);
            assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= LINE_BYTES_MAX + 2 * CUT.len()));
        }
        // What is no text has no such places.
        let rubbish = vec![0x80; LINE_BYTES_MAX + 1];
        assert_eq!(lines(&[&rubbish])[1], r"[cut]\x80");
    }

    #[test]
    fn a_line_that_is_cut_before_its_end_goes_on_later() {
        let (mut lines, mut given) = (Lines::default(), Vec::new());
        lines.cut(|line| given.push(line));
        lines.take(b"one", |line| given.push(line));
        assert_eq!(lines.unfinished_bytes(), 3);
        lines.cut(|line| given.push(line));
        lines.take(b" two\nthree\n", |line| given.push(line));
        lines.finish(|line| given.push(line));
        assert_eq!(given, ["one[cut]", "[cut] two", "three"]);
    }

    /// As one image hands it to the next.
    #[test]
    fn a_line_goes_on_where_another_has_begun_it() {
        let (mut lines, mut given) = (Lines::default(), Vec::new());
        lines.take(b"\xe2\x82", |line| given.push(line));
        let text = serde_json::to_string(&lines).unwrap();
        let mut next: Lines = serde_json::from_str(&text).unwrap();
        assert_eq!(next, lines);
        next.take(b"\xac\n", |line| given.push(line));
        assert_eq!(given, ["€"]);
    }
}
