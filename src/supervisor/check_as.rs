//! As which user `--check-config` looks. Root may read, bind and become what the service may not, which runs as the user of its
//! unit: so the process takes on that user, its groups and the capabilities of the unit, before it reads any file.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek};
use std::os::fd::{AsFd, RawFd};
use std::path::Path;

use crate::base::Signal;
use crate::config::{AskedCheck, service_unit};
use crate::files::program::find_program;
use crate::release::environment::Environment;
use crate::sys::account::{self, Account, AccountError};
use crate::sys::birth::Birth;
use crate::sys::capability::Capabilities;
use crate::sys::errno::words;
use crate::sys::identity::Identity;
use crate::sys::prepared_exec::SpawnRequest;
use crate::sys::{fd, memfd, process, wait};

/// More than that takes.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

const STDOUT: RawFd = 1;
const STDERR: RawFd = 2;

/// What of a unit says as which user it runs.
const PROPERTIES: &str =
    "--property=LoadState,User,Group,SupplementaryGroups,AmbientCapabilities,CapabilityBoundingSet";

/// As which user a service runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Unit {
    /// Such as `einhyrningsins@web`.
    name: String,
    user: String,
    group: String,
    further_groups: Vec<String>,
    capabilities: Capabilities,
}

/// As which other user the check looked, for the reader: `user web, as einhyrningsins@web runs`.
pub(super) type Guise = Option<String>;

/// Becomes the user that `asked` names, or else that of the unit whose file it is; stays what it is without either.
///
/// # Errors
/// One line that says why it cannot be done.
pub(super) fn take_on(asked: &AskedCheck, environ: &Environment) -> Result<Guise, String> {
    let unit = match &asked.user {
        Some(user) => Unit { user: user.clone(), ..Unit::default() },
        None => match asked
            .file
            .as_deref()
            .filter(|_| account::own_uid() == 0)
            .and_then(service_unit)
            .and_then(|name| ask(&name, environ))
        {
            Some(unit) => unit,
            None => return Ok(None),
        },
    };
    let said = |error: &dyn std::fmt::Display| match unit.name.as_str() {
        "" => format!("--as {}: {error}", unit.user),
        name => format!("cannot check as user {} of {name}: {error}; --as root checks as root", unit.user),
    };
    let account = account::find_user(&unit.user).map_err(|error| said(&error))?;
    if account.uid == account::own_uid() {
        return Ok(None);
    }
    if account::own_uid() != 0 {
        return Err(said(&"only root can check as another user"));
    }
    let identity = identity(&account, &unit).map_err(|error| said(&error))?;
    identity.put_on(&unit.capabilities).map_err(|errno| said(&words(errno)))?;
    let of_unit = if unit.name.is_empty() { String::new() } else { format!(", as {} runs", unit.name) };
    Ok(Some(format!("user {}{of_unit}", unit.user)))
}

/// What systemd says of the unit, with all drop-ins. None: there is no systemd, or no such unit; or the service is root's.
fn ask(name: &str, environ: &Environment) -> Option<Unit> {
    let path_var = environ.iter().find(|(variable, _)| variable == "PATH").map(|(_, value)| value.as_os_str());
    let path = find_program(OsStr::new("systemctl"), path_var).ok()?;
    let unit = format!("{name}.service");
    let argv = ["systemctl", "show", PROPERTIES, "--", &unit].map(OsString::from);
    of_properties(name, &output_of(&path, &argv, environ)?)
}

/// What a program writes until it ends. It has limits of its own for what it asks; this process waits for nothing else.
fn output_of(path: &Path, argv: &[OsString], environ: &Environment) -> Option<String> {
    let output = fd::lift(memfd::scratch("einhyrningsins-unit", OUTPUT_BYTES_MAX).ok()?, STDERR + 1).ok()?;
    let birth = Birth::record().ok()?;
    let spawned = process::spawn(&SpawnRequest {
        path,
        file: None,
        argv,
        env: environ,
        own_pid_variable: None,
        directory: None,
        descriptors: &[(output.as_fd(), STDOUT), (output.as_fd(), STDERR)],
        birth: &birth,
        umask: None,
        nice: None,
        cpus: None,
        limits: &[],
        identity: None,
        parent_death: Some(Signal::KILL),
    });
    let pid = spawned.ok()?.pid;
    wait::watch().ok()?;
    wait::reap(pid).ok()?;
    let mut output = File::from(output);
    output.rewind().ok()?;
    let mut said = String::new();
    output.read_to_string(&mut said).ok()?;
    // What was not written.
    said.truncate(said.find('\0').unwrap_or(said.len()));
    Some(said)
}

fn of_properties(name: &str, said: &str) -> Option<Unit> {
    let value = |property: &str| {
        let found = said.lines().find_map(|line| line.strip_prefix(property)?.strip_prefix('='));
        found.unwrap_or_default().trim()
    };
    let capabilities = |property: &str| Capabilities::of_names(value(property).split_whitespace());
    let is_there = value("LoadState") == "loaded" && !value("User").is_empty();
    is_there.then(|| Unit {
        name: name.to_owned(),
        user: value("User").to_owned(),
        group: value("Group").to_owned(),
        further_groups: value("SupplementaryGroups").split_whitespace().map(str::to_owned).collect(),
        capabilities: capabilities("AmbientCapabilities").and(capabilities("CapabilityBoundingSet")),
    })
}

fn identity(account: &Account, unit: &Unit) -> Result<Identity, AccountError> {
    let gid = match (unit.group.as_str(), &account.entry) {
        ("", Some(entry)) => entry.gid,
        // So systemd has it, too, for a user that is in no database.
        ("", None) => account.uid,
        (group, _) => account::find_group(group)?,
    };
    let mut groups = account::supplementary_groups(account, gid)?;
    for group in &unit.further_groups {
        groups.push(account::find_group(group)?);
    }
    Ok(Identity { uid: account.uid, gid, groups })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_capabilities_that_the_bounding_set_leaves_are_had() {
        let said = |bounding: &str| {
            format!(
                "User=web\nGroup=\nSupplementaryGroups=a b\nAmbientCapabilities=cap_net_bind_service cap_kill\n\
                 CapabilityBoundingSet={bounding}\nLoadState=loaded\n"
            )
        };
        let unit = of_properties("x@web", &said("cap_net_bind_service cap_chown")).unwrap();
        assert_eq!((unit.user.as_str(), unit.group.as_str(), unit.further_groups.len()), ("web", "", 2));
        assert_eq!(unit.capabilities, Capabilities::of_names(["cap_net_bind_service"]));
        assert_eq!(of_properties("x@web", &said("")).unwrap().capabilities, Capabilities::default());
        assert_eq!(of_properties("x@web", "User=web\nLoadState=not-found\n"), None);
        assert_eq!(of_properties("x@web", "User=\nLoadState=loaded\n"), None);
    }
}
