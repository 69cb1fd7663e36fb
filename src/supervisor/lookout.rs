//! Which files are watched for the main thread, and what was said of them. It looks at none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use log::Level;

/// What is watched, and what was said of it.
#[derive(Debug, Default)]
pub(crate) struct Lookout {
    pub(crate) watched: Vec<PathBuf>,
    /// The last complaint about each file that is not as it should be.
    pub(crate) told: BTreeMap<PathBuf, String>,
}

impl Lookout {
    /// Says so, unless it was said last of this file.
    pub(crate) fn complain(&mut self, level: Level, path: &Path, complaint: String) {
        if self.told.get(path) != Some(&complaint) {
            log::log!(level, "{complaint}");
            self.told.insert(path.to_owned(), complaint);
        }
    }
}
