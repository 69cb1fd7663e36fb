//! What workers write (`worker.output`): it comes into the log line by line, keeps no process waiting, and outlives the master's changes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::unistd::pipe2;

use crate::support::{
    AS_EINHORN, EINHYRNINGSINS, LIMIT, Master, OTHER_UID, Process, Setup, assert_supervised, copy_program, is_root,
};

/// A master of a file, with this in it, whose workers run a Python program that has `say` to write a text at once, and `wait_for` to wait
/// for a file. SIGPIPE ends it, as it does most programs.
fn setup(settings: &str, program: &str) -> Setup {
    let setup = Setup::new("--config web.toml -n 1 -m 0 -s 0.01");
    setup.write("web.toml", settings);
    let begin = "import os, signal, subprocess, sys, time\n\
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)\n\
        def say(text, fd=1):\n    os.write(fd, text if isinstance(text, bytes) else text.encode())\n\
        def wait_for(name):\n    while not os.path.exists(name):\n        time.sleep(0.005)\n";
    let path = setup.write("worker.py", &format!("{begin}{program}\n"));
    setup.program(["/usr/bin/env".into(), "python3".into(), path.into_os_string()])
}

/// Waits for a line that the master may not live to see.
#[track_caller]
fn wait_for_line(master: &Master, text: &str) {
    master.wait_until(&format!("there is a line with {text:?}"), LIMIT, || master.log().count(text) > 0);
}

fn relay(master: &Master) -> Option<Process> {
    master.process().children().into_iter().find(|child| child.is_relay() && child.is_alive())
}

#[track_caller]
fn wait_for_relay(master: &Master) -> Process {
    let mut found = None;
    master.wait_until("there is a relay", LIMIT, || {
        found = relay(master);
        found.is_some()
    });
    found.unwrap()
}

/// The texts of a worker's lines in the log.
fn written(master: &Master, mark: &str) -> Vec<String> {
    master.log().settle();
    master.log().with(mark).into_iter().map(|line| line.split_once("] ").unwrap().1.to_owned()).collect()
}

#[test]
fn lines_of_both_streams_come_with_slot_pid_and_version() {
    let program = "say('to stdout\\n'); say('to stderr\\n', 2); say(b'\\x1b[2J\\xff\\tx\\r\\n\\n'); say('no newline')";
    let master = setup("", program).options("-q").start();
    master.wait_for_log("] no newline", 1);
    let first = master.log().with("] no newline")[0].clone();
    let mark = first.strip_suffix("no newline").unwrap();
    let pid = mark.strip_prefix("[worker 0, pid ").and_then(|rest| rest.strip_suffix(", version 0] "));
    assert!(pid.is_some_and(|pid| pid.parse::<i32>().is_ok()), "{mark}");
    let expected = ["to stdout", "to stderr", r"\x1b[2J\xff    x", "", "no newline"];
    assert_eq!(written(&master, mark), expected);
    assert_eq!(master.stdout(), "");
}

#[test]
fn a_long_line_is_whole_up_to_16_kib_and_comes_in_marked_parts_beyond() {
    let master = setup("", "say('x' * 16384 + '\\n'); say('y' * 16385 + '\\n'); time.sleep(1000)").start();
    master.wait_for_log("[cut]y", 1);
    let (x, y) = ("x".repeat(16_384), "y".repeat(16_384));
    assert_eq!(written(&master, "version 0] "), [x, format!("{y}[cut]"), "[cut]y".to_owned()]);
}

/// No process, no thread and no descriptor more than without it.
#[test]
fn output_that_is_inherited_costs_nothing() {
    let program = "say('to stdout\\n'); time.sleep(1000)";
    let inherited = setup("[worker]\noutput = 'inherit'\n", program).start();
    let plain = Setup::new("-n 1 -m 0").script("echo to stdout; sleep 1000").start();
    let captured = setup("", program).start();
    for master in [&inherited, &plain] {
        master.wait_until("its worker has written", LIMIT, || !master.stdout().is_empty());
        assert!(master.process().children().len() == 1 && master.process().thread("output").is_none());
    }
    captured.wait_for_thread("output");
    wait_for_relay(&captured);
    // A log that is a pipe is one, too, and what the tests were started with.
    let of =
        |master: &Master| master.process().descriptors().into_values().filter(|file| file.starts_with("pipe:")).count();
    captured.wait_until("there is one pipe more", LIMIT, || {
        let others = of(&plain);
        [of(&inherited), of(&captured)] == [others, others + 1]
    });
}

