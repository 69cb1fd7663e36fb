//! Which file it is, whatever its name. Looks only.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A file apart from its name. Plain numbers, so that a handoff can carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileId {
    pub device: u64,
    pub inode: u64,
}

impl FileId {
    pub fn of(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }

    /// Whether this file stands at the path now.
    pub fn stands_at(self, path: &Path) -> bool {
        fs::symlink_metadata(path).is_ok_and(|meta| Self::of(&meta) == self)
    }
}
