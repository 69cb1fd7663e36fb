//! What a worker has because of its slot: processors, nice level and variables. They are those of its version, whatever becomes of the
//! worker, of the master and of the file.

use nix::sys::signal::Signal;

use crate::rollout::{ctl, wait_for_versions};
use crate::support::{Injection, LIMIT, Master, Process, Setup, holds_within};

/// The first and the last processor that this process may run on, as text: the same one where there is no other.
fn processors() -> [String; 2] {
    let list = Process::this().status("Cpus_allowed_list").unwrap();
    let mut numbers = list.split([',', '-']).map(str::to_owned);
    let first = numbers.next().unwrap();
    [first.clone(), numbers.next_back().unwrap_or(first)]
}

fn file(more: &str) -> String {
    format!(
        "command = ['sleep', '1000']\nnumber = 3\nack-mode = 0\nseconds = 0.01\nearly-life = 0\nnice = '1:9'\n{more}"
    )
}

fn start(setup: Setup, more: &str) -> Master {
    setup.write("web.toml", &file(more));
    let master = setup.start();
    master.wait_for_log("Up to 3 / 3", 1);
    master
}

/// Processors, nice level and variables of each worker, by slot. One that is not yet its program has no environment.
fn of_slots(master: &Master) -> Vec<String> {
    let of = |worker: &Process| {
        let environ = worker.environ();
        let value = |name: &str| environ.get(name).map_or("-", String::as_str);
        let processors = worker.status("Cpus_allowed_list").unwrap_or_default();
        let nice = worker.nice().unwrap_or_default();
        format!("{}: cpus {processors} nice {nice} port {}", value("EINHYRNINGSINS_SLOT"), value("PORT"))
    };
    let mut found: Vec<String> = master.workers().iter().map(of).collect();
    found.sort();
    found
}

#[track_caller]
fn wait_for_slots(master: &Master, expected: &[String]) {
    let mut found = Vec::new();
    let is_so = || {
        found = of_slots(master);
        found == expected
    };
    assert!(holds_within(LIMIT, is_so), "{found:#?}\n{}", master.log());
}

/// Kills the worker of a slot, and waits for the next one there.
#[track_caller]
fn kill_in(master: &Master, slot: &str, expected: &[String]) {
    let in_slot = || {
        let mut workers = master.workers().into_iter();
        workers.find(|worker| worker.environ().get("EINHYRNINGSINS_SLOT").map(String::as_str) == Some(slot))
    };
    let killed = in_slot().unwrap();
    assert!(killed.signal(Signal::SIGKILL));
    master.wait_until("the slot is filled anew", LIMIT, || in_slot().is_some_and(|worker| worker != killed));
    wait_for_slots(master, expected);
}

#[test]
fn slots_keep_what_their_version_has_over_deaths_re_execs_upgrades_and_rollbacks() {
    let [first, last] = processors();
    let one = format!("cpus = ['{first}', '{last}']\nnice = [11, 12]\nenv = {{ PORT = '90{{slot}}/{{slots}}{{{{' }}\n");
    let master = start(Setup::new("--config web.toml"), &format!("[worker.slots]\n{one}"));
    let of_one = [
        format!("0: cpus {first} nice 11 port 900/3{{"),
        format!("1: cpus {last} nice 12 port 901/3{{"),
        format!("2: cpus {first} nice 11 port 902/3{{"),
    ];
    wait_for_slots(&master, &of_one);
    kill_in(&master, "1", &of_one);
    master.reload();
    kill_in(&master, "2", &of_one);

    let two = format!("cpus = '{last}'\nenv = {{ PORT = '91{{slot}}' }}\n");
    master.replace("web.toml", &file(&format!("[worker.slots]\n{two}")));
    let diff = ctl(&master, &["diff"]);
    assert!(diff.out.contains("worker.slots.env.PORT"), "{diff:?}");
    assert!(!diff.out.contains("90{slot}") && !diff.out.contains("91{slot}"), "{diff:?}");
    assert_eq!(ctl(&master, &["upgrade", "--wait-old"]).code, Some(0), "{}", master.log());
    let of_two: Vec<String> = (0..3).map(|slot| format!("{slot}: cpus {last} nice 9 port 91{slot}")).collect();
    wait_for_slots(&master, &of_two);
    kill_in(&master, "1", &of_two);

    // The file says what it said: it is the version that is gone back to.
    assert_eq!(ctl(&master, &["rollback"]).code, Some(0), "{}", master.log());
    wait_for_versions(&master, &[0, 0, 0]);
    master.reload();
    kill_in(&master, "0", &of_one);
}

#[test]
fn workers_run_where_their_slot_says_although_the_master_runs_elsewhere() {
    let [first, last] = processors();
    let master = start(Setup::new("--config web.toml").through(&["taskset", "-c", &first]), "");
    let on = |cpus: &str| (0..3).map(|slot| format!("{slot}: cpus {cpus} nice 9 port -")).collect::<Vec<_>>();
    wait_for_slots(&master, &on(&first));
    master.replace("web.toml", &file(&format!("worker.slots.cpus = '{last}'\n")));
    assert_eq!(ctl(&master, &["upgrade", "--wait-old"]).code, Some(0), "{}", master.log());
    wait_for_slots(&master, &on(&last));
    assert_eq!(master.process().status("Cpus_allowed_list"), Some(first));
}

#[test]
fn a_set_of_processors_that_are_not_there_is_refused_with_its_place() {
    let [first, _] = processors();
    let wrong = file(&format!("worker.slots.cpus = ['{first}', '8190-8191', '{first},8191']\n"));
    let setup = Setup::new("--config web.toml");
    setup.write("web.toml", &wrong);
    let refusal = setup.refused();
    let expected = format!(
        "web.toml:7:{}: worker.slots.cpus: 8190-8191: need a processor that workers can run on, one of ",
        26 + first.len()
    );
    let [line] = &refusal.lines[..] else { panic!("{:?}", refusal.lines) };
    assert!(line.starts_with(&format!("einhyrningsins: {expected}")), "{line}");
    refusal.assert_nothing_left();

    let master = start(Setup::new("--config web.toml"), "");
    master.replace("web.toml", &wrong);
    let upgrade = ctl(&master, &["upgrade"]);
    assert_eq!(upgrade.code, Some(1), "{upgrade:?}");
    assert!(upgrade.out.contains(&expected), "{upgrade:?}");
    wait_for_versions(&master, &[0, 0, 0]);
}

#[test]
fn a_worker_whose_processors_are_gone_is_not_started_and_tried_again() {
    let [first, _] = processors();
    let master = start(Setup::new("--config web.toml"), &format!("worker.slots.cpus = '{first}'\n"));
    let gone = Injection::attach(&master, "sched_setaffinity:error=EINVAL");
    let killed = master.workers()[0];
    assert!(killed.signal(Signal::SIGKILL));
    let cause = "cannot choose the processors: none of those in worker.slots.cpus can be used any more";
    let lines = master.wait_for_log(cause, 2);
    assert!(lines[0].contains(" ERROR: Worker "), "{lines:?}");
    drop(gone);
    let on_first: Vec<String> = (0..3).map(|slot| format!("{slot}: cpus {first} nice 9 port -")).collect();
    wait_for_slots(&master, &on_first);
}
