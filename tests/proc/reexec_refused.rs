//! A re-exec that comes to nothing: whatever is wrong with the next program, the master and its workers serve on as before, and
//! the client that asked is told why.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use crate::support::{
    AS_EINHORN, EINHYRNINGSINS, Injection, LIMIT, Load, Master, Process, Setup, ask, copy_program, decoded, example,
    is_root,
};

/// A wrapper that does something at the check, and then is the program.
fn at_check(does: &str) -> String {
    format!("case $1 in --upgrade-check) {does};; esac\nexec \"$OURS\" \"$@\"")
}

fn serving() -> Setup {
    Setup::new("-n 1 -m manual -s 0.01").bind(",r").http_worker("--ack manual").release("old")
}

fn start(setup: Setup) -> (Master, Process) {
    let master = setup.start();
    master.wait_for_log("Up to 1 / 1 manual ACKs", 1);
    let worker = master.wait_for_workers(1)[0];
    (master, worker)
}

/// The last thing that a client hears of the upgrade that it asks for.
#[track_caller]
fn verdict(master: &Master) -> String {
    let mut client = master.connect();
    client.send("{command: upgrade, id: 1, format: json}");
    let last = std::iter::from_fn(|| client.receive()).find(|line| !line.contains("\"wait\":true"));
    let last: serde_json::Value = serde_json::from_str(&last.expect("the client is told")).unwrap();
    last["message"].as_str().unwrap().to_owned()
}

/// What a process is to the kernel: what its threads block, ignore and catch, and what a worker of its gets.
fn condition(process: Process) -> Vec<(String, [u64; 3])> {
    let mut threads = Vec::new();
    for task in fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let task = task.unwrap().path();
        let status = fs::read_to_string(task.join("status")).unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map_or(0, |set| u64::from_str_radix(set.trim(), 16).unwrap())
        };
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        threads.push((name, ["SigBlk:", "SigIgn:", "SigCgt:"].map(field)));
    }
    threads.sort();
    threads
}

/// The same when every thread has begun and waits: one that has just been started has no name yet.
#[track_caller]
fn steady_condition(master: &Master) -> Vec<(String, [u64; 3])> {
    let (process, mut seen) = (master.process(), Vec::new());
    master.wait_until("it waits for what comes", LIMIT, || {
        seen = condition(process);
        process.is_waiting() && condition(process) == seen
    });
    seen
}

/// It serves with the same worker and can do all that it could.
#[track_caller]
fn assert_unimpaired(master: &Master, worker: Process) {
    assert_eq!(master.workers(), [worker], "{}", master.log());
    assert_eq!(ask(&master.addr().into(), "/x").unwrap().release, "old");
    assert!(decoded(&master.control("{command: ehlo, user: me}")).contains("Welcome, me!"));
}

