//! What the system may lack just when a new image takes over, from the exec to its first turn: descriptors, memory, threads. The
//! master keeps its pid, its workers and its sockets, is heard and answers, and has everything again when there is everything.

use std::fs;
use std::os::unix::fs::chown;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::support::{Injection, LIMIT, Load, Master, Process, Setup, decoded, is_root};

/// Takes its place between two images: says that it has, and waits until it may become the next one. From the rename on it makes
/// none of the calls that faults are put into, so that the first is of the image's, or of its loader's.
const GATE: &str = r#"
if "--with-state-fd" in sys.argv:
    import time
    open("soon at the gate", "w").close()
    os.rename("soon at the gate", "at the gate")
    while not os.path.exists("go"):
        time.sleep(0.005)
    os.unlink("go")
os.execv(ours, [ours] + sys.argv[1:])
"#;

/// Workers that need no threads: faults and limits reach those that are launched meanwhile, too.
fn sleepers() -> Setup {
    Setup::new("-n 2 -m 0 -s 0.01").program(["sleep", "1000"])
}

fn start(setup: Setup) -> (Master, Vec<Process>) {
    let master = setup.start();
    let workers = master.wait_for_idle_workers(2);
    (master, workers)
}

/// Has the master replace its program, with this fault in the next image. It is in force until what comes back is dropped.
#[track_caller]
fn take_over_with(master: &Master, fault: &str) -> Injection {
    let times = master.log().count("Using loaded state");
    master.control("{command: reload}");
    let injection = pass_the_gate(master, fault);
    master.wait_for_log("Using loaded state", times + 1);
    injection
}

#[track_caller]
fn pass_the_gate(master: &Master, fault: &str) -> Injection {
    master.wait_until("it is between two images", LIMIT, || master.file("at the gate").exists());
    fs::remove_file(master.file("at the gate")).unwrap();
    let injection = Injection::attach(master, fault);
    fs::write(master.file("go"), "").unwrap();
    injection
}

#[track_caller]
fn assert_answers(master: &Master) {
    let welcome = decoded(&master.control("{command: ehlo, user: me}"));
    assert!(welcome.contains("Welcome, me!"), "{welcome}");
}

/// It reaps and launches.
#[track_caller]
fn assert_replaces(master: &Master, worker: Process) {
    worker.signal(Signal::SIGKILL);
    master.wait_until("it has another worker", LIMIT, || {
        let now = master.workers();
        now.len() == 2 && !now.contains(&worker)
    });
}

/// It passes CONT on to its workers.
#[track_caller]
fn assert_hears_signals(master: &Master) {
    let times = master.log().count("INFO: Sending CONT to ");
    master.signal(Signal::SIGCONT);
    master.wait_for_log("INFO: Sending CONT to ", times + 1);
}

#[test]
fn no_call_that_fails_in_a_new_image_ends_the_master() {
    let serving = Setup::new("-n 2 -m manual -s 0.01").bind(",r").http_worker("--ack manual").release("old");
    let (master, workers) = start(serving.reexec_as_python(GATE));
    let load = Load::start(master.addr(), 2);
    for fault in [
        "eventfd2:error=ENFILE",
        "eventfd2:error=ENOMEM",
        "eventfd2:error=EMFILE",
        "socketpair:error=ENFILE",
        "socketpair:error=EMFILE",
        "inotify_init1:error=EMFILE",
        "inotify_add_watch:error=ENOSPC",
        "fcntl:error=EMFILE",
        "fcntl:error=ENOMEM",
        "fcntl:error=EINVAL:when=1..4",
        "close_range:error=ENOMEM",
        "getsockopt:error=ENOBUFS",
        "getsockname:error=ENOBUFS",
        "prctl:error=EPERM",
        "prlimit64:error=EPERM",
        "sched_getaffinity:error=EPERM",
        "getrandom:error=ENOSYS",
        "readlink:error=ENOMEM",
        "statx:error=ENOMEM",
        "socket:error=EMFILE",
        "getdents64:error=ENOMEM",
        "lseek:error=EINVAL:when=1",
        "poll:error=ENOMEM:when=1..2",
        "waitid:error=EINTR:when=1..3",
        "getpriority:error=EPERM",
    ] {
        println!("{fault}");
        let injection = take_over_with(&master, fault);
        drop(injection);
        assert_answers(&master);
        assert_eq!(master.workers(), workers, "{fault}");
    }
    load.wait_for(5);
    load.stop().assert_nothing_lost();
    assert_replaces(&master, workers[0]);
    assert_hears_signals(&master);
    master.signal(Signal::SIGUSR2);
    assert_eq!(master.wait_exit().code(), Some(0));
}

