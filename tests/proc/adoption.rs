//! A killed master, and the next one, which takes over its workers and its sockets.

use std::path::Path;

use nix::sys::signal::Signal;

use crate::rng::Rng;
use crate::support::{LIMIT, Load, Master, Process, Setup, wait_until};

/// On each kind of socket; the names of the addresses are those that `load` asks.
fn site(options: &str) -> Setup {
    let setup = Setup::new("--config web.toml").bind(",r").options("-b [::1]:0,r -b unix:web.sock").options(options);
    setup.write("web.toml", "number = 2\nworker.output = 'inherit'\nack-mode = 'manual'\n");
    setup.http_worker("--ack manual").release("one")
}

/// The next master, as the first was started.
fn next(master: &Master) -> Master {
    let address = master.addr();
    let options = format!("--config web.toml -b {address},r -b [::1]:0,r -b unix:web.sock");
    master.beside(&options).bound_by_file(address).http_worker("--ack manual").start()
}

fn kill(master: &Master, signal: Signal) {
    master.signal(signal);
    master.wait_exit();
}

fn workers(master: &Master, of: &Master) -> Vec<Process> {
    let is_of = |process: &Process| process.environ().get("EINHORN_MASTER_PID") == Some(&of.pid().to_string());
    master.descendants().into_iter().filter(is_of).collect()
}

fn load(master: &Master) -> [Load; 2] {
    [Load::start(master.addr(), 2), Load::start(master.file("web.sock").as_path(), 2)]
}

/// With as many workers as it wants, and none of another master.
fn wait_until_alone(master: &Master) {
    master.wait_for_log("Upgraded successfully", 1);
    master.wait_until("its own workers serve alone", LIMIT, || {
        let all = master.descendants().len();
        all >= 2 && workers(master, master).len() == all
    });
}

#[test]
fn workers_of_a_killed_master_serve_on_and_are_replaced() {
    let first = site("").start();
    first.wait_for_log("Up to 2 / 2", 1);
    let old = first.workers();
    let loads = load(&first);
    loads[0].wait_for(10);
    kill(&first, Signal::SIGKILL);
    first.release("two");
    let second = next(&first);
    second.wait_for_log(&format!("Master {} was killed: adopting its workers", first.pid()), 1);
    second.wait_for_log("Upgraded successfully", 1);
    wait_until("the old workers are gone", LIMIT, || !old.iter().any(|worker| worker.is_alive()));
    for load in loads {
        load.wait_for_release("two", 10);
        load.stop().assert_nothing_lost();
    }
    assert_eq!(second.workers().len(), 2);
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait_exit().code(), Some(0));
    assert!(!Path::exists(&second.file("einhorn.lock.journal")));
}

/// Number 17; of compat.md: "a killed master's workers".
#[test]
fn workers_of_a_killed_master_are_named_where_none_may_be_adopted() {
    let first = Setup::new("--adopt").bind(",r").http_worker("").start();
    first.wait_for_log("Up to 1 / 1", 1);
    let (address, worker, gone) = (first.addr(), first.workers()[0], first.pid());
    kill(&first, Signal::SIGKILL);
    let start = |options: &str| first.beside(&format!("{options} -b {address},r")).http_worker("");
    let advice = format!("; master {gone} was killed and has left workers [{worker}], which --adopt takes over");
    first.beside("").write("web.toml", "adopt = false\n");
    for options in ["", "--config web.toml"] {
        let refusal = start(options).refused();
        assert_eq!(refusal.code, Some(111), "{refusal:?}");
        assert!(refusal.reason().contains("kill -USR2") && refusal.reason().ends_with(&advice), "{refusal:?}");
    }
    assert!(worker.is_alive() && !first.was_signalled(worker));
    // As it stands in the reason, and before the file, too.
    let second = start("--config web.toml --adopt").bound_by_file(address).start();
    second
        .wait_for_log(&format!("Master {gone} was killed: adopting its workers [{worker}] and 1 of its 1 sockets"), 1);
    second.wait_for_log("Upgraded successfully", 1);
    // One that needs nothing of what they hold goes on without them.
    let left = second.workers()[0];
    kill(&second, Signal::SIGKILL);
    let third = second.beside("-b 127.0.0.1:0").http_worker("").start();
    third.wait_for_log(
        &format!("Master {} was killed and has left workers [{left}]: they stay as they are", second.pid()),
        1,
    );
    third.wait_for_log("Up to 1 / 1", 1);
    assert!(left.is_alive());
}

/// Without a file, and called einhorn, it makes no file that einhorn does not make, unless it is asked for.
#[test]
fn no_journal_is_kept_without_a_file_unless_adopt_is_given() {
    let as_einhorn = ["/bin/bash", "-c", "exec -a einhorn \"$@\"", "bash"];
    let journals = |options: &str, through: &[&str]| {
        let master = Setup::new(options).http_worker("").through(through).start();
        master.wait_for_log("Up to 1 / 1", 1);
        Path::exists(&master.file("einhorn.lock.journal"))
    };
    let each = [&[][..], &as_einhorn].map(|through| ["", "--adopt"].map(|options| journals(options, through)));
    assert_eq!(each, [[false, true]; 2]);
}

/// KILL, ABRT and SEGV at random moments of whatever the master does then.
#[test]
fn no_request_is_lost_however_often_the_master_is_killed() {
    let kills = std::env::var("KILLS").map_or(12, |kills| kills.parse().unwrap());
    let seed = std::env::var("KILLS_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    eprintln!("KILLS_SEED={seed}");
    let mut rng = Rng::new(seed);
    let mut masters = vec![site("").start()];
    masters[0].wait_for_log("Up to 2 / 2", 1);
    let loads = load(&masters[0]);
    for round in 0..kills {
        let master = masters.last().unwrap();
        // Before, a signal is the kernel's.
        master.wait_for_log("Writing PID", 1);
        match rng.below(4) {
            0 => master.signal(Signal::SIGHUP),
            1 => {
                master.wait_for_log("Up to 2 / ", 1);
            }
            2 => master.signal(Signal::SIGTTIN),
            _ => {}
        }
        std::thread::sleep(std::time::Duration::from_millis(rng.below(400)));
        kill(master, rng.pick(&[Signal::SIGKILL, Signal::SIGABRT, Signal::SIGSEGV]));
        let next = next(master);
        masters.push(next);
        if round % 4 == 3 {
            let last = masters.pop().unwrap();
            wait_until_alone(&last);
            // What is dropped kills its workers.
            masters = vec![last];
        }
    }
    let last = masters.pop().unwrap();
    wait_until_alone(&last);
    for load in loads {
        load.stop().assert_nothing_lost();
    }
    last.signal(Signal::SIGINT);
    assert_eq!(last.wait_exit().code(), Some(0));
    assert_eq!(last.descendants(), []);
}
