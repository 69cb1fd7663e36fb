//! What a service manager hears of a master, as sd_notify(3) has it, and where a service puts its files.

use std::fs;
use std::os::unix::net::UnixDatagram;

use nix::sys::signal::Signal;

use crate::support::{AS_EINHORN, LIMIT, Manager, Master, Setup, example, free_address};

const FIRST: &str = "STATUS=2/2 serving, version 0";

fn service(options: &str) -> (Setup, Manager) {
    let setup = Setup::new("-n 2 -m manual -s 0.01").options(options).bind(",r").release("one");
    let manager = Manager::at(&setup.directory().join("notify"));
    let setup = setup.env("NOTIFY_SOCKET", manager.name());
    (setup, manager)
}

fn wait_for_first(manager: &mut Manager, master: &Master) {
    manager.wait_for(FIRST, 1, master);
    assert_eq!(manager.states(), ["READY=1"]);
}

/// A script of workers that ack if the file `ack` is there when they are born.
fn ack_while_allowed() -> String {
    let worker = example("http_worker").display().to_string();
    format!("[ -e ack ] && mode=manual || mode=none\nexec {worker} --ack $mode\n")
}

#[test]
fn a_service_is_ready_when_all_its_workers_have_acked() {
    let (setup, mut manager) = service("");
    let master = setup.http_worker("--ack manual --ack-after 100").start();
    wait_for_first(&mut manager, &master);
    let status = manager.values("STATUS");
    assert!(status.starts_with(&["0/2 serving, version 0".to_owned()]), "{status:?}");
    assert!(!manager.values("EXTEND_TIMEOUT_USEC").is_empty());
    assert!(manager.values("MAINPID").is_empty() && manager.is_told_by_alone(master.pid()));
}

#[test]
fn a_service_with_an_unacked_worker_is_not_ready() {
    let (setup, mut manager) = service("");
    let master = setup.script(&ack_while_allowed()).start();
    master.wait_for_workers(2);
    master.reload();
    manager.wait_for("STATUS=0/2 serving, version 0", 2, &master);
    assert_eq!(manager.states(), [""; 0]);
    fs::write(master.file("ack"), "").unwrap();
    for worker in master.wait_for_workers(2) {
        worker.signal(Signal::SIGKILL);
    }
    manager.wait_for(FIRST, 1, &master);
    assert_eq!(manager.states(), ["READY=1"]);
}

#[test]
fn an_upgrade_is_a_reload_that_ends_with_ready() {
    let (setup, mut manager) = service("");
    let master = setup.http_worker("--ack manual").start();
    wait_for_first(&mut manager, &master);
    master.signal(Signal::SIGHUP);
    manager.wait_for("STATUS=2/2 serving, version 1", 1, &master);
    // The new image says once more that it is replaced, and no message says that it is over before it is.
    assert_eq!(manager.states(), ["READY=1", "RELOADING=1", "RELOADING=1", "READY=1"]);
    assert!(manager.heard().ends_with(&["READY=1".to_owned(), "STATUS=2/2 serving, version 1".to_owned()]));
    assert!(manager.values("STATUS").iter().any(|status| status.contains("upgrading to version 1: ")));
    let monotonic = manager.values("MONOTONIC_USEC");
    assert!(monotonic.iter().all(|micros| micros.parse::<u64>().unwrap() > 0), "{monotonic:?}");
    assert_eq!(monotonic.len(), manager.count("RELOADING=1"));
    assert!(manager.is_told_by_alone(master.pid()));
}

/// The client that waits for its end may be the manager itself, by `ExecReload=`.
#[test]
fn the_manager_hears_that_an_upgrade_is_over_before_its_client_does() {
    let (setup, mut manager) = service("");
    let master = setup.http_worker("--ack manual").start();
    wait_for_first(&mut manager, &master);
    let mut client = master.connect();
    for round in 2..6 {
        client.send("{command: upgrade, id: 1}");
        while !client.receive().is_some_and(|line| line.contains("Upgrade done")) {}
        assert_eq!(manager.count("READY=1"), round);
    }
}

