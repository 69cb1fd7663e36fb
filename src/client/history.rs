//! The lines typed into the shell, kept in a file for its user alone. A history that cannot be kept is no error.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crate::base::printable::is_hidden;
use crate::files::private_file::PrivateFile;

/// How many lines are remembered.
pub(super) const LINES_MAX: usize = 1000;

/// The file may grow to twice of that before it is cut.
const FILE_LINES_MAX: usize = 2 * LINES_MAX;

pub(super) struct History {
    file: File,
}

impl History {
    /// `$XDG_STATE_HOME/einhyrningsins/history`, or below `~/.local/state`; `None` for a user without a home.
    pub(super) fn path(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Option<PathBuf> {
        // The XDG specification: a relative path counts as none.
        let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = absolute("XDG_STATE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".local/state")))?;
        Some(state.join("einhyrningsins").join("history"))
    }

    /// Opens the file, which is made with its directories if need be, and returns the lines in it, the oldest first.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<String>)> {
        let place = PrivateFile::at(path)?;
        let mut lines = read(&place)?;
        let cut = lines.len() > FILE_LINES_MAX;
        lines.drain(..lines.len().saturating_sub(LINES_MAX));
        if cut {
            place.replace((lines.join("\n") + "\n").as_bytes())?;
        }
        // What would steer a terminal was not typed there.
        lines.retain(|line| !line.contains(is_hidden));
        Ok((Self { file: place.append()? }, lines))
    }

    /// In one write, so that two shells do not mix their lines.
    pub(super) fn add(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())
    }
}

fn read(place: &PrivateFile) -> io::Result<Vec<String>> {
    let Some(file) = place.open()? else { return Ok(Vec::new()) };
    let lines = BufReader::new(file).split(b'\n').collect::<io::Result<Vec<_>>>()?;
    Ok(lines.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_place_is_that_of_the_xdg_specification() {
        let with = |xdg: &'static str, home: &'static str| {
            History::path(move |name| {
                let value = if name == "HOME" { home } else { xdg };
                (!value.is_empty()).then(|| OsString::from(value))
            })
        };
        assert_eq!(with("/state", "/home"), Some(PathBuf::from("/state/einhyrningsins/history")));
        assert_eq!(with("relative", "/home"), Some(PathBuf::from("/home/.local/state/einhyrningsins/history")));
        assert_eq!(with("", ""), None);
    }

    #[test]
    fn history_comes_back_and_only_its_user_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/history");
        let (mut history, lines) = History::open(&path).unwrap();
        assert!(lines.is_empty());
        history.add("inc").unwrap();
        history.add("upgrade; dec").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(History::open(&path).unwrap().1, ["inc", "upgrade; dec"]);
    }

    #[test]
    fn a_long_history_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let many: Vec<String> = (0..=FILE_LINES_MAX).map(|number| number.to_string()).collect();
        fs::write(&path, many.join("\n") + "\n").unwrap();
        let (_, lines) = History::open(&path).unwrap();
        assert_eq!((lines.len(), lines.last()), (LINES_MAX, many.last()));
        assert_eq!(read(&PrivateFile::at(&path).unwrap()).unwrap(), lines);
    }

    #[test]
    fn what_steers_a_terminal_is_not_offered_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        fs::write(&path, "inc\n\u{1b}[2J\ndec\u{202e}\nstate\n").unwrap();
        assert_eq!(History::open(&path).unwrap().1, ["inc", "state"]);
    }
}
