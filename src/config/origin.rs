//! Remembers where each effective value came from: for error messages, which repeat the user's spelling, and for whoever
//! must know whether a value was given at all. Holds no values.

use std::collections::BTreeMap;

use crate::config::words::Word;

/// Where a value came from. The file and its profiles will be further variants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// The command line, with the option as it was spelled there, such as `-n` or `--num`.
    CommandLine(String),
    /// The command `config` on the control socket.
    ControlSocket,
}

/// For each flag that was given, by its long name: the origin of each of its values, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<String, Vec<Origin>>);

impl Origins {
    pub(crate) fn of_words(words: &[Word]) -> Self {
        let mut origins = Self::default();
        for word in words {
            let origin = Origin::CommandLine(word.spelled.clone());
            origins.0.entry(word.flag.clone()).or_default().push(origin);
        }
        origins
    }

    /// Where the effective value of `flag` (its long name without dashes) came from.
    pub fn of(&self, flag: &str) -> &Origin {
        self.0.get(flag).and_then(|given| given.last()).unwrap_or(&Origin::Default)
    }

    /// The control socket has set it.
    pub fn note_given(&mut self, flag: &str) {
        self.0.entry(flag.to_owned()).or_default().push(Origin::ControlSocket);
    }

    pub fn is_given(&self, flag: &str) -> bool {
        self.0.contains_key(flag)
    }

    /// How the option that gave the effective value was spelled.
    pub(crate) fn spelled(&self, flag: &str) -> String {
        self.of(flag).spelled(flag)
    }

    /// The same for one value of a list.
    pub(crate) fn spelled_at(&self, flag: &str, index: usize) -> String {
        self.0.get(flag).and_then(|given| given.get(index)).unwrap_or(&Origin::Default).spelled(flag)
    }
}

impl Origin {
    fn spelled(&self, flag: &str) -> String {
        match self {
            Self::CommandLine(spelled) => spelled.clone(),
            Self::Default | Self::ControlSocket => format!("--{flag}"),
        }
    }
}