#[test]
fn a_failed_upgrade_ends_with_ready_and_a_status() {
    let (setup, mut manager) = service("-r 1");
    setup.write("ack", "");
    let master = setup.script(&ack_while_allowed()).start();
    wait_for_first(&mut manager, &master);
    master.replace("worker.sh", "exit 3\n");
    master.signal(Signal::SIGHUP);
    let failed =
        "2/2 serving, version 0. Upgrade failed: 1 new workers in a row died or did not ACK, version 0 goes on";
    let is_told = |status: &String| {
        let how = status.strip_prefix(failed).unwrap_or_default();
        how.starts_with("; Worker ") && how.ends_with(" after its launch, before its ack: exit status 3")
    };
    let mut count = || manager.values("STATUS").iter().filter(|status| is_told(status)).count();
    master.wait_until("the failure is told", LIMIT, || count() == 1);
    assert_eq!(manager.states().last().map(String::as_str), Some("READY=1"));
    assert!(manager.count("RELOADING=1") >= 1);
    // An exchange of the master alone does not change what became of the upgrade; the next upgrade does.
    master.reload();
    let mut count = || manager.values("STATUS").iter().filter(|status| is_told(status)).count();
    master.wait_until("the failure is told again", LIMIT, || count() == 2);
    master.replace("worker.sh", &ack_while_allowed());
    master.signal(Signal::SIGHUP);
    manager.wait_for("STATUS=2/2 serving, version 2", 1, &master);
}

#[test]
fn last_words_of_a_worker_do_not_keep_systemd_from_hearing_that_the_upgrade_is_over() {
    let (setup, mut manager) = service("-r 1 --config web.toml");
    // With a file, the master reads what workers write.
    setup.write("web.toml", "");
    setup.write("ack", "");
    let master = setup.script(&ack_while_allowed()).start();
    wait_for_first(&mut manager, &master);
    // One that stands at the very end, and one that is cut there.
    for words in [r"C:\\srv\\".to_owned(), r"\\".repeat(2000)] {
        let failures = manager.states().len();
        master.replace("worker.sh", &format!("printf '{words}' >&2\nexit 3\n"));
        master.signal(Signal::SIGHUP);
        master.wait_until("the end is heard", LIMIT, || {
            manager.states().len() > failures + 1 && manager.states().ends_with(&["READY=1".to_owned()])
        });
        let status = manager.values("STATUS");
        assert!(status.last().unwrap().ends_with('\\'), "{status:?}");
    }
}

/// Number 26 of what operators trip over: a .socket unit beside the service.
#[test]
fn sockets_of_a_socket_unit_that_are_not_used_are_said() {
    let setup = Setup::new("-n 1").program(["sleep", "1000"]).env("LISTEN_FDS", "3");
    // One of them is of a master before.
    let setup = setup.env("LISTEN_FDNAMES", "web:einhyrningsins-socket-7");
    let master = setup.through(&["/bin/sh", "-c", "LISTEN_PID=$$ exec \"$@\"", "sh"]).start();
    master.wait_for_log("WARN: The 2 sockets of a .socket unit (LISTEN_FDS) are not used", 1);
    // What is meant for another process is no word to this one.
    let setup = Setup::new("-n 1").program(["sleep", "1000"]).env("LISTEN_FDS", "2").env("LISTEN_PID", "1");
    let master = setup.start();
    master.wait_for_workers(1);
    assert!(!master.log().to_string().contains("LISTEN_FDS"), "{}", master.log());
}

/// Number 26 of what operators trip over: as systemd mounts it for a service with PrivateTmp=.
#[test]
fn files_that_no_client_can_see_are_said() {
    let mount = "mkdir -p systemd-private-1-web/tmp && mount --bind systemd-private-1-web/tmp /var/tmp && exec \"$@\"";
    let setup = Setup::new("-n 1 -e /var/tmp/web.pid").program(["sleep", "1000"]);
    let master = setup.through(&["unshare", "-m", "/bin/sh", "-c", mount, "sh"]).start();
    master.wait_for_log(
        "WARN: The pid file /var/tmp/web.pid is hidden from other processes: this service has a /var/tmp of its own",
        1,
    );
    assert!(!master.log().to_string().contains("The control socket"), "{}", master.log());
}

