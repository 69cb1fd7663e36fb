//! Which master is meant: the path of its socket, and why that one. Looks around for a hint, and opens nothing.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::base::limits::SOCKET_PATH_MAX;
use crate::client::failure::{ConnectCause, Failure};
use crate::config::{Directory, default_socket_path, service_directory};
use crate::files::path_trust::is_roots_alone;
use crate::files::tmpdir::temporary_directory;
use crate::sys::errno::words;

/// How many other masters a hint names.
const OTHERS_MAX: usize = 5;

/// Below which systemd makes a directory for each service of the package; `packaging/systemd` has the same.
const SERVICES: &str = "/run/einhyrningsins";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Target {
    pub(in crate::client) path: PathBuf,
    pub(in crate::client) chosen_by: ChosenBy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum ChosenBy {
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
    pub(in crate::client) fn choose(name: Option<&str>, path: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = path {
            return Ok(Self { path: path.to_owned(), chosen_by: ChosenBy::Path });
        }
        let services = Path::new(SERVICES);
        // First what nobody else can have put there: anybody may make a socket of any name in /tmp.
        let service = name.filter(|_| is_roots_alone(services)).and_then(|name| Self::of_service(name, services));
        if let Some(service) = service {
            return Ok(service);
        }
        let directory = temporary_directory(|variable| std::env::var_os(variable)).map_err(Failure::NoDirectory)?;
        let chosen_by = name.map_or(ChosenBy::Default, |name| ChosenBy::Name(name.to_owned()));
        Ok(Self { path: default_socket_path(name, &Directory::Shared(directory)), chosen_by })
    }

    /// The service of this name, if it runs.
    fn of_service(name: &str, services: &Path) -> Option<Self> {
        let path = default_socket_path(Some(name), &service_directory(name, services)?);
        exists(&path).then(|| Self { path, chosen_by: ChosenBy::Service(name.to_owned()) })
    }

    /// Says in words what connecting has met.
    pub(in crate::client) fn cause_of(&self, errno: Errno, own_uid: u32) -> ConnectCause {
        let meta = fs::symlink_metadata(&self.path);
        match errno {
            Errno::ENOENT => ConnectCause::Missing { others: self.others() },
            Errno::ECONNREFUSED | Errno::EPROTOTYPE => match fs::metadata(&self.path) {
                Ok(meta) if meta.file_type().is_file() => ConnectCause::NotASocket { kind: "a regular file" },
                Ok(meta) if meta.file_type().is_dir() => ConnectCause::NotASocket { kind: "a directory" },
                Ok(meta) if !meta.file_type().is_socket() => ConnectCause::NotASocket { kind: "something else" },
                Ok(_) if errno == Errno::EPROTOTYPE => ConnectCause::Other { words: words(errno) },
                Ok(_) | Err(_) => ConnectCause::Stale,
            },
            Errno::EACCES | Errno::EPERM => {
                ConnectCause::Denied { owner: meta.ok().map(|meta| meta.uid()), own: own_uid }
            }
            Errno::ENAMETOOLONG => ConnectCause::TooLong { limit: SOCKET_PATH_MAX },
            other => ConnectCause::Other { words: words(other) },
        }
    }

    pub(in crate::client) fn hint_of_missing(&self, others: &[String]) -> String {
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

/// Whatever it is; whether it can be connected to is seen then.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
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
        let cause = target.cause_of(Errno::ENOENT, 0);
        let others = vec!["-c web".to_owned(), "one without a name".to_owned()];
        assert_eq!(cause, ConnectCause::Missing { others: others.clone() });
        let hint = target.hint_of_missing(&others);
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
        assert_eq!([find("down"), find("nobody"), find("../web")], [None, None, None]);
        assert_eq!(running_services(services.path()), ["-c web"]);
    }

    #[test]
    fn what_refuses_is_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| Target { path: dir.path().join(name), chosen_by: ChosenBy::Path };
        fs::write(dir.path().join("file"), "").unwrap();
        let kind = "a regular file";
        assert_eq!(at("file").cause_of(Errno::ECONNREFUSED, 0), ConnectCause::NotASocket { kind });
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("stale")).unwrap());
        assert_eq!(at("stale").cause_of(Errno::ECONNREFUSED, 0), ConnectCause::Stale);
        let own = nix::unistd::geteuid().as_raw();
        let denied = ConnectCause::Denied { owner: Some(own), own: 77 };
        assert_eq!(at("stale").cause_of(Errno::EACCES, 77), denied);
    }
}
