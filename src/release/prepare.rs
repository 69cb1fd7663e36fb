//! Prepares a version to come: reads the configuration again, looks up what it names, opens what it binds. Everything that
//! can fail in an upgrade fails here, where nothing has changed yet. Runs as a job: it has no part of the supervisor but
//! what it was given.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::base::exit_code::Problem;
use crate::config::{self, Config, Invocation, Trust, Unread};
use crate::files::error::FileCause;
use crate::files::trusted_file;
use crate::release::access_control::{self, AccessControl};
use crate::release::bound_files::BoundFiles;
use crate::release::call::Call;
use crate::release::exec_spec::{self, ExecSpec};
use crate::release::listeners::{self, Listener};
use crate::sys::birth::Birth;

/// What is in force when it is read again.
#[derive(Clone, Debug)]
pub(crate) struct InForce {
    pub(crate) settled: AppliedConfig,
    /// Those that are open.
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) bound_files: BoundFiles,
    pub(crate) birth: Birth,
}

/// A version that can be started.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The configuration, as it was read.
    pub(crate) loaded: Box<Config>,
    pub(crate) exec_spec: ExecSpec,
    /// In the order of the `-b` options; some may be new.
    pub(crate) listeners: Vec<Arc<Listener>>,
    pub(crate) access_control: AccessControl,
}

/// A configuration and what was worked out of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct AppliedConfig {
    /// As it counts: with what commands have changed since, and without what cannot change.
    pub(crate) effective: Config,
    /// As it was read.
    pub(crate) loaded: Config,
    pub(crate) access_control: AccessControl,
}

/// What a job beside the loop has found, or every line that says what is wrong.
pub(crate) enum Found {
    Version {
        /// The user who asked, and the name that the system knows for it.
        asker: Option<(u32, String)>,
        prepared: Result<Box<Prepared>, Vec<String>>,
    },
    Configuration(Result<Box<Config>, Vec<String>>),
}

/// How `config::parse` reads a file.
pub(crate) fn read_file(path: &Path, trust: Trust) -> Result<String, Unread> {
    let text = match trust {
        Trust::Needed => trusted_file::read(path),
        Trust::Given => trusted_file::read_any(path),
    };
    text.map_err(|error| match error.cause {
        FileCause::System(Errno::ENOENT) => Unread::Missing(error.to_string()),
        FileCause::Mistrusted(_) | FileCause::Directory(_) if error.attempt == trusted_file::TRUST => Unread::Other(
            format!("{error}; let root alone change it, mount it read-only, or start with --trust-config"),
        ),
        _ => Unread::Other(error.to_string()),
    })
}

/// Reads the configuration again.
///
/// # Errors
/// Every line that says what is wrong.
pub(crate) fn reread(call: &Call) -> Result<Box<Config>, Vec<String>> {
    match config::parse(&call.argv0, call.args.clone(), &read_file, &|name| call.variable(name)) {
        Ok(Invocation::Run(config)) => Ok(config),
        Ok(_) => Err(vec!["the configuration names no program any more".to_owned()]),
        Err(problems) => Err(problems.0.iter().map(ToString::to_string).collect()),
    }
}

impl AppliedConfig {
    /// As it was read, and before any command.
    pub(crate) fn new(loaded: Config, access_control: AccessControl) -> Self {
        Self { effective: loaded.clone(), loaded, access_control }
    }

    /// `loaded`, as it is to count in place of this one, and what an upgrade to it changes, or would if it could.
    pub(crate) fn followed_by(&self, loaded: &Config) -> (Config, Vec<config::Difference>) {
        let mut effective = loaded.clone();
        config::keep_commanded(&mut effective, &self.loaded, &self.effective);
        let differences = config::differences(&self.effective, &effective);
        config::keep_fixed(&mut effective, &self.effective);
        (effective, differences)
    }
}

/// What the names in a configuration stand for: looks at the system, and touches nothing.
///
/// # Errors
/// Everything that is wrong, in the order in which it would be met.
pub(crate) fn work_out(
    config: &Config,
    call: &Call,
    dropped: &[OsString],
) -> Result<(ExecSpec, AccessControl), Vec<Problem>> {
    let exec_spec = exec_spec::resolve(config, call, dropped);
    let access_control =
        access_control::resolve(config, exec_spec.as_ref().ok().and_then(|exec_spec| exec_spec.identity.as_ref()));
    match (exec_spec, access_control) {
        (Ok(exec_spec), Ok(access_control)) => Ok((exec_spec, access_control)),
        (exec_spec, access_control) => {
            Err([exec_spec.err().unwrap_or_default(), access_control.err().unwrap_or_default()].concat())
        }
    }
}

/// The whole of it. What was opened is closed again if this is dropped.
///
/// # Errors
/// Every line that says what is wrong.
pub(crate) fn prepare(call: &Call, in_force: &InForce) -> Result<Prepared, Vec<String>> {
    let loaded = reread(call)?;
    let config = &in_force.settled.followed_by(&loaded).0;
    let messages = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>();
    // einhorn's first workers still see the variables that are to be dropped; these are not the first. What this image was executed
    // without, and has in its environment, the wrapper of `--reexec-as` has set anew.
    let executed_without = &in_force.settled.effective.drop_env_vars;
    let dropped: Vec<OsString> =
        config.drop_env_vars.iter().filter(|name| !executed_without.contains(name)).cloned().collect();
    let worked_out = work_out(config, call, &dropped);
    let (exec_spec, access_control) = worked_out.map_err(messages)?;
    let owners = &access_control.bind_owners;
    let listeners =
        listeners::open_all(config, owners, call, &in_force.birth, &in_force.listeners, &in_force.bound_files);
    let listeners = listeners.map_err(|problem| vec![problem.message])?;
    Ok(Prepared { loaded, exec_spec, listeners, access_control })
}
