//! What others do with bad releases: pm2 with `reload`, gunicorn with HUP, puma with its phased restart, beside this program with the
//! same server and the same fault. Each is started, deployed to and reloaded in the way that its manual has, under the same load, and
//! looked at for the same time. It counts, and judges none of them.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::kind::{EARLY_LIFE, Following, Host, Server, Style, WORKERS};
use crate::run::{CLIENTS, PACE, last_words};
use crate::samples::{Edit, GUNICORN, GUNICORN_ANSWER, NODE, NODE_ANSWER, PUMA, PUMA_ANSWER, Sample};
use crate::side_by_side::side_by_side;
use crate::site::{BAD, GOOD, Site, lead_to};
use crate::support::{LIMIT, Load, Process, Report, free_address, holds_within};

/// From the reload on.
const LOOK_FOR: Duration = Duration::from_secs(10);
/// How many run side by side.
const JOBS: usize = 4;
/// At the end of that: which release answers in the end.
const END: Duration = Duration::from_secs(2);

struct Rival {
    name: &'static str,
    server: &'static Sample,
    /// The variable that says in which directory its programs are; none where they are in the path.
    variable: Option<&'static str>,
    /// Starts it in a directory with `current` in it, `$address`, `$host` and `$port` being where it shall listen.
    start: &'static str,
    /// Brings in what `current` leads to.
    reload: &'static str,
    stop: &'static str,
}

const PM2: Rival = Rival {
    name: "pm2, `reload`",
    server: &Sample {
        files: &["node.js"],
        script: "",
        edits: &[
            NODE_ANSWER,
            ("node.js", "{ fd: Number(process.env.EINHORN_FD_0) }", "process.env.port, process.env.host"),
            (
                "node.js",
                "net.connect(process.env.EINHORN_SOCK_PATH).end(`{\"command\":\"worker:ack\",\"pid\":${process.pid}}\\n`)",
                "process.send('ready')",
            ),
            ("node.js", "'SIGTERM'", "'SIGINT'"),
        ],
    },
    variable: Some("COMPARE_PM2"),
    start: "$place/pm2 start current/node.js --name web -i 3 --wait-ready --listen-timeout 3000",
    reload: "$place/pm2 reload web",
    stop: "$place/pm2 kill",
};

const GUNICORN_HUP: Rival = Rival {
    name: "gunicorn, HUP",
    server: &Sample {
        files: &["gunicorn_app.py", "gunicorn.conf.py"],
        script: "",
        edits: &[
            GUNICORN_ANSWER,
            ("gunicorn.conf.py", "\"fd://3\"", "os.environ[\"address\"]"),
            ("gunicorn.conf.py", "chdir = \"examples/servers\"", "chdir = os.environ[\"here\"] + \"/current\""),
            ("gunicorn.conf.py", "workers = 1\n", "workers = 3\n"),
            // There is no master that waits for an ack.
            ("gunicorn.conf.py", "    if worker.age > 1:\n        return\n", "    return\n"),
        ],
    },
    variable: None,
    start: "gunicorn --daemon --pid $here/pid --config $here/current/gunicorn.conf.py gunicorn_app:app --error-logfile $here/log",
    reload: "kill -HUP $(cat pid)",
    stop: "kill $(cat pid)",
};

const PUMA_PHASED: Rival = Rival {
    name: "puma, phased restart",
    server: &Sample { files: &["config.ru"], script: "", edits: &[PUMA_ANSWER] },
    variable: None,
    start: "puma --config - --workers 3 --pidfile $here/pid --bind tcp://$address --dir $here/current config.ru >log 2>&1 &",
    reload: "pumactl --pidfile pid phased-restart",
    stop: "kill $(cat pid)",
};

/// A fault, and how each of the servers has it.
struct Fault {
    name: &'static str,
    gunicorn: &'static [Edit],
    puma: &'static [Edit],
    node: &'static [Edit],
}

