//! Workers that run as another user: what the kernel says of them, in which order they become it, and that they can still
//! ack. Only root can change a worker's user, so these tests say so and end without root.

use nix::sys::signal::Signal;

use crate::support::{
    AS_EINHORN, EINHYRNINGSINS, Master, OTHER_UID, Process, Setup, Strace, Stranger, decoded, is_root,
};

/// A group without members.
const GROUP: u32 = 65_500;

fn start(file: &str, program: &[&str]) -> Master {
    let setup = Setup::new("--config web.toml").program(program).open_to_all();
    setup.write("web.toml", file);
    setup.start()
}

fn numbers(process: Process, field: &str) -> Vec<u32> {
    process.status(field).unwrap().split_whitespace().map(|number| number.parse().unwrap()).collect()
}

#[test]
fn a_worker_is_its_user_with_its_groups_and_nothing_else() {
    if !is_root() {
        return;
    }
    // daemon and its group are on every system; the files give it no further groups.
    let master = start("[worker]\nuser = 'daemon'\n", &["/bin/sleep", "1000"]);
    let worker = master.wait_for_workers(1)[0];
    let uid = numbers(worker, "Uid")[0];
    assert_ne!(uid, 0);
    assert_eq!(numbers(worker, "Uid"), [uid; 4]);
    assert_eq!(numbers(worker, "Gid"), [numbers(worker, "Gid")[0]; 4]);
    assert!(!numbers(worker, "Groups").contains(&0), "{:?}", worker.status("Groups"));
    for field in ["CapPrm", "CapEff"] {
        assert_eq!(worker.status(field).unwrap().trim(), "0000000000000000", "{field}");
    }
    let environ = worker.environ();
    assert_eq!((environ["USER"].as_str(), environ["LOGNAME"].as_str()), ("daemon", "daemon"));
    assert_ne!(environ["HOME"], "/root");
    assert_eq!(numbers(master.process(), "Uid"), [0; 4]);
}

#[test]
fn numbers_without_a_name_will_do() {
    if !is_root() {
        return;
    }
    let master = start("[worker]\nuser = 64999\ngroup = 65500\n", &["/bin/sleep", "1000"]);
    let worker = master.wait_for_workers(1)[0];
    assert_eq!(numbers(worker, "Uid"), [64_999; 4]);
    assert_eq!(numbers(worker, "Gid"), [GROUP; 4]);
    assert_eq!(numbers(worker, "Groups"), [GROUP]);
}

#[test]
fn identity_is_set_in_the_order_groups_group_user_death_signal() {
    if !is_root() {
        return;
    }
    let file = "kill-children-on-exit = true\nack-mode = 0\nseconds = 0.01\n[worker]\nuser = 'daemon'\n";
    let master = start(file, &["/bin/sleep", "1000"]);
    let first = master.wait_for_workers(1)[0];
    master.wait_for_log("Up to 1 / 1", 1);
    let calls = "trace=setgroups,setgid,setresgid,setuid,setresuid,prctl,getppid,chdir,execve";
    let strace = Strace::attach(&master, &["-e", calls]);
    first.signal(Signal::SIGKILL);
    master.wait_for_log("===> Launched", 2);
    master.wait_for_log("Up to 1 / 1", 2);
    let lines = strace.detach();
    let new = format!("{} ", master.wait_for_workers(1)[0]);
    let calls: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix(&new)).map(str::trim_start).collect();
    let position = |call: &str| {
        let found = calls.iter().position(|line| line.starts_with(call));
        found.unwrap_or_else(|| panic!("{call} is not among {calls:#?}"))
    };
    let set_gid = calls.iter().position(|line| line.starts_with("setgid(") || line.starts_with("setresgid(")).unwrap();
    let set_uid = calls.iter().position(|line| line.starts_with("setuid(") || line.starts_with("setresuid(")).unwrap();
    let order = [position("setgroups("), set_gid, set_uid, position("prctl(PR_SET_PDEATHSIG"), position("execve(")];
    assert!(order.is_sorted(), "{order:?} of {calls:#?}");
    // Setting the user would have cleared it.
    assert!(set_uid < position("prctl(PR_SET_PDEATHSIG, SIGUSR2"), "{calls:#?}");
}

