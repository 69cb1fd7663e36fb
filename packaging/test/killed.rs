//! The death of a master under the unit of the package: systemd starts the next one, which adopts workers and sockets; and where it starts
//! none, nothing of the service is left.

use std::thread;
use std::time::Duration;

use crate::site::{Site, WEB, address};
use crate::support::{HeldRequest, LIMIT, Load, Pace, Target};

const FILE: &str = "/run/einhyrningsins/web/web.sock";
const UNIT: &str = "einhyrningsins@web";

/// An instance `web` on a TCP and a unix socket.
fn serving(drop_in: &str, more: &str) -> Site {
    let site = Site::new();
    site.drop_in(drop_in);
    site.configure("web", &format!("unix:{FILE}', '{WEB}"), "", more);
    site.ok(&format!("systemctl start {UNIT}"));
    site
}

fn load(site: &Site) -> [Load; 2] {
    // A machine that has no time left would show how slow systemd is then.
    let start = |target: Target| Load::start_at(target, 4, "/", Pace { pause: Duration::from_millis(4), limit: LIMIT });
    let tcp = site.0.in_network(|| start(address(WEB).into()));
    [tcp, start(site.0.path(FILE).as_path().into())]
}

fn wait_for_restart(site: &Site, count: usize) {
    site.wait_for_property("NRestarts", &count.to_string());
    site.wait_for_property("ActiveState", "active");
}

/// All processes of the service, as its cgroup has them.
fn processes(site: &Site) -> Vec<String> {
    let group = "/sys/fs/cgroup/system.slice/system-einhyrningsins.slice/einhyrningsins@web.service/cgroup.procs";
    site.ok(&format!("cat {group} 2>/dev/null || true")).lines().map(str::to_owned).collect()
}

fn servers(site: &Site) -> usize {
    site.ok("pgrep -c -f '^/srv/web/server' || true").parse().unwrap()
}

/// Four workers of its own, and none of a master before.
fn wait_until_alone(site: &Site) {
    site.wait_for("its own workers serve alone", || site.workers("web").len() == 4 && servers(site) == 4);
}

#[track_caller]
fn assert_nothing_left(site: &Site, result: &str) {
    assert_eq!(site.of("web", "Result"), result);
    assert_eq!((processes(site), servers(site)), (Vec::new(), 0));
    assert_eq!(site.of("web", "NFileDescriptorStore"), "0");
}

#[test]
fn a_master_that_hangs_and_is_ended_by_its_watchdog_costs_no_request() {
    let site = serving("WatchdogSec=3", "");
    // Where systemd's own words are found.
    site.ok("systemctl log-target journal");
    let loads = load(&site);
    for kill in 1..=2 {
        site.ok(&format!("kill -STOP {}", site.main_pid()));
        wait_for_restart(&site, kill);
        wait_until_alone(&site);
    }
    for load in loads {
        load.wait_for(10);
        load.stop().assert_nothing_lost();
    }
    site.assert_journal_has("Watchdog timeout");
    assert_eq!(site.of("web", "NFileDescriptorStore"), "2");
}

/// With KillMode=mixed systemd itself saw to it. A worker with a client ends no sooner than that.
#[test]
fn a_stop_whose_master_is_killed_leaves_nothing() {
    let site = serving("TimeoutStopSec=3", "");
    let held = || site.0.in_network(|| HeldRequest::begin(address(WEB), "/held"));
    // By the limit of the stop...
    let client = held();
    site.ok(&format!("systemctl stop {UNIT}"));
    assert_nothing_left(&site, "timeout");
    assert!(client.finish().is_err());
    // ...so with a restart, after which the service is another...
    site.ok(&format!("systemctl start {UNIT}"));
    let client = held();
    site.ok(&format!("systemctl restart {UNIT}"));
    assert!(client.finish().is_err());
    wait_until_alone(&site);
    site.assert_serves(WEB);
    // ...and by another, in the middle of the stop.
    site.drop_in("");
    let client = held();
    thread::scope(|scope| {
        scope.spawn(|| site.ok(&format!("systemctl stop {UNIT}")));
        site.wait_for("one worker is left", || site.workers("web").len() == 1);
        site.ok(&format!("kill -KILL {}", site.main_pid()));
    });
    assert_nothing_left(&site, "signal");
    assert!(client.finish().is_err());
}

