//! What a refused start says and leaves behind. It looks at files without following links, and changes none.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A start that came to nothing.
#[derive(Debug)]
pub struct Refusal {
    pub code: Option<i32>,
    /// All that was written to stderr.
    pub lines: Vec<String>,
    /// What is new, gone or different in the master's directory.
    pub changes: Vec<String>,
}

impl Refusal {
    /// The one line that says why; what is said beside it may only be information.
    #[track_caller]
    pub fn reason(&self) -> &str {
        let reasons: Vec<_> = self.lines.iter().filter(|line| !line.contains("] INFO: ")).collect();
        assert_eq!(reasons.len(), 1, "not one line of reason: {self:?}");
        reasons[0].strip_prefix("einhyrningsins: ").unwrap_or_else(|| panic!("no name before the reason: {self:?}"))
    }

    /// Refused with this code for this reason, and nothing is left but possibly the lock file, which others may have open.
    #[track_caller]
    pub fn assert(&self, code: i32, reason: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.reason(), reason);
        self.assert_nothing_left();
    }

    #[track_caller]
    pub fn assert_nothing_left(&self) {
        let left: Vec<_> = self.changes.iter().filter(|change| !change.ends_with(".lock is new")).collect();
        assert!(left.is_empty(), "a refused start has changed something: {self:?}");
    }
}

/// The files under a directory: their kind, mode, owner, identity and content.
#[derive(Debug, PartialEq, Eq)]
pub struct Snapshot {
    files: BTreeMap<String, String>,
}

impl Snapshot {
    pub fn of(directory: &Path) -> Self {
        let mut files = BTreeMap::new();
        add_all(directory, directory, &mut files);
        Self { files }
    }

    pub fn names(&self) -> Vec<&str> {
        self.files.keys().map(String::as_str).collect()
    }

    pub fn changes_to(&self, after: &Self) -> Vec<String> {
        let gone =
            self.files.keys().filter(|name| !after.files.contains_key(*name)).map(|name| format!("{name} is gone"));
        let other = after.files.iter().filter_map(|(name, look)| match self.files.get(name) {
            None => Some(format!("{name} is new")),
            Some(before) if before != look => Some(format!("{name} was {before} and is {look}")),
            Some(_) => None,
        });
        gone.chain(other).collect()
    }
}

fn add_all(root: &Path, directory: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.path().strip_prefix(root).unwrap().display().to_string());
        // A temporary file may go while we look.
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let content = if meta.is_file() { fs::read(&path).unwrap_or_default() } else { Vec::new() };
        let look =
            format!("{:o} of {} #{} {:?}", meta.mode(), meta.uid(), meta.ino(), String::from_utf8_lossy(&content));
        files.insert(name, look);
        if meta.is_dir() {
            add_all(root, &path, files);
        }
    }
}
