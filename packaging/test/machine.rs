//! A machine that boots for one test: a real systemd, with a copy of this system that is thrown away when the test is over.
//!
//! ```ignore
//! let machine = Machine::boot();
//! machine.write("/etc/einhyrningsins/web.toml", "…");
//! let package = machine.copy_in(&packages::deb());
//! machine.sh(&format!("dpkg -i {package}"));
//! machine.sh("systemctl start einhyrningsins@web");
//! machine.in_network(|| TcpStream::connect("127.0.0.1:8080").unwrap());
//! ```
//!
//! `boot.sh` says what it has of its own. Commands run in it as root, and nothing that they do is seen outside.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{io, panic, process, thread};

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;

use crate::support::holds_within;

/// How long a machine may take to boot, and anything that is waited for to come true. Both mostly take a second.
const LIMIT: Duration = Duration::from_secs(120);
/// How long a command may run before it is killed; for installing packages on a slow disk.
const COMMAND_SECONDS_MAX: &str = "300";
/// A machine that is forgotten, since the test was killed, is gone after this time, if its test does not say that it takes longer.
const LIFE_MAX: Duration = Duration::from_secs(1800);
/// What the commands find in their environment.
const ENVIRONMENT: [&str; 5] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LC_ALL=C.UTF-8",
    "TERM=dumb",
    "DEBIAN_FRONTEND=noninteractive",
];

/// Gone when it is dropped, with all that runs in it.
pub struct Machine {
    /// What holds the machine; it ends when systemd does.
    holder: Child,
    /// systemd's pid, as it is seen from outside.
    systemd: Pid,
    cgroup: Cgroup,
    directory: TempDir,
}

impl Machine {
    /// Panics, with what systemd said, if it does not come up.
    pub fn boot() -> Self {
        Self::boot_for(LIFE_MAX)
    }

    /// One that is gone after this time at the latest.
    pub fn boot_for(life: Duration) -> Self {
        assert!(geteuid().is_root(), "a machine is booted by root: sudo make package-test");
        let directory = tempfile::Builder::new().prefix("machine").tempdir().unwrap();
        let cgroup = Cgroup::name_one();
        let console = File::create(directory.path().join("console")).unwrap();
        let mut holder = Command::new("timeout")
            .args(["--signal=KILL", &life.as_secs().to_string()])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/test/boot.sh"))
            .args([directory.path(), &cgroup.0])
            .stdin(Stdio::null())
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .spawn()
            .unwrap();
        let Some(systemd) = find_systemd(&mut holder, directory.path()) else {
            let said = console_of(directory.path());
            give_up(&mut holder, directory.path(), &cgroup);
            panic!("no systemd after {LIMIT:?}; on the console:\n{said}");
        };
        let machine = Self { holder, systemd, cgroup, directory };
        // The bus comes a little after systemd, so the first tries may find no bus to ask. Whether every unit of this system
        // likes to be in here is not what is tested.
        let state = || machine.output(&["systemctl", "is-system-running"]).trim().to_owned();
        let is_up = || ["running", "degraded"].contains(&state().as_str());
        assert!(holds_within(LIMIT, is_up), "{} after {LIMIT:?}; on the console:\n{}", state(), machine.console());
        machine
    }

    /// Runs a command in it and waits for its end.
    pub fn run<S: AsRef<OsStr>>(&self, words: &[S]) -> Output {
        let mut command = self.command(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).output().unwrap()
    }

    /// A command that runs in it, to be given arguments and started. It is killed if it takes too long.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.systemd.to_string(), "--all", "env", "-i"]).args(ENVIRONMENT);
        command.args(["timeout", "--kill-after=5", COMMAND_SECONDS_MAX]).arg(program);
        command
    }

    /// What a shell script prints, without the end of its last line. Panics with all that it said if one of its commands fails.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let output = self.try_sh(script);
        assert!(output.status.success(), "{script}\n{}\non the console:\n{}", told(&output), self.console());
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs a shell script that may fail.
    pub fn try_sh(&self, script: &str) -> Output {
        self.run(&["bash", "-euo", "pipefail", "-c", script])
    }

    /// Where a file of the machine's is to be found from outside, as long as no link leads to it by an absolute path.
    pub fn path(&self, inside: &str) -> PathBuf {
        assert!(inside.starts_with('/'), "{inside} is no absolute path");
        PathBuf::from(format!("/proc/{}/root{inside}", self.systemd))
    }

    /// Makes its directories, too. It is root's, and all users may read it.
    #[track_caller]
    pub fn write(&self, inside: &str, text: &str) {
        let path = self.path(inside);
        fs::create_dir_all(path.parent().unwrap()).and_then(|()| fs::write(&path, text)).unwrap();
    }

    #[track_caller]
    pub fn read(&self, inside: &str) -> String {
        fs::read_to_string(self.path(inside)).unwrap_or_else(|error| panic!("cannot read {inside}: {error}"))
    }

    /// Whether there is something, be it a link that leads nowhere.
    pub fn has(&self, inside: &str) -> bool {
        self.path(inside).symlink_metadata().is_ok()
    }

    /// What is otherwise below this directory than it is outside, each with what it is now. Times do not count.
    pub fn changes(&self, inside: &str) -> BTreeMap<PathBuf, String> {
        let mut changes = BTreeMap::new();
        compare(&self.path("/run/changes"), Path::new(inside), &mut changes);
        changes
    }

    /// Copies a file of this system's into the machine's /tmp, with its permissions, and says where it is there.
    #[track_caller]
    pub fn copy_in(&self, outside: &Path) -> String {
        let inside = format!("/tmp/{}", outside.file_name().unwrap().to_string_lossy());
        let copied = fs::copy(outside, self.path(&inside));
        copied.unwrap_or_else(|error| panic!("cannot copy {} into the machine: {error}", outside.display()));
        inside
    }

    /// Runs this in the machine's network, where 127.0.0.1 is the machine's. Threads that it starts are there, too; files are those
    /// outside.
    pub fn in_network<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.systemd)).unwrap();
        let inside = move || {
            setns(&network, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|cause| panic::resume_unwind(cause))
    }

    /// Waits until this holds; panics with the console and what was waited for if it never does.
    #[track_caller]
    pub fn wait_until(&self, what: &str, condition: impl FnMut() -> bool) {
        let came = holds_within(LIMIT, condition);
        assert!(came, "waited {LIMIT:?} for this, in vain: {what}\non the console:\n{}", self.console());
    }

    /// A property of a unit, as `systemctl show` has it: `ActiveState`, `MainPID`, `StatusText`.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.sh(&format!("systemctl show --value --property={name} {unit}"))
    }

    /// What a unit has said to the journal.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> String {
        self.sh(&format!("journalctl --sync; journalctl --no-pager --output=cat --unit={unit}"))
    }

    /// What systemd has said so far.
    pub fn console(&self) -> String {
        console_of(self.directory.path())
    }

    fn output(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.run(words).stdout).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With the first process of their namespace all others are killed.
        let _ = kill(self.systemd, Signal::SIGKILL);
        let _ = self.holder.wait();
        self.cgroup.remove();
    }
}

