//! Which master is meant: the path of its socket, and why that one. Looks around for a hint, and opens nothing.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;

use crate::base::limits::SOCKET_PATH_MAX;
use crate::client::failure::{Exit, Failure};
use crate::config::{Directory, default_socket_path, service_directory};
use crate::files::path_trust::is_roots_alone;
use crate::files::tmpdir::temporary_directory;
use crate::sys::directory;
use crate::sys::errno::words;

/// How long a master may take to let a connection in, and to read a request.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

const NAME_ANOTHER: &str = "Name the master's socket with -d PATH, or the master with -c NAME.";
const STALE_HINT: &str = "A master ended there without cleaning up. Start it again, it takes the socket's place; or name \
                          another master with -c NAME or -d PATH.";

/// How many other masters a hint names.
const OTHERS_MAX: usize = 5;

/// Below which systemd makes a directory for each service of the package; `packaging/systemd` has the same.
const SERVICES: &str = "/run/einhyrningsins";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) chosen_by: ChosenBy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChosenBy {
    /// `-d`.
    Path,
    /// `-c`, or a name as the only argument.
    Name(String),
    /// The same, and it is the name of a service that runs.
    Service(String),
    Default,
}

impl Target {
    /// `-d` before `-c`, as in Ruby's shell.
    pub(super) fn choose(name: Option<&str>, path: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = path {
            return Ok(Self { path: path.to_owned(), chosen_by: ChosenBy::Path });
        }
        let services = Path::new(SERVICES);
        // First the directory that root alone can write: any user may make a socket of any name in /tmp.
        let service = name.filter(|_| is_roots_alone(services)).and_then(|name| Self::of_service(name, services));
        if let Some(service) = service {
            return Ok(service);
        }
        let directory = temporary_directory(|variable| std::env::var_os(variable));
        let directory = directory.map_err(|error| {
            Failure::new(Exit::NoMaster, error.to_string())
                .with_hint("Set TMPDIR as the master has it, or name its socket with -d PATH.")
        })?;
        let chosen_by = name.map_or(ChosenBy::Default, |name| ChosenBy::Name(name.to_owned()));
        Ok(Self { path: default_socket_path(name, &Directory::Shared(directory)), chosen_by })
    }

    /// The service of this name, if it runs.
    fn of_service(name: &str, services: &Path) -> Option<Self> {
        let path = default_socket_path(Some(name), &service_directory(name, services)?);
        exists(&path).then(|| Self { path, chosen_by: ChosenBy::Service(name.to_owned()) })
    }

    /// Why connecting failed, and what to try. `EAGAIN`: the queue of connections stayed full for [`CONNECT_TIMEOUT`].
    pub(super) fn unreachable(&self, errno: Errno, own_uid: u32) -> Failure {
        let (cause, hint) = match errno {
            Errno::ENOENT => ("no such file or directory".to_owned(), self.hint_of_missing(&self.others())),
            Errno::ECONNREFUSED | Errno::EPROTOTYPE => match kind_of(&self.path) {
                Some(kind) => (format!("it is {kind}, not a socket"), NAME_ANOTHER.to_owned()),
                None if errno == Errno::EPROTOTYPE => (words(errno), NAME_ANOTHER.to_owned()),
                None => ("connection refused, no process listens there".to_owned(), STALE_HINT.to_owned()),
            },
            Errno::EACCES | Errno::EPERM => ("permission denied".to_owned(), self.hint_of_denied(own_uid)),
            Errno::ENAMETOOLONG => (
                format!("a socket's path has at most {SOCKET_PATH_MAX} bytes"),
                "Name the socket by a shorter path with -d PATH, for instance a relative one.".to_owned(),
            ),
            Errno::EAGAIN => (
                format!("the connection was not accepted within {}", humantime::format_duration(CONNECT_TIMEOUT)),
                "The master may be stopped: look at its process and at its log.".to_owned(),
            ),
            other => (words(other), NAME_ANOTHER.to_owned()),
        };
        let exit = if errno == Errno::EAGAIN { Exit::TimedOut } else { Exit::NoMaster };
        Failure::new(exit, format!("cannot connect to {}: {cause}", self.path.display())).with_hint(hint)
    }

    fn hint_of_denied(&self, own_uid: u32) -> String {
        match fs::symlink_metadata(&self.path).ok().map(|meta| meta.uid()) {
            Some(owner) if owner != own_uid => {
                format!("It belongs to uid {owner}, and you are uid {own_uid}: run this as that user or as root.")
            }
            Some(_) | None => format!("Uid {own_uid} has no right to it: run this as the master's user or as root."),
        }
    }

    fn hint_of_missing(&self, others: &[String]) -> String {
        let mut hint = match &self.chosen_by {
            ChosenBy::Path => "No master has its socket there: does it run, and was it started with this -d?".to_owned(),
            ChosenBy::Name(name) => {
                format!("No master of the name {name} seems to run, or it has another TMPDIR, a RUNTIME_DIRECTORY or a -d.")
            }
            ChosenBy::Service(name) => format!("The service {name} has just ended."),
            ChosenBy::Default => {
                "No master seems to run here. If it was started with -c NAME, -d PATH or another TMPDIR, give the same here."
                    .to_owned()
            }
        };
        if !others.is_empty() {
            hint.push_str(&format!(" There is: {}.", others.join(", ")));
        }
        hint
    }