/// Readiness is over what was once ready: it is carried to the next image.
#[test]
fn readiness_stays_over_a_re_exec_with_a_worker_missing() {
    let (setup, mut manager) = service("");
    setup.write("ack", "");
    let master = setup.script(&ack_while_allowed()).start();
    wait_for_first(&mut manager, &master);
    fs::remove_file(master.file("ack")).unwrap();
    master.workers()[0].signal(Signal::SIGKILL);
    manager.wait_for("STATUS=1/2 serving, version 0", 1, &master);
    let readies = manager.count("READY=1");
    master.reload();
    manager.wait_for("READY=1", readies + 1, &master);
    assert_eq!(manager.states(), ["READY=1", "RELOADING=1", "READY=1"]);
}

#[test]
fn an_end_is_said_when_it_begins() {
    let (setup, mut manager) = service("");
    let master = setup.http_worker("--ack manual").start();
    wait_for_first(&mut manager, &master);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(manager.states(), ["READY=1", "STOPPING=1"]);
    let status = manager.values("STATUS");
    assert!(status.iter().any(|status| status == "stopping, 2 workers left"), "{status:?}");
    assert!(status.last().unwrap().starts_with("stopping, "), "{status:?}");
}

#[test]
fn the_watchdog_hears_the_master_before_and_after_it_has_replaced_itself() {
    let (setup, mut manager) = service("");
    let master = setup.env("WATCHDOG_USEC", "50000").http_worker("--ack manual").start();
    wait_for_first(&mut manager, &master);
    let heard = manager.count("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1", heard + 3, &master);
    master.reload();
    let heard = manager.count("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1", heard + 3, &master);
    assert!(manager.is_told_by_alone(master.pid()));
}

#[test]
fn a_watchdog_that_means_another_process_is_not_served() {
    let (setup, mut manager) = service("");
    let setup = setup.env("WATCHDOG_USEC", "2000").env("WATCHDOG_PID", "1");
    let master = setup.http_worker("--ack manual").start();
    wait_for_first(&mut manager, &master);
    assert_eq!(manager.count("WATCHDOG=1"), 0);
}

/// Ruby's einhorn does not serve it.
#[test]
fn a_successor_without_watchdog_support_is_refused() {
    let (setup, mut manager) = service("");
    let setup = setup.reexec_as(AS_EINHORN).env("WATCHDOG_USEC", "30000000");
    let master = setup.http_worker("--ack manual").start();
    wait_for_first(&mut manager, &master);
    master.control("{command: reload}");
    master.wait_for_log("and the service's watchdog would kill it", 1);
    assert!(master.is_running());
}

/// The manager would never hear that the exchange is over.
#[test]
fn a_silent_successor_is_preceded_by_ready() {
    let setup = Setup::new("-n 1 -m 0").word("--reexec-as").word("/bin/sh ./silent").program(["sleep", "1000"]);
    setup.write("silent", &format!("{AS_EINHORN}\nexec sleep 1000\n"));
    let mut manager = Manager::at(&setup.directory().join("notify"));
    let master = setup.env("NOTIFY_SOCKET", manager.name()).start();
    manager.wait_for("READY=1", 1, &master);
    master.control("{command: reload}");
    master.wait_until("it is another program", LIMIT, || master.process().command_line() == ["sleep", "1000"]);
    assert_eq!(manager.states(), ["READY=1", "RELOADING=1", "READY=1"]);
}

#[test]
fn an_abstract_name_will_do() {
    let setup = Setup::new("-n 1 -m 0").program(["sleep", "1000"]);
    let mut manager = Manager::abstract_named(&format!("einhyrningsins-proc-{}", std::process::id()));
    let master = setup.env("NOTIFY_SOCKET", manager.name()).start();
    manager.wait_for("READY=1", 1, &master);
}

