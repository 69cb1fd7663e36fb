//! Races a user who owns the directory of a socket, and who exchanges the socket or the directory for a link to what is
//! root's as fast as a process can, while root makes the socket, changes its mode, removes it and makes it anew. Whichever
//! of the two wins, what is root's stays as it was.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::stat::umask;
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
use tempfile::TempDir;

use super::*;
use crate::base::Pid;
use crate::files::control_socket::bind_control_socket;
use crate::sys::testing::{end, fork_to_run, in_own_process, is_root};

const ROUNDS: u32 = 5_000;
const ATTACKER: u32 = 12_345;

/// What root does with a socket at a path.
type Round = fn(&Path) -> Result<(), FileError>;

/// Mode, owner, group and number of a file.
type Stand = (u32, u32, u32, u64);

/// A socket's place in a directory of the attacker's, and a file of root's with the same name in a directory of root's.
struct Arena {
    _dir: TempDir,
    socket: PathBuf,
    victim: PathBuf,
    before: Stand,
}

fn stand(path: &Path) -> Option<Stand> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.mode(), meta.uid(), meta.gid(), meta.ino()))
}

impl Arena {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let (theirs, roots) = (dir.path().join("theirs"), dir.path().join("roots"));
        fs::create_dir_all(theirs.join("run")).unwrap();
        fs::create_dir(&roots).unwrap();
        for directory in [theirs.clone(), theirs.join("run")] {
            chown(directory, Some(ATTACKER), Some(ATTACKER)).unwrap();
        }
        let victim = roots.join("web.sock");
        fs::write(&victim, "precious").unwrap();
        fs::set_permissions(&victim, Permissions::from_mode(0o600)).unwrap();
        let before = stand(&victim).unwrap();
        Self { socket: theirs.join("run/web.sock"), _dir: dir, victim, before }
    }

    /// Another process of the attacker's that exchanges without end.
    fn attack(&self, exchange: fn(&Path, &Path)) -> Pid {
        fork_to_run(|| {
            setgroups(&[]).unwrap();
            setgid(Gid::from_raw(ATTACKER)).unwrap();
            setuid(Uid::from_raw(ATTACKER)).unwrap();
            // A test that fails leaves none behind.
            set_pdeathsig(Signal::SIGKILL).unwrap();
            loop {
                exchange(&self.socket, &self.victim);
            }
        })
    }

    /// How often root's file suffered, and how often the attacker won otherwise, of so many rounds.
    fn race(&self, exchange: fn(&Path, &Path), round: Round) -> (u32, u32) {
        let attacker = self.attack(exchange);
        let (mut harmed, mut lost) = (0, 0);
        for _ in 0..ROUNDS {
            let failed = round(&self.socket).is_err();
            let leads_elsewhere = fs::canonicalize(&self.socket).is_ok_and(|real| real == self.victim);
            lost += u32::from(failed || leads_elsewhere);
            if stand(&self.victim) != Some(self.before) {
                harmed += 1;
                fs::write(&self.victim, "precious").unwrap();
            }
            let _none = Spot::find(&self.socket, Demand::Any).map(|spot| {
                let link = spot.look().ok().flatten().filter(|found| found.id().inode != self.before.3);
                link.map(|_| spot.unlink())
            });
        }
        end(attacker);
        (harmed, lost)
    }
}

/// Puts a link in the place of a socket as soon as there is one.
fn exchange_file(socket: &Path, victim: &Path) {
    let link = socket.with_extension("link");
    let _it_is_there = symlink(victim, &link);
    for _ in 0..100 {
        if fs::symlink_metadata(socket).is_ok_and(|meta| meta.file_type().is_socket()) {
            let _root_is_quicker = fs::rename(&link, socket);
            return;
        }
    }
}

/// Puts a link to root's directory in the place of the socket's, and takes it away again.
fn exchange_directory(socket: &Path, victim: &Path) {
    let run = socket.parent().unwrap();
    let away = run.with_extension("away");
    fs::rename(run, &away).unwrap();
    symlink(victim.parent().unwrap(), run).unwrap();
    fs::remove_file(run).unwrap();
    fs::rename(&away, run).unwrap();
}

fn wanted(mode: u32) -> Wanted {
    let access = Access { mode, ..Access::OWN };
    Wanted { access, backlog: 10, blocking: Blocking::Blocking, demand: Demand::Any }
}

fn bind_a_listener(path: &Path) -> Result<(), FileError> {
    let (_listener, id) = listen_unix(path, wanted(0o666))?;
    let _it_was_exchanged = remove_socket(path, id);
    Ok(())
}

fn change_a_mode(path: &Path) -> Result<(), FileError> {
    let (_listener, id) = listen_unix(path, wanted(0o600))?;
    for mode in [0o666, 0o660] {
        let _it_was_exchanged = set_access(path, id, Access { mode, ..Access::OWN });
    }
    let _it_was_exchanged = remove_socket(path, id);
    Ok(())
}

fn make_a_control_socket_twice(path: &Path) -> Result<(), FileError> {
    let access = Access { mode: 0o660, group: Some(ATTACKER), ..Access::OWN };
    let (_listener, id) = bind_control_socket(path, access, Demand::Any)?;
    let _it_was_exchanged = remove_socket(path, id);
    let (_anew, id) = bind_control_socket(path, access, Demand::Any)?;
    let _it_was_exchanged = remove_socket(path, id);
    Ok(())
}

fn race_all(exchange: fn(&Path, &Path)) {
    umask(Mode::from_bits_truncate(0o022));
    let rounds: [(&str, Round); 3] = [
        ("bind", bind_a_listener),
        ("change the mode", change_a_mode),
        ("make the control socket", make_a_control_socket_twice),
    ];
    for (what, round) in rounds {
        let (harmed, lost) = Arena::new().race(exchange, round);
        println!("{what}: root's file harmed in {harmed}, the attacker quicker in {lost} of {ROUNDS} rounds");
        assert_eq!(harmed, 0, "{what}");
        assert!(lost > 0, "{what}: there was no race");
    }
}

#[test]
fn no_file_of_roots_suffers_when_a_socket_is_exchanged() {
    in_own_process(module_path!(), "no_file_of_roots_suffers_when_a_socket_is_exchanged", || {
        if is_root() {
            race_all(exchange_file);
        }
    });
}

#[test]
fn no_file_of_roots_suffers_when_a_directory_is_exchanged() {
    in_own_process(module_path!(), "no_file_of_roots_suffers_when_a_directory_is_exchanged", || {
        if is_root() {
            race_all(exchange_directory);
        }
    });
}
