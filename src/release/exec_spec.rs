//! What a version runs: program, arguments, environment and all that its workers are born with, worked out once when its
//! upgrade starts, and the same until the next: no link is followed again at a later launch. Looks at the system, and
//! changes nothing; it may take long, so a job does it once the master runs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::canonicalize;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::exit_code::{NOT_EXECUTABLE, NOT_FOUND, Problem};
use crate::base::wire;
use crate::base::{ResourceLimit, Signal, Version, WorkerOutput};
use crate::config::{Config, SlotSetup};
use crate::files::program::{self, FindError};
use crate::release::bound_files::BoundFiles;
use crate::release::call::Call;
use crate::release::drop_ins;
use crate::release::environment::{self, Environment};
use crate::release::links::Links;
use crate::release::listeners::{Listener, WORKER_FD_FIRST};
use crate::release::preload::Preload;
use crate::release::unpinned;
use crate::sys::account::{self, Account};
use crate::sys::closed_directory::{closed, closed_directory};
use crate::sys::errno::{errno_of, words};
use crate::sys::identity::Identity;
use crate::sys::limits;
use crate::sys::processors;
use crate::sys::resource_limit::obstacle;

const SHELL: &str = "/bin/sh";

/// One version, as its workers are launched.
#[derive(Clone, Debug)]
pub(crate) struct Release {
    pub(crate) exec_spec: ExecSpec,
    /// In the order of the `-b` options.
    pub(crate) listeners: Vec<Arc<Listener>>,
}

/// All sockets, and what each version has of them.
pub(crate) struct Sockets {
    /// Every open one, of all versions.
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) releases: BTreeMap<Version, Release>,
    /// Those of a killed master whose binds were gone when this one started. Workers that were adopted serve there, as long as there are any.
    pub(crate) left: Vec<Arc<Listener>>,
    pub(crate) bound_files: BoundFiles,
}

impl ExecSpec {
    /// The program's file, from where the master is.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.as_ref().map_or_else(|| self.path.clone(), |directory| directory.join(&self.path))
    }

    /// The same without any link on the way, as far as that is known.
    pub(crate) fn real_file(&self) -> PathBuf {
        self.real.clone().unwrap_or_else(|| self.file())
    }
}

/// All of it but the sockets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExecSpec {
    /// What is executed: the program, or the shell that reads it.
    #[serde(with = "wire")]
    pub(crate) path: PathBuf,
    /// The program's file by the name that it was found by, in PATH or as it was named. For the record.
    #[serde(default, with = "wire")]
    pub(crate) found: Option<PathBuf>,
    /// The same file, as it was found: without any link on the way. For the record; it is not executed by this name.
    #[serde(default, with = "wire")]
    pub(crate) real: Option<PathBuf>,
    #[serde(with = "wire")]
    pub(crate) argv: Vec<OsString>,
    /// Those of `argv` that are written otherwise than in the configuration, since they are pinned. For the record.
    #[serde(default, with = "wire")]
    pub(crate) pinned: Vec<OsString>,
    /// What could not be pinned, a sentence for each.
    #[serde(skip)]
    pub(crate) unpinned: Vec<String>,
    /// What every worker of this version has in its environment.
    #[serde(with = "wire")]
    pub(crate) environment: Environment,
    #[serde(default, with = "wire")]
    pub(crate) directory: Option<PathBuf>,
    pub(crate) umask: Option<u32>,
    pub(crate) limits: Vec<ResourceLimit>,
    pub(crate) identity: Option<Identity>,
    pub(crate) nice: Option<i32>,
    /// With `-k`: what a worker is sent when the master dies.
    pub(crate) parent_death: Option<Signal>,
    /// With `-g`: whether each worker has a connection of its own to the control socket.
    pub(crate) socket_as_fd: bool,
    #[serde(default)]
    pub(crate) output: WorkerOutput,
    #[serde(default)]
    pub(crate) slots: SlotSetup,
    /// None: each worker loads the program itself.
    #[serde(default)]
    pub(crate) preload: Option<Preload>,
}