/// Nothing of ours waits for a manager: not one that does not read, nor one that is not there.
#[test]
fn a_manager_that_does_not_read_hears_it_later() {
    let (setup, mut manager) = service("");
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"STATUS=full", setup.directory().join("notify")).is_ok() {}
    let master = setup.http_worker("--ack manual").start();
    master.wait_for_log("cannot tell the service manager how things stand, trying again", 1);
    master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
    wait_for_first(&mut manager, &master);
}

#[test]
fn an_absent_manager_is_logged_once_and_not_tried_at_the_end() {
    let setup = Setup::new("-n 1 -m 0").program(["sleep", "1000"]);
    let master = setup.env("NOTIFY_SOCKET", "/nowhere/notify").start();
    master.wait_for_log("Up to 1 / 1", 1);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert_eq!(master.log().count("trying again"), 1, "{}", master.log());
}

#[test]
fn a_manager_that_cannot_be_is_told_of_once() {
    let master = Setup::new("-n 1 -m 0").program(["sleep", "1000"]).env("NOTIFY_SOCKET", "nowhere").start();
    master.wait_for_log("NOTIFY_SOCKET is \"nowhere\", need an absolute path or a name behind @; going on without", 1);
    master.wait_for_log("Up to 1 / 1", 1);
}

/// Failure mode 104. What is about the master is for the master.
#[test]
fn workers_do_not_see_what_the_manager_says_to_the_master() {
    let (setup, mut manager) = service("");
    let setup =
        setup.env("WATCHDOG_USEC", "30000000").env("FDSTORE", "3").env("LISTEN_FDS", "1").env("LISTEN_PID", "1");
    let master = setup.env("LISTEN_FDNAMES", "x").env("WATCHDOG_DOG", "rex").http_worker("--ack manual").start();
    wait_for_first(&mut manager, &master);
    for round in 0..2 {
        for worker in master.wait_for_workers(2) {
            let environ = worker.environ();
            let hidden = |name: &&String| {
                name.starts_with("LISTEN_") || ["NOTIFY_SOCKET", "WATCHDOG_USEC", "FDSTORE"].contains(&name.as_str())
            };
            assert_eq!(environ.keys().find(hidden), None);
            assert_eq!(environ.get("WATCHDOG_DOG").map(String::as_str), Some("rex"));
        }
        if round == 0 {
            master.signal(Signal::SIGHUP);
            manager.wait_for("STATUS=2/2 serving, version 1", 1, &master);
        }
    }
}

/// The files of a master that is run from a configuration file are in the directory that its manager made for it; einhorn's
/// command line has einhorn's places.
#[test]
fn a_service_has_its_files_in_its_runtime_directory() {
    let text = format!(
        "command = ['{}']\ncommand-name = 'other'\nbind = ['{},r']\n",
        example("http_worker").display(),
        free_address()
    );
    let setup = Setup::new("--config web.toml");
    setup.write("web.toml", &text);
    let own = setup.directory().join("own");
    fs::create_dir(&own).unwrap();
    let names = format!("{}:/elsewhere", own.display());
    let master = setup.env("RUNTIME_DIRECTORY", &names).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let mut files: Vec<_> = fs::read_dir(&own).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["einhorn.lock", "einhorn.lock.journal", "einhorn.pid", "einhorn.sock"]);
    let socket = master.workers()[0].environ().get("EINHORN_SOCK_PATH").cloned();
    assert_eq!(socket, Some(own.join("einhorn.sock").display().to_string()));

    let plain = Setup::new("-n 1 -m 0").program(["sleep", "1000"]).env("RUNTIME_DIRECTORY", "/nowhere").start();
    plain.wait_for_log("Up to 1 / 1", 1);
    assert!(plain.file("einhorn.sock").exists() && plain.file("einhorn.pid").exists());
}
