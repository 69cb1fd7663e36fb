//! Upgrades in stages, versions on trial, and the way back, with real processes: what a deploy script sees. What holds in general is
//! shown by the simulator.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::ctl::{CTL, Said, said};
use crate::support::{LIMIT, Master, Process, Setup};

/// It lives, dies half a second after its ack, or does so before it; each version has its own.
const WORKER: &str = r#"
echo "this is $MODE"
[ "$MODE" = crash ] && { sleep 0.5; echo "no such table: users" >&2; exit 3; }
exec sleep 1000
"#;

pub(crate) fn ctl(master: &Master, words: &[&str]) -> Said {
    let mut command = Command::new(CTL);
    command.args(words).env_clear().env("TMPDIR", master.directory()).stdin(Stdio::null());
    said(command)
}

fn status(master: &Master) -> Json {
    let said = ctl(master, &["status", "--json"]);
    serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
}

/// The file, for the next upgrade too.
fn write(master: &Master, mode: &str, more: &str) {
    master.replace("web.toml", &file(mode, more));
}

fn file(mode: &str, more: &str) -> String {
    format!("ack-mode = 0\nseconds = 0.01\nsignal-timeout = 5\nnumber = 3\nenv.set = {{ MODE = '{mode}' }}\n{more}")
}

fn start(more: &str) -> Master {
    let setup = Setup::new("--config web.toml").script(WORKER);
    setup.write("web.toml", &file("one", more));
    let master = setup.start();
    master.wait_for_log("Up to 3 / 3", 1);
    master
}

/// How many workers of each version were not told to go.
fn versions(master: &Master) -> Vec<i64> {
    let status = status(master);
    let workers = status["workers"].as_array().unwrap().iter().filter(|worker| worker["state"] == "acked");
    let mut versions: Vec<i64> = workers.map(|worker| worker["version"].as_i64().unwrap()).collect();
    versions.sort_unstable();
    versions
}

#[track_caller]
pub(crate) fn wait_for_versions(master: &Master, wanted: &[i64]) {
    master.wait_until(&format!("versions {wanted:?} serve"), LIMIT, || versions(master) == wanted);
}

#[test]
fn a_release_that_acks_and_then_dies_is_given_up_and_the_one_before_serves_again() {
    let master = start("early-life = '20s'\nmax-failures = 3\n");
    write(&master, "crash", "early-life = '20s'\nmax-failures = 3\n");
    let upgrade = ctl(&master, &["upgrade", "--watch"]);
    assert_eq!(upgrade.code, Some(1), "{upgrade:?}");
    assert!(upgrade.out.contains("no such table: users"), "{upgrade:?}");
    wait_for_versions(&master, &[0, 0, 0]);
    let history = ctl(&master, &["history"]);
    assert!(history.out.contains("failed") && history.out.contains("no such table: users"), "{history:?}");
    assert!(master.log().count("Going back to version 0") == 1, "{}", master.log());
}

#[test]
fn a_version_is_good_after_its_early_life() {
    let master = start("early-life = '500ms'\n");
    write(&master, "two", "early-life = '500ms'\n");
    let upgrade = ctl(&master, &["upgrade", "--watch"]);
    assert_eq!(upgrade.code, Some(0), "{upgrade:?}");
    assert!(upgrade.out.contains("has come through its early life"), "{upgrade:?}");
    master.wait_for_log("Version 1 is good", 1);
}

#[test]
fn a_timeout_is_for_all_that_is_waited_for() {
    let master = start("early-life = '1h'\n");
    let upgrade = ctl(&master, &["upgrade", "--watch=40s", "--timeout", "4s"]);
    assert_eq!(upgrade.code, Some(4), "{upgrade:?}");
    assert!(upgrade.err.contains("the end of the trial"), "{upgrade:?}");
    assert_eq!(status(&master)["trial"]["version"], 1);
}

#[test]
fn a_canary_is_watched_before_the_others_are_replaced() {
    let master = start("[upgrade]\ncanary = 1\nbake = '1h'\n");
    let asked = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| ctl(&master, &["upgrade"]));
        wait_for_versions(&master, &[0, 0, 1]);
        assert_eq!(status(&master)["upgrade"]["stage"], 1);
        // Over a re-exec, too.
        master.reload();
        assert_eq!((status(&master)["upgrade"]["stage"].clone(), versions(&master)), (Json::from(1), vec![0, 0, 1]));
        let paused = ctl(&master, &["pause"]);
        assert_eq!(paused.code, Some(0), "{paused:?}");
        upgrade.join().unwrap()
    });
    assert_eq!(asked.code, Some(5), "{asked:?}");
    assert_eq!((versions(&master), ctl(&master, &["pause"]).code), (vec![0, 0, 1], Some(1)));
    assert_eq!(ctl(&master, &["resume"]).code, Some(0));
    let aborted = ctl(&master, &["abort"]);
    assert_eq!(aborted.code, Some(0), "{aborted:?}");
    wait_for_versions(&master, &[0, 0, 0]);
    assert_eq!(ctl(&master, &["abort"]).code, Some(1));
}

