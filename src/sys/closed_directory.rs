//! Which directory keeps this process from a file: "permission denied" names the file alone, whose own mode is often right. Only
//! looks, and only after the failure.

use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, eaccess};

use crate::sys::errno::errno_of;

/// As many as the kernel follows in one path, see path_resolution(7).
pub const LINKS_MAX: u32 = 40;

/// The first directory on the way to the file that we may not search. None: it is not a directory that is in the way.
pub fn closed_directory(path: &Path) -> Option<PathBuf> {
    if path.is_relative() && is_closed(Path::new(".")) {
        return std::env::current_dir().ok();
    }
    on_the_way(path, LINKS_MAX)
}

/// The directory of a file that is not there, in which we may make none, and why.
pub fn unwritable_directory(path: &Path) -> Option<(PathBuf, Errno)> {
    let directory = match path.parent()? {
        here if here.as_os_str().is_empty() => Path::new("."),
        directory => directory,
    };
    let is_missing = fs::symlink_metadata(path).is_err_and(|error| errno_of(&error) == Errno::ENOENT);
    let errno = eaccess(directory, AccessFlags::W_OK).err().filter(|_| is_missing)?;
    Some((directory.to_owned(), errno))
}

/// The sentence about a closed one.
pub fn closed(directory: &Path) -> String {
    format!("directory {} may not be searched", directory.display())
}

fn on_the_way(path: &Path, links: u32) -> Option<PathBuf> {
    let mut places: Vec<&Path> = path.ancestors().filter(|place| !place.as_os_str().is_empty()).collect();
    places.reverse();
    let place = places.into_iter().find(|place| is_in_the_way(place, path))?;
    match fs::read_link(place) {
        Ok(target) if links > 0 => {
            let rest = path.strip_prefix(place).unwrap_or(Path::new(""));
            on_the_way(&place.parent().unwrap_or(Path::new("")).join(target).join(rest), links - 1)
        }
        _ => (place != path).then(|| place.to_owned()),
    }
}

/// Of the file itself only where it leads counts, since what it may be used for is not asked.
fn is_in_the_way(place: &Path, path: &Path) -> bool {
    if place != path {
        return is_closed(place);
    }
    fs::metadata(place).is_err_and(|error| errno_of(&error) == Errno::EACCES)
}

fn is_closed(directory: &Path) -> bool {
    eaccess(directory, AccessFlags::X_OK) == Err(Errno::EACCES)
}
