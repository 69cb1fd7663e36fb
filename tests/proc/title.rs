//! What ps(1) shows the master as. Scripts look for these words.

use std::fs;

use nix::sys::signal::Signal;

use crate::support::{Master, Setup};

/// The arguments of the master as ps prints them.
fn shown(master: &Master) -> String {
    let output = std::process::Command::new("ps").args(["-o", "args=", "-p", &master.pid().to_string()]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim_end().to_owned()
}

#[test]
fn the_master_is_shown_as_einhorn_with_what_it_runs() {
    let master = Setup::new("-n 1 -m 0").program(["/bin/sleep", "1000"]).env("KEPT", "yes").start();
    let worker = master.wait_for_workers(1)[0];
    assert_eq!(shown(&master), "einhorn: /bin/sleep 1000");
    // For killall and pidof, which want the name of the file.
    assert_eq!(fs::read_to_string(format!("/proc/{}/comm", master.pid())).unwrap(), "einhyrningsins\n");
    // It stands where the environment was, which the workers still get.
    assert_eq!(worker.environ()["KEPT"], "yes");
    assert_eq!(worker.command_line(), ["/bin/sleep", "1000"]);
}

/// The record has `ruby` whatever is run.
#[test]
fn the_title_shows_the_command_name() {
    let master = Setup::new("-n 1 -m 0").named("web").program(["/bin/sleep", "1000"]).start();
    master.wait_for_workers(1);
    assert_eq!(shown(&master), "einhorn: ruby web");
}

#[test]
fn another_program_is_shown_after_its_upgrade() {
    let setup = Setup::new("--config web.toml -m 0");
    setup.write("web.toml", "command = ['/bin/sleep', '1000']\n");
    let master = setup.start();
    master.wait_for_log("Up to 1 / 1", 1);
    master.replace("web.toml", "command = ['/bin/sleep', '2000']\n");
    master.signal(Signal::SIGHUP);
    master.wait_for_log("Upgraded successfully", 1);
    assert_eq!(shown(&master), "einhorn: /bin/sleep 2000");
}
