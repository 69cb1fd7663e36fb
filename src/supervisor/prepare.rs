//! Prepares a version to come: reads the configuration again, looks up what it names, opens what it binds. Everything that
//! can fail in an upgrade fails here, where nothing has changed yet. Runs as an errand: it has no part of the supervisor but
//! what it was given.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::base::wire;
use crate::config::{self, Config, Invocation};
use crate::files::trusted_file;
use crate::supervisor::admittance::{self, Admittance};
use crate::supervisor::bound_files::BoundFiles;
use crate::supervisor::environment::Environment;
use crate::supervisor::exit_code::Problem;
use crate::supervisor::listeners::{self, Listener};
use crate::supervisor::preflight::CHECK_VARIABLE;
use crate::supervisor::reexec::{REFUSED_VARIABLE, RETURN_VARIABLE};
use crate::supervisor::release::{self, Recipe};
use crate::sys::birth::Birth;
use crate::sys::file_id::FileId;

/// Variables by which an image speaks to the next one.
const PRIVATE: [&str; 3] = [CHECK_VARIABLE, RETURN_VARIABLE, REFUSED_VARIABLE];

/// How the master was called: what it takes to read the configuration once more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::supervisor) struct Call {
    #[serde(with = "wire")]
    pub(in crate::supervisor) argv0: OsString,
    #[serde(with = "wire")]
    pub(in crate::supervisor) args: Vec<OsString>,
    /// The environment that the master was born with. It comes to the next image by itself.
    #[serde(skip)]
    pub(in crate::supervisor) environ: Environment,
    /// The name of the directory that it was started in, as its starter knew it: links on the way may lead elsewhere later.
    #[serde(default, with = "wire")]
    pub(in crate::supervisor) directory: Option<PathBuf>,
    /// Where the process is, under whatever name.
    pub(in crate::supervisor) place: Option<FileId>,
}

impl Call {
    pub(in crate::supervisor) fn of_this_process() -> Self {
        let mut args = std::env::args_os();
        let argv0 = args.next().unwrap_or_default();
        let directory = logical_directory(std::env::var_os("PWD"));
        // What one image says to the next is for nobody else.
        let environ = std::env::vars_os().filter(|(name, _)| !PRIVATE.iter().any(|private| name == private));
        Self { argv0, args: args.collect(), environ: environ.collect(), directory, place: place() }
    }
}

impl Call {
    /// The call of the first image, made anew in this one. A name that led here when it was called may lead elsewhere by now (so
    /// that a shell on the way has put another into PWD); it counts still, unless somebody has entered another directory.
    pub(in crate::supervisor) fn resumed(self, first: Self) -> Self {
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

/// What is in force when it is read again.
#[derive(Clone, Debug)]
pub(in crate::supervisor) struct InForce {
    /// As it counts now.
    pub(in crate::supervisor) running: Config,
    /// As it was read last.
    pub(in crate::supervisor) loaded: Config,
    /// Those that are open.
    pub(in crate::supervisor) listeners: Vec<Arc<Listener>>,
    pub(in crate::supervisor) bound_files: BoundFiles,
    pub(in crate::supervisor) birth: Birth,
}

/// A version that can be started.
#[derive(Debug)]
pub(in crate::supervisor) struct Prepared {
    pub(in crate::supervisor) configuration: Configuration,
    pub(in crate::supervisor) recipe: Recipe,
    /// In the order of the `-b` options; some may be new.
    pub(in crate::supervisor) listeners: Vec<Arc<Listener>>,
    pub(in crate::supervisor) admittance: Admittance,
}

/// A configuration, as it was read and as it is to count.
#[derive(Clone, Debug)]
pub(in crate::supervisor) struct Configuration {
    pub(in crate::supervisor) loaded: Config,
    /// With what commands have changed since, and without what cannot change.
    pub(in crate::supervisor) effective: Config,
    /// What an upgrade changes, and what it would if it could.
    pub(in crate::supervisor) differences: Vec<config::Difference>,
}

/// How `config::parse` reads a file.
pub(in crate::supervisor) fn read_file(path: &Path) -> Result<String, String> {
    trusted_file::read(path).map_err(|error| error.to_string())
}

/// Reads the configuration again.
///
/// Errors: every line that says what is wrong.
pub(in crate::supervisor) fn reread(call: &Call, in_force: &InForce) -> Result<Configuration, Vec<String>> {
    let loaded = match config::parse(&call.argv0, call.args.clone(), &read_file) {
        Ok(Invocation::Run(config)) => *config,
        Ok(_) => return Err(vec!["the configuration names no program any more".to_owned()]),
        Err(problems) => return Err(problems.0.iter().map(ToString::to_string).collect()),
    };
    Ok(Configuration::of(loaded, &in_force.loaded, &in_force.running))
}

impl Configuration {
    /// What comes of `loaded` where `running` counts, which was made of what was read `before`.
    pub(in crate::supervisor) fn of(loaded: Config, before: &Config, running: &Config) -> Self {
        let mut effective = loaded.clone();
        config::keep_commanded(&mut effective, before, running);
        let differences = config::differences(running, &effective);
        config::keep_fixed(&mut effective, running);
        Self { loaded, effective, differences }
    }
}

/// What the names in a configuration stand for: looks at the system, and touches nothing.
///
/// Errors: everything that is wrong, in the order in which it would be met.
pub(in crate::supervisor) fn work_out(
    config: &Config,
    call: &Call,
    dropped: &[OsString],
) -> Result<(Recipe, Admittance), Vec<Problem>> {
    let recipe = release::resolve(config, call, dropped);
    let admittance = admittance::resolve(config, recipe.as_ref().ok().and_then(|recipe| recipe.identity.as_ref()));
    match (recipe, admittance) {
        (Ok(recipe), Ok(admittance)) => Ok((recipe, admittance)),
        (recipe, admittance) => Err([recipe.err().unwrap_or_default(), admittance.err().unwrap_or_default()].concat()),
    }
}

/// The whole of it. What was opened is closed again if this is dropped.
///
/// Errors: every line that says what is wrong.
pub(in crate::supervisor) fn prepare(call: &Call, in_force: &InForce) -> Result<Prepared, Vec<String>> {
    let configuration = reread(call, in_force)?;
    let config = &configuration.effective;
    let messages = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>();
    // einhorn's first workers still see the variables that are to be dropped; these are not the first.
    let worked_out = work_out(config, call, &config.drop_env_vars);
    let (recipe, admittance) = worked_out.map_err(messages)?;
    let listeners = listeners::open_all(config, &in_force.birth, &in_force.listeners, &in_force.bound_files);
    let listeners = listeners.map_err(|message| vec![message])?;
    Ok(Prepared { configuration, recipe, listeners, admittance })
}