/// A file in the master's directory, with this content and mode.
fn file(master: &Master, name: &str, content: &[u8], mode: u32) -> PathBuf {
    let path = master.file(name);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

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
    master.signal(Signal::SIGTTIN);
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

/// Changes the state on its way: at the check that of the check, at the exec the real one.
const TAMPER: &str = r#"
import zlib
def tamper(fd, change):
    os.lseek(fd, 0, 0)
    text = b""
    while chunk := os.read(fd, 1 << 20):
        text += chunk
    new = os.memfd_create("tampered")
    os.write(new, change(text))
    os.lseek(new, 0, 0)
    os.dup2(new, fd)
def sealed(text):
    body = text.split(b"\n", 2)[2]
    return b"---\n# crc32 %08x\n%s" % (zlib.crc32(body), body)
def go_on():
    os.execv(ours, [ours] + sys.argv[1:])
"#;

/// Failure mode 42, E33: the image that checks reads the state, so that the old one need not let go to find out.
#[test]
fn a_state_that_the_next_program_cannot_read_is_found_at_the_check() {
    let script = format!(
        "{TAMPER}\nif sys.argv[1] == '--upgrade-check': tamper(3, lambda text: sealed(text.replace(b'\"needs\": 2', b'\"needs\": 9')))\n\
         open('ran', 'a').write(sys.argv[1])\ngo_on()"
    );
    let (master, worker) = start(serving().reexec_as_python(&script));
    assert_eq!(verdict(&master), "Upgrade failed: cannot read the handoff: it needs a version that reads format 9");
    assert_eq!(fs::read_to_string(master.file("ran")).unwrap(), "--upgrade-check");
    assert_unimpaired(&master, worker);
}

/// Failure mode 42, E33: with Ruby's, workers are left alone for ever.
#[test]
fn an_image_that_cannot_read_the_state_goes_back_to_the_one_before() {
    let script = format!(
        "{TAMPER}\nif sys.argv[1] == '--with-state-fd' and os.path.exists('bad'):\n\
         \x20   how = open('bad').read().split()\n\
         \x20   fd = int(sys.argv[2])\n\
         \x20   if how[0] == 'flip': tamper(fd, lambda text: text[:int(how[1])] + bytes([text[int(how[1])] ^ 1]) + text[int(how[1]) + 1:])\n\
         \x20   if how[0] == 'cut': tamper(fd, lambda text: text[:int(how[1])])\n\
         \x20   if how[0] == 'newer': tamper(fd, lambda text: sealed(text.replace(b'\"needs\": 2', b'\"needs\": 3')))\n\
         \x20   if how[0] == 'sense': tamper(fd, lambda text: sealed(text.replace(b'\"target\": 1', b'\"target\": 0')))\n\
         \x20   if how[0] == 'lost': os.close(fd)\n\
         go_on()"
    );
    let (master, worker) = start(serving().reexec_as_python(&script));
    let load = Load::start(master.addr(), 2);
    load.wait_for(5);
    let blocked =
        |process| condition(process).into_iter().map(|(name, [blocked, ..])| (name, blocked)).collect::<Vec<_>>();
    let before = blocked(master.process());
    let cases = [
        ("flip 2000", "its checksum is wrong or missing"),
        ("flip 6", "its checksum is wrong or missing"),
        ("cut 3000", "its checksum is wrong or missing"),
        ("cut 0", "cannot read the handoff"),
        ("newer", "it needs a version that reads format 3"),
        ("sense", "the numbers of workers must be at least 1"),
        ("lost", "bad file number"),
    ];
    for (round, (how, cause)) in cases.into_iter().enumerate() {
        master.replace("bad", how);
        let generation = master.generation();
        let said = verdict(&master);
        assert!(said.starts_with("Upgrade failed: ") && said.contains(cause), "{how}: {said}");
        assert_unimpaired(&master, worker);
        assert!(master.generation() > generation, "it is another image");
        // A reload that no client waits for goes back, too.
        master.wait_for_log("Could not reload! Attempting to continue.", 2 * round + 1);
        master.control("{command: reload}");
        master.wait_for_log("Could not reload! Attempting to continue.", 2 * round + 2);
        assert_unimpaired(&master, worker);
    }
    master.wait_until("it is as it was", LIMIT, || blocked(master.process()) == before);
    fs::remove_file(master.file("bad")).unwrap();
    master.release("new");
    assert_eq!(verdict(&master), "Upgrade done");
    load.wait_for_release("new", 5);
    load.stop().assert_nothing_lost();
}

/// Failure mode 46: at the check, and at the handoff itself.
#[test]
fn a_re_exec_without_memory_for_the_state_is_refused() {
    let (master, worker) = start(serving());
    for when in [1, 2, 3, 4] {
        let injection = Injection::attach(&master, &format!("memfd_create:error=ENOMEM:when={when}"));
        assert!(verdict(&master).ends_with("cannot make a file in memory: out of memory"), "{}", master.log());
        drop(injection);
        assert_unimpaired(&master, worker);
    }
    let injection = Injection::attach(&master, "clone:error=EAGAIN:when=1");
    let said = verdict(&master);
    assert!(said.starts_with("Upgrade failed: cannot try "), "{said}");
    drop(injection);
    assert_unimpaired(&master, worker);
    assert_eq!(verdict(&master), "Upgrade done");
}

/// Failure mode 46: what is written has a limit, too.
#[test]
fn a_re_exec_without_room_for_the_state_is_refused() {
    let program = example("http_worker");
    let setup = Setup::new("-n 1 -m manual -s 0.01").bind(",r").release("old");
    let setup = setup.program([program.as_os_str(), "--ack".as_ref(), "manual".as_ref()]);
    let (master, worker) = start(setup.through(&["/bin/sh", "-c", "ulimit -f 1; exec \"$@\"", "sh"]));
    let mut lazy = master.connect();
    // The state is longer with everything that a client has not read.
    (0..200).for_each(|id| lazy.send(&format!("{{command: help, id: {id}}}")));
    master.wait_until("it is refused", LIMIT, || verdict(&master).contains("cannot write a file in memory"));
    assert_unimpaired(&master, worker);
}

/// It comes from another program; whatever it writes cannot harm.
#[test]
fn the_answer_of_a_check_may_be_anything() {
    for (answer, said) in [
        (r"b'einhyrningsins \xff\0\nbecause \xff\n'", "because \u{fffd}"),
        ("b'x' * 100000", "/usr/bin/python3 --upgrade-check: cannot read the descriptor: more than 65536 bytes"),
    ] {
        let script = format!(
            "fd = int(os.environ['EINHYRNINGSINS_CHECK'].split(',')[1])\n\
             os.write(fd, {answer})\nsys.exit(0)"
        );
        let (master, worker) = start(serving().reexec_as_python(&script));
        assert_eq!(verdict(&master), format!("Upgrade failed: {said}"));
        assert_unimpaired(&master, worker);
    }
}

/// What clients have half said is in the state, and what they have not read.
#[test]
fn no_client_makes_a_state_too_long_for_a_re_exec() {
    let (master, worker) = start(serving());
    let mut quiet = master.connect();
    quiet.send("{command: ehlo, user: me}");
    quiet.receive();
    let half = vec![1; 60 * 1024];
    let mut clients: Vec<_> = (0..200).map(|_| master.connect()).collect();
    clients.iter_mut().for_each(|client| client.send_bytes(&half));
    // Each asks for more than the kernel keeps for it.
    let lines = "{command: help}\n".repeat(100);
    let mut lazy: Vec<_> = (0..5).map(|_| master.connect()).collect();
    lazy.iter_mut().for_each(|client| client.send_bytes(lines.as_bytes()));
    let workers = master.workers();
    master.reload();
    assert_eq!((master.workers(), workers), (vec![worker], vec![worker]));
    let said = master.wait_for_log("clients are dropped at the re-exec", 1).remove(0);
    let number = |after: &str| -> usize {
        let words = said.split(after).nth(1).unwrap_or_else(|| panic!("{said}"));
        words.split_whitespace().next().unwrap().parse().unwrap()
    };
    let (dropped, bytes) = (number("WARN: "), number("leave "));
    // Not all of them may have been heard when it began. None has more than two lines and what the master keeps for it.
    assert!((1..200).contains(&dropped) && bytes > 1 << 20 && bytes < (1 << 20) + dropped * 260_000, "{said}");
    // A client with little to carry over is still there.
    quiet.send("{command: ehlo, user: you}");
    assert!(quiet.receive().unwrap().contains("Welcome, you!"));
    assert_eq!(verdict(&master), "Upgrade done");
}
