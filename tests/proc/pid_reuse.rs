//! Number 17: the process ids of a killed master's workers, which strangers have by the time when the next master reads the journal, or when it
//! tells the workers to go. In a pid namespace, where one can choose which number comes next.

use std::process::Command;

use crate::support::{EINHYRNINGSINS, Setup, is_root};

const WORKERS: usize = 250;
const ROUNDS: usize = 4;

/// The first process of the namespace. A stranger blocks each signal, so that the kernel keeps what it was sent.
const DRIVER: &str = r#"
import json, os, signal, sys, time

PROGRAM, WORKERS, ROUNDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ALL = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
JOURNAL = "einhorn.lock.journal"

def log():
    return open("log").read()

def status(pid):
    try:
        with open(f"/proc/{pid}/status") as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    except (FileNotFoundError, ProcessLookupError):
        return None

def reap():
    try:
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        pass

def wait_for(what, condition):
    until = time.monotonic() + 60
    while not condition():
        reap()
        if time.monotonic() > until:
            sys.exit(f"not within a minute: {what}\n{log()}")
        time.sleep(0.005)

def start(options):
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        words = [PROGRAM, "--adopt", "-n", str(WORKERS), *options, "--", "/bin/sleep", "1000"]
        os.execve(PROGRAM, words, {"PATH": "/usr/bin:/bin", "TMPDIR": os.getcwd()})
    return pid

def listed(master):
    try:
        journal = json.loads(open(JOURNAL).readline())
    except (FileNotFoundError, ValueError):
        return []
    is_own = journal["master"]["pid"] == master
    return [worker["pid"] for worker in journal["workers"]] if is_own else []

def started(options):
    master = start(options)
    wait_for("all workers are listed", lambda: len(listed(master)) == WORKERS)
    return master, listed(master)

def kill(pids):
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_for("they are gone", lambda: all(status(pid) is None for pid in pids))

def stranger(pid):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        while True:
            signal.pause()
    if child != pid:
        sys.exit(f"a stranger got {child} and not {pid}")
    return child

def strangers(pids):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ALL)
    found = [stranger(pid) for pid in pids]
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return found

def assert_untouched(pids):
    for pid in pids:
        found = status(pid)
        seen = found and (found["State"][0] in "SR", int(found["SigPnd"], 16), int(found["ShdPnd"], 16))
        if seen != (True, 0, 0):
            sys.exit(f"stranger {pid} was sent something: {seen}\n{log()}")

reused = 0
master, workers = started([])
for _ in range(ROUNDS):
    kill([master])
    kill(workers)
    others = strangers(workers)
    # One that plays a worker by its number shall not be told anything when the master ends, either.
    master, workers = started([])
    if set(workers) & set(others) or "adopting" in log():
        sys.exit(f"a stranger was adopted\n{log()}")
    os.kill(master, signal.SIGTERM)
    wait_for("the master ends", lambda: status(master) is None)
    assert_untouched(others)
    reused += len(others)
    kill(others)
    master, workers = started([])

# None of the new ones ever acks, so that those that were adopted stay.
kill([master])
master = start(["-m", "manual"])
wait_for("the workers are adopted", lambda: "adopting its workers" in log() and "===> Launched" in log())
os.kill(master, signal.SIGSTOP)
kill(workers)
others = strangers(workers)
os.kill(master, signal.SIGTERM)
os.kill(master, signal.SIGCONT)
wait_for("the master ends", lambda: status(master) is None)
assert_untouched(others)
print(reused + len(others))
"#;

#[test]
fn a_stranger_with_the_number_of_a_killed_masters_worker_is_told_nothing() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("");
    let driver = setup.write("driver.py", DRIVER);
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "python3"]).arg(driver).arg(EINHYRNINGSINS);
    let output = command.args([WORKERS, ROUNDS].map(|count| count.to_string())).current_dir(setup.directory()).output();
    let output = output.unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim(), (WORKERS * (ROUNDS + 1)).to_string());
}