/// Walks through the upper half of the overlay: a directory is there as soon as anything below it has changed.
fn compare(upper: &Path, directory: &Path, changes: &mut BTreeMap<PathBuf, String>) {
    let Ok(entries) = fs::read_dir(upper.join(directory.strip_prefix("/").unwrap())) else { return };
    for entry in entries.map(Result::unwrap) {
        let outside = directory.join(entry.file_name());
        let (now, before) = (description(&entry.path()), description(&outside));
        if now != before {
            changes.insert(outside.clone(), now.unwrap_or_else(|| "gone".to_owned()));
        }
        if entry.file_type().unwrap().is_dir() {
            compare(upper, &outside, changes);
        }
    }
}

/// None for what is not there, or was: an overlay puts a device of the number 0 in its place.
fn description(path: &Path) -> Option<String> {
    let metadata =
        path.symlink_metadata().ok().filter(|found| !(found.file_type().is_char_device() && found.rdev() == 0))?;
    let owner = format!("{:o} {}:{}", metadata.mode(), metadata.uid(), metadata.gid());
    let mut hasher = DefaultHasher::new();
    match () {
        () if metadata.is_symlink() => fs::read_link(path).unwrap().hash(&mut hasher),
        () if metadata.is_file() => fs::read(path).unwrap().hash(&mut hasher),
        () => {}
    }
    Some(format!("{owner} {:x}", hasher.finish()))
}

/// Exit code or signal, and all that was said.
pub fn told(output: &Output) -> String {
    let end = match (output.status.code(), output.status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, signal) => format!("signal {}", signal.unwrap_or_default()),
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{end}\n{out}{err}")
}

/// A directory of the machine's own in the cgroup2 file system.
struct Cgroup(PathBuf);

impl Cgroup {
    /// It is not made yet. Where the older hierarchies are in use, the new one is mounted beside them.
    fn name_one() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let beside = Path::new("/sys/fs/cgroup/unified");
        let root = if beside.exists() { beside } else { Path::new("/sys/fs/cgroup") };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(root.join(format!("machine-{}-{count}", process::id())))
    }

    /// A cgroup can be removed when no process and no cgroup is in it any more.
    fn remove(&self) {
        if !holds_within(LIMIT, || !self.0.exists() || remove_below(&self.0).is_ok()) {
            eprintln!("cannot remove {}", self.0.display());
        }
    }
}

/// The kernel's own files in a cgroup are not removed, and need not be.
fn remove_below(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

/// The only child of what holds the machine, once it has become systemd. None if it does not, or what holds it has ended.
fn find_systemd(holder: &mut Child, directory: &Path) -> Option<Pid> {
    let mut found = None;
    holds_within(LIMIT, || {
        let child = held_by(directory).and_then(only_child);
        found =
            child.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "systemd\n"));
        found.is_some() || holder.try_wait().unwrap().is_some()
    });
    found
}

/// The pid that `boot.sh` has written down.
fn held_by(directory: &Path) -> Option<i32> {
    fs::read_to_string(directory.join("holder")).ok()?.trim().parse().ok()
}

fn give_up(holder: &mut Child, directory: &Path, cgroup: &Cgroup) {
    let holding = held_by(directory).map(Pid::from_raw);
    // Nothing else can have this number: its parent has not looked at its end yet, if it has ended.
    if let (Some(holding), Ok(None)) = (holding, holder.try_wait()) {
        let _ = kill(holding, Signal::SIGKILL);
    }
    let _ = holder.wait();
    cgroup.remove();
}

fn only_child(parent: i32) -> Option<Pid> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.map(Pid::from_raw).find(|pid| parent_of(*pid) == Some(parent))
}

/// The second field behind the name, which stands in brackets and may have brackets in it.
fn parent_of(pid: Pid) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

fn console_of(directory: &Path) -> String {
    fs::read_to_string(directory.join("console")).unwrap_or_default()
}
