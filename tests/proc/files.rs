//! The control socket, the pid file and the lock: where they are, whose they are, and that what another user has put
//! there is never touched. Nothing here writes outside the tests' own directories.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{LIMIT, Master, OTHER_UID, Refusal, Setup, Snapshot, decoded, is_root};

/// A worker that shows that it was started.
const WITNESS: &str = "echo >witness; exec sleep 1000";

const SLEEP: [&str; 2] = ["sleep", "1000"];

/// The files in the master's directory but for stdout, once it has workers.
#[track_caller]
fn files_of(master: &Master) -> Vec<String> {
    master.wait_until("there is a worker", LIMIT, || !master.workers().is_empty());
    let snapshot = Snapshot::of(master.directory());
    snapshot.names().into_iter().filter(|name| *name != "stdout").map(str::to_owned).collect()
}

#[track_caller]
fn end(master: &Master) {
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
}

#[test]
fn the_default_places_are_einhorns() {
    for (options, names, left) in [
        ("", &["einhorn.lock", "einhorn.pid", "einhorn.sock"][..], "einhorn.lock"),
        ("-c nm", &["einhorn-nm.lock", "einhorn-nm.pid", "einhorn-nm.sock"], "einhorn-nm.lock"),
        ("-d x", &["einhorn.pid", "x", "x.lock"], "x.lock"),
        ("-c nm -e p", &["einhorn-nm.lock", "einhorn-nm.sock", "p"], "einhorn-nm.lock"),
        ("-d s -e ./p -f l -c nm", &["l", "p", "s"], "l"),
    ] {
        let master = Setup::new(options).program(SLEEP).start();
        assert_eq!(files_of(&master), names, "{options}");
        end(&master);
        // The lock stays: another master may be waiting with it open.
        assert_eq!(files_of_ended(&master), [left], "{options}");
    }
}

fn files_of_ended(master: &Master) -> Vec<String> {
    let snapshot = Snapshot::of(master.directory());
    snapshot.names().into_iter().filter(|name| *name != "stdout").map(str::to_owned).collect()
}

