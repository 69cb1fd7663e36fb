//! Writes what the packages carry beside the programs and their pages: completions for bash, zsh and fish, made from the
//! definition of the flags, and Debian's form of the changelog. Builds no package, and touches nothing but the directory
//! that it is given.
//!
//! Called as `einhyrningsins-assets DIRECTORY SECONDS`: the changelog of a version that has no date yet is dated so many
//! seconds after the epoch.

mod bash;
mod changelog;
mod completions;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the root of the sources is, which this crate was built in.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let [directory, seconds] = words.as_slice() else {
        return Err("usage: einhyrningsins-assets DIRECTORY SECONDS".into());
    };
    let directory = PathBuf::from(directory);
    for completion in completions::all() {
        write(&directory.join("completions").join(completion.shell).join(completion.file_name), &completion.text)?;
    }
    let changelog = fs::read_to_string(Path::new(ROOT).join("CHANGELOG.md"))?;
    let debian = changelog::debian(&changelog, &program_version()?, seconds.parse()?)?;
    write(&directory.join("changelog.Debian"), &debian)
}

/// The program's version. This crate has one of its own, which is never published.
fn program_version() -> Result<String, Box<dyn Error>> {
    let manifest = fs::read_to_string(Path::new(ROOT).join("Cargo.toml"))?;
    let line = manifest.lines().find_map(|line| line.strip_prefix("version = \""));
    let version = line.and_then(|rest| rest.strip_suffix('"'));
    Ok(version.ok_or("Cargo.toml has no line for the version")?.to_owned())
}

fn write(path: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    let place = |error| format!("cannot write {}: {error}", path.display());
    path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, text)).map_err(place)?;
    Ok(())
}
