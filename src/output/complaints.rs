//! What was said of the master's files that are not as they should be, so that it is said once: by this image, or by the one before.

use std::path::{Path, PathBuf};

use log::Level;
use serde::{Deserialize, Serialize};

use crate::base::wire;

/// What of a file is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Aspect {
    /// It is gone, or another one.
    Presence,
    Mode,
    User,
    Group,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Complaint {
    #[serde(with = "wire")]
    path: PathBuf,
    aspect: Aspect,
    said: String,
}

/// The last of each aspect of each file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Complaints(Vec<Complaint>);

impl Complaints {
    /// Says so, unless it was said last.
    pub(crate) fn complain(&mut self, level: Level, path: &Path, aspect: Aspect, said: String) {
        if self.0.iter().any(|known| known.is_of(path, aspect) && known.said == said) {
            return;
        }
        log::log!(level, "{said}");
        self.settle(path, aspect);
        self.0.push(Complaint { path: path.to_owned(), aspect, said });
    }

    /// It is as it should be.
    pub(crate) fn settle(&mut self, path: &Path, aspect: Aspect) {
        self.0.retain(|known| !known.is_of(path, aspect));
    }

    /// Forgets those of other files.
    pub(crate) fn keep(&mut self, paths: &[PathBuf]) {
        self.0.retain(|known| paths.contains(&known.path));
    }
}

impl Complaint {
    fn is_of(&self, path: &Path, aspect: Aspect) -> bool {
        self.path == path && self.aspect == aspect
    }
}
