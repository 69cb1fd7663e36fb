//! What a master is doing when a system call of its fails: how it is set up, what is done to it, how one sees that it is over when nothing
//! fails, and what has to be true afterwards. It must never ask the master anything while calls are counted, for the answer would
//! count, too.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use nix::sys::signal::Signal;

use crate::ask::ask;
use crate::fault::Scope;
use crate::support::{LIMIT, Master, Process, Setup, example, free_address};

/// How many workers every phase begins with.
pub const WORKERS: usize = 2;

/// What the log says when all of them serve.
const ALL_SERVE: &str = "Up to 2 / 2 manual ACKs";

/// Where the shell that becomes the master waits for its word.
const GATE: &str = "gate";

/// A phase.
pub struct Phase {
    pub name: &'static str,
    pub scope: Scope,
    pub setup: fn() -> Setup,
    /// What has happened by then.
    pub before: fn(Setup) -> Before,
    /// Begins it; asks and waits for answers as long as it likes.
    pub act: fn(&Scene),
    /// Whether it is over, if nothing fails.
    pub over: fn(&Scene) -> bool,
    pub wanted: Wanted,
}

/// What has to be true soon after the fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// It is there with its workers, replaces one that is killed, and hears a signal.
    Works,
    /// The same, and it can be upgraded.
    CanBeUpgraded,
    /// The one or the other: a start may be refused.
    WorksOrEnds,
    /// It has ended, and left nothing behind.
    Ends,
    /// As [`Self::CanBeUpgraded`], or the start was refused: the workers of the killed master serve, and a later start can adopt them.
    AdoptsOrLeaves,
}

/// What a phase finds.
pub struct Before {
    setup: Setup,
    /// A master of before, and its workers.
    killed: Option<(Master, Vec<Process>)>,
}

impl Before {
    fn nothing(setup: Setup) -> Self {
        Self { setup, killed: None }
    }
}

/// A master in a phase.
pub struct Scene {
    pub master: Master,
    /// Its workers at the beginning, or those that it is to adopt.
    pub workers: Vec<Process>,
    /// What is dropped ends its workers.
    _killed: Option<Master>,
    /// What its log had said by then: that all serve, that it was upgraded, that a worker ended.
    before: [usize; 3],
}

pub const PHASES: &[Phase] = &[
    Phase {
        name: "start",
        scope: Scope::Master { images_later: 1 },
        setup: || behind_a_gate(plain()),
        before: Before::nothing,
        act: |scene| fs::write(scene.master.file(GATE), "go\n").unwrap(),
        over: |scene| scene.said_since(ALL_SERVE) >= 1,
        wanted: Wanted::WorksOrEnds,
    },
    Phase { name: "requests", act: ask_much, over: |_| true, ..STEADY },
    Phase { name: "death", act: kill_one, over: |scene| scene.said_since(ALL_SERVE) >= 1, ..STEADY },
    Phase {
        name: "child",
        scope: Scope::Child,
        act: kill_one,
        over: |scene| scene.said_since(ALL_SERVE) >= 1,
        ..STEADY
    },
    Phase {
        name: "number",
        act: |scene| {
            let _unanswered = ask(scene.master.socket(), "{command: inc}");
            let _unanswered = ask(scene.master.socket(), "{command: dec}");
        },
        over: |scene| scene.said_since("===> Exited worker") >= 1,
        ..STEADY
    },
    Phase {
        name: "socket",
        act: |scene| fs::remove_file(scene.master.socket()).unwrap(),
        over: |scene| scene.master.log().count("was removed, made it anew") >= 1,
        ..STEADY
    },
    Phase { name: "reload", act: reload, over: is_reloaded, wanted: Wanted::CanBeUpgraded, ..STEADY },
    Phase {
        name: "check",
        scope: Scope::Check,
        act: reload,
        over: is_reloaded,
        wanted: Wanted::CanBeUpgraded,
        ..STEADY
    },
    Phase {
        name: "takeover",
        scope: Scope::Master { images_later: 1 },
        act: reload,
        over: is_reloaded,
        wanted: Wanted::CanBeUpgraded,
        ..STEADY
    },
    Phase {
        name: "return",
        scope: Scope::Master { images_later: 2 },
        setup: through_a_wrapper_that_loses_the_state,
        before: Before::nothing,
        act: reload,
        over: |scene| scene.master.log().count("Could not reload!") >= 1,
        wanted: Wanted::CanBeUpgraded,
    },
    Phase {
        name: "upgrade",
        scope: Scope::Master { images_later: 1 },
        act: |scene| send(scene, Signal::SIGHUP),
        over: is_upgraded,
        wanted: Wanted::CanBeUpgraded,
        ..STEADY
    },
    Phase {
        name: "adopt",
        scope: Scope::Master { images_later: 1 },
        setup: of_a_file,
        before: a_master_was_killed,
        act: |scene| fs::write(scene.master.file(GATE), "go\n").unwrap(),
        over: is_upgraded,
        wanted: Wanted::AdoptsOrLeaves,
    },
    Phase {
        name: "binds",
        scope: Scope::Master { images_later: 1 },
        setup: of_a_file,
        before: Before::nothing,
        act: change_the_binds,
        over: is_upgraded,
        wanted: Wanted::CanBeUpgraded,
    },
    Phase { name: "stop", act: |scene| send(scene, Signal::SIGTERM), ..ENDING },
    Phase { name: "interrupt", act: |scene| send(scene, Signal::SIGINT), ..ENDING },
    Phase { name: "die", act: |scene| drop(ask(scene.master.socket(), "{command: die}")), ..ENDING },
];