/// Works out what `config` means. `dropped` variables of the environment do not get through.
///
/// # Errors
/// Everything that cannot be had, the program's last.
pub(crate) fn resolve(config: &Config, call: &Call, dropped: &[OsString]) -> Result<ExecSpec, Vec<Problem>> {
    let mut problems = Vec::new();
    let user = or_note(user(config), &mut problems).flatten();
    let identity = or_note(identity(config, user.as_ref()), &mut problems).flatten();
    let limits = resource_limits(config, &mut problems);
    let nice = or_note(worker_nice(config), &mut problems).flatten();
    let slots = slots(config, &mut problems);
    let directory = or_note(directory(config, call.directory.as_deref()), &mut problems).flatten();
    let environment = environment::of_release(
        &call.environ,
        dropped,
        &config.env,
        user.as_ref().and_then(|user| user.entry.as_ref()),
    );
    let found = or_note(find(config, directory.as_deref(), &environment), &mut problems);
    match found {
        Some(found) if problems.is_empty() => {
            let named = config.worker.directory.as_deref().or(call.directory.as_deref());
            let links = links(config, &found, named);
            let preload = Preload::of(config, |path| links.pin(path, directory.as_deref()));
            let Program { path, real, argv, pinned, unpinned } = pin(config, &found, &links, directory.as_deref());
            Ok(ExecSpec {
                path,
                found: Some(found),
                real,
                argv,
                pinned,
                unpinned,
                environment,
                directory,
                umask: config.worker.umask,
                limits,
                identity,
                nice,
                parent_death: config.kill_children_on_exit.then_some(config.worker.graceful_signal),
                socket_as_fd: config.socket_as_fd,
                output: output(config),
                slots,
                preload,
            })
        }
        Some(_) | None => Err(problems),
    }
}

/// The program as it was named, for a master that goes on although the program is missing: launches fail until it is back.
pub(crate) fn as_it_stands(config: &Config, call: &Call) -> ExecSpec {
    ExecSpec {
        path: config.program.first().map(PathBuf::from).unwrap_or_default(),
        real: None,
        found: None,
        argv: config.program_with(worker_fd),
        pinned: Vec::new(),
        unpinned: Vec::new(),
        environment: environment::of_release(&call.environ, &[], &config.env, None),
        directory: None,
        umask: None,
        limits: Vec::new(),
        identity: None,
        nice: config.nice.worker.or(config.nice.master),
        parent_death: config.kill_children_on_exit.then_some(config.worker.graceful_signal),
        socket_as_fd: config.socket_as_fd,
        output: output(config),
        slots: config.worker.slots.clone(),
        preload: None,
    }
}

/// A service that is a file has its workers' words in one log; einhorn's command line leaves them where einhorn does. What a worker in the
/// foreground says is for its terminal.
fn output(config: &Config) -> WorkerOutput {
    config.worker.output.unwrap_or(match config.given.is_given("config") && !config.foreground {
        true => WorkerOutput::Capture,
        false => WorkerOutput::Inherit,
    })
}

