//! The texts of this project, for tests that hold a page to them. It reads files, and never changes one.

use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A page, by its path from the root.
pub fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// All files below these directories, as one text, without the one of this name. What is no text is left out.
pub fn texts(directories: &[&str], without: &str) -> String {
    let mut texts = String::new();
    directories.iter().for_each(|directory| add_texts(&root().join(directory), without, &mut texts));
    texts
}

fn add_texts(directory: &Path, without: &str, texts: &mut String) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            add_texts(&path, without, texts);
        } else if !path.ends_with(without) {
            texts.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
}