const STEADY: Phase = Phase {
    name: "",
    scope: Scope::Master { images_later: 0 },
    setup: plain,
    before: Before::nothing,
    act: |_| {},
    over: |_| true,
    wanted: Wanted::Works,
};

const ENDING: Phase = Phase { over: |scene| !scene.master.process().is_alive(), wanted: Wanted::Ends, ..STEADY };

impl Phase {
    /// Starts a master and waits until all its workers serve, unless the start itself is the phase.
    pub fn begin(&self) -> Scene {
        let Before { setup, killed } = (self.before)((self.setup)());
        let (killed, orphans) = killed.unzip();
        let master = setup.start();
        let workers = if matches!(self.wanted, Wanted::WorksOrEnds | Wanted::AdoptsOrLeaves) {
            let waits = || fs::read_link(format!("/proc/{}/exe", master.process())).is_ok_and(|exe| is_shell(&exe));
            master.wait_until("the shell waits at its gate", LIMIT, || waits() && master.process().is_waiting());
            orphans.unwrap_or_default()
        } else {
            master.wait_for_log(ALL_SERVE, 1);
            master.wait_for_idle_workers(WORKERS)
        };
        let before = COUNTED.map(|text| master.log().count(text));
        Scene { master, workers, before, _killed: killed }
    }
}

fn is_shell(exe: &std::path::Path) -> bool {
    fs::canonicalize("/bin/sh").is_ok_and(|shell| shell == exe)
}

/// What scenes count from their beginning on.
const COUNTED: [&str; 3] = [ALL_SERVE, "Upgraded successfully", "===> Exited worker"];

impl Scene {
    fn said_since(&self, text: &str) -> usize {
        let place = COUNTED.iter().position(|known| *known == text).expect("a text of those that are counted");
        self.master.log().count(text).saturating_sub(self.before[place])
    }

    /// Where the workers serve besides the address.
    pub fn unix_socket(&self) -> PathBuf {
        self.master.file("web.sock")
    }
}

fn plain() -> Setup {
    let setup = in_its_place("-n 2 -m manual -s 0.01").bind(",r").http_worker("--ack manual").release("one");
    let path = setup.directory().join("web.sock");
    setup.options(&format!("-b unix:{}", path.display()))
}

/// With a path for each of its files: one that cannot look at its directory would take another.
fn in_its_place(options: &str) -> Setup {
    in_its_place_of(Setup::new(options))
}

fn in_its_place_of(setup: Setup) -> Setup {
    let [socket, pid_file, lock] =
        ["sock", "pid", "lock"].map(|suffix| setup.directory().join(format!("einhorn.{suffix}")));
    setup.socket(socket).options(&format!("-e {} -f {}", pid_file.display(), lock.display()))
}

fn behind_a_gate(setup: Setup) -> Setup {
    nix::unistd::mkfifo(&setup.directory().join(GATE), nix::sys::stat::Mode::S_IRWXU).unwrap();
    setup.through(&["/bin/sh", "-c", "read line <gate; exec \"$@\"", "sh"])
}

fn through_a_wrapper_that_loses_the_state() -> Setup {
    plain().reexec_as_python(
        "if sys.argv[1] == '--with-state-fd' and not os.path.exists('lost'):\n    open('lost', 'w').close()\n    os.close(int(sys.argv[2]))\n\
         os.execv(ours, [ours] + sys.argv[1:])",
    )
}

/// The addresses stay the same for a master, and another one comes with the upgrade.
fn file(addresses: &[SocketAddr], path: &std::path::Path) -> String {
    let binds: Vec<_> = addresses.iter().map(|address| format!("'{address},r'")).collect();
    let worker = example("http_worker");
    format!(
        "command = ['{}', '--ack', 'manual']\nbind = [{}, 'unix:{}']\nack-mode = 'manual'\nseconds = 0.01\nnumber = 2\n",
        worker.display(),
        binds.join(", "),
        path.display()
    )
}

fn of_a_file() -> Setup {
    let address = free_address();
    let setup = in_its_place("--config web.toml").release("one").bound_by_file(address);
    let text = file(&[address], &setup.directory().join("web.sock"));
    setup.write("web.toml", &text);
    setup
}

fn a_master_was_killed(setup: Setup) -> Before {
    let master = setup.start();
    master.wait_for_log(ALL_SERVE, 1);
    let workers = master.wait_for_idle_workers(WORKERS);
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    let next = in_its_place_of(master.beside("--config web.toml")).bound_by_file(master.addr());
    Before { setup: behind_a_gate(next), killed: Some((master, workers)) }
}

fn change_the_binds(scene: &Scene) {
    let text = file(&[free_address(), scene.master.addr()], &scene.unix_socket());
    scene.master.replace("web.toml", &text);
    send(scene, Signal::SIGHUP);
}

/// A client that is gone hears nothing.
fn send(scene: &Scene, signal: Signal) {
    scene.master.process().signal(signal);
}

fn ask_much(scene: &Scene) {
    let socket = scene.master.socket();
    for line in [
        "{command: ehlo, user: me}",
        "{command: status, format: json}",
        "{command: state}",
        "{command: help}",
        "nonsense",
    ] {
        let _unanswered = ask(socket, line);
    }
}

fn kill_one(scene: &Scene) {
    scene.workers[0].signal(Signal::SIGKILL);
}

fn reload(scene: &Scene) {
    let _unanswered = ask(scene.master.socket(), "{command: reload}");
}

fn is_reloaded(scene: &Scene) -> bool {
    scene.master.log().count("Using loaded state: generation 1") >= 1
}

fn is_upgraded(scene: &Scene) -> bool {
    scene.said_since("Upgraded successfully") >= 1 && scene.said_since("===> Exited worker") >= WORKERS
}
