//! Where the control socket, the lock and the pid file go by default, as pure functions of names: whether a directory
//! exists or may be used is for the caller to see.

use std::path::{Path, PathBuf};

use crate::config::Config;

/// The control socket's path: `-d`, or `einhorn[-NAME].sock` in `dir`. Above [`SOCKET_PATH_MAX`] bytes it cannot be bound,
/// which for the default depends on `dir`.
///
/// [`SOCKET_PATH_MAX`]: crate::config::SOCKET_PATH_MAX
pub fn socket_path(config: &Config, dir: &Path) -> PathBuf {
    config.socket_path.clone().unwrap_or_else(|| default_socket_path(config.command_name.as_deref(), dir))
}

/// The lock's path: `-f`; with only `-d PATH`, `PATH.lock`, since the lock is held for life and two masters that differ
/// in nothing but `-d` must both run, as einhorn's do; else `einhorn[-NAME].lock` in `dir`.
pub fn lock_path(config: &Config, dir: &Path) -> PathBuf {
    match (&config.lockfile, &config.socket_path) {
        (Some(lockfile), _) => lockfile.clone(),
        (None, Some(socket)) => {
            let mut name = socket.clone().into_os_string();
            name.push(".lock");
            PathBuf::from(name)
        }
        (None, None) => default_path(config.command_name.as_deref(), dir, "lock"),
    }
}

/// The pid file's path: `-e`, or `einhorn[-NAME].pid` in `dir`.
pub fn pid_path(config: &Config, dir: &Path) -> PathBuf {
    config.pidfile.clone().unwrap_or_else(|| default_path(config.command_name.as_deref(), dir, "pid"))
}

/// The control socket's path where `-d` does not say it: `einhorn[-NAME].sock` in `dir`. Master and client agree by it.
pub fn default_socket_path(command_name: Option<&str>, dir: &Path) -> PathBuf {
    default_path(command_name, dir, "sock")
}

fn default_path(command_name: Option<&str>, dir: &Path, suffix: &str) -> PathBuf {
    match command_name {
        Some(name) => dir.join(format!("einhorn-{name}.{suffix}")),
        None => dir.join(format!("einhorn.{suffix}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::config;

    fn paths(args: &[&str]) -> [String; 3] {
        let (config, dir) = (config(args), Path::new("/run"));
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
}
