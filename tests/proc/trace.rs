//! `--trace`: what a real master writes down is what its machines do again in a replay, and nothing else is in it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::reload::{file, upgrade, wait_for_first};
use crate::replay::replay;
use crate::support::{LIMIT, Master, Setup, free_address};

const BAD_OPTION: i32 = 100;
const CANNOT_START: i32 = 111;

/// Two workers with manual acks, which write down what they do.
fn traced(options: &str) -> Setup {
    let setup = Setup::new("-n 2 -m manual -s 0.01 --trace trace").options(options);
    setup.bind(",r").http_worker("--ack manual").release("old")
}

fn read(master: &Master, name: &str) -> String {
    fs::read_to_string(master.file(name)).unwrap()
}

fn stop(master: &Master) {
    master.signal(Signal::SIGTERM);
    master.wait_exit();
}

/// The number of the first line with this text, from 1.
fn line_with(trace: &str, text: &str) -> usize {
    1 + trace.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in\n{trace}"))
}

#[test]
fn a_life_with_a_death_an_upgrade_and_re_execs_is_replayed_to_the_end() {
    let master = traced("").start();
    let first = wait_for_first(&master, 2);
    first[0].signal(Signal::SIGKILL);
    master.wait_for_log("Up to 2 / 2 manual ACKs", 2);
    master.control("{command: upgrade}");
    master.wait_for_log("Upgraded successfully to version", 1);
    master.reload();
    stop(&master);
    let trace = read(&master, "trace");
    let replayed = replay(trace.as_bytes()).unwrap();
    // One for each image, each with its steps.
    assert_eq!((replayed.states, replayed.lost, replayed.cut), (3, 0, 0), "{trace}");
    assert!(replayed.pool.inputs > 10 && replayed.pool.outputs > 10, "{replayed}");
    assert!(replayed.reexec.inputs > 5 && replayed.reexec.outputs > 5, "{replayed}");
    for text in ["\"started\"", "worker_exited", "release_ready", "\"resumed\"", "{\"exit\":\"stopped\"}"] {
        line_with(&trace, text);
    }
    assert_eq!(fs::metadata(master.file("trace")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_replay_stops_at_the_first_line_that_does_not_follow() {
    let master = traced("").start();
    wait_for_first(&master, 2);
    stop(&master);
    let trace = read(&master, "trace");
    let spawn = "{\"spawn_worker\":{\"index\":1,\"slot\":1,\"version\":0}}";
    let at = line_with(&trace, spawn);
    let other = spawn.replace('1', "7");
    let difference = replay(trace.replace(spawn, &other).as_bytes()).unwrap_err();
    assert!(difference.starts_with(&format!("line {at}: pool, at ")), "{difference}");
    let says = |what: &str, index: u32| {
        let line = difference.lines().find(|line| line.trim_start().starts_with(what)).unwrap_or_default();
        line.contains(&format!("SpawnWorker {{ index: WorkerIndex({index})"))
    };
    assert!(says("expected: ", 7) && says("seen: ", 1) && !says("seen: ", 7), "{difference}");
}

#[test]
fn a_trace_holds_no_secret() {
    const SECRET: &str = "hunter2";
    let (address, secret) = (free_address(), format!("PASSWORD = '{SECRET}'"));
    let environment = |rest: &str| format!("number = 1\ntrace = 'trace'\n[env]\nset = {{ {secret} }}\n{rest}");
    let text = file(&[address], &environment("env-file = 'more.env'"));
    let setup = Setup::new("--config web.toml").env("TOKEN", SECRET).release("old").bound_by_file(address);
    setup.write("web.toml", &text);
    setup.write("more.env", &format!("KEY={SECRET}\n"));
    let master = setup.start();
    wait_for_first(&master, 1);
    let refuse = |what: &str, text: &str, env: &str| {
        master.replace("web.toml", text);
        master.replace("more.env", env);
        let refused = master.log().count("Upgrade refused");
        master.signal(Signal::SIGHUP);
        master.wait_for_log("Upgrade refused", refused + 1);
        let line = master.log().with("Upgrade refused").pop().unwrap();
        assert!(line.contains(what), "another reason: {line}");
    };
    refuse("more.env", &text, &format!("KEY={SECRET}\nexport {SECRET}\n"));
    refuse("web.toml", &file(&[address], &environment(&format!("unset = {{ {secret} }}"))), "");
    refuse("web.toml", &file(&[address], &environment(&format!("set-more = {{ {secret} }}"))), "");
    refuse("web.toml", &text.replace(&secret, &format!("'A=B' = '{SECRET}'")), "");
    refuse("web.toml", &text.replace(&secret, &format!("{secret}, {secret}")), "");
    refuse("web.toml", &text.replace(&secret, &format!("PASSWORD = '{SECRET}")), "");
    upgrade(&master, &text, "new", 1);
    stop(&master);
    let trace = read(&master, "trace");
    assert_eq!(trace.matches("release_refused").count(), 6, "{trace}");
    assert_eq!(master.log().count(SECRET), 0, "{}", master.log());
    assert!(!trace.contains(SECRET), "line {} of\n{trace}", line_with(&trace, SECRET));
    replay(trace.as_bytes()).unwrap();
}

#[test]
fn an_upgrade_begins_and_ends_a_trace() {
    let address = free_address();
    let text = |rest: &str| file(&[address], &format!("number = 1\n{rest}"));
    let setup = Setup::new("--config web.toml").release("old").bound_by_file(address);
    setup.write("web.toml", &text(""));
    let master = setup.start();
    wait_for_first(&master, 1);
    upgrade(&master, &text("trace = 'one'"), "new", 1);
    upgrade(&master, &text("trace = 'two'"), "newer", 2);
    upgrade(&master, &text(""), "newest", 3);
    master.wait_until("no thread writes a trace", LIMIT, || master.process().thread("trace").is_none());
    stop(&master);
    for name in ["one", "two"] {
        let replayed = replay(read(&master, name).as_bytes()).unwrap();
        assert!(replayed.pool.inputs > 5, "{name}: {replayed}");
    }
}

#[test]
fn a_trace_that_cannot_be_written_refuses_the_start() {
    type Prepare = fn(&Setup);
    let cases: [(&str, i32, &str, Prepare); 5] = [
        ("fifo", BAD_OPTION, "it is a FIFO", |setup| mkfifo(&setup.directory().join("fifo"), Mode::S_IRWXU).unwrap()),
        ("link", BAD_OPTION, "it is a symbolic link", |setup| {
            symlink("elsewhere", setup.directory().join("link")).unwrap()
        }),
        ("web.toml", BAD_OPTION, "it is a file of another kind", |setup| {
            setup.write("web.toml", "number = 1\n");
        }),
        ("none/trace", CANNOT_START, "directory none: no such file or directory", |_| {}),
        (".", BAD_OPTION, "it is a directory", |_| {}),
    ];
    for (path, code, cause, prepare) in cases {
        let setup = Setup::new("-n 1 --trace").options(path).program(["/bin/sleep", "1000"]);
        prepare(&setup);
        setup
            .refused()
            .assert(code, &format!("cannot write the trace {path}: {cause}; need a trace or a path without a file"));
    }
    let setup = Setup::new("-n 1 --trace same -e same").program(["/bin/sleep", "1000"]);
    setup.refused().assert(BAD_OPTION, "cannot use same as pid file and trace");
}

/// A limit for files stands for the disk: the trace has grown to it, and the log has not.
#[test]
fn a_full_disk_is_said_once_and_the_workers_serve_on() {
    const BLOCKS: usize = 1024;
    let setup = traced("").through(&["/bin/sh", "-c", &format!("ulimit -f {BLOCKS}; exec \"$@\""), "sh"]);
    setup.write("trace", &format!("{{\"state\":{{\"format\":{}}}}}\n", " ".repeat(BLOCKS * 1024)));
    let master = setup.start();
    wait_for_first(&master, 2);
    master.release("new");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully to version", 1);
    stop(&master);
    let said = master.log().with("cannot write the trace trace: file too large, lines are missing in it");
    assert_eq!(said.len(), 2, "once for each image: {}", master.log());
}