    /// The options that lead to other sockets in the same directory, and to those of services.
    fn others(&self) -> Vec<String> {
        let beside = self.path.parent().map(names_in).unwrap_or_default();
        let beside = beside.iter().filter_map(|name| option_for(name));
        let mut found: Vec<String> = beside.chain(running_services(Path::new(SERVICES))).collect();
        found.sort();
        found.dedup();
        found.truncate(OTHERS_MAX);
        found
    }
}

/// What stands at a path that is no socket.
fn kind_of(path: &Path) -> Option<&'static str> {
    let kind = fs::metadata(path).ok()?.file_type();
    if kind.is_file() {
        Some("a regular file")
    } else if kind.is_dir() {
        Some("a directory")
    } else {
        (!kind.is_socket()).then_some("something else")
    }
}

/// Whatever it is; whether it can be connected to is seen then.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn names_in(directory: &Path) -> Vec<String> {
    let names = directory::names(directory).unwrap_or_default();
    names.into_iter().filter_map(|name| name.into_string().ok()).collect()
}

/// The options that lead to the services that run.
fn running_services(directory: &Path) -> Vec<String> {
    let runs = |name: &String| {
        let own = service_directory(name, directory);
        own.is_some_and(|own| exists(&default_socket_path(Some(name), &own)))
    };
    names_in(directory).into_iter().filter(runs).map(|name| format!("-c {name}")).collect()
}

fn option_for(file_name: &str) -> Option<String> {
    let name = file_name.strip_prefix("einhorn")?.strip_suffix(".sock")?;
    match name.strip_prefix('-') {
        Some(name) => Some(format!("-c {name}")),
        None => name.is_empty().then(|| "one without a name".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_wins_over_a_name() {
        let target = Target::choose(Some("web"), Some(Path::new("/x.sock"))).unwrap();
        assert_eq!(target, Target { path: PathBuf::from("/x.sock"), chosen_by: ChosenBy::Path });
        let named = Target::choose(Some("web"), None).unwrap();
        assert_eq!(named.path.file_name().unwrap(), "einhorn-web.sock");
        assert_eq!(Target::choose(None, None).unwrap().path.file_name().unwrap(), "einhorn.sock");
    }

    #[test]
    fn a_missing_master_is_told_from_those_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["einhorn-web.sock", "einhorn.sock", "einhorn-web.pid", "other.sock"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let target = Target { path: dir.path().join("einhorn-x.sock"), chosen_by: ChosenBy::Name("x".to_owned()) };
        let failure = target.unreachable(Errno::ENOENT, 0);
        assert!(failure.to_string().ends_with(": no such file or directory"), "{failure}");
        let hint = failure.hint().unwrap();
        assert!(hint.contains("name x") && hint.ends_with("There is: -c web, one without a name."), "{hint}");
    }

    #[test]
    fn a_service_that_runs_is_found_by_its_name() {
        let services = tempfile::tempdir().unwrap();
        for name in ["web", "down"] {
            fs::create_dir(services.path().join(name)).unwrap();
        }
        let path = services.path().join("web/einhorn.sock");
        fs::write(&path, "").unwrap();
        let find = |name| Target::of_service(name, services.path());
        assert_eq!(find("web"), Some(Target { path, chosen_by: ChosenBy::Service("web".to_owned()) }));
        assert_eq!([find("down"), find("other"), find("../web")], [None, None, None]);
        assert_eq!(running_services(services.path()), ["-c web"]);
    }

    #[test]
    fn what_refuses_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Target { path: dir.path().join(name), chosen_by: ChosenBy::Path };
        fs::write(dir.path().join("file"), "").unwrap();
        let said = |name, errno| at(name).unreachable(errno, 77).to_string();
        assert!(said("file", Errno::ECONNREFUSED).ends_with(": it is a regular file, not a socket"));
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("stale")).unwrap());
        assert!(said("stale", Errno::ECONNREFUSED).ends_with(": connection refused, no process listens there"));
        assert!(said("stale", Errno::EACCES).ends_with(": permission denied"));
    }

    #[test]
    fn every_failure_to_reach_a_master_says_what_to_try() {
        let target = Target { path: PathBuf::from("/run/einhorn.sock"), chosen_by: ChosenBy::Default };
        let errors = [Errno::ENOENT, Errno::ECONNREFUSED, Errno::EPROTOTYPE, Errno::EACCES, Errno::EAGAIN];
        for errno in errors.into_iter().chain([Errno::ENAMETOOLONG, Errno::ENOTDIR]) {
            let failure = target.unreachable(errno, 8);
            assert!(failure.to_string().starts_with("cannot connect to /run/einhorn.sock: "), "{failure}");
            assert!(failure.hint().is_some_and(|hint| hint.len() > 20), "{failure}");
            let exit = if errno == Errno::EAGAIN { Exit::TimedOut } else { Exit::NoMaster };
            assert_eq!(failure.exit(), exit);
        }
    }

    #[test]
    fn a_denied_client_learns_who_owns_the_socket() {
        let dir = tempfile::tempdir().unwrap();
        let own = nix::unistd::geteuid().as_raw();
        let at = |name: &str| Target { path: dir.path().join(name), chosen_by: ChosenBy::Path };
        fs::write(dir.path().join("there"), "").unwrap();
        let hint = |name| at(name).unreachable(Errno::EACCES, own + 1).hint().unwrap().to_owned();
        let owner = format!("It belongs to uid {own}, and you are uid {}", own + 1);
        assert!(hint("there").starts_with(&owner), "{}", hint("there"));
        assert!(hint("missing").starts_with(&format!("Uid {} has no right", own + 1)), "{}", hint("missing"));
    }
}
