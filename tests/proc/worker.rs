//! What a worker is born with, by what /proc says about it: the same in the first and in the hundredth, and nothing that
//! it was not meant to have. What the sockets themselves are like is in `binding.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::support::{LIMIT, Master, Process, SOCKET_REPORT, Setup, SignalSet, free_address, socket_reports};

/// A starter with everything wrong: stray descriptors, deaf and blocked signals, and limits, umask and level of its own.
const STARTER: &str = r#"
import os, resource, signal, sys
for number in (3, 4, 7, 40, 99):
    os.dup2(os.open("/dev/null", os.O_RDWR), number)
for stray in os.pipe():
    os.set_inheritable(stray, True)
for each in signal.valid_signals():
    try:
        signal.signal(each, signal.SIG_IGN)
    except OSError:
        pass
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
resource.setrlimit(resource.RLIMIT_NOFILE, (300, 2000))
resource.setrlimit(resource.RLIMIT_CORE, (0, 4096))
os.umask(0o027)
os.nice(3)
# Python's own, see PEP 538.
os.environ.pop("LC_CTYPE", None)
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// Fields of `/proc/PID/status` that are the same for every worker.
const COMMON: &[&str] = &[
    "Umask",
    "TracerPid",
    "Uid",
    "Gid",
    "Groups",
    "Threads",
    "SigPnd",
    "ShdPnd",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Cpus_allowed",
    "PPid",
    "NSsid",
];

/// All that workers have in common.
#[derive(Debug, PartialEq)]
struct Birth {
    descriptors: BTreeMap<i32, String>,
    status: Vec<Option<String>>,
    limits: BTreeMap<String, (String, String)>,
    assignments: Vec<String>,
    directory: Option<PathBuf>,
    nice: Option<i32>,
    oom_score: String,
}

impl Birth {
    /// The index is left out of the environment: it is each worker's own.
    fn of(worker: &Process) -> Self {
        let mut assignments = worker.assignments();
        assignments = without_slot(assignments);
        Self {
            descriptors: worker.descriptors(),
            status: COMMON.iter().map(|field| worker.status(field)).collect(),
            limits: worker.limits(),
            assignments,
            directory: worker.directory(),
            nice: worker.nice(),
            oom_score: worker.text("oom_score_adj"),
        }
    }
}

/// Every one of them is as expected, leads its own group, and has an index that no other has.
#[track_caller]
fn assert_all(workers: &[Process], expected: &Birth) {
    for worker in workers {
        assert_eq!(&Birth::of(worker), expected, "worker {worker}");
        assert_eq!(worker.group(), Some(worker.0));
    }
    let mut indexes: Vec<usize> = workers.iter().map(|worker| index(*worker)).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..workers.len()).collect::<Vec<_>>());
}

fn index(worker: Process) -> usize {
    worker.environ()["EINHORN_CHILD_INDEX"].parse().unwrap()
}

/// Waits for so many workers of which none was there before.
#[track_caller]
fn wait_for_others(master: &Master, before: &[Process], count: usize) -> Vec<Process> {
    let mut workers = Vec::new();
    master.wait_until(&format!("there are {count} other workers"), LIMIT, || {
        workers = master.workers();
        let are_others = workers.len() == count && !workers.iter().any(|worker| before.contains(worker));
        // One that has just begun has files of the dynamic linker's open.
        are_others && workers.iter().all(|worker| worker.is_waiting())
    });
    workers
}

