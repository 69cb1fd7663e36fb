//! Bytes of a client that were read and not yet parsed, as lines. It knows no connection.

use crate::protocol::LINE_MAX;

#[derive(Default)]
pub(crate) struct LineBuffer {
    bytes: Vec<u8>,
    /// Before this place `bytes` is known to have no newline; at it may be the first.
    scanned: usize,
}

/// What the next line is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    Line(Vec<u8>),
    /// Not complete yet, or not to be parsed yet.
    Nothing,
    TooLong,
}

impl LineBuffer {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there is room for more: for a line of the greatest length and what was read together with its end.
    pub(crate) fn has_room(&self) -> bool {
        self.bytes.len() <= LINE_MAX
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether there is a complete line, or one that is too long. Each byte is scanned once.
    pub(crate) fn scan(&mut self) -> bool {
        let newline = self.bytes[self.scanned..].iter().position(|&byte| byte == b'\n');
        self.scanned = newline.map_or(self.bytes.len(), |place| self.scanned + place);
        newline.is_some() || self.scanned > LINE_MAX
    }

    /// Whether [`Self::scan`] has found the end of the first line.
    pub(crate) fn has_found_line(&self) -> bool {
        self.bytes.get(self.scanned) == Some(&b'\n')
    }

    /// Whether there is a complete line, found or not.
    pub(crate) fn contains_line(&self) -> bool {
        self.bytes[self.scanned..].contains(&b'\n')
    }

    /// The next complete line without its newline.
    pub(crate) fn take_line(&mut self) -> Reading {
        if !self.scan() {
            return Reading::Nothing;
        }
        if self.scanned > LINE_MAX {
            return Reading::TooLong;
        }
        let mut line: Vec<u8> = self.bytes.drain(..=self.scanned).collect();
        line.pop();
        self.scanned = 0;
        Reading::Line(line)
    }

    /// Takes back what [`Self::take_line`] gave.
    pub(crate) fn put_back(&mut self, line: &[u8]) {
        self.scanned = line.len();
        self.bytes.splice(..0, line.iter().copied().chain([b'\n']));
    }
}

impl From<Vec<u8>> for LineBuffer {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, scanned: 0 }
    }
}
