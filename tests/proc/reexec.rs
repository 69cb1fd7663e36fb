//! The re-exec: the master becomes the program that stands where it was started from, and everything goes on: workers, sockets,
//! clients and what they were about to say.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::{
    EINHYRNINGSINS, HeldRequest, LIMIT, Master, Process, Setup, ask, copy_program, decoded, example, holds_within,
    seconds_before_kill,
};

fn serving(options: &str) -> Setup {
    Setup::new("-m manual -s 0.01").options(options).bind(",r").http_worker("--ack manual").release("old")
}

fn wait_for_first(master: &Master, count: usize) -> Vec<Process> {
    master.wait_for_log(&format!("Up to {count} / {count} manual ACKs"), 1);
    master.wait_for_workers(count)
}

/// What a process has open, without the numbers that the kernel has given to it this time.
fn open(process: Process) -> Vec<String> {
    let kind = |target: &String| target.split(":[").next().unwrap_or_default().to_owned();
    let mut kinds: Vec<String> = process.descriptors().values().map(kind).collect();
    kinds.sort();
    kinds
}

/// E31, as far as the program of the master goes. Failure modes 54 and 55: the file that stands at the path of the first start is
/// run, though the one that runs is "(deleted)".
#[test]
fn the_file_that_stands_where_the_master_was_started_from_is_run() {
    let master = serving("-n 1").by_link().start();
    let workers = wait_for_first(&master, 1);
    let other = master.file("other");
    copy_program(EINHYRNINGSINS, &other);
    let program = || Process(master.pid()).program().unwrap();
    assert_eq!(program(), fs::canonicalize(EINHYRNINGSINS).unwrap());
    master.relink(&other);
    master.reload();
    assert_eq!(program(), fs::canonicalize(&other).unwrap());
    // A package manager puts another file there, and the old one is gone.
    let newer = master.file("newer");
    copy_program(EINHYRNINGSINS, &newer);
    fs::rename(&newer, &other).unwrap();
    assert!(program().to_string_lossy().ends_with(" (deleted)"), "{:?}", program());
    master.reload();
    assert_eq!(program(), fs::canonicalize(&other).unwrap());
    assert_eq!((master.generation(), master.workers()), (2, workers));
}

/// Rust's runtime catches them to report a stack overflow, needs memory for that in each thread, and aborts where there is none.
#[test]
fn no_image_catches_faults_of_memory() {
    let master = serving("-n 1").start();
    let workers = wait_for_first(&master, 1);
    let of_memory = |process: Process| {
        let sets = [process.caught(), process.ignored()];
        sets.map(|set| set.contains(Signal::SIGSEGV) || set.contains(Signal::SIGBUS))
    };
    assert_eq!(of_memory(master.process()), [false, false]);
    master.reload();
    master.wait_until("its threads can be woken", LIMIT, || master.process().caught().contains(Signal::SIGURG));
    assert_eq!(of_memory(master.process()), [false, false]);
    assert_eq!(of_memory(workers[0]), [true, false]);
    workers[0].signal(Signal::SIGKILL);
    master.wait_for_log("Up to 1 / 1 manual ACKs", 2);
    assert_eq!(of_memory(master.wait_for_workers(1)[0]), [true, false], "a worker begins with the default");
}

/// Failure modes 45 and 55: no file is touched, and the directory may be gone.
#[test]
fn a_re_exec_needs_no_file_and_no_directory() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (socket, pid, lock) = ["s", "p", "l"].map(|name| elsewhere.path().join(name)).into();
    let setup = serving("-n 1").socket(&socket).word("-e").word(&pid).word("-f").word(&lock);
    let master = setup.start();
    wait_for_first(&master, 1);
    fs::remove_dir_all(master.directory()).unwrap();
    fs::remove_file(&lock).unwrap();
    master.reload();
    assert_eq!(ask(&master.addr().into(), "/x").unwrap().release, "old");
    let names: BTreeSet<_> = fs::read_dir(elsewhere.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, BTreeSet::from(["p".into(), "s".into()]));
}

/// Failure modes 49 and 50: the numbers that workers know stay, and they get nothing else of the master's.
#[test]
fn a_worker_finds_the_same_before_and_after_a_re_exec() {
    // With -k, a worker is sent USR2 when the thread of the master's that forked it is no more.
    let setup = Setup::new("-m 0 -n 1 -s 0.01 -g -k -b 127.0.0.1:0,r -b 127.0.0.1:0").program(["sleep", "1000"]);
    let master = setup.env("KEPT", "x").start();
    master.wait_for_log("Up to 1 / 1", 1);
    let seen = |worker: Process| {
        let mut environ = worker.environ();
        assert_eq!(environ.remove("EINHYRNINGSINS_SLOT_PID"), Some(worker.to_string()));
        (worker.descriptors().into_keys().collect::<Vec<_>>(), environ, worker.ignored())
    };
    let before = seen(master.wait_for_idle_workers(1)[0]);
    for death in 1..=3 {
        let old = master.wait_for_workers(1);
        master.reload();
        assert_eq!(master.workers(), old);
        old[0].signal(Signal::SIGKILL);
        master.wait_for_log("===> Launched", death + 1);
        master.wait_for_log("Up to 1 / 1", death + 1);
        let worker = master.wait_for_idle_workers(1)[0];
        assert_eq!(seen(worker), before);
        // Failure mode 27.
        assert_eq!(worker.blocked().0, 0);
    }
}

