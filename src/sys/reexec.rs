//! Replaces the program of this process by another one, mostly a newer image of itself, under the same pid. Only the first
//! thread may: the workers' parent-death signal is bound to it. Nothing that an exec needs stays changed when it fails;
//! mask, limits, umask and directory are never changed: they, too, are what the next image finds.

use std::convert::Infallible;
use std::env;
use std::ffi::{CStr, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{getpid, gettid};
use thiserror::Error;

use crate::sys::child::{Target, exec_target};
use crate::sys::errno::{errno_of, words};
use crate::sys::exec_failure::explain_exec_failure;
use crate::sys::executable::Executable;
use crate::sys::fd::{close_on_exec, closes_on_exec, keep_over_exec, look_at};
use crate::sys::file_id::FileId;
use crate::sys::prepared_exec::{StringArray, c_string};
use crate::sys::signal::Disposition;
use crate::sys::title::set_process_name;

/// The errno of a program that was written, or a script that was replaced, since it was checked; execve(2) does not use it.
const OUT_OF_DATE: Errno = Errno::ESTALE;

/// Leads to the file that this process runs, wherever it is by now.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// What the kernel appends to the name of a file that is no longer there.
const DELETED: &[u8] = b" (deleted)";

/// An image of this program: under which name the next one is to be looked for, and the file itself, to go back to. The
/// file is a binary, never a script: a script is read through its descriptor when that has closed already.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    file: OwnedFd,
}

impl Image {
    /// This process's own. To be called at the start: after an update of the package, `/proc/self/exe` leads to the old file,
    /// "(deleted)". The name is the one by which the kernel was told to run us, in PATH or not (AT_EXECFN, getauxval(3); the
    /// first argument is only what a starter says). It is made absolute, and its symbolic links stay: `/usr/bin/einhorn` and
    /// `current/bin/master` may lead elsewhere after the update, and there we want to go. Where it does not lead to us, as
    /// after an exec by descriptor, it is the path of the file that runs.
    ///
    /// # Errors
    /// There is no /proc, or no descriptor.
    pub fn remember() -> Result<Self, ReexecError> {
        remember().map_err(|error| ReexecError::new("cannot find the file of this program", errno_of(&error)))
    }

    /// The image before, as it came over the exec.
    pub fn adopt(path: PathBuf, file: OwnedFd) -> Self {
        Self { path, file }
    }

    /// The same image under the name that an earlier one remembered: an image that was run by descriptor does not know it.
    pub fn named(self, path: PathBuf) -> Self {
        Self { path, ..self }
    }

    /// Absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Shows this image's name as that of the process (/proc/PID/comm), as an exec by the path does. After an exec by descriptor it
    /// is the descriptor's number before Linux 6.14, and since then the name of the file, whatever link led there; `ps -C`, pgrep(1)
    /// and killall(1) shall find the master by the name that it was started by.
    pub fn show_name(&self) {
        if called_as().is_none() {
            set_process_name(self.path.file_name().unwrap_or_default());
        }
    }
}

impl AsFd for Image {
    /// For keeping it over an exec; it cannot be read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What to become.
#[derive(Clone, Copy, Debug)]
pub enum Program<'a> {
    /// The file that was checked, and no other; it is not run if it was written since. A script, which can only be run by its path,
    /// is not run if its file was replaced either.
    Checked(&'a Executable),
    /// That very image, whatever has become of its name.
    Image(&'a Image),
}

/// Why this is still the same program.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct ReexecError {
    pub errno: Errno,
    message: String,
}

impl ReexecError {
    fn new(what: &str, errno: Errno) -> Self {
        Self { errno, message: format!("{what}: {}", words(errno)) }
    }

