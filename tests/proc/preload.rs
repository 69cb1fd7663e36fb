//! Workers that are forked from what a loader has loaded (`-p`): in Ruby, in Python, and by a loader of its own, `examples/loader`.

use std::collections::BTreeSet;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socketpair};

use crate::ctl::{ctl, said};
use crate::support::{Answer, LIMIT, Load, Master, Process, Setup, Target, ask, example, wait_until};

/// A server in each language. Its file `WORKER_VERSION` is read when it is loaded; `loader` is the process that has loaded it.
const RUBY: &str = r#"
require "socket"
LOADED = { pid: $$, release: File.read("WORKER_VERSION") }
ENV["OF_LOADING"] = "kept"
def einhorn_main
  told, tell = IO.pipe
  trap("USR2") { tell.write_nonblock("x") }
  File.write("worker-#{$$}", [
    "loader #{LOADED[:pid]}", "parent #{Process.ppid}", "group #{Process.getpgrp}", "argv #{ARGV.join(" ")}", "title #{$0}",
    "index #{ENV["EINHORN_CHILD_INDEX"]}", "of_loading #{ENV["OF_LOADING"]}", "own #{ENV["EINHYRNINGSINS_LOADER_FD"]}",
    "rand #{rand(1 << 60)}"].join("\n"))
  given = ENV["EINHORN_SOCK_FD"]
  control = given ? UNIXSocket.for_fd(given.to_i) : UNIXSocket.new(ENV["EINHORN_SOCK_PATH"])
  control.write(%({"command": "worker:ack", "pid": #{$$}}\n))
  control.close
  server = Socket.for_fd(ENV["EINHORN_FD_0"].to_i)
  loop do
    exit!(0) if IO.select([server, told])[0].include?(told)
    client, = server.accept_nonblock(exception: false)
    next if client == :wait_readable
    begin
      path = client.gets.to_s.split[1]
      nil until client.gets.to_s.strip.empty?
      body = "pid #{$$}\nindex 0\nversion #{LOADED[:release]}\npath #{path}\n\n"
      client.write("HTTP/1.1 200 OK\r\nContent-Length: #{body.size}\r\nConnection: close\r\n\r\n#{body}")
    rescue SystemCallError
    ensure
      client.close
    end
  end
end
einhorn_main if $0 == __FILE__
"#;

const PYTHON: &str = r#"
import json, os, random, select, signal, socket, sys
LOADED = os.getpid()
RELEASE = open("WORKER_VERSION").read()
os.environ["OF_LOADING"] = "kept"
def einhorn_main():
    told, tell = os.pipe()
    signal.signal(signal.SIGUSR2, lambda *_: os.write(tell, b"x"))
    env = os.environ
    with open(f"worker-{os.getpid()}", "w") as file:
        file.write("\n".join([
            f"loader {LOADED}", f"parent {os.getppid()}", f"group {os.getpgrp()}", f"argv {' '.join(sys.argv[1:])}", "title -",
            f"index {env['EINHORN_CHILD_INDEX']}", f"of_loading {env['OF_LOADING']}",
            f"own {env.get('EINHYRNINGSINS_LOADER_FD', '')}", f"rand {random.getrandbits(60)}"]))
    if "EINHORN_SOCK_FD" in env:
        control = socket.socket(fileno=int(env["EINHORN_SOCK_FD"]))
    else:
        control = socket.socket(socket.AF_UNIX)
        control.connect(env["EINHORN_SOCK_PATH"])
    control.sendall(json.dumps({"command": "worker:ack", "pid": os.getpid()}).encode() + b"\n")
    control.close()
    server = socket.socket(fileno=int(env["EINHORN_FD_0"]))
    server.setblocking(False)
    while True:
        if told in select.select([server, told], [], [])[0]:
            os._exit(0)
        try:
            client, _ = server.accept()
        except BlockingIOError:
            continue
        client.setblocking(True)
        with client, client.makefile("rb") as lines:
            try:
                path = lines.readline().split()[1].decode()
                while lines.readline().strip():
                    pass
                body = f"pid {os.getpid()}\nindex 0\nversion {RELEASE}\npath {path}\n\n"
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                client.sendall((head + body).encode())
            except OSError:
                pass
if __name__ == "__main__" and "/proc/self" not in sys.argv[0]:
    einhorn_main()
"#;

pub(crate) const LANGUAGES: [(&str, &str, &str); 2] = [("ruby", "server.rb", RUBY), ("python3", "server.py", PYTHON)];

pub(crate) fn preloaded(interpreter: &str, file: &str, text: &str, options: &str) -> Setup {
    let setup = Setup::new("-m manual -s 0.01").options(options).bind(",r");
    let path = setup.write(file, text);
    setup.write("WORKER_VERSION", "old");
    setup.word("-p").word(path.clone()).program([interpreter.into(), path.into_os_string(), "one".into(), "two".into()])
}

pub(crate) fn serving(setup: Setup, count: usize) -> (Master, Vec<Process>) {
    let master = setup.start();
    master.wait_for_log(&format!("Up to {count} / {count} manual ACKs"), 1);
    let workers = ready(&master, count);
    (master, workers)
}

/// A loader is a child, too.
fn ready(master: &Master, count: usize) -> Vec<Process> {
    let mut found = Vec::new();
    master.wait_until(&format!("{count} workers"), LIMIT, || {
        found = master.descendants().into_iter().filter(|worker| has_told(master, worker)).collect();
        found.len() == count
    });
    found
}

fn has_told(master: &Master, worker: &Process) -> bool {
    std::fs::read_to_string(master.file(&format!("worker-{worker}"))).is_ok_and(|text| text.contains("rand "))
}

/// What a worker has told of itself.
fn told(master: &Master, worker: Process, key: &str) -> String {
    let text = std::fs::read_to_string(master.file(&format!("worker-{worker}"))).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    line.unwrap_or_else(|| panic!("{key}: {text}")).trim().to_owned()
}

#[test]
fn workers_are_forked_from_one_loader_and_are_children_of_the_master() {
    for (interpreter, file, text) in LANGUAGES {
        let (master, workers) = serving(preloaded(interpreter, file, text, "-n 3"), 3);
        let of_first = |key| told(&master, workers[0], key);
        for &worker in &workers {
            assert_ne!(of_first("loader"), worker.to_string());
            assert_eq!(told(&master, worker, "loader"), of_first("loader"));
            assert_eq!(told(&master, worker, "parent"), master.pid().to_string());
            assert_eq!(told(&master, worker, "group"), worker.to_string());
            assert_eq!(told(&master, worker, "argv"), "one two");
            assert_eq!((told(&master, worker, "of_loading"), told(&master, worker, "own")), ("kept".into(), "".into()));
        }
        assert_ne!(of_first("rand"), told(&master, workers[1], "rand"));
        assert!(master.control("{command: state}").contains(":preloaded: true"));
        let shown = format!("version 0 is preloaded by loader {}", of_first("loader"));
        let client = said(ctl(master.directory(), "status")).out;
        assert!(client.contains(&shown) && master.control("{command: status}").contains(&shown), "{client}");
        let log = master.log();
        assert_eq!(log.count("Successfully loaded"), 1, "{log}");
        assert_eq!(log.count("About to tear down Einhorn state and run einhorn_main"), 3, "{log}");
        master.signal(Signal::SIGTERM);
        assert_eq!(master.wait_exit().code(), Some(0));
        assert!(master.descendants().is_empty());
    }
}

#[test]
fn upgrades_load_the_new_program_and_lose_nothing() {
    for (interpreter, file, text) in LANGUAGES {
        let (master, _) = serving(preloaded(interpreter, file, text, "-n 2"), 2);
        let load = Load::start(master.addr(), 2);
        load.wait_for_release("old", 5);
        for round in 1..=3 {
            master.replace("WORKER_VERSION", &format!("new{round}"));
            master.signal(Signal::SIGHUP);
            load.wait_for_release(&format!("new{round}"), 5);
            master.wait_for_log("Upgraded successfully", round);
        }
        load.stop().assert_nothing_lost();
        // The loaders of the versions before are gone.
        master.wait_until("one loader", LIMIT, || master.descendants().len() == 3);
    }
}

#[test]
fn a_program_that_cannot_be_loaded_is_executed_instead() {
    for (interpreter, file, text) in LANGUAGES {
        for broken in ["(((\n", "raise \"broken\"\n", "exit(3)\n", "import sys; sys.exit(3)\n", "\n"] {
            let setup = preloaded(interpreter, file, text, "-n 1");
            let broken = setup.write(&format!("broken.{}", file.rsplit('.').next().unwrap()), broken);
            let setup = setup.word("-p").word(broken);
            let (master, workers) = serving(setup, 1);
            assert_eq!(told(&master, workers[0], "loader"), workers[0].to_string());
            assert_eq!(master.log().count("Proceeding with postload -- "), 1, "{}", master.log());
            assert!(master.control("{command: state}").contains(":preloaded: false"));
            let status: serde_json::Value =
                serde_json::from_str(&said(ctl(master.directory(), "status --json")).out).unwrap();
            let loaders = serde_json::json!([{"version": 0, "state": "executed", "pid": null}]);
            assert_eq!(status["loaders"], loaders, "{status}");
        }
    }
}

#[test]
fn a_loader_that_dies_is_started_again_and_its_workers_are_untouched() {
    let (interpreter, file, text) = LANGUAGES[0];
    let (master, workers) = serving(preloaded(interpreter, file, text, "-n 2"), 2);
    let load = Load::start(master.addr(), 2);
    load.wait_for_release("old", 5);
    let loader = Process(told(&master, workers[0], "loader").parse().unwrap());
    loader.signal(Signal::SIGKILL);
    master.wait_for_log("Successfully loaded", 2);
    assert_eq!(ready(&master, 2), workers);
    load.stop().assert_nothing_lost();
    workers[0].signal(Signal::SIGKILL);
    master.wait_for_log("Up to 2 / 2 manual ACKs", 2);
    let now = ready(&master, 2);
    let new = now.iter().find(|worker| !workers.contains(worker)).copied().unwrap();
    assert_ne!(told(&master, new, "loader"), told(&master, workers[1], "loader"));
}

/// In every stage of its life.
#[test]
fn loaders_that_are_killed_all_the_time_cost_no_request() {
    for (interpreter, file, text) in LANGUAGES {
        let (master, _) = serving(preloaded(interpreter, file, text, "-n 2"), 2);
        let load = Load::start(master.addr(), 2);
        load.wait_for_release("old", 5);
        for round in 1..=5 {
            let release = format!("new{round}");
            master.replace("WORKER_VERSION", &release);
            master.signal(Signal::SIGHUP);
            let mut killed = BTreeSet::new();
            master.wait_until("the upgrade is done", LIMIT, || {
                let workers = master.descendants().into_iter().filter(|worker| has_told(&master, worker));
                let loaders = workers.map(|worker| told(&master, worker, "loader"));
                // Those that could not load it are executed, and load it themselves.
                let loaders = loaders.filter(|loader| !master.file(&format!("worker-{loader}")).exists());
                for loader in loaders.filter(|loader| killed.insert(loader.clone())) {
                    Process(loader.parse().unwrap()).signal(Signal::SIGKILL);
                }
                master.log().count("Upgraded successfully") == round
            });
            load.wait_for_release(&release, 5);
        }
        load.stop().assert_nothing_lost();
        assert!(master.log().count("was killed by KILL") >= 5, "{}", master.log());
    }
}

#[test]
fn a_re_exec_keeps_the_loader() {
    let (interpreter, file, text) = LANGUAGES[0];
    let (master, workers) = serving(preloaded(interpreter, file, text, "-n 1"), 1);
    master.control("{command: reload}");
    master.wait_for_log("Using loaded state", 1);
    workers[0].signal(Signal::SIGKILL);
    master.wait_for_log("Up to 1 / 1 manual ACKs", 2);
    let new = ready(&master, 1)[0];
    assert_eq!(told(&master, new, "loader"), told(&master, workers[0], "loader"));
    assert_eq!(master.log().count("Successfully loaded"), 1, "{}", master.log());
}

#[test]
fn a_stop_while_the_program_is_loaded_ends_at_once() {
    let (interpreter, file, text) = LANGUAGES[0];
    let setup = preloaded(interpreter, file, &format!("File.write('loading', '')\nsleep\n{text}"), "-n 2");
    let master = setup.start();
    master.wait_until("loading", LIMIT, || master.file("loading").exists());
    master.signal(Signal::SIGTERM);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(master.descendants().is_empty());
    assert_eq!(master.log().count("===> Launched"), 0);
}

#[test]
fn how_a_loader_has_ended_that_could_not_load_is_told() {
    for (text, reason) in [
        ("Process.kill(:KILL, $$)\nsleep\n", "it was killed by KILL"),
        ("exit!(7)\n", "it has ended with exit status 7"),
    ] {
        let (interpreter, file, server) = LANGUAGES[0];
        let setup = preloaded(interpreter, file, server, "-n 1");
        let broken = setup.write("broken.rb", text);
        let (master, _) = serving(setup.word("-p").word(broken), 1);
        let postload = master.wait_for_log("Proceeding with postload", 1);
        assert!(postload[0].ends_with(reason), "{postload:?}");
    }
}

fn capturing(setup: Setup) -> Setup {
    setup.write("web.toml", "worker.output = 'capture'\n");
    setup.options("--config web.toml")
}

#[test]
fn what_a_loader_writes_is_captured_and_its_last_lines_tell_why_it_has_died() {
    for (interpreter, file, text) in LANGUAGES {
        let says = match interpreter {
            "ruby" => "puts 'at first'\n$stdout.flush\nwarn 'no memory'\nexit!(7)\n",
            _ => "import os\nprint('at first', flush=True)\nos.write(2, b'no memory\\n')\nos._exit(7)\n",
        };
        let setup = capturing(preloaded(interpreter, file, text, "-n 1"));
        let broken = setup.write(&format!("broken.{}", file.rsplit('.').next().unwrap()), says);
        let (master, _) = serving(setup.word("-p").word(broken), 1);
        let lines = master.log().lines();
        let at = |text: &str| {
            lines.iter().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}: {lines:?}"))
        };
        let said = [at("] at first"), at("] no memory")];
        assert!(said.iter().all(|at| lines[*at].starts_with("[loader, pid ")), "{lines:?}");
        let postload = at("Proceeding with postload");
        assert!(lines[postload].ends_with("it has ended with exit status 7") && said[1] < postload, "{lines:?}");
        for (line, text) in lines[postload + 1..].iter().zip(["The last that it wrote:", "  at first", "  no memory"]) {
            assert!(line.ends_with(&format!("WARN: {text}")), "{line}");
        }
    }
}

/// What it has written before its first worker, no worker writes again.
#[test]
fn what_was_written_while_the_program_was_loaded_is_written_once() {
    for (interpreter, file, text) in LANGUAGES {
        let text = format!("print('loading\\n'){}\n{text}", if interpreter == "ruby" { "" } else { "; import sys" });
        let (master, workers) = serving(capturing(preloaded(interpreter, file, &text, "-n 2")), 2);
        assert_ne!(told(&master, workers[0], "loader"), workers[0].to_string());
        master.signal(Signal::SIGTERM);
        master.wait_exit();
        assert_eq!(master.log().count("] loading"), 1, "{}", master.log());
        assert_eq!(master.log().with("] loading")[0].split(',').next(), Some("[loader"));
    }
}

#[test]
fn a_loader_that_cannot_be_run_is_told_with_the_cause() {
    let (interpreter, file, text) = LANGUAGES[1];
    let setup = preloaded(interpreter, file, text, "-n 1");
    // No one may execute it.
    let loader = setup.write("loader", "\x7fELF");
    let (master, _) = serving(setup.word("-p").word(loader.clone()), 1);
    let postload = master.wait_for_log("Proceeding with postload", 1);
    let reason = format!("could not load {0}: cannot run {0}: ", loader.display());
    assert!(postload[0].contains(&reason) && !postload[0].contains("127"), "{postload:?}");
}

/// A socket takes no message that is longer than its buffer.
#[test]
fn workers_whose_arguments_are_too_long_for_a_loader_are_executed() {
    let room = std::fs::read_to_string("/proc/sys/net/core/wmem_default").unwrap();
    let word = "x".repeat(100_000);
    let words = vec![word.as_str(); room.trim().parse::<usize>().unwrap() / word.len() + 1];
    for (interpreter, file, text) in LANGUAGES {
        let setup = preloaded(interpreter, file, text, "-n 2");
        let path = setup.directory().join(file).into_os_string();
        let program = [interpreter.into(), path].into_iter().chain(words.iter().map(|&word| word.into()));
        let (master, workers) = serving(setup.program(program), 2);
        for worker in workers {
            assert_eq!(told(&master, worker, "loader"), worker.to_string());
            assert_eq!(told(&master, worker, "argv"), words.join(" "));
        }
        let log = master.log();
        assert_eq!(log.with("too long for a loader").len(), 1);
        assert!(log.with("too long for a loader")[0].contains("WARN: Proceeding with postload"));
        assert!(master.control("{command: state}").contains(":preloaded: false"));
        assert_eq!(master.descendants().len(), 2);
    }
}

#[test]
fn a_reason_of_several_lines_is_told_in_as_many() {
    for (interpreter, file, text) in LANGUAGES {
        let (master, _) = serving(preloaded(interpreter, file, text, "-n 1 --preload-required"), 1);
        let (raise, first, frame) = match interpreter {
            "ruby" => ("raise 'no such table'\n", "no such table (RuntimeError)", "server.rb:1"),
            _ => ("raise ValueError('no such table')\n", "no such table (ValueError)", "line 1"),
        };
        master.replace(file, raise);
        let mut client = master.connect();
        client.send("{command: upgrade, id: 1}");
        let last = std::iter::from_fn(|| client.receive()).find(|line| !line.contains("wait: true")).unwrap();
        assert!(last.contains(&format!("{first}, version 0 goes on")) && last.contains(frame), "{last}");
        master.wait_for_log(frame, 1);
        let log = master.log();
        assert_eq!(log.count(&format!("{first}. Going back to version 0")), 1, "{log}");
        assert!(log.with(frame).iter().all(|line| line.contains("ERROR:   ")), "{log}");
        assert_eq!(log.count("x0a"), 0, "{log}");
    }
}

#[test]
fn an_upgrade_is_given_up_whose_program_cannot_be_loaded_where_it_must_be() {
    for (interpreter, file, text) in LANGUAGES {
        let (master, workers) = serving(preloaded(interpreter, file, text, "-n 2 --preload-required"), 2);
        let launched = master.log().count("===> Launched");
        master.replace(file, "raise ValueError('no such table')\n");
        let mut client = master.connect();
        client.send("{command: upgrade, id: 1}");
        let last = std::iter::from_fn(|| client.receive()).find(|line| !line.contains("wait: true")).unwrap();
        assert!(last.contains("Upgrade failed") && last.contains("could not load"), "{last}");
        assert_eq!((ready(&master, 2), master.log().count("===> Launched")), (workers, launched));
        master.replace(file, text);
        master.signal(Signal::SIGHUP);
        master.wait_for_log("Upgraded successfully", 1);
    }
}

#[test]
fn a_program_that_hangs_while_it_is_loaded_is_executed_when_its_time_is_over() {
    let (interpreter, file, text) = LANGUAGES[0];
    let hangs = format!("sleep unless $0 == __FILE__\n{text}");
    let (master, workers) = serving(preloaded(interpreter, file, &hangs, "-n 1 --preload-timeout 0.2"), 1);
    assert_eq!(told(&master, workers[0], "loader"), workers[0].to_string());
    assert!(master.wait_for_log("Proceeding with postload", 1)[0].ends_with("it takes too long"));
}

#[test]
fn another_function_can_be_what_a_worker_runs() {
    for (interpreter, file, text) in LANGUAGES {
        let text = text.replace("einhorn_main", "serve");
        let (master, workers) = serving(preloaded(interpreter, file, &text, "-n 1 --preload-main serve"), 1);
        assert_ne!(told(&master, workers[0], "loader"), workers[0].to_string());
    }
}

/// With `-g` and `-k`.
#[test]
fn workers_have_their_connection_and_die_with_the_master() {
    for (interpreter, file, text) in LANGUAGES {
        let (master, workers) = serving(preloaded(interpreter, file, text, "-n 2 -g -k"), 2);
        let loader = told(&master, workers[0], "loader");
        assert_ne!(loader, workers[0].to_string());
        let all = master.descendants();
        assert_eq!(all.len(), 3);
        master.signal(Signal::SIGKILL);
        master.wait_until("all have ended", LIMIT, || all.iter().all(|process| !process.is_alive()));
    }
}

/// A fork does not keep them.
#[test]
fn threads_and_connections_of_loading_are_warned_of() {
    let (interpreter, file, text) = LANGUAGES[0];
    let more = "require 'socket'\nThread.new { sleep }\nKEPT = Socket.pair(:UNIX, :STREAM)\n";
    let (master, _) = serving(preloaded(interpreter, file, &format!("{more}{text}"), "-n 1"), 1);
    master.wait_for_log("has started 1 threads while it was loaded", 1);
    master.wait_for_log("has opened 2 connections while it was loaded", 1);
}

/// `examples/loader`, which is a program of its own.
fn of_its_own(options: &str) -> Setup {
    let (setup, program) = (Setup::new("-m manual -s 0.01 -n 2").options(options), example("loader").into_os_string());
    let setup = setup.bind(",r").release("old").word("-p").word(program.clone());
    setup.program([program, "one".into(), "two words".into()])
}

fn answer(master: &Master) -> Answer {
    ask(&Target::from(master.addr()), "/").unwrap()
}

#[test]
fn a_loader_of_its_own_forks_workers_that_have_what_executed_ones_have() {
    for options in ["", "-g -k"] {
        let master = of_its_own(options).start();
        master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
        let answer = answer(&master);
        let loader = answer.rest.lines().find_map(|line| line.strip_prefix("loader ")).unwrap();
        let children = master.process().children();
        let is_child = children.contains(&Process(loader.parse().unwrap()));
        assert_eq!((children.len(), is_child), (3, true), "{options}");
        let said = |line: &str| assert!(answer.rest.lines().any(|said| said == line), "{line}: {}", answer.rest);
        said(&format!("parent {}", master.pid()));
        said(&format!("group {}", answer.pid));
        said(&format!("words {:?}", [&*example("loader").to_string_lossy(), "one", "two words"]));
        said("EINHORN_FD_COUNT=1");
        said("EINHORN_FD_0=3");
        said(&format!("EINHORN_MASTER_PID={}", master.pid()));
        said(&format!("EINHYRNINGSINS_SLOT_PID={}", answer.pid));
        assert!(!answer.rest.contains("EINHYRNINGSINS_LOADER_FD"), "{}", answer.rest);
        assert_eq!(answer.rest.contains("EINHORN_SOCK_FD="), options.contains("-g"));
        assert!(master.control("{command: state}").contains(":preloaded: true"));
        master.signal(if options.contains("-k") { Signal::SIGKILL } else { Signal::SIGTERM });
        master.wait_exit();
        master.wait_until("all have ended", LIMIT, || master.descendants().is_empty());
    }
}

#[test]
fn upgrades_with_a_loader_of_its_own_lose_nothing() {
    let master = of_its_own("--preload-required").start();
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    let load = Load::start(master.addr(), 2);
    load.wait_for_release("old", 5);
    master.release("new");
    master.signal(Signal::SIGHUP);
    load.wait_for_release("new", 5);
    master.wait_for_log("Upgraded successfully", 1);
    // What it cannot load it says itself.
    std::fs::remove_file(master.file("WORKER_VERSION")).unwrap();
    let mut client = master.connect();
    client.send("{command: upgrade, id: 1}");
    let last = std::iter::from_fn(|| client.receive()).find(|line| !line.contains("wait: true")).unwrap();
    assert!(last.contains("Upgrade failed") && last.contains("cannot read WORKER_VERSION: No such file"), "{last}");
    load.wait_for_release("new", 5);
    load.stop().assert_nothing_lost();
    master.wait_until("one loader", LIMIT, || master.descendants().len() == 3);
}

/// It passes over what it does not know.
#[test]
fn a_loader_of_its_own_ends_when_its_socket_is_closed() {
    let (setup, flags) = (Setup::new("").release("old"), SockFlag::SOCK_CLOEXEC);
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags).unwrap();
    let start = |theirs: OwnedFd| {
        let mut command = Command::new(example("loader"));
        command
            .env_clear()
            .env("EINHYRNINGSINS_LOADER_FD", "0")
            .current_dir(setup.directory())
            .stdin(Stdio::from(theirs));
        command.spawn().unwrap()
    };
    let mut loader = start(theirs);
    let mut packet = [0; 64];
    let length = recv(ours.as_raw_fd(), &mut packet, MsgFlags::empty()).unwrap();
    assert_eq!(&packet[..length], b"loaded\0\0");
    send(ours.as_raw_fd(), b"another\0word\0", MsgFlags::empty()).unwrap();
    drop(ours);
    let mut ended = None;
    wait_until("it has ended", LIMIT, || {
        ended = loader.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}