// Failure mode 91.
#[test]
fn a_worker_that_writes_without_end_is_not_held_up_by_a_log_that_is_not_read() {
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).unwrap();
    let program = "open('worker.pid', 'w').write(str(os.getpid()))\n\
        for number in range(20000):\n    say(f'line {number}' + 'x' * 200 + '\\n')\n\
        open('done', 'w').close()\nwait_for('more')\nsay('the last line\\n')\ntime.sleep(1000)";
    let master = setup("", program).stderr(writer).start();
    master.wait_until("the worker has written it all", LIMIT, || master.file("done").exists());
    assert!(master.control(r#"{"command":"state"}"#).contains(":children:"));
    let mut lines = BufReader::new(File::from(reader)).lines().map(Result::unwrap);
    let mut count = 0;
    let lost = loop {
        let line = lines.next().expect("the loss is never told");
        count += usize::from(line.contains("] line "));
        if let Some((_, rest)) = line.split_once("WARN: dropped ") {
            let number = rest.strip_suffix(" lines of workers, for which the log had no room").expect(&line);
            break number.parse::<usize>().unwrap();
        }
    };
    fs::write(master.file("more"), "").unwrap();
    let rest = lines.by_ref().take_while(|line| !line.ends_with("] the last line"));
    count += rest.filter(|line| line.contains("] line ")).count();
    assert!(lost > 10_000 && count + lost == 20_000, "{count} came, {lost} were told of");
}

#[test]
fn a_line_that_is_under_way_at_a_re_exec_stays_whole() {
    let program = "say('half')\nopen('half', 'w').close()\nwait_for('now')\nsay(' and half\\n')\ntime.sleep(1000)";
    let master = setup("", program).start();
    master.wait_until("half a line is written", LIMIT, || master.file("half").exists());
    let relay = wait_for_relay(&master);
    for _ in 0..3 {
        master.reload();
    }
    fs::write(master.file("now"), "").unwrap();
    master.wait_for_log("and half", 1);
    assert_eq!(written(&master, "version 0] "), ["half and half"]);
    assert_eq!(wait_for_relay(&master), relay);
    assert_supervised(&master);
}

/// Else it would run the file of before the update for as long as the master lives.
#[test]
fn a_relay_runs_the_file_that_its_master_runs() {
    let master = setup("", WRITES_ON).by_link().start();
    master.wait_for_log("] line 3", 1);
    let (worker, old) = (master.wait_for_workers(1)[0], wait_for_relay(&master));
    let other = master.file("other");
    copy_program(EINHYRNINGSINS, &other);
    master.relink(&other);
    master.reload();
    master.wait_until("the old relay is gone", LIMIT, || !old.is_alive() && !old.is_zombie());
    let new = wait_for_relay(&master);
    assert_eq!(new.program(), Some(other.canonicalize().unwrap()));
    assert_writes_on(&master, worker);
    assert_eq!(master.log().count("has ended"), 0);
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    wait_for_line(&master, "The master is gone, or another program");
    assert_writes_on(&master, worker);
}

/// What a worker does that writes on while its master changes.
const WRITES_ON: &str = "number = 0\nwhile not os.path.exists('end'):\n    say(f'line {number}\\n')\n    number += 1\n    \
    open('number', 'w').write(str(number))\n    time.sleep(0.01)\nsay('unfinished')";

/// Waits until the worker has written more than now, and that can be read.
fn assert_writes_on(master: &Master, worker: Process) {
    let number = || fs::read_to_string(master.file("number")).unwrap_or_default().parse::<usize>().unwrap_or(0);
    let later = number() + 20;
    master.wait_until("the worker writes on", LIMIT, || number() > later);
    assert!(worker.is_alive());
    master.wait_until("it can be read", LIMIT, || master.log().count(&format!("] line {later}")) == 1);
}

#[test]
fn a_killed_master_ends_no_worker_and_its_output_goes_on() {
    let master = setup("", WRITES_ON).start();
    master.wait_for_log("] line 3", 1);
    let (worker, relay) = (master.wait_for_workers(1)[0], wait_for_relay(&master));
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    wait_for_line(&master, "The master is gone, or another program");
    assert_writes_on(&master, worker);
    // It ends with the worker, and not before; nothing is lost and nothing comes twice.
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        relay.signal(signal);
    }
    assert_writes_on(&master, worker);
    fs::write(master.file("end"), "").unwrap();
    wait_for_line(&master, "] unfinished");
    master.wait_until("the relay ends", LIMIT, || !relay.is_alive());
}

