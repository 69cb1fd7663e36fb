//! An exec that fails, and a program that is changed between its check and its exec.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use crate::reexec_refused::{assert_unimpaired, condition, serving, start, steady_condition, verdict};
use crate::support::{AS_EINHORN, EINHYRNINGSINS, Injection, LIMIT, Load, Process, Setup, copy_program};

/// A script whose interpreter goes away between the check and the exec.
fn without_interpreter(setup: Setup) -> Setup {
    let interpreter = setup.directory().join("interpreter");
    let gone = format!("rm -f {}", interpreter.display());
    let script = format!("#!{}\n[ $1 = --version ] && {gone}\n{AS_EINHORN}\n", interpreter.display());
    std::os::unix::fs::symlink("/bin/sh", &interpreter).unwrap();
    let path = setup.write("next", &script);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    setup.word("--reexec-as").word(path)
}

/// Failure mode 26: mask, dispositions, descriptors and threads are what they were.
#[test]
fn an_exec_that_fails_leaves_the_master_as_it_was() {
    let (master, worker) = start(without_interpreter(serving()));
    let before = steady_condition(&master);
    let of_worker = |worker: Process| (worker.descriptors(), worker.blocked(), worker.ignored());
    let is_at_rest = |worker: Process| worker.thread_count() == Some(2);
    master.wait_until("its ack is over", LIMIT, || is_at_rest(worker));
    let born = of_worker(worker);
    let said = verdict(&master);
    assert!(said.contains("its interpreter") && said.contains("is missing"), "{said}");
    assert_unimpaired(&master, worker);
    master.wait_until("it is as it was", LIMIT, || condition(master.process()) == before);
    worker.signal(Signal::SIGKILL);
    master.wait_for_log("Up to 1 / 1 manual ACKs", 2);
    let next = master.wait_for_workers(1)[0];
    master.wait_until("its ack is over", LIMIT, || is_at_rest(next));
    assert_eq!(of_worker(next), born);
    // It hears, and can say so.
    master.signal(Signal::SIGUSR2);
    assert_eq!(master.wait_exit().code(), Some(0));
}

/// Failure mode 26: with SIGPIPE as an exec wants it, the next line of the log would be the last.
#[test]
fn an_exec_that_fails_beside_an_unread_log() {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let setup = without_interpreter(Setup::new("-n 1 -m 0").program(["sleep", "1000"]));
    let master = setup.stderr(Stdio::from(writer)).start();
    drop(reader);
    let said = verdict(&master);
    assert!(said.contains("is missing"), "{said}");
    for _ in 0..3 {
        master.control("{command: inc}");
    }
    master.wait_for_workers(4);
    assert!(master.is_running());
}

/// Failure mode 41: what was checked is what is run.
#[test]
fn a_program_that_is_replaced_while_it_is_checked_is_checked_again() {
    let setup = serving();
    let next = setup.directory().join("next");
    let script = |name: &str| {
        format!(
            "#!/bin/sh\necho {name} \"$1\" >>calls\n[ -e second ] && mv second {}\nexec {EINHYRNINGSINS} \"$@\"\n",
            next.display()
        )
    };
    for (name, path) in [("first", "next"), ("second", "second")] {
        let path = setup.write(path, &script(name));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let (master, _) = start(setup.word("--reexec-as").word(&next));
    assert_eq!(verdict(&master), "Upgrade done");
    let calls = fs::read_to_string(master.file("calls")).unwrap();
    assert_eq!(calls, "first --upgrade-check\nsecond --upgrade-check\nsecond --with-state-fd\n");
}

/// Failure mode 41: the file was exchanged in the last moment, when the threads stand still, so the kernel is made to take its time.
#[test]
fn a_binary_that_is_replaced_in_the_last_moment_is_not_run_unchecked() {
    change_in_the_last_moment(|program, other| fs::rename(other, program).unwrap(), "Using loaded state");
}

#[test]
fn a_binary_that_is_overwritten_in_the_last_moment_is_not_run() {
    let overwrite = |program: &Path, other: &Path| fs::write(program, fs::read(other).unwrap()).unwrap();
    change_in_the_last_moment(overwrite, "Can not initiate einhorn master reload safely, aborting: ");
}

/// Changes the program that was checked, or its place, when the next step is the exec; then the log says this. There is another
/// program to do it with. The master and its workers go on.
fn change_in_the_last_moment(change: impl FnOnce(&Path, &Path), expected: &str) {
    let setup = serving();
    let program = setup.directory().join("program");
    copy_program(EINHYRNINGSINS, &program);
    let (master, _) = start(setup.word("--reexec-as").word(&program));
    copy_program("/bin/true", master.file("other"));
    let load = Load::start(master.addr(), 2);
    load.wait_for(5);
    // The document is the fourth file in memory, after the three of the check.
    let injection = Injection::attach(&master, "memfd_create:delay_exit=1000000:when=4");
    master.control("{command: reload}");
    master.wait_until("it is about to become the program", LIMIT, || {
        let open = master.process().descriptors();
        open.values().any(|file| file.contains("memfd:einhyrningsins state ") && !file.contains("to check"))
    });
    change(&program, &master.file("other"));
    master.wait_for_log(expected, 1);
    drop(injection);
    assert!(master.is_running());
    load.wait_for(20);
    load.stop().assert_nothing_lost();
}