// Failure modes 19, 27, 28, 32, 93, 105. E37.
#[test]
fn workers_start_alike_whatever_the_master_inherited() {
    let (count, program) = (50, ["/usr/bin/sleep", "1000"]);
    let setup = Setup::new("-n 50 -m 0 -s 0.001 --max-unacked 50").bind("").bind(",r,n").program(program);
    let master = setup.through(&["python3", "-c", STARTER]).start();
    let first = master.wait_for_idle_workers(count);
    let expected = expected_birth(&master, first[0]);
    assert_all(&first, &expected);

    for worker in &first {
        worker.signal(Signal::SIGKILL);
    }
    let second = wait_for_others(&master, &first, count);
    assert_all(&second, &expected);
    for upgrade in 1..=2 {
        let before = master.workers();
        master.signal(Signal::SIGHUP);
        master.wait_for_log("Upgraded successfully", upgrade);
        wait_for_others(&master, &before, count);
    }
    // An upgrade's workers may have had higher indexes, while their elders lived.
    let fourth = master.workers();
    fourth.iter().for_each(|worker| assert_eq!(Birth::of(worker), expected, "worker {worker}"));
    assert!(master.log().count("===> Launched") >= 4 * count);
}

/// As the starter of the test above has it. The limits that it has not set are the master's own, which keeps them.
fn expected_birth(master: &Master, worker: Process) -> Birth {
    let mut limits = master.process().limits();
    assert_eq!(limits.insert("Max open files".into(), numbers("300", "2000")), Some(numbers("2000", "2000")));
    assert_eq!(limits["Max core file size"], numbers("0", "4096"));
    let birth = Birth::of(&worker);
    assert_eq!(
        (worker.blocked(), worker.ignored(), worker.caught()),
        (SignalSet::EMPTY, SignalSet::EMPTY, SignalSet::EMPTY)
    );
    assert_eq!((worker.parent(), worker.umask().as_deref()), (Some(master.process()), Some("0027")));
    assert_eq!(birth.descriptors.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let open = |number: i32| birth.descriptors[&number].clone();
    assert_eq!((open(0), open(1)), ("/dev/null".into(), master.file("stdout").display().to_string()));
    assert!(open(2).starts_with("pipe:[") && open(3).starts_with("socket:[") && open(4).starts_with("socket:["));
    assert_eq!(worker.listening_on(), master.process().listening_on());
    Birth {
        limits,
        assignments: without_slot(environment_with(master, &fd_variables(2))),
        directory: Some(master.directory().canonicalize().unwrap()),
        nice: Process::this().nice().map(|level| (level + 3).min(19)),
        ..birth
    }
}

/// What each worker has for its own is left out, and the number of slots of a test with one worker.
fn without_slot(mut assignments: Vec<String>) -> Vec<String> {
    let of_slot = ["EINHORN_CHILD_INDEX=", "EINHYRNINGSINS_SLOT=", "EINHYRNINGSINS_SLOTS=", "EINHYRNINGSINS_SLOT_PID="];
    assignments.retain(|assignment| !of_slot.iter().any(|name| assignment.starts_with(name)));
    assignments
}

fn numbers(soft: &str, hard: &str) -> (String, String) {
    (soft.to_owned(), hard.to_owned())
}

/// Those of `count` IPv4 sockets.
fn fd_variables(count: usize) -> Vec<String> {
    let each =
        (0..count).flat_map(|at| [format!("EINHORN_FD_{at}={}", at + 3), format!("EINHORN_FD_FAMILY_{at}=AF_INET")]);
    let all = (3..count + 3).map(|fd| fd.to_string()).collect::<Vec<_>>().join(" ");
    [format!("EINHORN_FD_COUNT={count}"), format!("EINHORN_FDS={all}")].into_iter().chain(each).collect()
}

/// What the harness gives, einhorn's two, `more`, and for a single worker our two.
fn environment_with(master: &Master, more: &[String]) -> Vec<String> {
    let directory = master.directory().display();
    let common = [
        "PATH=/usr/local/bin:/usr/bin:/bin".to_owned(),
        format!("TMPDIR={directory}"),
        format!("EINHORN_MASTER_PID={}", master.process()),
        format!("EINHORN_SOCK_PATH={directory}/einhorn.sock"),
    ];
    let slot = ["EINHYRNINGSINS_SLOT=0", "EINHYRNINGSINS_SLOTS=1"].map(str::to_owned);
    common.into_iter().chain(more.iter().cloned()).chain(slot).collect()
}

/// As recorded of einhorn 0.8.2, with EINHORN_FD_FAMILY_n beside it, and our three at the end.
#[test]
fn the_environment_is_einhorns() {
    let master = Setup::new("-n 1").program(["sleep", "1000"]).start();
    let worker = master.wait_for_workers(1)[0];
    let mut expected = environment_with(
        &master,
        &["EINHORN_FD_COUNT=0".into(), "EINHORN_FDS=".into(), "EINHORN_CHILD_INDEX=0".into()],
    );
    expected.push(format!("EINHYRNINGSINS_SLOT_PID={worker}"));
    assert_eq!(worker.assignments(), expected);

    let master = Setup::new("-c nm").bind("").program(["sleep", "1000"]).start();
    let environment = master.wait_for_workers(1)[0].environ();
    assert_eq!(environment["EINHORN_SOCK_PATH"], master.file("einhorn-nm.sock").to_str().unwrap());
    assert_eq!((&*environment["EINHORN_FD_0"], &*environment["EINHORN_FD_FAMILY_0"]), ("3", "AF_INET"));
}

// E15. The path stands in it as it was given, the descriptor follows the sockets.
#[test]
fn a_worker_with_g_gets_an_open_connection() {
    let master = Setup::new("-n 2 -g -d ./rel.sock").bind("").program(["sleep", "1000"]).start();
    for worker in master.wait_for_idle_workers(2) {
        let environment = worker.environ();
        assert_eq!((&*environment["EINHORN_SOCK_PATH"], &*environment["EINHORN_SOCK_FD"]), ("./rel.sock", "4"));
        let open = worker.descriptors();
        assert_eq!(open.keys().copied().collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
        assert!(open[&4].starts_with("socket:["));
    }
    let [first, second] = [0, 1].map(|at| master.workers()[at].descriptors()[&4].clone());
    assert_ne!(first, second, "each has a connection of its own");
}

/// Acks on its own connection, naming another: worker 0 names worker 1, who says nothing.
const FOREIGN_ACK: &str = r#"
[ "$EINHORN_CHILD_INDEX" = 1 ] && { echo $$ >one.new; mv one.new one; exec sleep 1000; }
until [ -f one ]; do sleep 0.01; done
read -r other <one
eval "exec 9>&$EINHORN_SOCK_FD"
printf '{"command":"worker:ack", "pid":%s}\n' "$other" >&9
exec sleep 1000
"#;

/// The kernel says of this connection only that it is ours, so that it is the worker which is named.
#[test]
fn the_given_connection_is_for_acks_and_pings_alone() {
    let program = "import os\nfd = int(os.environ['EINHORN_SOCK_FD'])\nos.write(fd, b'{command: die}\\n')\n\
        print(os.read(fd, 1000).decode(), flush=True)\nos.read(fd, 1)";
    let master = Setup::new("-n 1 -m 0 -g").program(["python3", "-c", program]).start();
    let worker = master.wait_for_workers(1)[0];
    let denial = format!("Permission denied: worker {worker} may only ack and ping on its own connection");
    master.wait_until("it is answered", LIMIT, || master.stdout().replace("%0A ", "").contains(&denial));
    master.wait_for_log(&format!("worker {worker} asked for what only an admin may"), 1);
}

// E15, and E23 for this connection: failure mode 78.
#[test]
fn an_ack_over_a_workers_own_connection_ignores_the_pid_that_it_names() {
    let master = Setup::new("-n 2 -m manual -g").script(FOREIGN_ACK).start();
    let said = master.wait_for_log("Received a manual ACK from", 1);
    let workers = master.wait_for_workers(2);
    let of_index = |wanted: usize| *workers.iter().find(|worker| index(**worker) == wanted).unwrap();
    assert!(said[0].ends_with(&format!("Received a manual ACK from {}", of_index(0))), "{said:?}");
    master.wait_for_log("Up to 1 / 2 manual ACKs", 1);
    assert_eq!(master.log().count("manual ACK"), 2, "the other one was acked, too:\n{}", master.log());
}

/// Executes its arguments with an environment that no shell would make: equal names, an entry without a value, and
/// what only a supervisor says.
const FORGER: &str = r#"
import ctypes, os, sys
own = [b"PATH=" + os.environb[b"PATH"], b"TMPDIR=" + os.environb[b"TMPDIR"]]
forged = [b"EINHORN_FD_COUNT=9", b"EINHORN_FD_0=2", b"EINHORN_MASTER_PID=1", b"EINHORN_ANYTHING=x", b"EINHORN_SOCK_FD=0",
          b"LISTEN_FDS=3", b"LISTEN_PID=%d" % os.getpid(), b"LISTEN_FDNAMES=a:b:c"]
entries = own + [b"A=first"] + forged + [b"NOVALUE", b"A=second", b"EMPTY=", b"BYTES=\xff\xfe", b"EINHORN=kept"]
as_array = lambda words: (ctypes.c_char_p * (len(words) + 1))(*words, None)
words = [os.fsencode(word) for word in sys.argv[1:]]
ctypes.CDLL(None).execve(words[0], as_array(words), as_array(entries))
"#;

// Failure mode 104.
#[test]
fn variables_of_another_supervisor_are_dropped() {
    let setup = Setup::new("-n 1").program(["sleep", "1000"]);
    let master = setup.through(&["python3", "-c", FORGER]).start();
    let worker = master.wait_for_workers(1)[0];
    let mut expected = environment_with(
        &master,
        &["EINHORN_FD_COUNT=0".into(), "EINHORN_FDS=".into(), "EINHORN_CHILD_INDEX=0".into()],
    );
    let kept = ["A=first", "EMPTY=", "BYTES=\u{fffd}\u{fffd}", "EINHORN=kept"].map(str::to_owned);
    expected.splice(2..2, kept);
    expected.push(format!("EINHYRNINGSINS_SLOT_PID={worker}"));
    assert_eq!(worker.assignments(), expected);
    assert!(worker.bytes("environ").windows(8).any(|window| window == b"BYTES=\xff\xfe"));
}

/// As einhorn has it: the first workers still see it.
#[test]
fn a_dropped_variable_is_gone_from_the_first_upgrade_on() {
    let setup = Setup::new("-n 1 -m 0 -s 0.01 --drop-env-var CF_DROP").env("CF_DROP", "dropped").env("CF_KEEP", "kept");
    let master = setup.program(["sleep", "1000"]).start();
    let first = master.wait_for_workers(1);
    let environment = first[0].environ();
    assert_eq!((&*environment["CF_DROP"], &*environment["CF_KEEP"]), ("dropped", "kept"));
    master.signal(Signal::SIGHUP);
    let environment = wait_for_others(&master, &first, 1)[0].environ();
    assert_eq!((environment.get("CF_DROP"), &*environment["CF_KEEP"]), (None, "kept"));
}

// Failure mode 18.
#[test]
fn a_worker_gets_the_lowest_index_that_is_free() {
    let master = Setup::new("-n 4 -m 0 -s 0.001").program(["sleep", "1000"]).start();
    let first = master.wait_for_workers(4);
    for dying in [vec![2], vec![0, 3], vec![1]] {
        let before = master.wait_for_workers(4);
        let of_index = |wanted: usize| *before.iter().find(|worker| index(**worker) == wanted).unwrap();
        let killed: Vec<_> = dying.iter().map(|&index| of_index(index)).collect();
        killed.iter().for_each(|worker| assert!(worker.signal(Signal::SIGKILL)));
        wait_until_replaced(&master, &killed, 4);
        let mut new: Vec<_> =
            master.workers().into_iter().filter(|worker| !before.contains(worker)).map(index).collect();
        new.sort_unstable();
        assert_eq!(new, dying);
    }
    assert_eq!(first.iter().filter(|worker| worker.is_alive()).count(), 0);
}

fn wait_until_replaced(master: &Master, killed: &[Process], count: usize) {
    master.wait_until("the killed are replaced", LIMIT, || {
        let workers = master.workers();
        workers.len() == count && !workers.iter().any(|worker| killed.contains(worker))
    });
}

#[test]
fn nice_levels_are_the_masters_and_the_workers_own() {
    let born = Process::this().nice().unwrap();
    for (option, master_level, worker_level) in [("--nice 11:12", 11, 12), ("--nice 13", 13, 13), ("-q", born, born)] {
        let master = Setup::new("-n 1").options(option).program(["sleep", "1000"]).start();
        let worker = master.wait_for_workers(1)[0];
        assert_eq!((master.process().nice(), worker.nice()), (Some(master_level), Some(worker_level)), "{option}");
        // Every thread of the master's: nice is a thread's own on Linux.
        let tasks = fs::read_dir(format!("/proc/{}/task", master.process())).unwrap().flatten();
        let levels: Vec<_> = tasks.map(|task| nice_of_task(&task.path())).collect();
        assert!(levels.iter().all(|level| *level == master_level), "{option}: {levels:?}");
    }
}

fn nice_of_task(task: &std::path::Path) -> i32 {
    let stat = fs::read_to_string(task.join("stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(16).unwrap().parse().unwrap()
}

// Failure mode 34.
#[test]
fn the_parent_death_signal_is_set_with_k_and_only_then() {
    for (option, expected) in [("-k", Signal::SIGUSR2 as i64), ("-n1", 0)] {
        let master = Setup::new("-m 0 -s 0.01").options(option).program(["python3", "-c", SOCKET_REPORT]).start();
        assert_eq!(socket_reports(&master, 1)[0]["death_signal"], expected, "{option}");
        // And in one of a later version.
        master.signal(Signal::SIGHUP);
        assert_eq!(socket_reports(&master, 2)[1]["death_signal"], expected, "{option}");
    }
}

/// The directory is the one that the master was born in, not one that has its name later.
#[test]
fn the_directory_is_the_masters_even_when_it_was_renamed() {
    let setup = Setup::new("-n 1 -m 0 -s 0.01").program(["sleep", "1000"]);
    let inside = setup.directory().join("deploy");
    fs::create_dir(&inside).unwrap();
    let master = setup.through(&["/bin/sh", "-c", "cd deploy && exec \"$@\"", "sh"]).start();
    let first = master.wait_for_workers(1);
    let moved = master.file("moved");
    fs::rename(&inside, &moved).unwrap();
    first[0].signal(Signal::SIGKILL);
    let second = wait_for_others(&master, &first, 1);
    assert_eq!(second[0].directory(), Some(moved.canonicalize().unwrap()));
}

/// More sockets than descriptors that a master usually has open: none may be overwritten on its way to its number.
#[test]
fn many_sockets_stand_in_order_without_a_gap() {
    let addresses: Vec<_> = (0..20).map(|_| free_address()).collect();
    let options: Vec<_> = addresses.iter().map(|address| format!("-b {address}")).collect();
    let master = Setup::new("-g").options(&options.join(" ")).program(["sleep", "1000"]).start();
    let worker = master.wait_for_idle_workers(1)[0];
    let open = worker.descriptors();
    assert_eq!(open.keys().copied().collect::<Vec<_>>(), (0..24).collect::<Vec<_>>());
    let names: Vec<_> = (3..23).map(|number| worker.socket_address(&open[&number])).collect();
    assert_eq!(names, addresses.into_iter().map(Some).collect::<Vec<_>>());
}