#[test]
fn terms_of_the_command_line_go_before_the_file() {
    let master = start("[upgrade]\ncanary = 1\nbake = '1h'\n");
    let upgrade = ctl(&master, &["upgrade", "--canary", "50%", "--bake", "100ms"]);
    assert_eq!(upgrade.code, Some(0), "{upgrade:?}");
    assert!(upgrade.out.contains("2 of 3 run the new version"), "{upgrade:?}");
    let upgrade = ctl(&master, &["upgrade", "--deadline", "500ms"]);
    assert_eq!(upgrade.code, Some(1), "{upgrade:?}");
    assert!(upgrade.out.contains("it was not done within"), "{upgrade:?}");
    wait_for_versions(&master, &[1, 1, 1]);
}

#[test]
fn a_check_that_fails_ends_the_upgrade_with_its_last_line() {
    let check = r#"[upgrade]
canary = 1
check = ["sh", "-c", "echo \"version $EINHYRNINGSINS_VERSION in $EINHYRNINGSINS_STAGE of $EINHYRNINGSINS_SLOTS\" >seen; test -e ok || { echo 10 requests; echo 7 errors; exit 9; }"]
"#;
    let master = start(check);
    let upgrade = ctl(&master, &["upgrade"]);
    assert_eq!(upgrade.code, Some(1), "{upgrade:?}");
    assert!(upgrade.out.contains("its check failed: exit status 9: 7 errors"), "{upgrade:?}");
    assert!(upgrade.out.contains("The log: "), "{upgrade:?}");
    assert_eq!(fs::read_to_string(master.file("seen")).unwrap(), "version 1 in 1 of 3\n");
    wait_for_versions(&master, &[0, 0, 0]);
    fs::write(master.file("ok"), "").unwrap();
    let upgrade = ctl(&master, &["upgrade"]);
    assert_eq!(upgrade.code, Some(0), "{upgrade:?}");
    assert_eq!(fs::read_to_string(master.file("seen")).unwrap(), "version 2 in 3 of 3\n");
}

#[test]
fn a_check_that_cannot_be_run_ends_the_upgrade_with_the_reason() {
    let master = start("upgrade.check = ['there-is-no-such-check']\n");
    let upgrade = ctl(&master, &["upgrade"]);
    assert_eq!(upgrade.code, Some(1), "{upgrade:?}");
    assert!(upgrade.out.contains("cannot run there-is-no-such-check"), "{upgrade:?}");
}

