//! Workers whose exit code says that no restart mends it (`worker.no-restart`; number 21 of "what real operators trip over"). What the
//! pool decides is shown by the simulator. Of compat.md: "a worker that exits with 78 (EX_CONFIG), with `--config`".

use serde_json::Value as Json;

use crate::rollout::ctl;
use crate::support::{LIMIT, Master, Process, Setup};

/// It lives until its file is there, and then ends with the code that stands in it; or ends at once.
const WORKER: &str = r#"
[ "$MODE" = wrong ] && { echo "no such key: databse"; exit 78; }
while ! test -e "code-$EINHYRNINGSINS_SLOT"; do sleep 0.05; done
echo "no such key: databse"
exit $(cat "code-$EINHYRNINGSINS_SLOT")
"#;

const SETTINGS: &str = "ack-mode = 0\nseconds = 0.01\nsignal-timeout = 5\nnumber = 2\n";

fn setup(file: &str) -> Setup {
    let setup = Setup::new("--config web.toml").script(WORKER);
    setup.write("web.toml", &format!("{SETTINGS}{file}"));
    setup
}

fn status(master: &Master) -> Json {
    let said = ctl(master, &["status", "--json"]);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// The worker of this slot ends with this code.
fn end(master: &Master, slot: u32, code: &str) -> Process {
    let worker = master.workers()[slot as usize];
    master.replace(&format!("code-{slot}"), code);
    master.wait_until("the worker ends", LIMIT, || !worker.is_alive());
    std::fs::remove_file(master.file(&format!("code-{slot}"))).unwrap();
    worker
}

#[test]
fn a_first_start_ends_when_the_configuration_of_its_workers_is_wrong() {
    let setup = setup("");
    setup.write("code-0", "78");
    setup.write("code-1", "78");
    let master = setup.start();
    assert_eq!(master.wait_exit().code(), Some(112), "{}", master.log());
    let log = master.log();
    let why =
        "exited with status 78 (EX_CONFIG, its configuration is wrong), which no restart mends (worker.no-restart)";
    assert_eq!(log.count("Giving up: worker "), 1, "{log}");
    assert_eq!((log.count(why), log.count("no such key: databse") > 0), (1, true), "{log}");
}

#[test]
fn an_upgrade_ends_when_the_configuration_of_its_workers_is_wrong() {
    let master = setup("").start();
    master.wait_for_log("Up to 2 / 2", 1);
    master.replace("web.toml", &format!("{SETTINGS}env.set = {{ MODE = 'wrong' }}\n"));
    let upgrade = ctl(&master, &["upgrade", "--watch"]);
    assert_eq!(upgrade.code, Some(1), "{upgrade:?}");
    assert!(upgrade.out.contains("a worker exited with status 78 (EX_CONFIG"), "{upgrade:?}");
    assert!(upgrade.out.contains("no such key: databse"), "{upgrade:?}");
    let check = || ctl(&master, &["status", "--check"]).code == Some(0);
    master.wait_until("the version before serves", LIMIT, check);
}

/// The service has served for as long as a start takes.
#[test]
fn a_slot_whose_worker_no_restart_mends_stays_down_until_an_upgrade() {
    let master = setup("early-life = 0\n").start();
    master.wait_for_log("Up to 2 / 2", 1);
    let is_old = || status(&master)["workers"][0]["ack_age_s"].as_f64().is_some_and(|age| age > 10.0);
    master.wait_until("the workers have outlived their early life", LIMIT, is_old);
    let worker = end(&master, 1, "78");
    let line = format!("Slot 1 stays down: worker {worker} exited with status 78 (EX_CONFIG");
    master.wait_for_log(&line, 1);
    let down = status(&master);
    let slot = &down["down"][0];
    assert_eq!((&slot["slot"], &slot["exit_status"], &down["serving"]), (&1.into(), &78.into(), &1.into()), "{down:#}");
    assert_eq!(ctl(&master, &["status", "--check"]).code, Some(1));
    let shown = ctl(&master, &["status"]);
    assert!(shown.out.contains("slot 1 stays down since ") && shown.out.contains("exited with 78"), "{shown:?}");
    // A worker that ends otherwise comes back; the one that is down does not.
    let other = end(&master, 0, "3");
    master.wait_until("slot 0 is filled", LIMIT, || master.workers().iter().any(|worker| *worker != other));
    master.wait_until("slot 0 serves", LIMIT, || status(&master)["serving"] == 1);
    assert_eq!(status(&master)["down"][0]["slot"], 1);
    // A new image knows of it, too.
    assert_eq!(ctl(&master, &["raw", "reload"]).code, Some(0));
    assert_eq!(status(&master)["down"][0]["slot"], 1);
    assert_eq!(ctl(&master, &["upgrade"]).code, Some(0));
    assert_eq!((&status(&master)["down"], ctl(&master, &["status", "--check"]).code), (&Json::Array(vec![]), Some(0)));
    assert_eq!(master.log().count("stays down"), 1, "{}", master.log());
}

/// Nor where the file says that there is no such code.
#[test]
fn scripts_of_einhorn_know_of_no_such_code() {
    for setup in [Setup::new("-n 2 -m 0 -s 0.01").script(WORKER), setup("worker.no-restart = []\nmax-failures = 0\n")] {
        setup.write("code-0", "78");
        setup.write("code-1", "78");
        let master = setup.start();
        master.wait_for_log("===> Launched ", 6);
        assert_eq!(master.log().count("worker.no-restart"), 0);
    }
}

#[test]
fn the_codes_are_those_of_the_file() {
    let setup = setup("worker.no-restart = [3, 64]\n");
    setup.write("code-0", "64");
    setup.write("code-1", "64");
    let master = setup.start();
    assert_eq!(master.wait_exit().code(), Some(112), "{}", master.log());
    assert_eq!(master.log().count("exited with status 64, which no restart mends"), 1, "{}", master.log());
}