/// As Ruby's Dir.tmpdir: one that others could tamper with, or that is none, is passed over.
#[test]
fn an_unusable_tmpdir_is_passed_over() {
    let setup = Setup::new("");
    let make = |name: &str, mode: u32| {
        let path = setup.directory().join(name);
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    let (open, good) = (make("open", 0o777), make("good", 0o1777));
    let file = setup.write("file", "").display().to_string();
    for (tmpdir, tmp, temp) in [(&*open, &*good, &*open), (&*file, "/no/such", &*good), ("", &*open, &*good)] {
        let master = setup.beside("").env("TMPDIR", tmpdir).env("TMP", tmp).env("TEMP", temp).program(SLEEP).start();
        master.wait_for_workers(1);
        master.wait_for_log(&format!("Writing PID to {good}/einhorn.pid"), 1);
        assert_eq!(fs::read_dir(&good).unwrap().count(), 3);
        assert_eq!(fs::read_dir(&open).unwrap().count(), 0);
        end(&master);
    }
}

// E29.
#[test]
fn the_socket_is_for_its_user_alone_whatever_the_umask() {
    for (umask, pid_mode) in [("000", 0o644), ("022", 0o644), ("077", 0o600), ("777", 0o000)] {
        let through = ["/bin/sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"];
        let master = Setup::new("").through(&through).program(SLEEP).start();
        master.wait_for_workers(1);
        let mode = |name: &str| fs::symlink_metadata(master.file(name)).unwrap().mode() & 0o7777;
        assert_eq!((mode("einhorn.sock"), mode("einhorn.pid")), (0o600, pid_mode), "{umask}");
        assert_eq!(mode("einhorn.lock") & 0o077, 0, "{umask}");
    }
}

#[test]
fn the_pid_file_has_the_bare_pid_from_before_the_first_worker_to_the_end() {
    let master = Setup::new("").script("cp einhorn.pid seen; exec sleep 1000").start();
    master.wait_until("the worker has looked", LIMIT, || {
        fs::read(master.file("seen")).is_ok_and(|seen| !seen.is_empty())
    });
    for name in ["seen", "einhorn.pid"] {
        assert_eq!(fs::read_to_string(master.file(name)).unwrap(), master.pid().to_string());
    }
    end(&master);
    assert!(!master.file("einhorn.pid").exists());
}

/// One that was refused because another holds the lock.
#[track_caller]
fn assert_lost(refusal: (Option<i32>, Vec<String>), holder: &Master) {
    let (code, lines) = refusal;
    let reasons: Vec<_> = lines.iter().filter(|line| !line.contains("] INFO: ")).collect();
    let expected =
        format!("einhyrningsins: cannot lock {}: held by another master", holder.file("einhorn.lock").display());
    assert!(code == Some(111) && reasons.len() == 1 && reasons[0].starts_with(&expected), "{code:?} {lines:#?}");
}

// Failure modes 84, 85. E14.
#[test]
fn a_hundred_simultaneous_starts_leave_one_master() {
    let setup = Setup::new("");
    // Written once: a worker of the first may be reading it by the time of the second.
    let script = setup.write("worker.sh", "echo >>witness; exec sleep 1000");
    let words = [OsStr::new("/bin/sh"), script.as_os_str()];
    let masters: Vec<_> = (0..100).map(|_| setup.beside("-q").program(words).start()).collect();
    let running = || masters.iter().filter(|master| master.is_running()).collect::<Vec<_>>();
    masters[0].wait_until("99 have ended", LIMIT, || running().len() <= 1);
    let [winner] = running()[..] else { panic!("no master lives") };
    let worker = winner.wait_for_workers(1)[0];
    assert_eq!(fs::read_to_string(winner.file("einhorn.pid")).unwrap(), winner.pid().to_string());
    for loser in masters.iter().filter(|master| master.pid() != winner.pid()) {
        assert_lost((loser.wait_exit().code(), loser.log().lines()), winner);
    }
    let state = decoded(&winner.control(r#"{"command":"state"}"#));
    assert!(state.contains(&format!("\n      {worker}:\n")), "{state}");
    let witness = || fs::read_to_string(winner.file("witness")).unwrap_or_default();
    winner.wait_until("its worker has begun", LIMIT, || !witness().is_empty());
    assert_eq!(files_of(winner), ["einhorn.lock", "einhorn.pid", "einhorn.sock", "witness", "worker.sh"]);
    assert_eq!(witness(), "\n", "a refused start has run a worker");
}

// Failure mode 84. E14.
#[test]
fn a_second_start_on_the_same_paths_changes_nothing_of_the_first() {
    let first = Setup::new("-n 1").program(SLEEP).start();
    let worker = first.wait_for_workers(1);
    for options in ["", "-e other.pid", "-b unix:web.sock", "-d einhorn.sock -f einhorn.lock"] {
        let refusal = first.beside(options).script(WITNESS).refused();
        let reason = refusal.reason().replace(&format!("{}/", first.directory().display()), "");
        assert_eq!(
            (refusal.code, &*reason),
            (Some(111), &*format!("cannot lock einhorn.lock: held by another master (pid {})", first.pid()))
        );
        assert!(refusal.changes.iter().all(|change| change.starts_with("worker.sh ")), "{refusal:?}");
    }
    // With a lock of its own it comes as far as the socket, and no farther.
    let refusal = first.beside("-f other.lock -d einhorn.sock").script(WITNESS).refused();
    refusal.assert(111, "cannot bind einhorn.sock: in use by another process");
    assert_eq!(first.wait_for_workers(1), worker);
    assert!(first.control(r#"{"command":"state"}"#).contains(&format!("{}:%0A", worker[0])));
}

// Failure mode 84: as einhorn's, both run.
#[test]
fn two_masters_that_differ_in_d_both_run_and_the_pid_file_stays_the_firsts() {
    let first = Setup::new("").program(SLEEP).start();
    first.wait_for_workers(1);
    let second = first.beside("-d other.sock").program(SLEEP).start();
    second.wait_for_workers(1);
    let pid_file = first.file("einhorn.pid");
    let (path, pid) = (pid_file.display(), first.pid());
    let warning = format!(
        "WARN: cannot write pid file {path}: in use by another master (pid {pid}); going on without a pid file"
    );
    assert!(second.wait_for_log(&warning, 1)[0].contains("(-e gives this master its own)"));
    let third = first.beside("-d third.sock -e third.pid").program(SLEEP).start();
    third.wait_for_workers(1);
    assert_eq!(third.log().count("WARN"), 0, "{}", third.log());
    assert_eq!(fs::read_to_string(third.file("third.pid")).unwrap(), third.pid().to_string());
    end(&second);
    end(&third);
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), pid.to_string());
    assert!(!first.file("other.sock").exists() && !first.file("third.pid").exists() && first.socket().exists());
    assert_eq!(first.wait_for_workers(1).len(), 1);
}

/// Puts something at a path, to the harm of a victim.
type Plant = fn(&Path, &Path);

/// What an attacker may have put at a path beforehand, so that a master harms a victim or tells its secrets.
const PLANTS: &[(&str, Plant)] = &[
    ("a symbolic link", |path, victim| symlink(victim, path).unwrap()),
    ("a symbolic link", |path, _| symlink("not/there/yet", path).unwrap()),
    ("a FIFO", |path, _| mkfifo(path, Mode::S_IRWXU).unwrap()),
    ("a directory", |path, _| fs::create_dir(path).unwrap()),
];

/// A start with `option PATH`, where PATH was planted. The victim is a file beside it.
#[track_caller]
fn planted(option: &str, plant: impl Fn(&Path, &Path)) -> Refusal {
    let setup = Setup::new(&format!("{option} planted")).script(WITNESS);
    let victim = setup.write("victim", "precious");
    plant(&setup.directory().join("planted"), &victim);
    setup.refused()
}

// Failure modes 85, 86. E29.
#[test]
fn planted_files_are_refused_and_their_victims_stay_untouched() {
    for (what, plant) in PLANTS {
        planted("-f", plant).assert(100, &format!("cannot lock planted: it is {what}"));
        planted("-e", plant).assert(100, &format!("cannot write pid file planted: it is {what}"));
        let reason = format!("cannot bind planted: there is {what}, remove it or choose another path");
        planted("-d", plant).assert(100, &reason);
    }
    let reason = "cannot bind planted: there is a regular file, remove it or choose another path";
    planted("-d", |path, _| fs::write(path, "a file of the user's").unwrap()).assert(100, reason);
}

// Failure mode 86.
#[test]
fn hard_links_are_refused_as_lock_and_replaced_as_pid_file() {
    let link = |path: &Path, victim: &Path| fs::hard_link(victim, path).unwrap();
    planted("-f", link).assert(100, "cannot lock planted: it has more than one name");
    let reason = "cannot bind planted: there is a regular file, remove it or choose another path";
    planted("-d", link).assert(100, reason);

    let setup = Setup::new("-e planted").program(SLEEP);
    let victim = setup.write("victim", "precious");
    link(&setup.directory().join("planted"), &victim);
    let master = setup.start();
    master.wait_for_workers(1);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
    assert_eq!(fs::read_to_string(master.file("planted")).unwrap(), master.pid().to_string());
}

// Number 12 of what operators trip over: another user's master has ended, and its lock is still there.
#[test]
fn the_default_lock_of_another_user_is_refused_with_what_helps() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("").script(WITNESS);
    let lock = setup.write("einhorn.lock", "");
    chown(&lock, Some(OTHER_UID), None).unwrap();
    let shown = lock.display();
    let helps = "; the file is one of the user with uid 65534: -c NAME gives this master files of its own";
    setup.refused().assert(100, &format!("cannot lock {shown}: it belongs to uid 65534{helps}"));

    let setup = Setup::new("").script(WITNESS);
    let pid_file = setup.write("einhorn.pid", "1");
    chown(&pid_file, Some(OTHER_UID), None).unwrap();
    let refusal = setup.refused();
    assert!(refusal.reason().ends_with(helps), "{refusal:?}");

    let setup = Setup::new("-c mine").program(SLEEP);
    chown(setup.write("einhorn.lock", ""), Some(OTHER_UID), None).unwrap();
    let master = setup.start();
    master.wait_for_log("===> Launched", 1);
    end(&master);
}

// Failure modes 85, 87.
#[test]
fn files_of_another_user_are_refused_with_his_id() {
    let foreign = |path: &Path, _: &Path| {
        fs::write(path, "1").unwrap();
        chown(path, Some(OTHER_UID), None).unwrap();
    };
    planted("-f", foreign).assert(100, "cannot lock planted: it belongs to uid 65534");
    planted("-e", foreign).assert(100, "cannot write pid file planted: it belongs to uid 65534");
    // A stale socket of his, which we could remove but must not, and a living one, which must not be spoken to.
    for keep in [true, false] {
        let mut kept = None;
        let setup = Setup::new("-d planted").script(WITNESS);
        let path = setup.directory().join("planted");
        let listener = UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        chown(&path, Some(OTHER_UID), None).unwrap();
        if keep {
            kept = Some(listener);
        }
        setup.refused().assert(111, "cannot bind planted: there is a socket of uid 65534, choose another path with -d");
        assert!(kept.is_none_or(|listener| listener.accept().is_err()), "a client connected");
    }
}

// Failure mode 86.
#[test]
fn an_open_directory_without_the_sticky_bit_is_refused() {
    for (option, what) in [("-f", "cannot lock"), ("-e", "cannot write pid file"), ("-d", "cannot lock")] {
        let setup = Setup::new(&format!("{option} open/x")).script(WITNESS);
        let open = setup.directory().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
        let file = if option == "-d" { "open/x.lock" } else { "open/x" };
        setup.refused().assert(100, &format!("{what} {file}: directory open is writable by all users and not sticky"));
    }
    let setup = Setup::new("-d open/x -f lock").script(WITNESS);
    let open = setup.directory().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    setup.write("lock", "");
    let refusal = setup.refused();
    assert_eq!(refusal.reason(), "cannot bind open/x: directory open is writable by all users and not sticky");
    assert_eq!(refusal.code, Some(100));
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    for (option, what) in [("-f", "cannot lock"), ("-e", "cannot write pid file")] {
        let refusal = Setup::new(&format!("{option} no/such/x")).script(WITNESS).refused();
        refusal.assert(111, &format!("{what} no/such/x: directory no/such: no such file or directory"));
    }
    let refusal = Setup::new("-d no/such/x").script(WITNESS).refused();
    refusal.assert(111, "cannot lock no/such/x.lock: directory no/such: no such file or directory");
}

/// Gives the master a /tmp that is none. Its own directory, which lies there, is in /mnt, too.
const READ_ONLY_TMP: &str = "mount --bind . /mnt && mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp && \
                             mount --bind /mnt \"$PWD\" && cd \"$PWD\" && exec \"$@\"";
const UNPROTECTED_TMP: &str = "mount --bind . /mnt && mount -t tmpfs -o mode=0777 none /tmp && mkdir -p \"$PWD\" && \
                               mount --bind /mnt \"$PWD\" && cd \"$PWD\" && exec \"$@\"";

fn without_tmp(mount: &str, options: &str) -> Setup {
    Setup::new(options).env("TMPDIR", "").through(&["unshare", "-m", "/bin/sh", "-c", mount, "sh"])
}

// Number 10 of what operators trip over.
#[test]
fn a_temporary_directory_is_looked_for_only_where_a_file_lies_in_it() {
    if !is_root() {
        return;
    }
    let causes = ["read-only file system", "writable by all users and not sticky"];
    for (mount, cause) in [READ_ONLY_TMP, UNPROTECTED_TMP].into_iter().zip(causes) {
        for options in ["-d /mnt/s -e /mnt/p -f /mnt/l", "-d /mnt/s -e /mnt/p"] {
            let master = without_tmp(mount, options).program(SLEEP).start();
            master.wait_for_log("===> Launched", 1);
            assert!(master.file("s").exists() && master.file("p").exists(), "{cause}");
            master.signal(Signal::SIGINT);
            assert_eq!(master.wait_exit().code(), Some(0));
        }
        let master = without_tmp(mount, "").env("RUNTIME_DIRECTORY", "/mnt").program(SLEEP).start();
        master.wait_for_log("===> Launched", 1);
        assert!(master.file("einhorn.sock").exists() && master.file("einhorn.pid").exists(), "{cause}");
        drop(master);
        for check in ["", "--check-config"] {
            let refusal = without_tmp(mount, check).options("-d s").script(WITNESS).refused();
            let tried = format!("cannot find a directory for temporary files, tried /tmp ({cause})");
            refusal.assert(100, &format!("{tried}; set TMPDIR to one, or say with -e where the files go"));
        }
    }
}

// Failure mode 90.
#[test]
fn a_path_too_long_for_a_socket_is_refused_and_never_cut() {
    // Number 14 of what operators trip over: the check of the configuration finds it, too.
    for check in ["", "--check-config"] {
        let setup = Setup::new(check).script(WITNESS);
        let long = setup.directory().join("y".repeat(100));
        fs::create_dir(&long).unwrap();
        let socket = long.join("einhorn.sock");
        let length = socket.as_os_str().len();
        let reason = format!("cannot bind {}: the path has {length} bytes, 107 are possible", socket.display());
        setup.env("TMPDIR", long.to_str().unwrap()).refused().assert(100, &reason);
    }
    let refusal = Setup::new("-d").word("y".repeat(108)).script(WITNESS).refused();
    refusal.assert(100, &format!("-d {}: need a path of 1 to 107 bytes", "y".repeat(108)));
    let longest = "y".repeat(107);
    let master = Setup::new("").word("-d").word(&longest).program(SLEEP).start();
    master.wait_for_workers(1);
    assert!(master.file(&longest).exists() && master.file(&format!("{longest}.lock")).exists());
}

// Failure mode 88.
#[test]
fn the_end_removes_only_the_masters_own_files() {
    // Called otherwise, it would take the place of the other's pid file at once.
    let as_einhorn = ["/bin/bash", "-c", "exec -a einhorn \"$@\"", "bash"];
    let master = Setup::new("").program(SLEEP).through(&as_einhorn).start();
    master.wait_for_workers(1);
    fs::write(master.file("new"), "4711").unwrap();
    fs::rename(master.file("new"), master.file("einhorn.pid")).unwrap();
    // In one step, so that the master finds the other's in its place and leaves it there.
    let _other = UnixListener::bind(master.file("new.sock")).unwrap();
    fs::rename(master.file("new.sock"), master.socket()).unwrap();
    master.wait_for_log("was removed: cannot bind", 1);
    let before = Snapshot::of(master.directory());
    end(&master);
    assert_eq!(before, Snapshot::of(master.directory()));
}

// Failure mode 88: gone altogether, which is nothing to complain about.
#[test]
fn files_that_were_removed_do_not_hinder_the_end() {
    let master = Setup::new("").program(SLEEP).start();
    master.wait_for_workers(1);
    for name in ["einhorn.pid", "einhorn.sock", "einhorn.lock"] {
        fs::remove_file(master.file(name)).unwrap();
    }
    master.wait_for_log("was removed, made it anew", 1);
    master.wait_for_log("was removed or changed, wrote it anew", 1);
    end(&master);
    assert_eq!(master.log().count("WARN") + master.log().count("ERROR"), 2, "{}", master.log());
    assert!(!master.socket().exists() && !master.file("einhorn.pid").exists(), "the new ones are gone as well");
}

// Failure mode 85.
#[test]
fn after_a_kill_the_next_start_takes_the_places_over() {
    let dead = Setup::new("").program(SLEEP).start();
    // Its worker lives on, and must not hold the lock.
    let orphan = dead.wait_for_workers(1)[0];
    dead.signal(Signal::SIGKILL);
    dead.wait_exit();
    assert!(orphan.is_alive() && dead.socket().exists() && dead.file("einhorn.pid").exists());
    let master = dead.beside("").program(SLEEP).start();
    master.wait_for_workers(1);
    assert_eq!(fs::read_to_string(master.file("einhorn.pid")).unwrap(), master.pid().to_string());
    assert_eq!(fs::read_to_string(master.file("einhorn.lock")).unwrap(), master.pid().to_string());
    assert!(master.control(r#"{"command":"state"}"#).contains(":children:"));
    end(&master);
    assert!(!master.socket().exists() && !master.file("einhorn.pid").exists());
}

/// Runs a master on a file system of its own below `mnt`, and notes what is left there.
fn on_own_file_system(mount: &str, options: &str) -> Master {
    let text = format!("mkdir mnt; {mount}; \"$@\"; code=$?; ls -A mnt >left; exit $code");
    let setup = Setup::new(options).script(WITNESS);
    setup.through(&["unshare", "-m", "/bin/sh", "-c", &text, "sh"]).start()
}

#[track_caller]
fn assert_no_room(mount: &str, options: &str, code: i32, errno: &str) {
    let master = on_own_file_system(mount, options);
    let (exit, lines) = (master.wait_exit().code(), master.log().lines());
    let reason = lines.iter().find(|line| line.starts_with("einhyrningsins: ")).unwrap_or(&lines[0]);
    assert_eq!(exit, Some(code), "{mount}: {lines:?}");
    assert!(reason.starts_with("einhyrningsins: cannot ") && reason.ends_with(errno), "{mount}: {lines:?}");
    let left = fs::read_to_string(master.file("left")).unwrap();
    assert!(left.lines().all(|name| name.ends_with(".lock") || name == "filler"), "{mount}: left {left:?}");
    assert!(!master.file("witness").exists(), "{mount}: a worker was started");
}

// Failure mode 89.
#[test]
fn a_full_or_read_only_file_system_refuses_the_start_and_leaves_nothing() {
    let full = "no space left on device";
    let all = "-d mnt/s -e mnt/p -f mnt/l.lock -b unix:mnt/web.sock";
    // Room for the directory and so many files.
    for inodes in 1..=4 {
        assert_no_room(&format!("mount -t tmpfs -o nr_inodes={inodes} t mnt"), all, 111, full);
    }
    // Room for every name and not a byte.
    assert_no_room("mount -t tmpfs -o size=16k t mnt; cat /dev/zero >mnt/filler 2>/dev/null", all, 111, full);
    let read_only = "mount -t tmpfs -o ro t mnt";
    for options in ["-d mnt/s", "-e mnt/p", "-f mnt/l", "-b unix:mnt/web.sock"] {
        // Number 24 of what operators trip over: systemd need not try that again.
        assert_no_room(read_only, options, 100, "read-only file system");
    }
}

// Failure mode 89: the counter-proof, that what is refused above is for want of room alone.
#[test]
fn a_start_succeeds_with_just_enough_room() {
    let mount = "mount -t tmpfs -o nr_inodes=5 t mnt";
    let master = on_own_file_system(mount, "-d mnt/s -e mnt/p -f mnt/l.lock -b unix:mnt/web.sock");
    master.wait_until("the worker runs", LIMIT, || master.file("witness").exists());
}
