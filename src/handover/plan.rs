//! A document of the handoff as everything that a master needs to go on, before any of its descriptors is touched: while it is
//! read, nothing is lost, and the image before can still be gone back to. What Ruby's einhorn wrote is `from_ruby`'s.

use std::fmt::Display;

use crate::handoff::{Document, Reader};
use crate::handover::from_ruby;
use crate::handover::held::Held;
use crate::output::calendar::Calendar;
use crate::sys::errno::words;
use crate::sys::{fd, limits, memfd};

/// Everything, with descriptors by their numbers.
pub(crate) struct Plan {
    pub(crate) held: Held,
    /// What is to be logged once there is a log.
    pub(crate) notes: Vec<String>,
}

/// Why there is no text of a document.
pub(crate) struct Unreadable {
    pub(crate) message: String,
    /// Whether it may be read later.
    pub(crate) may_pass: bool,
}

impl Plan {
    /// The text that can be read from this number. The number stays open.
    pub(crate) fn read_text(number: i32) -> Result<String, Unreadable> {
        let said = |error: &dyn Display, may_pass| Unreadable {
            message: format!("cannot read the state from descriptor {number}: {error}"),
            may_pass,
        };
        let read = fd::look_at(number, |state| memfd::read_all(state, Document::BYTES_MAX));
        let bytes = read.map_err(|errno| said(&words(errno), false))?;
        let bytes = bytes.map_err(|error| said(&error, error.may_pass()))?;
        String::from_utf8(bytes).map_err(|_| said(&"it is no text in UTF-8", false))
    }

    /// # Errors
    /// What this version cannot take over, in a sentence.
    pub(crate) fn of(document: &Document) -> Result<Self, String> {
        match &document.ours {
            Some(ours) => Ok(Self { held: Held::read(ours)?, notes: Vec::new() }),
            None => Self::of_rubys(document),
        }
    }

    fn of_rubys(document: &Document) -> Result<Self, String> {
        let calendar = Calendar::now();
        let reader = Reader {
            now: calendar.moment(),
            mono: &|wall| calendar.mono(wall),
            max_unacked: u32::try_from(limits::cpu_count()).unwrap_or(u32::MAX),
        };
        let pool = document.pool_of_ruby(reader).map_err(|error| error.to_string())?;
        let (held, notes) = from_ruby::plan(document, pool)?;
        Ok(Self { held, notes })
    }
}