/// Failure mode 47, in small; the thousand are elsewhere. Failure mode 48: a worker is launched after each.
#[test]
fn the_master_has_the_same_open_after_a_first_re_exec_as_after_a_tenth() {
    let master = serving("-n 2 -g").start();
    wait_for_first(&master, 2);
    // What the starter has left open ends with the first.
    master.reload();
    // What listens: the workers have closed the connections that they got.
    let sockets = |of: &[String]| of.iter().filter(|kind| *kind == "socket").count();
    master.wait_until("no client is left", LIMIT, || sockets(&open(master.process())) == 2);
    let first = open(master.process());
    // The thread that has acked is gone, and its connection with it.
    let at_rest = |worker: &Process| worker.thread_count() == Some(2);
    let workers_at_rest = || master.workers().iter().all(at_rest);
    master.wait_until("the acks are over", LIMIT, workers_at_rest);
    let worker = open(master.workers()[0]);
    let mut acks = 1;
    for _ in 0..10 {
        master.reload();
        master.workers()[0].signal(Signal::SIGKILL);
        acks += 1;
        master.wait_for_log("Up to 2 / 2 manual ACKs", acks);
        let workers = master.wait_for_workers(2);
        master.wait_until("the acks are over", LIMIT, workers_at_rest);
        for now in workers {
            assert_eq!(open(now), worker);
        }
        let mut now = Vec::new();
        let same = holds_within(LIMIT, || {
            now = open(master.process());
            now == first
        });
        assert!(same, "{now:?} is not {first:?}");
    }
}

#[test]
fn a_dropped_variable_is_gone_after_the_first_re_exec_and_the_others_stay() {
    let setup = Setup::new("-m 0 -n 1 -s 0.01 --drop-env-var GOES").env("GOES", "1").env("STAYS", "2");
    let master = setup.program(["sleep", "1000"]).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let has = |name: &str| master.wait_for_workers(1)[0].environ().contains_key(name);
    assert!(has("GOES") && has("STAYS"));
    // A reload alone changes nothing for workers: they belong to the version that there was.
    master.reload();
    for upgrade in 1..=2 {
        master.signal(Signal::SIGHUP);
        master.wait_for_log("Upgraded successfully", upgrade);
        master.wait_for_log("===> Exited worker", upgrade);
        assert!(!has("GOES") && has("STAYS"));
    }
    let environ = master.process().environ();
    assert!(!environ.keys().any(|name| name.starts_with("EINHYRNINGSINS")), "{environ:?}");
}

/// Failure modes 44 and 56: half a line, replies that are not read yet, and clients that wait for news, all go over.
#[test]
fn clients_notice_a_re_exec_by_its_news_alone() {
    let master = serving("-n 1").start();
    wait_for_first(&master, 1);
    let (mut half, mut lazy, mut waiting) = (master.connect(), master.connect(), master.connect());
    half.send_bytes(b"{command: ehlo, us");
    // More than a socket's buffer holds, and more than a pipe's.
    let questions = 400;
    (0..questions).for_each(|id| lazy.send(&format!("{{command: help, id: {id}}}")));
    waiting.send("{command: upgrade, id: [my, id]}");
    assert!(waiting.receive().unwrap().contains("Upgrading smoothly"));
    master.wait_for_generation(1);
    master.reload();
    half.send_bytes(b"er: late}\n");
    assert!(half.receive().unwrap().contains("Welcome, late!"));
    for id in 0..questions {
        assert!(decoded(&lazy.receive().unwrap()).contains(&format!("request_id: {id}\n")), "{id}");
    }
    let mut news = Vec::new();
    while !news.last().is_some_and(|line: &String| line.contains("Upgrade done")) {
        news.push(decoded(&waiting.receive().unwrap()));
    }
    assert!(news.iter().all(|line| line.contains("request_id:\n- my\n- id\n")), "{news:?}");
    // Failure mode 61: not before the new worker serves.
    let launched = news.iter().position(|line| line.contains("===> Launched")).unwrap();
    let done = news.iter().position(|line| line.contains("Upgrade done")).unwrap();
    assert!(launched < done, "{news:?}");
    master.wait_for_log("Upgraded successfully", 1);
    let lines = master.log().lines();
    let last = |text: &str| lines.iter().rposition(|line| line.contains(text)).unwrap();
    assert_eq!(master.log().count("Received a manual ACK"), 2, "{}", master.log());
    assert!(last("Received a manual ACK") < last("Upgraded successfully"), "{}", master.log());
}

