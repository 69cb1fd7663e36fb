//! The directory for files that were given no path.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use crate::base::exit_code::Problem;
use crate::config::{Config, Directory, options_without_path};
use crate::files::tmpdir::temporary_directory;
use crate::release::environment::Environment;

/// Where a service manager has made directories for this service alone.
const RUNTIME_DIRECTORY: &str = "RUNTIME_DIRECTORY";

/// Where the files go that were given no path; any directory where there are none. einhorn's command line means einhorn's places, if
/// they can be used; a service that is a file has the directory that its service manager made for it.
pub(crate) fn directory_of(config: &Config, environ: &Environment) -> Result<Directory, Problem> {
    let born_with = |name: &str| environ.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let own = runtime_directory(born_with(RUNTIME_DIRECTORY)).map(Directory::Own);
    let missing = options_without_path(config);
    match (own, temporary_directory(born_with)) {
        (Some(own), _) if config.given.is_given("config") => Ok(own),
        (_, Ok(shared)) => Ok(Directory::Shared(shared)),
        (Some(own), Err(_)) => Ok(own),
        (None, Err(_)) if missing.is_empty() => Ok(Directory::Shared(PathBuf::new())),
        (None, Err(error)) => Err(Problem {
            code: error.exit_code(),
            message: format!("{error}; set TMPDIR to one, or say with {} where the files go", missing.join(" and ")),
        }),
    }
}

/// The first of those that it names, see systemd.exec(5).
fn runtime_directory(names: Option<OsString>) -> Option<PathBuf> {
    let names = names?.into_vec();
    let first = names.split(|byte| *byte == b':').next()?;
    Some(PathBuf::from(OsStr::from_bytes(first))).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_runtime_directory_counts() {
        let first = |text: &str| runtime_directory(Some(text.into()));
        assert_eq!(first("/run/web"), Some("/run/web".into()));
        assert_eq!(first("/run/web:/run/web/other"), Some("/run/web".into()));
        assert_eq!([first(""), first("run/web"), runtime_directory(None)], [None, None, None]);
    }
}