const PY: &str = "gunicorn_app.py";
const RU: &str = "config.ru";
const JS: &str = "node.js";

const FAULTS: &[Fault] = &[
    Fault {
        name: "syntax error",
        gunicorn: &[(PY, "def app(", "def app((")],
        puma: &[(RU, "run(lambda", "run((lambda")],
        node: &[(JS, "http.createServer((", "http.createServer(((")],
    },
    Fault {
        name: "missing module",
        gunicorn: &[(PY, "import time", "import time, no_such")],
        puma: &[(RU, "run(lambda", "require 'no_such'; run(lambda")],
        node: &[(JS, "require('node:net')", "require('no-such')")],
    },
    Fault {
        name: "exit 1 after 1.5 s",
        gunicorn: &[(PY, "import time", "import time, threading; threading.Timer(1.5, os._exit, [1]).start()")],
        puma: &[(RU, "run(lambda", "Thread.new { sleep 1.5; exit!(1) }; run(lambda")],
        node: &[(JS, "process.once(", "setTimeout(() => process.exit(1), 1500)\nprocess.once(")],
    },
    Fault {
        name: "exit 1 at the first request",
        gunicorn: &[(PY, "start_response):\n", "start_response):\n    os._exit(1)\n")],
        puma: &[(RU, "|env|\n", "|env|\n  exit!(1)\n")],
        node: &[(JS, "response) => {\n", "response) => {\n  process.exit(1)\n")],
    },
    Fault {
        name: "never answers",
        gunicorn: &[(PY, "start_response):\n", "start_response):\n    time.sleep(3600)\n")],
        puma: &[(RU, "|env|\n", "|env|\n  sleep\n")],
        node: &[(JS, "response) => {\n", "response) => {\n  return\n")],
    },
    Fault {
        name: "answers 500",
        gunicorn: &[(PY, "\"200 OK\"", "\"500 Out Of Luck\"")],
        puma: &[(RU, "[200,", "[500,")],
        node: &[(JS, "response) => {\n", "response) => {\n  response.statusCode = 500\n")],
    },
];

/// One line of the table.
pub struct Line {
    fault: &'static str,
    by: String,
    requests: u64,
    lost: u64,
    end: String,
    code: Option<i32>,
    words: String,
}

/// Everything on everything that is there.
pub fn compare() -> Vec<Line> {
    let sides = |fault: &'static Fault| {
        [
            ("gunicorn", &GUNICORN, GUNICORN_HUP, fault.gunicorn),
            ("puma", &PUMA, PUMA_PHASED, fault.puma),
            ("Node", &NODE, PM2, fault.node),
        ]
        .map(|side| (fault.name, side))
    };
    let pairs =
        side_by_side(JOBS, FAULTS.iter().flat_map(sides).collect(), |(fault, (server, sample, rival, edits))| {
            let ours = ours(fault, server, sample, edits);
            let theirs = rival.place().map(|place| rival.try_out(&place, fault, edits));
            if theirs.is_none() {
                println!("{} is left out: no variable says where it is", rival.name);
            }
            [Some(ours), theirs]
        });
    pairs.into_iter().flatten().flatten().collect()
}

fn ours(fault: &'static str, server: &str, sample: &'static Sample, edits: &'static [Edit]) -> Line {
    let site = Site::start(Style::Smooth, Host::Alone, Server::Sample(sample, &[]), EARLY_LIFE);
    let load = load(site.master.addr());
    site.deploy(Style::Smooth, BAD, Server::Sample(sample, edits));
    let (output, report) = thread::scope(|scope| {
        let look = scope.spawn(|| look(load));
        (site.upgrade(Style::Smooth, Following::Upgrade), look.join().expect("it does not panic"))
    });
    Line::of(fault, format!("einhyrningsins, {server}"), report, &output)
}

impl Rival {
    fn place(&self) -> Option<String> {
        let Some(variable) = self.variable else { return Some(String::new()) };
        env::var(variable).ok().filter(|place| !place.is_empty())
    }

