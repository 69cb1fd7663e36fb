//! Number 17: what may happen soon after an adoption, to the master and to the workers that it has adopted.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;

use crate::adoption_journal::{changed, heard, listening};
use crate::rollout::ctl;
use crate::support::{HeldRequest, Injection, LIMIT, Load, Master, OTHER_UID, Process, Setup, is_root, wait_until};

const OPTIONS: &str = "--config web.toml";

/// In a group of its own, and in the session of the master.
const LISTENER_IN_GROUP: &str =
    "python3 -c \"import os; os.setpgid(0, 0); os.execlp('python3', 'python3', 'listener.py')\"";

fn killed(setup: Setup, count: usize) -> (Master, Vec<Process>) {
    let master = setup.start();
    master.wait_for_log(&format!("Up to {count} / {count}"), 1);
    let workers = master.workers();
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    (master, workers)
}

fn site(file: &str) -> Setup {
    let setup = Setup::new(OPTIONS).bind(",r").release("one");
    let number = if file.contains("number =") { "" } else { "number = 2\n" };
    setup.write("web.toml", &format!("{number}{file}"));
    setup
}

/// Of the same configuration.
fn next(master: &Master) -> Setup {
    master.beside(&format!("{OPTIONS} -b {},r", master.addr())).bound_by_file(master.addr())
}

fn wait_until_gone(workers: &[Process]) {
    wait_until("those that were adopted are gone", LIMIT, || !workers.iter().any(|worker| worker.is_alive()));
}

#[test]
fn a_stop_right_after_an_adoption_ends_all_gracefully() {
    let first = site("ack-mode = 'manual'\n").http_worker("--ack manual").start();
    first.wait_for_log("Up to 2 / 2", 1);
    let (old, held) = (first.workers(), HeldRequest::begin_many(&first, 2));
    first.signal(Signal::SIGKILL);
    first.wait_exit();
    let second = next(&first).http_worker("--ack manual").start();
    second.wait_for_log("adopting its workers", 1);
    second.signal(Signal::SIGINT);
    second.wait_for_log("Sending USR2 to [", 1);
    held.into_iter().for_each(|request| drop(request.finish().unwrap()));
    assert_eq!(second.wait_exit().code(), Some(0), "{:?}", second.log().lines());
    assert_eq!((second.descendants(), old.iter().any(|worker| worker.is_alive())), (vec![], false));
}

/// A next master that does not know it would end the workers that have acked, when the others have ended.
#[test]
fn the_journal_has_the_new_acks_before_an_old_worker_is_told_to_go() {
    let told = "trap 'cp einhorn.lock.journal told; exit 0' USR2; while :; do sleep 0.05; done\n";
    let master = site("number = 1\nack-mode = 0.1\n").script(told).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let old = master.workers()[0];
    // So the worker looks while the master is about to go on.
    let _slow = Injection::attach(&master, "kill:delay_exit=1000000");
    master.signal(Signal::SIGHUP);
    master.wait_until("the old worker is told", LIMIT, || !old.is_alive());
    let journal = fs::read_to_string(master.file("told")).unwrap();
    let journal: serde_json::Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    let workers = journal["pool"]["workers"].as_array().unwrap();
    let facts: Vec<_> = workers.iter().map(|worker| (worker["acked_at"].is_u64(), worker["told"].is_null())).collect();
    assert_eq!(facts, [(true, true), (true, true)], "{journal}");
}

/// Those that were adopted go on to be known: nothing of them is lost, and none of them stays.
#[test]
fn a_reexec_right_after_an_adoption_goes_on_with_those_that_were_adopted() {
    let (first, old) = killed(site("ack-mode = 'manual'\n").http_worker("--ack manual"), 2);
    // None of its own serves, so that those of before stay.
    first.replace("web.toml", "number = 2\nack-mode = 'manual'\n");
    let second = next(&first).http_worker("").start();
    let load = Load::start(first.addr(), 2);
    second.wait_for_log("===> Launched", 1);
    second.control("{command: reload}");
    second.wait_for_log("Using loaded state: generation 1", 1);
    load.wait_for(10);
    assert!(old.iter().all(|worker| worker.is_alive()) && second.log().count("reaped by another") == 0);
    // One that ends is noticed by the next image, too.
    assert!(old[0].signal(Signal::SIGKILL));
    second.wait_for_log(&format!("===> Exited worker {}", old[0]), 1);
    load.stop();
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait_exit().code(), Some(0), "{:?}", second.log().lines());
    wait_until_gone(&old);
    assert_eq!(second.descendants(), []);
}

#[test]
fn a_worker_that_had_not_acked_is_adopted_and_replaced() {
    let setup = site("ack-mode = 'manual'\n").http_worker("");
    let first = setup.start();
    first.wait_for_log("===> Launched", 2);
    let old = first.wait_for_workers(2);
    // What the journal says of them is written by then.
    wait_until("they are listed", LIMIT, || {
        let journal = fs::read_to_string(first.file("einhorn.lock.journal")).unwrap_or_default();
        old.iter().all(|worker| journal.contains(&worker.to_string()))
    });
    first.signal(Signal::SIGKILL);
    first.wait_exit();
    let second = next(&first).http_worker("--ack manual").start();
    second.wait_for_log("adopting its workers", 1);
    second.wait_for_log("Upgraded successfully", 1);
    wait_until_gone(&old);
    assert_eq!(second.workers().len(), 2);
}