/// Failure mode 56: what is counted, what is due, and what was commanded.
#[test]
fn timers_counters_and_commands_go_over() {
    let options = "-m manual --ack-timeout 30 -n 2 -s 0.01 -t 10";
    let setup = Setup::new(options).script("trap '' USR2; while :; do sleep 1000 & wait; done");
    let master = setup.start();
    let workers = master.wait_for_workers(2);
    for worker in &workers {
        master.connect().send(&format!("{{command: 'worker:ack', pid: {worker}}}"));
    }
    master.wait_for_log("Up to 2 / 2", 1);
    master.wait_until("they ignore it", LIMIT, || workers.iter().all(|it| it.ignored().contains(Signal::SIGUSR2)));
    master.control("{command: config, args: ['seconds: 7']}");
    master.control("{command: louder}");
    let told = Instant::now();
    master.control("{command: set_workers, args: ['1']}");
    master.wait_for_log("Sending USR2", 1);
    master.wait_until("most of its time is over", LIMIT, || told.elapsed() >= Duration::from_secs(9));
    let status = |master: &Master| -> Value {
        serde_json::from_str::<Value>(&master.control("{command: status, format: json}")).unwrap()["status"].clone()
    };
    let before = status(&master);
    master.reload();
    let after = status(&master);
    for key in ["pid", "target", "version", "serving"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    for key in ["launched", "exited", "killed", "upgrades", "failed_upgrades"] {
        assert_eq!(before["counters"][key], after["counters"][key], "{key}");
    }
    let state = decoded(&master.control("{command: state}"));
    assert!(state.contains(":seconds: 7.0\n") && state.contains(":verbosity: 0\n"), "{state}");
    // The kill comes when it was due. If its time began anew, it would come nine seconds later.
    let killed = master.wait_for_log("is still active after ", 1);
    assert!(told.elapsed() < Duration::from_secs(19), "after {:?}", told.elapsed());
    assert!(seconds_before_kill(&killed[0]) >= 10, "{killed:?}");
    master.wait_for_workers(1);
}

/// Failure mode 62: old workers with clients that stay for ever are bounded, over any number of upgrades.
#[test]
fn upgrades_do_not_pile_up_old_workers() {
    let master = serving("-n 1 --max-upgrade-additional 2").start();
    wait_for_first(&master, 1);
    // Each worker has its first thread, and one has the thread that accepts.
    let in_flight = || {
        let workers = master.workers();
        let threads: i32 = workers.iter().filter_map(|worker| worker.thread_count()).sum();
        usize::try_from(threads).unwrap().saturating_sub(workers.len() + 1)
    };
    let mut held = Vec::new();
    for upgrade in 1..=5 {
        // Each old worker has one in flight when it is told to go.
        master.wait_until("no ack is under way", LIMIT, || in_flight() == held.len());
        held.push(HeldRequest::begin(master.addr(), "/held"));
        master.wait_until("it is in flight", LIMIT, || in_flight() == held.len());
        master.signal(Signal::SIGHUP);
        // Two that come together are one.
        master.wait_for_generation(upgrade as u64);
        if upgrade <= 2 {
            master.wait_for_log("Upgraded successfully", upgrade);
        }
        master.wait_for_log("Starting smooth upgrade", upgrade.min(3));
        let now = master.workers().len();
        assert!(now <= 3, "{now} workers");
    }
    master.wait_for_generation(5);
    master.wait_for_log("Waiting for old workers to exit before spinning up a process", 1);
    // Two old ones and the modern one keep the newest from being launched; as soon as they may go, all goes on.
    held.into_iter().for_each(|request| assert!(request.finish().is_ok()));
    master.wait_until("one is left, of the last version", LIMIT, || {
        master.workers().len() == 1
            && master.log().with("Upgrade").last().is_some_and(|line| line.contains("successfully"))
    });
}

/// A worker's own connection (`-g`) is that worker's still.
#[test]
fn a_worker_acks_on_its_own_connection_through_the_re_exec() {
    let program = "import os, sys, time\n\
        while not os.path.exists('serve'): time.sleep(0.01)\n\
        os.write(int(os.environ['EINHORN_SOCK_FD']), b'{\"command\":\"worker:ack\",\"pid\":1}\\n')\n\
        time.sleep(1000)";
    let master = Setup::new("-n 1 -m manual -g").program(["python3", "-c", program]).start();
    let worker = master.wait_for_workers(1)[0];
    master.reload();
    fs::write(master.file("serve"), "").unwrap();
    master.wait_for_log(&format!("Received a manual ACK from {worker}"), 1);
}

#[test]
fn the_title_is_einhorns_from_the_first_moment_on() {
    let master = Setup::new("-n 1 -m 0 -c web").program(["sleep", "1000"]).named("web").start();
    master.wait_for_log("Up to 1 / 1", 1);
    master.reload();
    assert_eq!(master.process().command_line().join(" ").trim_end(), "einhorn: ruby web");
    let log = master.wait_for_log("About to re-exec einhorn master as", 1);
    assert!(log[0].contains(&format!("[\"{EINHYRNINGSINS}\", \"--with-state-fd\", \"")), "{log:?}");
    assert!(log[0].ends_with("\"--\", \"sleep\", \"1000\"]"), "{log:?}");
}

/// By which ps, pgrep and pidof find it. An exec by descriptor would leave the descriptor's number, or the name of the file that the
/// link leads to.
#[test]
fn the_process_keeps_the_name_that_it_was_started_by() {
    let master = Setup::new("-n 1 -m 0").program(["sleep", "1000"]).by_link().start();
    master.wait_for_log("Up to 1 / 1", 1);
    let identity = || (master.process().text("comm"), master.process().program());
    let before = identity();
    assert_eq!(before.0, "master\n");
    for _ in 0..2 {
        master.reload();
        master.wait_until("it has its name again", LIMIT, || identity() == before);
    }
}

#[test]
fn a_wrapper_is_run_with_einhorns_words_and_may_change_the_environment() {
    let script = "echo \"$@\" >>calls; export COLOUR=blue; exec \"$OURS\" \"$@\"";
    let master = Setup::new("-n 1 -m 0 -s 0.01").program(["sleep", "1000"]).reexec_as(script).start();
    master.wait_for_log("Up to 1 / 1", 1);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("===> Exited worker", 1);
    let calls = fs::read_to_string(master.file("calls")).unwrap();
    let [check, real] = calls.lines().collect::<Vec<_>>()[..] else { panic!("{calls}") };
    assert_eq!(check, "--upgrade-check -- sleep 1000");
    assert!(real.starts_with("--with-state-fd ") && real.ends_with(" -- sleep 1000"), "{real}");
    assert_eq!(master.wait_for_workers(1)[0].environ()["COLOUR"], "blue");
}

/// Two versions live at once, each with its own sockets; the older one still dies and is replaced as what it was.
#[test]
fn an_upgrade_under_way_goes_on_where_it_was() {
    let setup = Setup::new("-n 2 -m manual -s 0.01 --retries 2 --max-unacked 2").bind(",r").release("old");
    let setup = setup.script(&format!("exec {} --ack manual", example("http_worker").display()));
    let master = setup.start();
    wait_for_first(&master, 2);
    master.replace("worker.sh", &format!("exec {}", example("http_worker").display()));
    let mut client = master.connect();
    client.send("{command: upgrade, id: 1}");
    master.wait_for_log("===> Launched", 4);
    master.reload();
    master.reload();
    // They never ack; at the second death the upgrade is given up, and the client hears of it.
    for failure in 1..=2 {
        let newest = master.wait_for_log("===> Launched", 3 + failure).pop().unwrap();
        let pid: i32 = newest.split("Launched ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        Process(pid).signal(Signal::SIGKILL);
        master.wait_for_log("before it was ACKed", failure);
    }
    let last = std::iter::from_fn(|| client.receive()).find(|line| line.contains("Upgrade failed")).unwrap();
    assert!(last.contains("2 new workers in a row died or did not ACK, version 0"), "{last}");
    assert_eq!(master.wait_for_workers(2).len(), 2);
    assert_eq!(ask(&master.addr().into(), "/x").unwrap().release, "old");
}

/// A configuration file is read again by the new image, from the command line of the first start.
#[test]
fn the_configuration_goes_over_with_what_was_commanded() {
    let setup = Setup::new("--config web.toml").program(["sleep", "1000"]);
    setup.write("web.toml", "number = 2\nack-mode = 0\nseconds = 0.01\n[log]\nlevel = 'debug'\n");
    let master = setup.start();
    master.wait_for_log("Up to 2 / 2", 1);
    master.control("{command: inc}");
    master.wait_for_workers(3);
    master.reload();
    let differences = decoded(&master.control("{command: diff}"));
    assert!(differences.contains("An upgrade would change nothing"), "{differences}");
    master.replace("web.toml", "number = 4\nack-mode = 0\nseconds = 0.01\n");
    let differences = decoded(&master.control("{command: diff}"));
    assert!(differences.contains("number: 3 -> 4 (web.toml:1)"), "{differences}");
    assert!(differences.contains("log.level: debug -> info (default)"), "{differences}");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully", 1);
    master.wait_for_workers(4);
}
