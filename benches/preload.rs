//! What preloading saves: the time from the start of a master until all its workers serve, and the memory of all processes
//! together, beside workers that are executed in the same run, so that figures of different machines can be compared as ratios.
//!
//! The programs load some 60 MB of small objects. Workers that use them have read each object and run a full collection of garbage
//! before they serve; the others have touched nothing. It prints and judges nothing. `make bench` runs it, in some minutes and 8 GB.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

mod master;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use master::Master;

/// Of the start, and of the tables in doc/servers.md.
const WORKERS: [usize; 2] = [100, 8];

const RUBY: &str = r#"require "socket"

CATALOGUE = Array.new(150_000) { |n| { id: n, name: "entry #{n} of the catalogue", price: n * 0.25 } }

def einhorn_main
  if ARGV == ["use"]
    CATALOGUE.sum { |entry| entry[:price] + entry[:name].size }
    GC.start
  end
  UNIXSocket.open(ENV["EINHORN_SOCK_PATH"]) { |master| master.puts(%({"command":"worker:ack","pid":#{$$}})) }
  sleep
end

einhorn_main if $0 == __FILE__
"#;

const PYTHON: &str = r#"import gc
import os
import signal
import socket
import sys

CATALOGUE = [{"id": n, "name": f"entry {n} of the catalogue", "price": n * 0.25} for n in range(150_000)]


def einhorn_main():
    if sys.argv[1:] == ["use"]:
        sum(entry["price"] + len(entry["name"]) for entry in CATALOGUE)
        gc.collect()
    with socket.socket(socket.AF_UNIX) as master:
        master.connect(os.environ["EINHORN_SOCK_PATH"])
        master.sendall(b'{"command":"worker:ack","pid":%d}\n' % os.getpid())
    signal.pause()


if __name__ == "__main__":
    einhorn_main()
"#;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    // The interpreter itself: what is called so in PATH may be a script that looks for it.
    let ruby = ("ruby", interpreter("ruby", "print RbConfig.ruby"), directory.path().join("catalogue.rb"));
    let python =
        ("python", interpreter("python3", "import sys; print(sys.executable)"), directory.path().join("catalogue.py"));
    fs::write(&ruby.2, RUBY).unwrap();
    fs::write(&python.2, PYTHON).unwrap();
    println!(
        "{:<8} {:<8} {:>7} {:<20} {:>8} {:>11} {:>9} {:>12} {:>11}",
        "program", "objects", "workers", "how", "ms", "of executed", "PSS MiB", "a worker MiB", "of executed"
    );
    for (name, interpreter, program) in [&ruby, &python] {
        for worker_count in WORKERS {
            for habit in ["touch", "use"] {
                // Each executed one of a hundred takes as long as it takes: once is enough.
                if (worker_count, habit) != (WORKERS[0], "use") {
                    compare(name, interpreter, program, worker_count, habit);
                }
            }
        }
    }
}

fn interpreter(command: &str, expression: &str) -> String {
    let option = if command == "ruby" { "-e" } else { "-c" };
    let output = Command::new(command).args([option, expression]).output().expect("cannot start the interpreter");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Prints a row for each way to start.
fn compare(name: &str, interpreter: &str, program: &Path, worker_count: usize, habit: &str) {
    let program = program.to_str().unwrap();
    let command = ["-m", "manual", "--", interpreter, program, habit];
    let ways: [(&str, &[&str]); 3] = [
        ("executed", &[]),
        ("preloaded", &["-p", program]),
        ("with gc-before-fork", &["--gc-before-fork", "-p", program]),
    ];
    let mut executed = None;
    for (way, options) in ways {
        let began = Instant::now();
        let master = Master::start(worker_count, &[options, &command].concat());
        let ms = began.elapsed().as_secs_f64() * 1e3;
        // The loader is among them.
        let pss_mib = master.workers().into_iter().map(pss_mib).sum::<f64>();
        let (executed_ms, executed_pss_mib) = *executed.get_or_insert((ms, pss_mib));
        let objects = if habit == "use" { "used" } else { "untouched" };
        println!(
            "{name:<8} {objects:<9} {worker_count:>6} {way:<20} {ms:>8.0} {:>10.1}% {pss_mib:>9.0} {:>12.1} {:>10.1}%",
            ms / executed_ms * 100.0,
            pss_mib / worker_count as f64,
            pss_mib / executed_pss_mib * 100.0
        );
    }
}

/// The part of the memory that is this process's, with its share of what several have.
fn pss_mib(pid: i32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}