#[test]
fn a_rollback_undoes_an_upgrade_that_was_done_and_is_refused_where_it_cannot() {
    let master = start("early-life = 0\n");
    let refused = ctl(&master, &["rollback"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(ctl(&master, &["upgrade"]).code, Some(0));
    wait_for_versions(&master, &[1, 1, 1]);
    let refused = ctl(&master, &["rollback", "7"]);
    assert!(refused.code == Some(1) && refused.err.contains("version 7 is not kept, only 0"), "{refused:?}");
    let rollback = ctl(&master, &["rollback"]);
    assert_eq!(rollback.code, Some(0), "{rollback:?}");
    wait_for_versions(&master, &[0, 0, 0]);
    assert!(ctl(&master, &["history"]).out.contains("rolled back"));
}

#[test]
fn slots_stay_zero_to_the_number_over_upgrades_and_deaths() {
    let master = start("early-life = 0\n");
    let slots = |master: &Master| {
        let mut slots: Vec<String> =
            master.workers().iter().map(|it| it.environ()["EINHYRNINGSINS_SLOT"].clone()).collect();
        slots.sort_unstable();
        slots
    };
    for _ in 0..3 {
        assert_eq!(ctl(&master, &["upgrade", "--wait-old"]).code, Some(0));
        assert_eq!(slots(&master), ["0", "1", "2"]);
    }
    let launched = master.log().count("===> Launched");
    assert!(master.workers()[1].signal(Signal::SIGKILL));
    master.wait_for_log("===> Launched", launched + 1);
    master.wait_for_workers(3);
    assert_eq!(slots(&master), ["0", "1", "2"]);
    assert!(
        master.workers().iter().all(|it| it.environ()["EINHORN_CHILD_INDEX"] == it.environ()["EINHYRNINGSINS_SLOT"])
    );
}

/// The link `current` leads to this release from now on.
fn link_current(directory: &Path, release: &str) {
    let home = directory.join("releases").join(release);
    fs::create_dir_all(&home).unwrap();
    symlink(home, directory.join("current.new")).unwrap();
    fs::rename(directory.join("current.new"), directory.join("current")).unwrap();
}

/// Two releases, of which the second was brought in as deploys do.
fn start_with_two_releases() -> Master {
    let setup = Setup::new("--config web.toml").script(WORKER);
    setup.write("web.toml", &file("one", "early-life = 0\nworker.directory = 'current'\n"));
    link_current(setup.directory(), "one");
    let master = setup.start();
    master.wait_for_log("Up to 3 / 3", 1);
    link_current(master.directory(), "two");
    let upgrade = ctl(&master, &["upgrade", "--wait-old"]);
    assert_eq!(upgrade.code, Some(0), "{upgrade:?}");
    master
}

#[test]
fn a_rollback_leads_to_where_its_version_was_and_not_to_where_the_link_leads() {
    let master = start_with_two_releases();
    let all_are_in = |release: &str| master.wait_for_workers(3).iter().all(|it| it.environ()["PWD"].ends_with(release));
    assert!(all_are_in("/releases/two"), "{}", master.log());
    let rollback = ctl(&master, &["rollback"]);
    assert_eq!(rollback.code, Some(0), "{rollback:?}");
    wait_for_versions(&master, &[0, 0, 0]);
    assert!(all_are_in("/releases/one"), "{}", master.log());
}

#[test]
fn a_rollback_to_a_release_that_was_removed_is_refused_with_the_reason() {
    let master = start_with_two_releases();
    let gone = fs::canonicalize(master.file("releases/one")).unwrap();
    fs::remove_dir_all(&gone).unwrap();
    let refused = ctl(&master, &["rollback"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains(&format!("Refused: {} of version 0 is gone", gone.display())), "{refused:?}");
    assert_eq!(versions(&master), [1, 1, 1]);
}

#[test]
fn a_trial_goes_on_over_a_re_exec_and_can_be_aborted() {
    let master = start("early-life = '1h'\n");
    assert_eq!(ctl(&master, &["upgrade", "--wait-old"]).code, Some(0));
    assert!(master.workers()[1].signal(Signal::SIGKILL));
    wait_for_versions(&master, &[1, 1, 1]);
    master.wait_until("its death was counted", LIMIT, || status(&master)["trial"]["failures"] == 1);
    master.reload();
    let trial = &status(&master)["trial"];
    assert_eq!((&trial["version"], &trial["failures"]), (&Json::from(1), &Json::from(1)), "{trial:#}");
    let aborted = ctl(&master, &["abort"]);
    assert_eq!(aborted.code, Some(0), "{aborted:?}");
    wait_for_versions(&master, &[0, 0, 0]);
    assert!(ctl(&master, &["history"]).out.contains("aborted"));
}

/// A check that says which process it is, and which one it waits for.
const HANGING: &str =
    "['sh', '-c', 'sleep 1000 & echo $$ $! >begun.new; mv begun.new begun; echo still counting; wait']";

/// The processes of the check that was begun last.
fn hanging(master: &Master) -> Vec<Process> {
    master.wait_until("the check runs", LIMIT, || master.file("begun").exists());
    let text = fs::read_to_string(master.file("begun")).unwrap();
    fs::remove_file(master.file("begun")).unwrap();
    text.split_whitespace().map(|pid| Process(pid.parse().unwrap())).collect()
}

#[track_caller]
fn wait_until_ended(master: &Master, check: &[Process]) {
    assert_eq!(check.len(), 2, "{check:?}");
    master.wait_until("the check has ended", LIMIT, || !check.iter().any(|process| process.is_alive()));
}

#[test]
fn a_check_that_hangs_is_killed_and_ends_the_upgrade_with_the_reason() {
    let master = start(&format!("upgrade.check = {HANGING}\nupgrade.check-timeout = '300ms'\n"));
    let upgrade = ctl(&master, &["upgrade"]);
    assert_eq!(upgrade.code, Some(1), "{upgrade:?}");
    assert!(upgrade.out.contains("its check failed: it did not end within 0.3s: still counting"), "{upgrade:?}");
    wait_until_ended(&master, &hanging(&master));
    wait_for_versions(&master, &[0, 0, 0]);
}

/// What is in force when it ends has no check: once the master ended with a panic.
#[test]
fn a_check_is_killed_when_its_upgrade_is_aborted() {
    let master = start("early-life = 0\n");
    write(&master, "two", &format!("upgrade.check = {HANGING}\n"));
    let check = std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| ctl(&master, &["upgrade"]));
        let check = hanging(&master);
        assert_eq!(ctl(&master, &["abort"]).code, Some(0));
        assert_eq!(upgrade.join().unwrap().code, Some(1));
        check
    });
    wait_until_ended(&master, &check);
    master.wait_for_log("The check of version 1 was ended, its upgrade is over", 1);
    wait_for_versions(&master, &[0, 0, 0]);
    assert!(master.is_running());
}

#[test]
fn a_check_is_begun_anew_by_the_next_image_and_killed_with_the_master() {
    let master = start("early-life = 0\n");
    write(&master, "two", &format!("upgrade.check = {HANGING}\n"));
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| ctl(&master, &["upgrade"]));
        let before = hanging(&master);
        master.reload();
        wait_until_ended(&master, &before);
        let after = hanging(&master);
        assert!(after.iter().all(|process| process.is_alive()), "{after:?}\n{}", master.log());
        master.signal(Signal::SIGTERM);
        wait_until_ended(&master, &after);
        master.wait_exit();
        assert_ne!(upgrade.join().unwrap().code, Some(0));
    });
}
