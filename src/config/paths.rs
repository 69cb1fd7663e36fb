//! Where the control socket, the lock and the pid file go by default, as pure functions of names: whether a directory
//! exists or may be used is for the caller to see.

use std::path::{Path, PathBuf};

use crate::config::options::Config;

/// Where files go that were given no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directory {
    /// Many masters put theirs there, which are told apart by the command name in them.
    Shared(PathBuf),
    /// It belongs to this master alone: a service manager has made it (RUNTIME_DIRECTORY).
    Own(PathBuf),
}

impl Directory {
    /// `einhorn[-NAME].SUFFIX` in it; in a directory of the master's own, without the name.
    fn file(&self, command_name: Option<&str>, suffix: &str) -> PathBuf {
        match (self, command_name) {
            (Self::Shared(path), Some(name)) => path.join(format!("einhorn-{name}.{suffix}")),
            (Self::Shared(path), None) | (Self::Own(path), _) => path.join(format!("einhorn.{suffix}")),
        }
    }
}

/// The options, as on a command line, of the files that were given no path and so lie in a default directory.
pub fn options_without_path(config: &Config) -> Vec<&'static str> {
    // The lock lies beside the socket.
    let socket = config.socket_path.is_none().then_some("-d");
    let lock = (config.socket_path.is_none() && config.lockfile.is_none()).then_some("-f");
    let pid_file = config.pidfile.is_none().then_some("-e");
    socket.into_iter().chain(pid_file).chain(lock).collect()
}

/// The control socket's path: `-d`, or `einhorn[-NAME].sock` in `dir`. Above [`SOCKET_PATH_MAX`] bytes it cannot be bound,
/// which for the default depends on `dir`.
///
/// [`SOCKET_PATH_MAX`]: crate::base::limits::SOCKET_PATH_MAX
pub fn socket_path(config: &Config, dir: &Directory) -> PathBuf {
    config.socket_path.clone().unwrap_or_else(|| default_socket_path(config.command_name.as_deref(), dir))
}

/// The lock's path: `-f`; with only `-d PATH`, `PATH.lock`, since the lock is held for life and two masters that differ
/// in nothing but `-d` must both run, as einhorn's do; else `einhorn[-NAME].lock` in `dir`.
pub fn lock_path(config: &Config, dir: &Directory) -> PathBuf {
    match (&config.lockfile, &config.socket_path) {
        (Some(lockfile), _) => lockfile.clone(),
        (None, Some(socket)) => {
            let mut name = socket.clone().into_os_string();
            name.push(".lock");
            PathBuf::from(name)
        }
        (None, None) => dir.file(config.command_name.as_deref(), "lock"),
    }
}

/// The pid file's path: `-e`, or `einhorn[-NAME].pid` in `dir`.
pub fn pid_path(config: &Config, dir: &Directory) -> PathBuf {
    config.pidfile.clone().unwrap_or_else(|| dir.file(config.command_name.as_deref(), "pid"))
}

/// The control socket's path where `-d` does not say it. Master and client agree by it.
pub fn default_socket_path(command_name: Option<&str>, dir: &Directory) -> PathBuf {
    dir.file(command_name, "sock")
}

/// The directory that the service NAME of the package has for its own, below `base`. None: no service has such a name.
/// `packaging/systemd/einhyrningsins@.service` has the same.
pub fn service_directory(name: &str, base: &Path) -> Option<Directory> {
    let is_one = !name.is_empty() && !name.contains('/') && ![".", ".."].contains(&name);
    is_one.then(|| Directory::Own(base.join(name)))
}

/// The unit of the package whose configuration this file is, such as `einhyrningsins@web`; packaging/systemd has the same.
pub fn service_unit(file: &Path) -> Option<String> {
    let is_service = file.parent() == Some(Path::new(SERVICES)) && file.extension().is_some_and(|end| end == "toml");
    Some(format!("einhyrningsins@{}", file.file_stem()?.to_str()?)).filter(|_| is_service)
}

impl Config {
    /// The unit that runs with this configuration.
    pub fn service_unit(&self) -> Option<String> {
        service_unit(Path::new(self.given.values("config").last()?))
    }
}

const SERVICES: &str = "/etc/einhyrningsins";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    fn paths(args: &[&str]) -> [String; 3] {
        paths_in(args, &Directory::Shared("/run".into()))
    }

    fn paths_in(args: &[&str], dir: &Directory) -> [String; 3] {
        let config = config(args);
        [socket_path(&config, dir), lock_path(&config, dir), pid_path(&config, dir)]
            .map(|path| path.display().to_string())
    }

    #[test]
    fn defaults_are_einhorns_names() {
        assert_eq!(paths(&[]), ["/run/einhorn.sock", "/run/einhorn.lock", "/run/einhorn.pid"]);
        assert_eq!(paths(&["-c", "x"]), ["/run/einhorn-x.sock", "/run/einhorn-x.lock", "/run/einhorn-x.pid"]);
    }

    #[test]
    fn given_paths_stand_and_the_lock_follows_the_socket() {
        assert_eq!(paths(&["-d", "/s"]), ["/s", "/s.lock", "/run/einhorn.pid"]);
        assert_eq!(paths(&["-d", "/s", "-f", "/l", "-e", "p"]), ["/s", "/l", "p"]);
        assert_eq!(paths(&["-f", "/l", "-c", "x"]), ["/run/einhorn-x.sock", "/l", "/run/einhorn-x.pid"]);
        assert_eq!(paths(&["-d", "/s", "-c", "x"]), ["/s", "/s.lock", "/run/einhorn-x.pid"]);
    }

    #[test]
    fn files_without_a_path_are_named_by_their_options() {
        let named = |args: &[&str]| options_without_path(&config(args)).join(" ");
        assert_eq!([named(&[]), named(&["-d", "/s"]), named(&["-f", "/l"])], ["-d -e -f", "-e", "-d -e"]);
        assert_eq!(named(&["-d", "/s", "-e", "/p"]), "");
    }

    #[test]
    fn a_directory_of_its_own_needs_no_names() {
        let own = Directory::Own("/run/web".into());
        let expected = ["/run/web/einhorn.sock", "/run/web/einhorn.lock", "/run/web/einhorn.pid"];
        assert_eq!(paths_in(&["-c", "x"], &own), expected);
        assert_eq!(paths_in(&["-c", "x", "-d", "/s"], &own), ["/s", "/s.lock", "/run/web/einhorn.pid"]);
    }

    #[test]
    fn a_file_of_the_services_belongs_to_a_unit() {
        let unit = |path: &str| service_unit(Path::new(path));
        assert_eq!(unit("/etc/einhyrningsins/web.toml").as_deref(), Some("einhyrningsins@web"));
        for other in ["web.toml", "/etc/einhyrningsins/web.env", "/etc/einhyrningsins/old/web.toml", "/etc/web.toml"] {
            assert_eq!(unit(other), None, "{other}");
        }
    }

    #[test]
    fn a_service_has_a_directory_below_that_of_all() {
        let directory = |name: &str| service_directory(name, Path::new("/run/einhyrningsins"));
        assert_eq!(directory("web"), Some(Directory::Own("/run/einhyrningsins/web".into())));
        for none in ["", ".", "..", "../x", "/x"] {
            assert_eq!(directory(none), None);
        }
    }
}
