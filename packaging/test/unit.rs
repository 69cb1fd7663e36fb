//! The unit and its drop-ins: what systemd says of them, and whether services run in them.

use crate::machine::{Machine, told};
use crate::packages::{SERVICE, deb, install_deb};

/// The worst exposure that the unit may have, of 100: see systemd-analyze(1), which shows a tenth of it.
const EXPOSURE_MAX: u32 = 20;
const DROP_INS: &str = "/usr/share/doc/einhyrningsins/examples/systemd";
const INSTANCE: &str = "einhyrningsins@web.service";
const SERVICE_AS_WEB: &str = "command = [\"sleep\", \"600\"]\nnumber = 2\nworker.user = \"web\"\n";

#[test]
fn the_unit_is_right_and_little_exposed() {
    let machine = Machine::boot();
    install_deb(&machine, &deb());
    assert_clean(&machine);
    let exposure = exposure(&machine);
    assert!(exposure <= EXPOSURE_MAX, "{exposure}\n{}", machine.sh(&format!("systemd-analyze security {INSTANCE}")));
}

#[test]
fn each_drop_in_is_right_beside_the_unit_and_lets_a_service_run() {
    let machine = Machine::boot();
    install_deb(&machine, &deb());
    machine.sh("useradd --system web");
    let plain = exposure(&machine);
    let exposed = |name: &str| {
        let directory = format!("/etc/systemd/system/{INSTANCE}.d");
        machine.sh(&format!("mkdir -p {directory}; cp {DROP_INS}/{name} {directory}/; systemctl daemon-reload"));
        assert_clean(&machine);
        let exposure = exposure(&machine);
        // Only a master that is root, or web itself, can have workers that are web.
        let is_web = ["own-user.conf", "workers-as-users.conf"].contains(&name);
        machine.write("/etc/einhyrningsins/web.toml", if is_web { SERVICE_AS_WEB } else { SERVICE });
        machine.sh(&format!("systemctl start {INSTANCE} || {{ journalctl -u {INSTANCE}; false; }}"));
        assert_eq!(machine.sh("pgrep --count --exact sleep"), "2", "{name}");
        let of_web = machine.try_sh("pgrep --count --exact --euid web sleep");
        assert_eq!(of_web.status.success(), is_web, "{name}");
        // The next master adopts the workers, and replaces them.
        let workers = machine.sh("pgrep --exact sleep");
        machine.sh(&format!("kill -KILL $(systemctl show --value --property=MainPID {INSTANCE})"));
        machine.wait_until("there is a next master", || machine.property(INSTANCE, "NRestarts") == "1");
        machine.wait_until("it has replaced the workers", || {
            let now = machine.sh("pgrep --exact sleep");
            now.lines().count() == 2 && now.lines().all(|pid| !workers.lines().any(|before| before == pid))
        });
        let journal = machine.journal(INSTANCE);
        assert!(journal.contains("was killed: adopting its workers"), "{name}: {journal}");
        machine.sh(&format!("systemctl reload {INSTANCE} && systemctl stop {INSTANCE}"));
        assert!(!machine.try_sh("pgrep --exact sleep").status.success(), "{name}");
        machine.sh(&format!("rm -r {directory}; systemctl daemon-reload"));
        exposure
    };
    let names = machine.sh(&format!("ls {DROP_INS}"));
    let exposures: Vec<_> = names.lines().map(|name| (name, exposed(name))).collect();
    for (name, exposure) in exposures {
        match name {
            "hardening-strict.conf" => assert!(exposure <= 14, "{name}: {exposure}"),
            "own-user.conf" => assert_eq!(exposure, plain, "{name}"),
            "low-ports.conf" => assert!(exposure <= EXPOSURE_MAX, "{name}: {exposure}"),
            // A master that is root is exposed more, and the file says so.
            "workers-as-users.conf" => assert!(exposure <= 31, "{name}: {exposure}"),
            other => panic!("what may the exposure of {other} be? It is {exposure}"),
        }
    }
}

/// What systemd has to say against the unit, with the pages that it names.
#[track_caller]
fn assert_clean(machine: &Machine) {
    let verified = machine.run(&["systemd-analyze", "verify", "--man=yes", INSTANCE]);
    // What is wrong with other units on this system is not ours to mend.
    let complaints = told(&verified);
    let ours: Vec<_> = complaints.lines().filter(|line| line.contains("einhyrningsins")).collect();
    assert!(verified.status.success() && ours.is_empty(), "{complaints}");
}

/// Ten times what systemd-analyze shows, from the files alone.
#[track_caller]
fn exposure(machine: &Machine) -> u32 {
    let shown = machine.sh(&format!("systemd-analyze security --offline=true --no-pager {INSTANCE} | tail -n 1"));
    let number = shown.split_whitespace().find_map(|word| word.strip_suffix(':').unwrap_or(word).parse::<f64>().ok());
    let tenths = number.unwrap_or_else(|| panic!("no exposure in {shown}")) * 10.0;
    format!("{tenths:.0}").parse().unwrap()
}