    /// What was checked is no longer what stands at its path: it is to be checked anew.
    pub fn is_out_of_date(&self) -> bool {
        self.errno == OUT_OF_DATE
    }
}

/// Becomes the program, with the descriptors 0 to 2 and these numbers, which the caller keeps open; or says why not, and nothing
/// has changed.
/// It may take a second, while the program's file is open for writing.
///
/// Signals stay blocked, so that one which comes meanwhile waits for the next image. It finds our limits, too, and the raised
/// one of open files among them: what the master was born with is in the handoff. Of a file whose end is missing the kernel
/// may notice too late to come back, so try it in a child first.
///
/// # Errors
/// What execve(2) says; EINVAL also for a NUL byte in a string and for an impossible variable name.
pub fn exec(program: Program<'_>, argv: &[OsString], env: &[(OsString, OsString)], keep: &[RawFd]) -> ReexecError {
    assert_eq!(gettid(), getpid(), "workers would be told that their master is dead");
    let Err(errno) = try_exec(program, argv, env, keep);
    explain(program, errno)
}

fn try_exec(
    program: Program<'_>,
    argv: &[OsString],
    env: &[(OsString, OsString)],
    keep: &[RawFd],
) -> Result<Infallible, Errno> {
    let (argv, envp) = (StringArray::of_words(argv)?, StringArray::of_variables(env)?);
    let _guard = ExecGuard::arm(keep)?;
    let executable = match program {
        Program::Image(image) => return exec_target(Target::File(image.file.as_raw_fd()), &argv, &envp, || Ok(())),
        Program::Checked(executable) => executable,
    };
    let unwritten = || executable.is_unwritten().then_some(()).ok_or(OUT_OF_DATE);
    match exec_target(Target::File(executable.as_fd().as_raw_fd()), &argv, &envp, unwritten) {
        // A script. Between the comparison and the exec a microsecond is left in which the file may be replaced still, or a
        // binary written: the kernel has no call that does both. SECURITY.md says so, too.
        Err(Errno::ENOENT) => {
            let path = c_string(executable.path().as_os_str())?;
            let unchanged = || executable.is_unchanged().then_some(()).ok_or(OUT_OF_DATE);
            exec_target(Target::Path(&path), &argv, &envp, unchanged)
        }
        result => result,
    }
}

fn explain(program: Program<'_>, errno: Errno) -> ReexecError {
    match program {
        Program::Checked(executable) if errno == OUT_OF_DATE => {
            ReexecError::new(&format!("{} was replaced after it was checked", executable.path().display()), errno)
        }
        Program::Checked(executable) => ReexecError { errno, message: explain_exec_failure(executable.path(), errno) },
        // What stands at its path now says nothing about it.
        Program::Image(image) => ReexecError::new(&format!("cannot go back to {}", image.path.display()), errno),
    }
}

/// What is changed for the next image. When there is none, it changes everything back.
struct ExecGuard {
    passed: Vec<RawFd>,
    sigpipe: Disposition,
}

impl ExecGuard {
    fn arm(keep: &[RawFd]) -> Result<Self, Errno> {
        let passed = Vec::with_capacity(keep.len());
        // It is blocked besides, so that no other thread ends the process by writing to a pipe without a reader.
        let mut guard = Self { passed, sigpipe: Disposition::exchange_sigpipe_for_the_default() };
        for number in keep {
            // If the flag cannot be read, it is set, which tells whether that can be done.
            if look_at(*number, closes_on_exec)?.unwrap_or(true) {
                look_at(*number, keep_over_exec)??;
                guard.passed.push(*number);
            }
        }
        Ok(guard)
    }
}

impl Drop for ExecGuard {
    fn drop(&mut self) {
        for number in &self.passed {
            // An open descriptor takes this flag always.
            let _ = look_at(*number, close_on_exec);
        }
        self.sigpipe.restore();
    }
}

fn remember() -> io::Result<Image> {
    // To be run, a file need not be readable.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(OWN_PROGRAM)?;
    let path = own_path(FileId::of(&file.metadata()?))?;
    Ok(Image { path, file: File::into(file) })
}

fn own_path(running: FileId) -> io::Result<PathBuf> {
    match called_as().and_then(absolute) {
        Some(path) if leads_to(&path, running) => Ok(path),
        Some(_) | None => fs::read_link(OWN_PROGRAM).map(|path| undelete(path, running)),
    }
}

/// The name by which the kernel was told to run this program. None for one that has its meaning within this process only:
/// after an exec by descriptor it is `/dev/fd/7`, and 7 is soon another file.
fn called_as() -> Option<PathBuf> {
    // SAFETY: no memory is passed.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) };
    let name = std::ptr::with_exposed_provenance::<libc::c_char>(usize::try_from(address).ok()?);
    if name.is_null() {
        return None;
    }
    // SAFETY: the kernel has put a C string there, behind the environment, where nothing writes.
    let name = Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())).to_owned();
    let passing = name.starts_with("/dev/fd") || name.starts_with("/proc");
    (!passing).then_some(name)
}

/// Without the dots of `./bin/master`; `..` stays, since a link before it may lead anywhere.
fn absolute(name: PathBuf) -> Option<PathBuf> {
    if name.is_absolute() {
        return Some(name);
    }
    Some(current_directory().ok()?.join(name).components().collect())
}

/// By the name that the shell has for it, if it has one: through a link that may lead to the next release tomorrow.
fn current_directory() -> io::Result<PathBuf> {
    let here = FileId::of(&fs::metadata(".")?);
    match env::var_os("PWD").map(PathBuf::from) {
        Some(known) if known.is_absolute() && leads_to(&known, here) => Ok(known),
        Some(_) | None => env::current_dir(),
    }
}

fn leads_to(path: &Path, file: FileId) -> bool {
    fs::metadata(path).is_ok_and(|meta| FileId::of(&meta) == file)
}

/// Where the file was, or what has taken its place. (A file may also really be called so.)
fn undelete(path: PathBuf, running: FileId) -> PathBuf {
    match path.as_os_str().as_bytes().strip_suffix(DELETED) {
        Some(name) if !leads_to(&path, running) => PathBuf::from(OsStr::from_bytes(name)),
        Some(_) | None => path,
    }
}

#[cfg(test)]
#[path = "reexec_tests.rs"]
mod tests;
