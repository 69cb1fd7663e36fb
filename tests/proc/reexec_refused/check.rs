//! A next program that the check refuses: it cannot be run, hangs, dies, or does not prove to be a master.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::reexec_refused::{assert_unimpaired, at_check, condition, file, serving, start, steady_condition, verdict};
use crate::support::{EINHYRNINGSINS, LIMIT, Load, copy_program, decoded, is_root};

/// Failure mode 39: each way in which a program cannot be run.
#[test]
fn a_program_that_cannot_be_run_is_refused_by_its_name_and_cause() {
    let (master, worker) = start(serving().by_link());
    let before = steady_condition(&master);
    let mut foreign = fs::read(EINHYRNINGSINS).unwrap();
    foreign.truncate(4096);
    let damaged = foreign.clone();
    foreign[18] ^= 0x55;
    let cases = [
        (master.file("none"), "it is a symbolic link to nothing"),
        (master.directory().to_owned(), "it is a directory"),
        (file(&master, "plain", b"#!/bin/sh\n", 0o644), "the file is not executable"),
        (file(&master, "empty", b"", 0o755), "the file is empty"),
        (file(&master, "script", b"#!/no/such\n", 0o755), "its interpreter /no/such is missing"),
        (file(&master, "foreign", &foreign, 0o755), "it is built for another kind of machine"),
        (file(&master, "damaged", &damaged, 0o755), "--upgrade-check was killed by SIG"),
    ];
    let link = master.file("master");
    for (count, (program, cause)) in cases.iter().enumerate() {
        master.relink(program);
        let said = verdict(&master);
        assert!(said.starts_with("Upgrade failed: ") && said.contains(&*link.to_string_lossy()), "{said}");
        assert!(said.contains(cause) || said.contains("the file is damaged"), "{said} does not tell that {cause}");
        master.wait_for_log("Can not initiate einhorn master reload safely, aborting: ", count + 1);
        assert_unimpaired(&master, worker);
    }
    master.wait_until("it is as it was", LIMIT, || condition(master.process()) == before);
    master.relink(Path::new(EINHYRNINGSINS));
    assert_eq!(verdict(&master), "Upgrade done");
}

/// Failure mode 39: a package manager is writing it.
#[test]
fn a_program_that_is_being_written_is_refused() {
    let (master, worker) = start(serving().by_link());
    let program = master.file("written");
    copy_program(EINHYRNINGSINS, &program);
    let writer = fs::OpenOptions::new().append(true).open(&program).unwrap();
    master.relink(&program);
    assert!(verdict(&master).ends_with("the file is still open for writing"), "{}", master.log());
    assert_unimpaired(&master, worker);
    drop(writer);
    assert_eq!(verdict(&master), "Upgrade done");
}

/// E04: Ruby's master dies of it.
#[test]
fn a_check_that_is_killed_refuses_the_upgrade() {
    for (signal, name) in [(9, "KILL"), (11, "SEGV")] {
        let (master, worker) = start(serving().reexec_as(&at_check(&format!("kill -{signal} $$"))));
        assert_eq!(verdict(&master), format!("Upgrade failed: /bin/sh --upgrade-check was killed by SIG{name}"));
        assert_unimpaired(&master, worker);
    }
}

/// E24: nothing is said of the check's own process, which is reaped.
#[test]
fn a_check_that_fails_refuses_the_upgrade_and_leaves_nothing_behind() {
    let (master, worker) = start(serving().reexec_as(&at_check("exit 3")));
    assert_eq!(verdict(&master), "Upgrade failed: /bin/sh --upgrade-check exited with code 3");
    master.wait_until("the worker is the only child", LIMIT, || master.process().children() == [worker]);
    assert_unimpaired(&master, worker);
    master.wait_for_log("Upgrade refused", 1);
    let log = master.log();
    assert_eq!((log.count("bug in"), log.count("WARN"), log.count("ERROR")), (0, 0, 2), "{log}");
}

/// E06, and failure mode 40: Ruby's waits for its check, and does nothing else meanwhile.
#[test]
fn a_check_that_hangs_blocks_nothing_and_is_given_up() {
    let (master, worker) = start(serving().reexec_as(&at_check("touch checking; sleep 1000")));
    let mut client = master.connect();
    client.send("{command: upgrade, id: 1}");
    master.wait_until("it is being checked", LIMIT, || master.file("checking").exists());
    let load = Load::start(master.addr(), 2);
    worker.signal(Signal::SIGKILL);
    master.wait_for_log("Up to 1 / 1 manual ACKs", 2);
    master.signal(Signal::SIGCONT);
    assert!(decoded(&master.control("{command: ehlo, user: me}")).contains("Welcome, me!"));
    load.wait_for(20);
    load.stop();
    let last = std::iter::from_fn(|| client.receive()).find(|line| !line.contains("wait: true")).unwrap();
    assert!(decoded(&last).contains("/bin/sh --upgrade-check took longer than 10s"), "{last}");
    master.wait_until("the check is gone with all its children", LIMIT, || master.descendants().len() == 1);
}

/// E06: a stop does not wait either.
#[test]
fn a_stop_ends_a_check_that_hangs() {
    let (master, _) = start(serving().reexec_as(&at_check("touch checking; sleep 1000")));
    master.signal(Signal::SIGHUP);
    master.wait_until("it is being checked", LIMIT, || master.file("checking").exists());
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.log().count("took longer than"), 0, "it has waited for the check's end: {}", master.log());
    assert_eq!(master.log().count("Not reloading einhorn because we're exiting"), 2, "{}", master.log());
    // It is killed, and may be some moments about it.
    master.wait_until("nothing is left", LIMIT, || master.descendants().is_empty());
}