#[test]
fn a_worker_of_another_user_dies_with_its_master_and_can_ack_before() {
    if !is_root() {
        return;
    }
    let ack = "import json, os, signal, socket\n\
               connection = socket.socket(socket.AF_UNIX)\n\
               connection.connect(os.environ['EINHORN_SOCK_PATH'])\n\
               connection.sendall((json.dumps({'command': 'worker:ack', 'pid': os.getpid()}) + '\\n').encode())\n\
               signal.pause()\n";
    let file = "kill-children-on-exit = true\nack-mode = 'manual'\n[worker]\nuser = 'daemon'\n";
    let master = start(file, &["/usr/bin/env", "python3", "-c", ack]);
    master.wait_for_log("Up to 1 / 1 manual ACKs", 1);
    let worker = master.wait_for_workers(1)[0];
    master.signal(Signal::SIGKILL);
    master.wait_until("the worker is gone", crate::support::LIMIT, || !worker.is_alive());
}

#[test]
fn a_user_that_cannot_be_become_is_refused_before_anything_is_opened() {
    let setup = Setup::new("--config web.toml").program(["/bin/sleep", "1"]);
    setup.write("web.toml", "[worker]\nuser = 'no-such-user'\n");
    let refusal = setup.refused();
    assert_eq!(refusal.code, Some(100));
    let line = "einhyrningsins: web.toml:2:8: worker.user: there is no user \"no-such-user\"";
    assert_eq!(refusal.lines, [line]);
    refusal.assert_nothing_left();
}

#[test]
fn allowed_users_may_command_until_the_configuration_drops_them() {
    if !is_root() {
        return;
    }
    let allowed = format!("[control]\nallow-users = [{OTHER_UID}]\nallow-groups = [{GROUP}]\n");
    let master = start(&allowed, &["/bin/sleep", "1000"]);
    let socket = master.wait_for_socket().to_owned();
    let state = "{id: 1, command: louder}";
    for stranger in [Stranger::in_groups(65_534, &[]), Stranger::in_groups(65_534, &[GROUP])] {
        assert!(decoded(&stranger.ask(&socket, &[state])).contains("Verbosity set to 0"));
    }
    master.replace("web.toml", &format!("[control]\nallow-groups = [{GROUP}]\n"));
    master.control("{id: 1, command: upgrade}");
    master.wait_for_log("Upgraded successfully", 1);
    let denied = decoded(&Stranger::in_groups(65_534, &[]).ask(&socket, &[state]));
    assert!(denied.contains("Permission denied: uid 65534 may only ack and ping its worker"), "{denied}");
    assert!(decoded(&Stranger::in_groups(65_534, &[GROUP]).ask(&socket, &[state])).contains("Verbosity set to 0"));
}

/// A wrapper that clears the environment is not taken for Ruby's einhorn, which would launch the workers as root.
#[test]
fn a_worker_is_its_user_after_any_re_exec_too() {
    if !is_root() {
        return;
    }
    let file = "seconds = 0.01\nack-mode = 0\nreexec-as = 'env -i PATH=/usr/bin:/bin TMPDIR=DIR OURS'\n\
        [worker]\nuser = 'daemon'\n";
    let setup = Setup::new("--config web.toml").program(["/bin/sleep", "1000"]).open_to_all();
    let directory = setup.directory().display().to_string();
    setup.write("web.toml", &file.replace("DIR", &directory).replace("OURS", EINHYRNINGSINS));
    let master = setup.start();
    let uids = |worker: Process| numbers(worker, "Uid");
    let first = uids(master.wait_for_workers(1)[0]);
    assert_ne!(first, [0; 4]);
    master.wait_for_log("Up to 1 / 1", 1);
    master.reload();
    for upgrade in 1..=2 {
        master.signal(Signal::SIGHUP);
        master.wait_for_log("Upgraded successfully", upgrade);
        master.wait_for_log("===> Exited worker", upgrade);
        assert_eq!(uids(master.wait_for_workers(1)[0]), first);
    }
}

/// Ruby's einhorn would launch the workers as root.
#[test]
fn a_master_that_knows_no_users_of_workers_does_not_get_them() {
    if !is_root() {
        return;
    }
    let setup = Setup::new("--config web.toml").program(["/bin/sleep", "1000"]).open_to_all();
    setup.write("web.toml", "ack-mode = 0\n[worker]\nuser = 'daemon'\n");
    let master = setup.reexec_as(AS_EINHORN).start();
    master.wait_for_log("Up to 1 / 1", 1);
    let workers = master.wait_for_workers(1);
    master.signal(Signal::SIGHUP);
    master.wait_for_log("is einhorn, and knows no users of workers", 1);
    assert_eq!(master.workers(), workers);
    assert!(master.is_running());
}