fn or_note<T>(result: Result<T, Problem>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn user(config: &Config) -> Result<Option<Account>, Problem> {
    let Some(name) = &config.worker.user else { return Ok(None) };
    let found = account::find_user(name).map_err(|error| refuse(config, "worker.user", &error.to_string()))?;
    Ok(Some(found))
}

/// The identity of the workers, if it is not ours. A group alone is all the groups that they have.
fn identity(config: &Config, user: Option<&Account>) -> Result<Option<Identity>, Problem> {
    let group = match &config.worker.group {
        Some(name) => {
            let found = account::find_group(name);
            Some(found.map_err(|error| refuse(config, "worker.group", &error.to_string()))?)
        }
        None => None,
    };
    let wanted = match (user, group) {
        (None, None) => return Ok(None),
        (None, Some(gid)) => Identity { uid: account::own_uid(), gid, groups: vec![gid] },
        (Some(user), group) => {
            let Some(gid) = group.or(user.entry.as_ref().map(|entry| entry.gid)) else {
                let need =
                    format!("need worker.group too, since user {} is in no database that names its groups", user.uid);
                return Err(refuse(config, "worker.user", &need));
            };
            let groups = account::supplementary_groups(user, gid);
            let groups = groups.map_err(|error| refuse(config, "worker.user", &error.to_string()))?;
            Identity { uid: user.uid, gid, groups }
        }
    };
    let is_ours = (wanted.uid, wanted.gid) == (account::own_uid(), account::own_gid());
    if !is_ours && !account::may_change_identity() {
        let key = if user.is_some() { "worker.user" } else { "worker.group" };
        let hint = drop_ins::for_another_user(config);
        return Err(refuse(config, key, &format!("cannot become another user or group without being root{hint}")));
    }
    Ok(Some(wanted))
}

fn resource_limits(config: &Config, problems: &mut Vec<Problem>) -> Vec<ResourceLimit> {
    let limits = &config.worker.limits;
    let cause = |limit: &ResourceLimit| Some(format!("{}: {}", limit.resource, obstacle(limit)?));
    let causes: Vec<_> = limits.iter().enumerate().filter_map(|(index, limit)| Some((index, cause(limit)?))).collect();
    problems.extend(config.blame_items("worker.rlimits", causes).into_iter().map(Problem::of_option));
    limits.clone()
}

/// Where only the master's is said, its workers inherit it, if it could be had.
fn worker_nice(config: &Config) -> Result<Option<i32>, Problem> {
    let Some(level) = config.nice.worker else {
        return Ok(config.nice.master.filter(|level| nice_obstacle(config, *level).is_none()));
    };
    match nice_obstacle(config, level) {
        Some(need) => Err(refuse(config, "nice", &need)),
        None => Ok(Some(level)),
    }
}

fn nice_obstacle(config: &Config, level: i32) -> Option<String> {
    let lowest = limits::lowest_nice(config.nice.master);
    let need = || format!("need a level of workers from {lowest} on; a lower one takes CAP_SYS_NICE");
    (level < lowest).then(need)
}

fn slots(config: &Config, problems: &mut Vec<Problem>) -> SlotSetup {
    let slots = &config.worker.slots;
    let cpus = slots.cpus.iter().enumerate().filter_map(|(index, set)| {
        let others = processors::others_than(set)?;
        Some((index, format!("{set}: need a processor that workers can run on, one of {others}")))
    });
    let nice = slots.nice.iter().enumerate().filter_map(|(index, level)| Some((index, nice_obstacle(config, *level)?)));
    let blamed = [config.blame_items("worker.slots.cpus", cpus), config.blame_items("worker.slots.nice", nice)];
    problems.extend(blamed.into_iter().flatten().map(Problem::of_option));
    slots.clone()
}

/// Where the workers start, without links on the way. None: where the master is.
fn directory(config: &Config, logical: Option<&Path>) -> Result<Option<PathBuf>, Problem> {
    let Some(directory) = &config.worker.directory else { return Ok(logical.and_then(moved)) };
    let cause = match std::fs::metadata(directory).and_then(|meta| Ok((meta, canonicalize(directory)?))) {
        // Another user's workers enter it with that user's rights.
        Ok((meta, real)) if meta.is_dir() && config.worker.user.is_some() => return Ok(Some(real)),
        Ok((meta, real)) if meta.is_dir() => match closed_directory(&real.join("inside")) {
            None => return Ok(Some(real)),
            Some(directory) => closed(&directory),
        },
        Ok(_) => "it is not a directory".to_owned(),
        Err(error) => {
            closed_directory(directory).map_or_else(|| words(errno_of(&error)), |directory| closed(&directory))
        }
    };
    Err(refuse(config, "worker.directory", &format!("cannot enter {}: {cause}", directory.display())))
}

/// Where the name of the directory in which the master was started leads now, if that is not where it still is: a deploy
/// has switched a link. A name that leads nowhere any more changes nothing.
fn moved(logical: &Path) -> Option<PathBuf> {
    let real = canonicalize(logical).ok().filter(|real| real.is_dir())?;
    let is_here = canonicalize(".").is_ok_and(|here| here == real);
    (!is_here).then_some(real)
}

/// The program's file, as it was found. A name without a slash is looked for where the workers would look.
fn find(config: &Config, directory: Option<&Path>, environment: &Environment) -> Result<PathBuf, Problem> {
    let name = config.program.first().map_or(OsStr::new(""), OsString::as_os_str);
    let path_var = environment.iter().find(|(variable, _)| variable == "PATH").map(|(_, value)| value.as_os_str());
    let looked_up = match directory {
        Some(directory) if is_path(name) => directory.join(name).into_os_string(),
        Some(_) | None => name.to_owned(),
    };
    program::find_program(&looked_up, path_var).map_err(|error| {
        let code = match error {
            FindError::NoSuchFile { .. } | FindError::NotInPath { .. } => NOT_FOUND,
            FindError::NotExecutable { .. } | FindError::Closed { .. } | FindError::NotAFile { .. } => NOT_EXECUTABLE,
        };
        Problem { code, message: config.blame("command", &error.to_string()) }
    })
}

fn is_path(name: &OsStr) -> bool {
    name.as_bytes().contains(&b'/')
}

/// Where workers find the socket of a bind, by its place.
fn worker_fd(place: usize) -> Option<RawFd> {
    (WORKER_FD_FIRST..).nth(place)
}

/// What is executed, and with which arguments, the same at each launch of the version.
struct Program {
    path: PathBuf,
    real: Option<PathBuf>,
    argv: Vec<OsString>,
    pinned: Vec<OsString>,
    unpinned: Vec<String>,
}

/// Those that a later deploy may switch. Scripts of einhorn's users look for what they have written in the list of processes. `named` is how
/// the directory of the workers is written.
fn links(config: &Config, found: &Path, named: Option<&Path>) -> Links {
    if config.stands_in_for_einhorn() { Links::default() } else { Links::on_the_way_to(found, named) }
}

/// `directory` has no links on the way.
fn pin(config: &Config, found: &Path, links: &Links, directory: Option<&Path>) -> Program {
    let words = config.program_with(worker_fd);
    let (name, rest) = words.split_first().map_or((OsStr::new(""), [].as_slice()), |(name, rest)| (name, rest));
    let path = match directory {
        // From its directory, which has no links in it, a relative name leads to the same file for ever.
        Some(_) if is_path(name) && Path::new(name).is_relative() => PathBuf::from(name),
        // A part of PATH may be relative, to where we are.
        Some(_) => absolute(found).unwrap_or_else(|_| found.to_owned()),
        None => found.to_owned(),
    };
    let needs_shell = program::needs_shell(found).unwrap_or_default();
    let pinned_path = pinned(&path, directory);
    let (path, mut argv) = if needs_shell {
        // A script without an interpreter line is the shell's, as for execvp(3) and for Ruby. One that cannot be read is left to
        // the kernel to judge.
        (PathBuf::from(SHELL), vec![SHELL.into(), pinned_path.into_os_string()])
    } else {
        (pinned_path, vec![path.into_os_string()])
    };
    argv.extend_from_slice(rest);
    let mut pinned = Vec::new();
    for word in &mut argv {
        if let Some(better) = links.pin(word, directory) {
            word.clone_from(&better);
            pinned.push(better);
        }
    }
    let unpinned = unpinned::sentences(config, links, &argv);
    Program { path, real: canonicalize(found).ok(), argv, pinned, unpinned }
}

/// The path without the links on its way, so that each later launch runs the same: a deploy may have switched a
/// link since, and its upgrade is still to come. A script keeps its own name, which it may go by, and a path without links
/// stays as it was written.
fn pinned(path: &Path, directory: Option<&Path>) -> PathBuf {
    let Ok(from_root) = absolute(directory.unwrap_or(Path::new("")).join(path)) else { return path.to_owned() };
    let real = match (program::is_script(&from_root), from_root.parent(), from_root.file_name()) {
        (Ok(true), Some(parent), Some(name)) => canonicalize(parent).map(|parent| parent.join(name)),
        (_, _, _) => canonicalize(&from_root),
    };
    real.ok().filter(|real| *real != from_root).unwrap_or_else(|| path.to_owned())
}

fn refuse(config: &Config, key: &str, cause: &str) -> Problem {
    Problem::of_option(config.blame(key, cause))
}