#[test]
fn workers_of_another_user_are_adopted_by_root() {
    if !is_root() {
        return;
    }
    let file = format!("ack-mode = 'manual'\n[worker]\nuser = {OTHER_UID}\ngroup = {OTHER_UID}\n");
    let (first, old) = killed(site(&file).open_to_all().http_worker("--ack manual"), 2);
    let load = Load::start(first.addr(), 2);
    load.wait_for(10);
    let second = next(&first).http_worker("--ack manual").start();
    second.wait_for_log("and 1 of its 1 sockets", 1);
    second.wait_for_log("Upgraded successfully", 1);
    wait_until_gone(&old);
    load.stop().assert_nothing_lost();
}

/// In its own group it is told to go as the worker was, and in another one it is named.
#[test]
fn what_an_adopted_worker_leaves_is_told_to_go_or_named() {
    let script = "python3 listener.py & echo $! >in-group; setsid python3 listener.py & echo $! >apart; wait";
    let setup = site("ack-mode = 0.3\n");
    let setup = listening(setup).script(script);
    let (first, old) = killed(setup, 2);
    let read = |name: &str| fs::read_to_string(first.file(name)).unwrap().trim().parse().map(Process).unwrap();
    let (child, apart) = (read("in-group"), read("apart"));
    wait_until("they listen", LIMIT, || [child, apart].iter().all(|it| heard(&first, *it) == ["ready"]));
    let second = next(&first).http_worker("").start();
    second.wait_for_log("Upgraded successfully", 1);
    wait_until_gone(&old);
    wait_until("what it left is gone", LIMIT, || !child.is_alive());
    assert_eq!(heard(&first, child), ["ready", "SIGUSR2"]);
    second.wait_for_log(&format!("which was adopted, has left python3 ({apart})"), 1);
    assert_eq!((apart.is_alive(), heard(&first, apart)), (true, vec!["ready".to_owned()]));
    apart.signal(Signal::SIGKILL);
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait_exit().code(), Some(0));
}

/// In groups of their own, as workers are, and with what workers have in their environment. They hold the address, too.
#[test]
fn what_a_worker_left_that_died_with_its_master_is_no_worker() {
    let script = format!("setsid python3 listener.py & echo $! >session; {LISTENER_IN_GROUP} & echo $! >group; wait");
    let (first, old) = killed(listening(site("number = 1\nack-mode = 0.3\n")).script(&script), 1);
    let read = |name: &str| fs::read_to_string(first.file(name)).unwrap().trim().parse().map(Process).unwrap();
    let left = [read("session"), read("group")];
    wait_until("they listen", LIMIT, || left.iter().all(|it| heard(&first, *it) == ["ready"]));
    assert!(old[0].signal(Signal::SIGKILL));
    wait_until_gone(&old);
    let second = next(&first).http_worker("").start();
    second.wait_for_log("and its workers have ended: taking 1 of its 1 sockets", 1);
    second.wait_for_log("Up to 1 / 1", 1);
    let load = Load::start(first.addr(), 2);
    load.wait_for(10);
    load.stop();
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait_exit().code(), Some(0));
    for process in left {
        assert_eq!(second.log().count(&format!("has left python3 ({process}), which holds its sockets")), 1);
        assert_eq!((process.is_alive(), heard(&first, process)), (true, vec!["ready".to_owned()]));
        process.signal(Signal::SIGKILL);
    }
}

/// It was launched when no journal could be written any more; what it has started is not taken for one.
#[test]
fn a_worker_that_the_journal_does_not_name_is_adopted() {
    let script = format!("{LISTENER_IN_GROUP} & echo $! >group; trap 'exit 0' USR2; wait");
    let (first, old) = killed(listening(site("number = 1\nack-mode = 0.3\n")).script(&script), 1);
    let left = || fs::read_to_string(first.file("group")).unwrap().trim().parse().map(Process).unwrap();
    wait_until("it listens", LIMIT, || heard(&first, left()) == ["ready"]);
    let path = first.file("einhorn.lock.journal");
    let journal = fs::read(&path).unwrap();
    let without = ["/workers", "/pool/workers"].iter().fold(journal, |text, part| changed(&text, part, json!([])));
    fs::write(&path, without).unwrap();
    let second = next(&first).http_worker("").start();
    second.wait_for_log(&format!("adopting its workers [{}] and 1 of its 1 sockets", old[0]), 1);
    second.wait_for_log("Upgraded successfully", 1);
    wait_until_gone(&old);
    assert_eq!((left().is_alive(), heard(&first, left())), (true, vec!["ready".to_owned()]));
    left().signal(Signal::SIGKILL);
}