/// It holds nothing but what it is there for: no socket that anyone could connect to, and no file.
#[test]
fn a_relay_holds_nothing_else() {
    let master = setup("", "time.sleep(1000)").bind("").options("-n 2").start();
    master.wait_for_idle_workers(2);
    let relay = wait_for_relay(&master);
    let kinds = || relay.descriptors().into_iter().filter(|(fd, _)| *fd > 2).map(|(_, file)| file);
    master.wait_until("it has both pipes", LIMIT, || kinds().filter(|file| file.starts_with("pipe:")).count() == 2);
    assert_eq!(kinds().filter(|file| file.starts_with("socket:")).count(), 1, "{:?}", relay.descriptors());
    assert_eq!(kinds().count(), 3, "{:?}", relay.descriptors());
    assert!(relay.listening_on().is_empty() && relay.directory().unwrap().as_os_str() == "/");
    assert_eq!((relay.text("comm").trim(), relay.group()), ("einhyr-relay", Some(relay.0)));
    for worker in master.workers() {
        worker.signal(Signal::SIGKILL);
    }
    master.wait_for_log("===> Launched", 4);
    master.wait_until("it has let go of the dead", LIMIT, || {
        kinds().filter(|file| file.starts_with("pipe:")).count() == 2
    });
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!relay.is_alive());
    assert_eq!(master.log().count("left processes behind"), 0, "{}", master.log());
}

#[test]
fn a_relay_that_is_killed_is_replaced_and_no_worker_notices() {
    let master = setup("", WRITES_ON).start();
    master.wait_for_log("] line 3", 1);
    let (worker, first) = (master.wait_for_workers(1)[0], wait_for_relay(&master));
    first.signal(Signal::SIGKILL);
    master.wait_for_log("reads the output of workers if the master is killed, has ended", 1);
    assert_writes_on(&master, worker);
    // Not before some seconds have passed, lest it be started without end.
    let mut second = None;
    master.wait_until("there is another one", LIMIT, || {
        second = relay(&master);
        if second.is_none() {
            assert_supervised(&master);
        }
        second.is_some()
    });
    let worker = master.wait_for_workers(1)[0];
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    wait_for_line(&master, "The master is gone, or another program");
    assert!(worker.is_alive());
}

/// The live swap to a program that knows nothing of the pipes; Ruby's einhorn itself is in `compat-tests`.
#[test]
fn the_output_goes_on_when_the_master_becomes_einhorn() {
    let script = format!("{AS_EINHORN}\nexec sleep 1000");
    let master = setup("", WRITES_ON).reexec_as(&script).start();
    master.wait_for_log("] line 3", 1);
    let worker = master.wait_for_workers(1)[0];
    master.control("{command: reload}");
    wait_for_line(&master, "The master is gone, or another program");
    assert_writes_on(&master, worker);
    assert_eq!(worker.parent(), Some(master.process()));
    let lines = written(&master, "version 0] ");
    let numbers: Vec<usize> = lines.iter().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
    assert!(numbers.iter().copied().eq(0..numbers.len()), "{lines:?}");
}

#[test]
fn what_a_worker_leaves_behind_is_heard_to_its_end() {
    let program = "subprocess.Popen(['/bin/sh', '-c', 'while ! [ -e end ]; do sleep 0.01; done; echo left'], start_new_session=True)\n\
        say('gone\\n')\nwait_for('never')";
    let master = setup("[worker]\nleave = ['sh']\n", program).start();
    master.wait_for_log("] gone", 1);
    let mark = master.log().with("] gone")[0].strip_suffix("gone").unwrap().to_owned();
    master.wait_for_workers(1)[0].signal(Signal::SIGKILL);
    master.wait_for_log("===> Launched", 2);
    let relay = wait_for_relay(&master);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    fs::write(master.file("end"), "").unwrap();
    wait_for_line(&master, &format!("{mark}left"));
    master.wait_until("the relay ends", LIMIT, || !relay.is_alive());
}

// Issue 16, number 22.
#[test]
fn a_worker_of_another_user_can_open_its_standard_error() {
    if !is_root() {
        return;
    }
    let settings = format!("[worker]\nuser = '{OTHER_UID}'\ngroup = '{OTHER_UID}'\n");
    let setup = setup(&settings, "open('/dev/stderr', 'w').write('opened anew\\n'); time.sleep(1000)").open_to_all();
    fs::set_permissions(setup.directory().join("worker.py"), fs::Permissions::from_mode(0o644)).unwrap();
    let master = setup.start();
    assert_eq!(master.wait_for_log("opened anew", 1)[0].split_once("] ").unwrap().1, "opened anew");
}

/// Which is where all its words go, whatever the log is told to be silent about.
#[test]
fn the_last_words_of_a_worker_that_fails_are_in_the_log() {
    let master =
        setup("[log]\nlevel = 'error'\n", "say('a\\nb\\n', 2); raise SystemExit('cannot find the module')").start();
    master.wait_for_log("] cannot find the module", 2);
    assert!(master.log().count("INFO") == 0 && master.log().count("] a") > 1);
}
