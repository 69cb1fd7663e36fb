//! What a version runs: program, arguments, environment, looked up once when its upgrade starts. (A link on the way to the
//! program is followed at each launch; to pin that too comes with the re-exec.)

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::supervisor::environment::{Environment, inherited};
use crate::sys::program::{self, FindError};

const SHELL: &str = "/bin/sh";

/// One version's program.
#[derive(Clone, Debug)]
pub(in crate::supervisor) struct Release {
    /// What is executed: the program, or the shell that reads it.
    pub(in crate::supervisor) path: PathBuf,
    pub(in crate::supervisor) argv: Vec<OsString>,
    /// What every worker of this version has in its environment.
    pub(in crate::supervisor) environment: Environment,
}

/// Finds `command`'s program, in the PATH of `environ` if its name has no slash. `dropped` variables do not get through.
///
/// Errors: it is not there, or it cannot be executed.
pub(in crate::supervisor) fn resolve(
    command: &[OsString],
    environ: &Environment,
    dropped: &[OsString],
) -> Result<Release, FindError> {
    let (name, rest) = command.split_first().map_or((OsStr::new(""), command), |(name, rest)| (name.as_os_str(), rest));
    let path_var = environ.iter().find(|(variable, _)| variable == "PATH").map(|(_, value)| value.as_os_str());
    let path = program::find_program(name, path_var)?;
    let (path, mut argv) = runner(path);
    argv.extend_from_slice(rest);
    Ok(Release { path, argv, environment: inherited(environ, dropped) })
}

/// A script without an interpreter line is the shell's, as for execvp(3) and for Ruby. One that cannot be read is left
/// to the kernel to judge.
fn runner(path: PathBuf) -> (PathBuf, Vec<OsString>) {
    if program::needs_shell(&path).unwrap_or_default() {
        (Path::new(SHELL).to_owned(), vec![SHELL.into(), path.into_os_string()])
    } else {
        (path.clone(), vec![path.into_os_string()])
    }
}