/// Failure mode 39: one that says yes to everything would leave the workers without a master.
#[test]
fn a_program_that_does_not_prove_to_be_a_master_is_refused() {
    for (script, says) in [
        ("exit 0", "\"\""),
        ("echo 'web 1.1.1'", "\"web 1.1.1\""),
        ("echo 1.1.1; echo done", "\"done\""),
        ("[ $1 = --version ] && echo 1.1.1 && exit 1; exit 0", "\"1.1.1\""),
        (
            "case $1 in --upgrade-check) exit 0;; --with-state-fd) exit 3;; esac; exec \"$OURS\" \"$@\"",
            "\"einhyrningsins ",
        ),
        (
            "[ $1 = --version ] && printf '%0200d' 7; exit 0",
            "\"000000000000000000000000000000000000000000000000000000000000\"",
        ),
    ] {
        let (master, worker) = start(serving().reexec_as(script));
        let said = verdict(&master);
        let expected = "Upgrade failed: /bin/sh passes --upgrade-check and proves to be no master: ";
        assert!(said.starts_with(expected) && said.contains(&format!("--version says {says}")), "{said}");
        assert!(said.contains("name it with --reexec-as"), "{said}");
        assert_unimpaired(&master, worker);
    }
}

#[test]
fn a_binary_that_says_yes_to_everything_is_refused() {
    let (master, worker) = start(serving().by_link());
    master.relink(Path::new("/bin/true"));
    let said = verdict(&master);
    assert!(said.contains("proves to be no master") && said.contains("--version says "), "{said}");
    assert_unimpaired(&master, worker);
    master.relink(Path::new(EINHYRNINGSINS));
    assert_eq!(verdict(&master), "Upgrade done");
}

/// Failure mode 39: Ruby's einhorn says nothing when it is checked, and its version only when it is asked for that.
#[test]
fn a_program_that_says_a_version_whatever_it_is_asked_is_refused() {
    let (master, worker) = start(serving().by_link());
    for (name, script) in [("plain", "echo 1.1.1"), ("late", "echo checking; echo; echo ' 1.1.1 '; echo")] {
        master.relink(&file(&master, name, format!("#!/bin/sh\n{script}\n").as_bytes(), 0o755));
        let said = verdict(&master);
        let expected = " passes --upgrade-check and proves to be no master: ";
        assert!(said.contains(expected) && said.contains("--upgrade-check says \"1.1.1\""), "{name}: {said}");
        assert_unimpaired(&master, worker);
    }
    master.relink(Path::new(EINHYRNINGSINS));
    assert_eq!(verdict(&master), "Upgrade done");
}

/// Failure mode 39: the next image could not reach the socket's directory, and no worker of its could ack.
#[test]
fn a_program_that_would_run_as_another_user_or_group_is_refused() {
    if !is_root() {
        return;
    }
    let (master, worker) = start(serving().by_link());
    fs::set_permissions(master.directory(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = master.file("setuid");
    copy_program(EINHYRNINGSINS, &program);
    std::os::unix::fs::chown(&program, Some(65533), None).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    master.relink(&program);
    let said = verdict(&master);
    assert!(said.starts_with("Upgrade failed: it would run as uid 65533, and the master is of uid 0 "), "{said}");
    assert_unimpaired(&master, worker);
    std::os::unix::fs::chown(&program, Some(0), Some(65533)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o2755)).unwrap();
    let said = verdict(&master);
    assert!(said.starts_with("Upgrade failed: it would run as gid 65533, and the master is of gid 0 "), "{said}");
    assert_unimpaired(&master, worker);
    // Of its own user and group it changes nothing.
    std::os::unix::fs::chown(&program, Some(0), Some(0)).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o6755)).unwrap();
    assert_eq!(verdict(&master), "Upgrade done");
}

/// A wrapper may say what it does before it is the program.
#[test]
fn output_of_a_wrapper_at_the_check_is_ignored_if_the_program_answers() {
    let loud = "head -c 70000 /dev/zero | tr '\\0' x; echo; echo 1.1.1";
    let (master, _) = start(serving().reexec_as(&at_check(loud)));
    assert_eq!(verdict(&master), "Upgrade done");
}

/// Behind more than is read of it, a version could stand.
#[test]
fn a_program_that_is_loud_when_it_is_checked_is_refused() {
    let script = "[ $1 = --upgrade-check ] && head -c 70000 /dev/zero | tr '\\0' x; echo; echo 1.1.1";
    let (master, worker) = start(serving().reexec_as(script));
    let said = verdict(&master);
    assert!(said.ends_with("/bin/sh --upgrade-check: cannot read the descriptor: more than 65536 bytes"), "{said}");
    assert_unimpaired(&master, worker);
}

/// It is given up as a check is that hangs, and what it writes takes no memory.
#[test]
fn a_version_that_has_no_end_is_no_version() {
    let script = "[ $1 = --upgrade-check ] && exit 0; touch asked; exec yes";
    let (master, worker) = start(serving().reexec_as(script));
    let said = verdict(&master);
    assert!(master.file("asked").exists() && said.starts_with("Upgrade failed: /bin/sh --version"), "{said}");
    assert_unimpaired(&master, worker);
}
