//! Where something stands in a text: bytes to lines and columns, as editors count them. Takes the same time for every place,
//! however long the text and its lines are, since a file may have a place for each of a hundred thousand words on one line.

/// How many bytes apart the characters before are known.
const STRIDE: usize = 64;

pub(in crate::config) struct Positions<'a> {
    text: &'a str,
    /// Where each line begins.
    line_starts: Vec<usize>,
    /// How many characters begin before each multiple of [`STRIDE`].
    chars_before: Vec<usize>,
}

impl<'a> Positions<'a> {
    pub(in crate::config) fn of(text: &'a str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let mut chars_before = Vec::with_capacity(text.len() / STRIDE + 1);
        let mut count = 0;
        for block in text.as_bytes().chunks(STRIDE) {
            chars_before.push(count);
            count += char_count(block);
        }
        chars_before.push(count);
        Self { text, line_starts, chars_before }
    }

    /// From 1, of a byte of the text; of its end for one behind it.
    pub(in crate::config) fn line_and_column(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= at);
        let line_start = self.line_starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        (line, self.chars_to(at) - self.chars_to(line_start) + 1)
    }

    fn chars_to(&self, at: usize) -> usize {
        let block = at / STRIDE;
        let rest = self.text.as_bytes().get(block * STRIDE..at).unwrap_or_default();
        self.chars_before.get(block).copied().unwrap_or_default() + char_count(rest)
    }
}

/// How many characters begin there: all bytes of UTF-8 but those that go on.
fn char_count(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_where_counting_finds_it() {
        for text in
            ["", "a", "a\nb\n", "ä\n日本🦄 x\n\n", &"xä🦄\n".repeat(100), &"日".repeat(200), &"y".repeat(STRIDE)]
        {
            let positions = Positions::of(text);
            for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                let before = &text[..at];
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                assert_eq!(positions.line_and_column(at), (line, column), "{at} in {text:?}");
            }
            assert_eq!(positions.line_and_column(text.len() + 5), positions.line_and_column(text.len()));
        }
    }
}