/// Its workers serve on while each start is refused, and the first that is not takes them over.
#[test]
fn a_file_that_is_broken_when_the_master_is_killed_costs_no_request() {
    let site = serving("", "");
    let file = "/etc/einhyrningsins/web.toml";
    let loads = load(&site);
    loads.iter().for_each(|load| load.wait_for(10));
    site.ok(&format!("cp {file} {file}.good && echo 'number = 0' >{file}"));
    let restarts = || site.of("web", "NRestarts").parse::<u32>().unwrap();
    site.ok(&format!("kill -KILL {}", site.main_pid()));
    site.wait_for("it is tried again", || restarts() >= 3);
    site.wait_for_property("ExecMainStatus", "111");
    site.ok(&format!("cp {file}.good {file}"));
    site.wait_for_property("ActiveState", "active");
    wait_until_alone(&site);
    for load in loads {
        load.stop().assert_nothing_lost();
    }
    // A stop ends them.
    site.ok(&format!("echo 'number = 0' >{file} && kill -KILL {}", site.main_pid()));
    let before = restarts();
    site.wait_for("it is tried again", || restarts() >= before + 2);
    assert_eq!(servers(&site), 4);
    // A start that is under way would end by the stop, and well.
    site.wait_for("the last one has failed, too", || site.main_pid() == "0");
    site.ok(&format!("systemctl stop {UNIT}"));
    assert_nothing_left(&site, "exit-code");
}

#[test]
fn a_service_that_is_not_started_again_leaves_nothing() {
    // By its exit code, where a start would not take the workers over.
    let site = serving("", "");
    site.ok("printf \"command = ['/no-such-program']\\nadopt = false\\n\" >/etc/einhyrningsins/web.toml");
    site.ok(&format!("kill -KILL {}", site.main_pid()));
    site.wait_for_property("ActiveState", "failed");
    assert_eq!(site.of("web", "ExecMainStatus"), "127");
    assert_nothing_left(&site, "exit-code");
    // Nor does one for which the administrator wants no restart.
    site.drop_in("Restart=no");
    site.configure("web", WEB, "", "");
    site.ok(&format!("systemctl start {UNIT}"));
    site.ok(&format!("kill -KILL $(systemctl show --value -p MainPID {UNIT})"));
    site.wait_for_property("ActiveState", "failed");
    assert_nothing_left(&site, "signal");
}

/// RestartSec= is short, and systemd counts no starts.
#[test]
fn a_start_that_fails_is_tried_again_each_second_until_a_stop() {
    let site = Site::new();
    site.configure("web", WEB, "", "");
    let other = "import socket, time; s = socket.create_server((\"127.0.0.1\", 8080)); time.sleep(1000)";
    site.ok(&format!("systemd-run --unit=other python3 -c '{other}'"));
    site.wait_for("the port is in use", || site.0.try_sh("ss -ltn | grep -q 127.0.0.1:8080").status.success());
    site.ok(&format!("systemctl start --no-block {UNIT}"));
    let began = || site.of("web", "ExecMainStartTimestampMonotonic").parse::<u64>().unwrap();
    let mut before = 0;
    for _ in 0..4 {
        site.wait_for("it is tried again", || began() > before);
        let now = began();
        assert!(now > before + 1_000_000, "{before} {now}");
        before = now;
    }
    // A start that is under way would end by the stop, and well.
    site.wait_for("the last one has failed, too", || site.main_pid() == "0");
    site.ok(&format!("systemctl stop {UNIT}"));
    assert_nothing_left(&site, "exit-code");
    let count = site.of("web", "NRestarts");
    thread::sleep(Duration::from_secs(2));
    assert_eq!((site.of("web", "ActiveState"), site.of("web", "NRestarts")), ("failed".to_owned(), count));
}