/// The main thread does the work of all others, and they take it over when there is room for them.
#[test]
fn a_new_image_without_threads_does_everything_and_gets_them_later() {
    for fault in ["clone3:error=EAGAIN", "clone3:error=ENOMEM"] {
        let (master, workers) = start(sleepers().reexec_as_python(GATE));
        let mut client = master.connect();
        client.send_bytes(b"{command: ehlo, user: half");
        let injection = take_over_with(&master, fault);
        let said = master.wait_for_log("the main thread does the work of others", 1);
        assert!(said[0].contains("(log, signals, reaper, jobs, control)"), "{said:?}");
        assert_eq!(master.process().thread_count(), Some(1));
        client.send("way}");
        assert!(decoded(&client.receive().unwrap()).contains("Welcome, halfway!"));
        assert_eq!(master.workers(), workers);
        assert_replaces(&master, workers[0]);
        assert_hears_signals(&master);
        // It can be replaced as it is, with all that waits for the stand-in; then its configuration is read, which is a job.
        master.signal(Signal::SIGHUP);
        drop(injection);
        let injection = pass_the_gate(&master, fault);
        master.wait_for_log("Upgraded successfully to version 1", 1);
        assert_eq!(master.process().thread_count(), Some(1));
        drop(injection);
        master.wait_for_log("Every thread runs again", 1);
        assert_eq!(master.process().thread_count(), Some(6));
        assert_replaces(&master, master.workers()[0]);
        assert_hears_signals(&master);
        assert_answers(&master);
        master.signal(Signal::SIGUSR2);
        assert_eq!(master.wait_exit().code(), Some(0));
    }
}

/// It ends as it should, and writes its last lines to the clients that wait.
#[test]
fn a_master_without_threads_ends_in_order() {
    let (master, _) = start(sleepers().reexec_as_python(GATE));
    let _injection = take_over_with(&master, "clone3:error=EAGAIN");
    assert_eq!(master.control("{command: die, args: [KILL]}"), "---%0Amessage: 'Einhorn is going down! '%0A");
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!master.socket().exists() && !master.file("einhorn.pid").exists());
}

/// The user of the limit; no other test has processes of this one's.
const LIMITED_UID: u32 = 65_111;

/// As an ordinary user meets it: a limit of processes that is reached.
#[test]
fn a_re_exec_at_the_limit_of_processes_goes_on_without_threads() {
    if !is_root() {
        return;
    }
    let limit = "if os.path.exists('limit') and '--with-state-fd' in sys.argv:\n\
                 \x20   import resource\n\
                 \x20   resource.setrlimit(resource.RLIMIT_NPROC, (1, resource.getrlimit(resource.RLIMIT_NPROC)[1]))\n";
    let setup = sleepers().reexec_as_python(&format!("{limit}{GATE}")).open_to_all();
    let user = format!("--reuid={LIMITED_UID}");
    chown(setup.directory(), Some(LIMITED_UID), None).unwrap();
    setup.write("go", "");
    let setup = setup.through(&["setpriv", &user, "--clear-groups"]);
    let (master, workers) = start(setup);
    fs::write(master.file("limit"), "").unwrap();
    master.control("{command: reload}");
    master.wait_for_log("the main thread does the work of others", 1);
    assert_answers(&master);
    assert_eq!((master.process().thread_count(), master.workers()), (Some(1), workers.clone()));
    // It cannot launch another, and goes on trying.
    workers[0].signal(Signal::SIGKILL);
    master.wait_for_log("cannot start a worker, trying again later", 1);
    assert_answers(&master);
    let pid = master.pid().to_string();
    let words = [&*user, "--clear-groups", "prlimit", "--nproc=1000:", "--pid", &pid];
    let lift = Command::new("setpriv").args(words).status();
    assert!(lift.unwrap().success());
    master.wait_for_log("Every thread runs again", 1);
    assert_eq!(master.process().thread_count(), Some(6));
    assert_eq!(master.wait_for_workers(2).len(), 2);
    assert_hears_signals(&master);
}