/// What it ran is not in the journal, and the version after it was started of the same configuration.
#[test]
fn a_rollback_to_what_ran_under_a_killed_master_is_refused_and_not_made_up() {
    let (first, old) = killed(site("ack-mode = 'manual'\n").http_worker("--ack manual"), 2);
    first.release("two");
    let second = next(&first).http_worker("--ack manual").start();
    second.wait_for_log("Upgraded successfully to version 1", 1);
    wait_until_gone(&old);
    let unknown = "Refused: version 0 ran under a master that was killed, and what it ran is not kept";
    for words in [&["rollback"][..], &["rollback", "0"]] {
        let refused = ctl(&second, words);
        assert!(refused.code == Some(1) && refused.err.contains(unknown), "{words:?}: {refused:?}");
    }
    second.signal(Signal::SIGHUP);
    second.wait_for_log("Upgraded successfully to version 2", 1);
    assert_eq!(ctl(&second, &["rollback"]).code, Some(0), "{}", second.log());
    let history = ctl(&second, &["history"]).out;
    assert!(history.lines().any(|line| line.trim_start().starts_with("0 ")), "{history}");
    assert_eq!(second.log().count("for it is not known what version"), 0);
}

/// It takes the place of one that has ended: better than none, and not in silence.
#[test]
fn a_worker_that_is_launched_for_what_ran_under_a_killed_master_is_named() {
    let (first, old) = killed(site("ack-mode = 'manual'\n").http_worker("--ack manual"), 2);
    // None of its own serves, so that those of before stay.
    let second = next(&first).http_worker("").start();
    second.wait_for_log("===> Launched", 1);
    assert!(old[0].signal(Signal::SIGKILL));
    second.wait_for_log(&format!("===> Exited worker {}", old[0]), 1);
    assert_eq!(second.log().count("for it is not known what version"), 0);
    assert_eq!(ctl(&second, &["abort"]).code, Some(0));
    second
        .wait_for_log("runs what is configured now, for it is not known what version 0 ran under the killed master", 1);
    assert!(old[1].is_alive());
}

/// The relay of the killed master reads on, so that they are not ended by what they write.
#[test]
fn output_of_adopted_workers_is_read_on() {
    let setup = site("ack-mode = 0.1\n[worker]\noutput = 'capture'\n");
    let chatty = "trap 'echo last words; exit 0' USR2; n=0; while true; do echo line $n; n=$((n+1)); sleep 0.02; done";
    let (first, old) = killed(setup.script(chatty), 2);
    first.replace("web.toml", "number = 2\nack-mode = 'manual'\n");
    let second = next(&first).http_worker("").start();
    second.wait_for_log("===> Launched", 1);
    let said = first.log().count("] line ");
    wait_until("what they write is read", LIMIT, || first.log().count("] line ") >= said + 100);
    assert!(old.iter().all(|worker| worker.is_alive()));
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait_exit().code(), Some(0));
    wait_until_gone(&old);
    wait_until("it is read to its end", LIMIT, || first.log().count("] last words") == 2);
}

/// It hears nothing before it is continued, and its stop is no news of wait(2).
#[test]
fn an_adopted_worker_that_is_stopped_is_continued_when_it_is_told_to_go() {
    let (first, old) = killed(site("ack-mode = 'manual'\n").http_worker("--ack manual"), 2);
    assert!(old[0].signal(Signal::SIGSTOP));
    wait_until("it is stopped", LIMIT, || old[0].is_stopped());
    let second = next(&first).http_worker("--ack manual").start();
    second.wait_for_log("Upgraded successfully", 1);
    wait_until_gone(&old);
    second.signal(Signal::SIGINT);
    assert_eq!(second.wait_exit().code(), Some(0));
}

/// Where /proc is mounted with hidepid: it shows a stranger as little as what is gone.
#[test]
fn a_hidden_stranger_with_the_number_of_a_killed_masters_worker_is_not_adopted() {
    if !is_root() {
        return;
    }
    let user = format!("exec setpriv --reuid={OTHER_UID} --regid={OTHER_UID} --clear-groups \"$@\"");
    let script = format!("chown {OTHER_UID} .; mount -t proc -o hidepid=2 proc /proc; {user}");
    let hidden = |setup: Setup| setup.through(&["unshare", "--mount", "sh", "-c", &script, "sh"]);
    let setup = Setup::new("--adopt -n 1 -m 0.1").open_to_all().script("exec sleep 1000");
    let (first, old) = killed(hidden(setup), 1);
    assert!(old[0].signal(Signal::SIGKILL));
    wait_until_gone(&old);
    let path = first.file("einhorn.lock.journal");
    let journal = fs::read(&path).unwrap();
    fs::write(&path, changed(&journal, "/workers/0/pid", json!(std::process::id()))).unwrap();
    let second = hidden(first.beside("--adopt -n 1 -m 0.1")).script("exec sleep 1000").start();
    second.wait_for_log("none of its workers is there", 1);
    second.wait_for_log("Up to 1 / 1", 1);
    assert_eq!(second.log().count("adopting"), 0);
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait_exit().code(), Some(0));
}
