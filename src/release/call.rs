//! How the master was called: what it takes to read the configuration once more, in this image and in the next.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::base::wire;
use crate::release::environment::Environment;
use crate::sys::file_id::FileId;

/// In the environment of a check: where it finds the state, and where it says what it thinks of it.
pub(crate) const CHECK_VARIABLE: &str = "EINHYRNINGSINS_CHECK";

/// In the environment of the next image: the descriptors of the program to go back to, of the document that it is meant with
/// (Ruby's einhorn may pass the variable on), and of the same document once more, whatever a wrapper does to the first.
pub(crate) const RETURN_VARIABLE: &str = "EINHYRNINGSINS_RETURN";

/// In the environment of an image that was gone back to: why.
pub(crate) const REFUSED_VARIABLE: &str = "EINHYRNINGSINS_REFUSED";

/// Variables by which an image speaks to the next one.
const PRIVATE: [&str; 3] = [CHECK_VARIABLE, RETURN_VARIABLE, REFUSED_VARIABLE];

/// How the master was called: what it takes to read the configuration once more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    #[serde(with = "wire")]
    pub(crate) argv0: OsString,
    #[serde(with = "wire")]
    pub(crate) args: Vec<OsString>,
    /// The environment that the master was born with. It comes to the next image by itself.
    #[serde(skip)]
    pub(crate) environ: Environment,
    /// The name of the directory that it was started in, as its starter knew it: links on the way may lead elsewhere later.
    #[serde(default, with = "wire")]
    pub(crate) directory: Option<PathBuf>,
    /// Where the process is, under whatever name.
    pub(crate) place: Option<FileId>,
}

impl Call {
    pub(crate) fn of_this_process() -> Self {
        let mut args = std::env::args_os();
        let argv0 = args.next().unwrap_or_default();
        let directory = logical_directory(std::env::var_os("PWD"));
        // What one image says to the next is for no other program.
        let environ = std::env::vars_os().filter(|(name, _)| !PRIVATE.iter().any(|private| name == private));
        Self { argv0, args: args.collect(), environ: environ.collect(), directory, place: place() }
    }
}

impl Call {
    /// What a configuration may refer to: a variable that the master was born with.
    pub(crate) fn variable(&self, name: &str) -> Option<OsString> {
        self.environ.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// The call of the first image, made anew in this one. The name of the directory is kept although its links may
    /// lead elsewhere by now (a shell on the way may have put another name into PWD), unless the directory itself is another.
    pub(crate) fn resumed(self, first: Self) -> Self {
        let is_here = first.place.is_some() && first.place == self.place;
        let directory = first.directory.filter(|_| is_here).or(self.directory);
        Self { directory, environ: self.environ, place: self.place, ..first }
    }
}

/// Where this process is.
fn place() -> Option<FileId> {
    std::fs::metadata(".").ok().map(|meta| FileId::of(&meta))
}

/// A shell's PWD is believed if it leads to where we are.
fn logical_directory(pwd: Option<OsString>) -> Option<PathBuf> {
    let named = pwd.map(PathBuf::from).filter(|named| named.is_absolute())?;
    let is_here = std::fs::canonicalize(&named).ok()? == std::fs::canonicalize(".").ok()?;
    is_here.then_some(named)
}