    fn try_out(&self, place: &str, fault: &'static str, edits: &[Edit]) -> Line {
        let running = Running::start(self, place);
        let load = load(running.address);
        running.put(BAD, edits);
        lead_to(running.directory.path(), BAD);
        let (output, report) = thread::scope(|scope| {
            let look = scope.spawn(|| look(load));
            (running.run(self.reload), look.join().expect("it does not panic"))
        });
        Line::of(fault, self.name.to_owned(), report, &output)
    }
}

fn load(address: SocketAddr) -> Load {
    let load = Load::start_at(address, CLIENTS, "/", PACE);
    load.wait_for_release(GOOD, 40);
    load
}

/// Looks on; what was before the end, and what is in it.
fn look(load: Load) -> (Report, Report) {
    thread::sleep(LOOK_FOR - END);
    let before = load.so_far();
    thread::sleep(END);
    (before, load.stop())
}

struct Running<'a> {
    rival: &'a Rival,
    place: String,
    address: SocketAddr,
    directory: TempDir,
}

impl<'a> Running<'a> {
    fn start(rival: &'a Rival, place: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("rival-").tempdir().expect("a directory can be made");
        let running = Self { rival, place: place.to_owned(), address: free_address(), directory };
        running.put(GOOD, &[]);
        lead_to(running.directory.path(), GOOD);
        let output = running.run(rival.start);
        assert!(output.status.success(), "{}: {output:?}", rival.name);
        let load = Load::start_at(running.address, 1, "/", PACE);
        let answers = holds_within(LIMIT, || load.so_far().by_pid.len() == WORKERS);
        assert!(answers, "{} does not start: {}", rival.name, load.stop());
        running
    }

    fn put(&self, release: &str, edits: &[Edit]) {
        let home = self.directory.path().join("releases").join(release);
        fs::create_dir_all(&home).expect("a directory can be made");
        self.rival.server.put(&home, edits);
    }

    fn run(&self, script: &str) -> Output {
        let here = self.directory.path();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]).current_dir(here).env_clear();
        command
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("here", here)
            .env("HOME", here)
            .env("place", &self.place);
        command.env("PM2_HOME", here.join("pm2")).env("address", self.address.to_string());
        command.env("host", self.address.ip().to_string()).env("port", self.address.port().to_string());
        command.stdin(Stdio::null()).output().expect("a shell can be run")
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.run(self.rival.stop);
        holds_within(LIMIT, || {
            let left = Process::all_of_directory(self.directory.path());
            for process in &left {
                process.signal(Signal::SIGKILL);
            }
            left.iter().all(|process| !process.is_alive())
        });
    }
}

impl Line {
    fn of(fault: &'static str, by: String, (before, all): (Report, Report), output: &Output) -> Self {
        let answers = |release: &str| all.answered_by(release) > before.answered_by(release);
        let (good, bad, none) = (answers(GOOD), answers(BAD), all.lost_count() > before.lost_count());
        let ends = [(good, "the old one"), (bad, "the new one"), (none, "no answers")];
        let end: Vec<_> = ends.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect();
        Self {
            fault,
            by,
            requests: all.total(),
            lost: all.lost_count(),
            end: end.join(", "),
            code: output.status.code(),
            words: last_words(output),
        }
    }
}

pub fn table(lines: &[Line]) -> String {
    let head =
        "| release | by | requests | lost | in the end | exit code | last words |\n|---|---|---:|---:|---|---:|---|\n";
    let line = |Line { fault, by, requests, lost, end, code, words }: &Line| {
        let code = code.map_or("-".to_owned(), |code| code.to_string());
        format!("| {fault} | {by} | {requests} | {lost} | {end} | {code} | {} |\n", words.replace('|', "\\|"))
    };
    lines.iter().map(line).fold(head.to_owned(), |text, line| text + &line)
}
