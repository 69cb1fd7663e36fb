//! The installed package under a real systemd, as an operator meets it: instances that start, are upgraded under load, fail, die, hang,
//! are stopped, and survive or end with their package.

use std::thread;
use std::time::{Duration, Instant};

use crate::machine::told;
use crate::packages;
use crate::site::{Site, WEB, address};
use crate::support::{Failure, HeldRequest};

/// Where the instance `api` listens.
const API: &str = "127.0.0.1:8081";

/// What the master says to itself alone.
const HIDDEN: [&str; 4] = ["NOTIFY_SOCKET=", "WATCHDOG_USEC=", "WATCHDOG_PID=", "LISTEN_"];

#[test]
fn a_start_waits_until_all_workers_serve_and_instances_live_side_by_side() {
    let site = Site::new();
    // The worker is slow to come up: as slow as this test wants.
    site.0.write(
        "/srv/web/slow-server",
        "#!/bin/sh\nwhile [ ! -e /srv/web/go ]; do sleep 0.05; done\nexec /srv/web/server \"$@\"\n",
    );
    site.ok("chmod 755 /srv/web/slow-server");
    site.configure("web", WEB, "", "");
    site.ok("sed -i 's,/srv/web/server,/srv/web/slow-server,' /etc/einhyrningsins/web.toml");
    site.configure("api", API, "", "");
    site.ok("systemctl enable --now einhyrningsins@api");
    assert_eq!(site.of("api", "StatusText"), "4/4 serving, version 0");
    assert_eq!(site.ok("systemctl is-enabled einhyrningsins@api"), "enabled");
    // What no test can wait for: SIGINT is 2.
    let settings = ["WatchdogUSec", "KillSignal", "OOMPolicy", "KillMode"].map(|name| site.of("api", name));
    assert_eq!(settings, ["30s", "2", "continue", "process"]);

    site.ok("systemctl start --no-block einhyrningsins@web");
    site.wait_for_property("StatusText", "0/4 serving, version 0");
    site.wait_for("the workers are there", || site.workers("web").len() == 4);
    assert_eq!(site.of("web", "ActiveState"), "activating");
    site.ok("touch /srv/web/go");
    site.wait_for_property("ActiveState", "active");
    assert_eq!(site.of("web", "StatusText"), "4/4 serving, version 0");

    // Each is found by its name, by root; its files are its own, and what is for the master its workers do not see.
    for (name, at) in [("web", WEB), ("api", API)] {
        let status = site.ok(&format!("einhyrningsinsctl -c {name} status"));
        assert!(status.contains("4 of 4 workers serve"), "{status}");
        let files = site.ok(&format!("ls /run/einhyrningsins/{name}"));
        assert_eq!(files, "einhorn.lock\neinhorn.lock.journal\neinhorn.pid\neinhorn.sock");
        site.assert_serves(at);
        for pid in site.workers(name) {
            let environment = site.ok(&format!("tr '\\0' '\\n' </proc/{pid}/environ"));
            assert_eq!(environment.lines().find(|line| HIDDEN.iter().any(|hidden| line.starts_with(hidden))), None);
            assert!(environment.contains("EINHORN_FD_0=3"), "{environment}");
            let home = format!("/var/cache/einhyrningsins/{name}");
            assert!(environment.lines().any(|line| line == format!("HOME={home}")), "{environment}");
            assert_eq!(site.ok(&format!("stat -c '%U %a' {home}")), "einhyrningsins 700");
        }
    }
    assert_eq!(site.ok(&format!("ps -o user:20= -p {}", site.main_pid())), "einhyrningsins");
}

#[test]
fn a_reload_upgrades_under_load_and_the_pid_stays() {
    let site = Site::serving("", "");
    let (pid, load) = (site.main_pid(), site.load(WEB));
    load.wait_for(50);
    for (count, release) in ["two", "three"].into_iter().enumerate() {
        site.release(release);
        let before = site.workers("web");
        site.ok("systemctl reload einhyrningsins@web");
        let status = site.of("web", "StatusText");
        assert!(status.starts_with(&format!("4/4 serving, version {}, on trial until ", count + 1)), "{status}");
        assert_eq!(site.of("web", "ActiveState"), "active");
        load.wait_for_release(release, 50);
        site.wait_for("the old ones are gone", || site.workers("web").iter().all(|pid| !before.contains(pid)));
    }
    let report = load.stop();
    report.assert_nothing_lost();
    assert_eq!((site.main_pid(), site.of("web", "NRestarts")), (pid, "0".to_owned()));
}

#[test]
fn a_reload_fails_with_the_reason_in_the_journal_and_the_old_workers_go_on() {
    let site = Site::serving("", "retries = 2");
    let (pid, workers, load) = (site.main_pid(), site.workers("web"), site.load(WEB));
    load.wait_for(20);

    site.ok("mv /srv/web/server /srv/web/kept");
    site.fails("systemctl reload einhyrningsins@web");
    site.assert_journal_has("cannot run /srv/web/server: no such file");

    site.0.write("/srv/web/server", "#!/bin/sh\necho 'the database is away' >&2\nexit 3\n");
    site.ok("chmod 755 /srv/web/server");
    site.fails("systemctl reload einhyrningsins@web");
    for reason in
        ["the database is away", "exited unexpectedly with status 3", "Upgrade failed: 2 new workers in a row died"]
    {
        site.assert_journal_has(reason);
    }
    let warnings = site.ok("journalctl -p warning -o cat -u einhyrningsins@web");
    assert!(warnings.contains("exited unexpectedly") && !warnings.contains("===> Launched"), "{warnings}");
    assert!(site.of("web", "StatusText").contains("Upgrade failed: 2 new workers in a row died"));

    // A file that cannot be used refuses the upgrade, too.
    site.ok("mv /srv/web/kept /srv/web/server; echo 'nummer = 3' >/etc/einhyrningsins/more; cat /etc/einhyrningsins/more \
             /etc/einhyrningsins/web.toml >/etc/einhyrningsins/new; mv /etc/einhyrningsins/new /etc/einhyrningsins/web.toml");
    site.fails("systemctl reload einhyrningsins@web");
    site.assert_journal_has("nummer");

    load.wait_for(20);
    load.stop().assert_nothing_lost();
    assert_eq!((site.main_pid(), site.workers("web")), (pid, workers));
    assert_eq!(site.of("web", "ActiveState"), "active");
}

/// The manager's patience is for one that does not get on.
#[test]
fn a_slow_upgrade_that_makes_progress_extends_its_timeout() {
    // Four workers, one after the other; the first needs no more than half of that time.
    let site = Site::serving("--ack-after 4000", "max-unacked = 1");
    site.drop_in("TimeoutStartSec=10");
    let limit = site.of("web", "TimeoutStartUSec");
    assert_eq!(limit, "10s");
    site.release("two");
    let began = Instant::now();
    site.ok("systemctl reload einhyrningsins@web");
    assert!(began.elapsed() > Duration::from_secs(10), "it was too fast to show anything");
    assert!(site.of("web", "StatusText").starts_with("4/4 serving, version 1"));
}

/// An update of systemd's package does that.
#[test]
fn a_systemd_that_replaces_itself_goes_on_hearing_the_master() {
    let site = Site::new();
    site.drop_in("WatchdogSec=10");
    site.configure("web", WEB, "", "");
    site.ok("systemctl start einhyrningsins@web");
    let pid = site.main_pid();
    site.ok("systemctl daemon-reexec");
    site.wait_for("systemd can be asked again", || site.0.try_sh("systemctl show --property=Version").status.success());
    let heard = || site.of("web", "WatchdogTimestampMonotonic").parse::<u64>().unwrap();
    let before = heard();
    // Longer than it would wait for a master that it does not hear.
    site.wait_for("the watchdog goes on hearing", || heard() > before + 15_000_000);
    site.ok("systemctl reload einhyrningsins@web");
    assert_eq!((site.main_pid(), site.of("web", "NRestarts")), (pid, "0".to_owned()));
    assert!(site.of("web", "StatusText").starts_with("4/4 serving, version 1"));
}

#[test]
fn permanent_failures_are_not_restarted() {
    let site = Site::new();
    site.0.write("/etc/einhyrningsins/web.toml", "command = '/srv/web/server'\nnumber = 0\n");
    site.fails("systemctl start einhyrningsins@web");
    site.wait_for_property("ActiveState", "failed");
    assert_eq!(site.of("web", "ExecMainStatus"), "100");
    assert_eq!(site.of("web", "NRestarts"), "0");
    site.assert_journal_has("web.toml:2:10: number 0: need a whole number from 1 to 1000");
    site.fails("systemctl start einhyrningsins@nowhere");
    site.assert_journal_has("/etc/einhyrningsins/nowhere.toml");
}

#[test]
fn a_stop_lets_workers_finish_and_leaves_nothing() {
    let site = Site::serving("", "");
    let held = site.0.in_network(|| HeldRequest::begin(address(WEB), "/held"));
    thread::scope(|scope| {
        scope.spawn(|| site.ok("systemctl stop einhyrningsins@web"));
        site.wait_for_property("ActiveState", "deactivating");
        // The other three go; this one has a client to serve.
        site.wait_for("one worker is left", || site.workers("web").len() == 1);
        assert_eq!(held.finish().map(|answer| answer.path), Ok("/held".to_owned()));
    });
    assert_eq!(site.of("web", "Result"), "success");
    assert!(!site.0.has("/run/einhyrningsins/web"));
    let refused = site.0.in_network(|| crate::support::ask(&address(WEB).into(), "/").unwrap_err().0);
    assert_eq!(refused, Failure::Refused);
}

/// Runtimes that compile as they go need memory that the usual hardening forbids.
#[test]
fn runtimes_of_all_kinds_run_under_the_hardening_of_the_unit() {
    let site = Site::new();
    let programs = [
        (
            "node",
            "node -e 'require(\"http\").createServer((q, a) => a.end(`cpus $${require(\"os\").cpus().length}`)).listen({fd: 3})'",
        ),
        (
            "ruby",
            "ruby -rsocket -e 's = Socket.for_fd(3); loop { c, _ = s.accept; c.readpartial(99); c.write \"x\"; c.close }'",
        ),
        ("python", "/usr/bin/python3 /usr/share/doc/einhyrningsins/examples/echo_server.py"),
        (
            "perl",
            "perl -MSocket -e 'open my $s, \"+<&=3\"; while (accept my $c, $s) { sysread $c, my $q, 99; print $c \"x\"; close $c }'",
        ),
    ];
    for (index, (name, command)) in programs.iter().enumerate() {
        let at = format!("127.0.0.1:{}", 9000 + index);
        let text = format!("command = '''{command}'''\nbind = ['{at},r']\nack-mode = 0.5\n[worker]\ndirectory = '/'\n");
        site.0.write(&format!("/etc/einhyrningsins/{name}.toml"), &text);
        site.ok(&format!("systemctl start einhyrningsins@{name}"));
        let (host, port) = at.split_once(':').unwrap();
        let answer = site.ok(&format!(
            "exec 3<>/dev/tcp/{host}/{port}; printf 'GET / HTTP/1.0\\r\\n\\r\\n' >&3; timeout 60 cat <&3"
        ));
        assert!(!answer.is_empty() && !answer.contains("cpus 0"), "{name}: {answer}");
        assert_eq!(site.of(name, "StatusText"), "1/1 serving, version 0");
    }
}

/// The masters become the new program in place; their workers are not touched.
#[test]
fn an_upgrade_of_the_package_replaces_the_masters_and_no_worker() {
    let site = Site::serving("", "");
    let (pid, workers, load) = (site.main_pid(), site.workers("web"), site.load(WEB));
    load.wait_for(50);
    let directory = tempfile::tempdir().unwrap();
    site.install(&packages::newer(&packages::deb(), directory.path(), |_| {}));
    site.wait_for("the master is the new program", || {
        let state = site.ok("einhyrningsinsctl -c web raw state");
        state.contains(":generation: 1")
    });
    load.wait_for(50);
    load.stop().assert_nothing_lost();
    assert_eq!((site.main_pid(), site.workers("web")), (pid.clone(), workers));
    let running = site.ok(&format!("readlink /proc/{pid}/exe"));
    assert_eq!(running, "/usr/bin/einhyrningsins");
    site.ok("systemctl reload einhyrningsins@web");
}

#[test]
fn a_package_that_goes_takes_its_instances_with_it_and_brings_them_back() {
    let site = Site::serving("", "");
    site.configure("api", API, "", "");
    site.ok("systemctl start einhyrningsins@api");
    let links = "find /etc/systemd/system -name 'einhyrningsins@*' -type l";
    assert!(site.ok(links).ends_with("multi-user.target.wants/einhyrningsins@web.service"));

    let running = ["pgrep", "-fa", "^(/srv/|einhorn:|/usr/bin/einhyrningsins)"];
    assert!(site.0.run(&running).status.success());
    site.ok("dpkg -r einhyrningsins");
    assert_eq!(site.0.run(&running).status.code(), Some(1), "{}", told(&site.0.run(&running)));
    assert_eq!(site.ok(links), "");
    assert_eq!(site.ok("systemctl list-units --all --no-legend 'einhyrningsins@*'"), "");
    assert!(site.0.has("/etc/einhyrningsins/web.toml"));

    site.install(&packages::deb());
    site.wait_for_property("ActiveState", "active");
    assert_eq!(site.ok("systemctl is-enabled einhyrningsins@web"), "enabled");
    // It was not enabled.
    assert_eq!(site.of("api", "ActiveState"), "inactive");

    site.ok("dpkg -P einhyrningsins");
    assert_eq!(site.ok(links), "");
    // What an administrator has written is an administrator's.
    assert_eq!(site.ok("ls /etc/einhyrningsins"), "api.toml\nweb.toml");
}

#[test]
fn einhorns_names_are_a_package_of_their_own() {
    let site = Site::new();
    site.fails("command -v einhorn");
    site.install(&packages::einhorn_deb());
    assert_eq!(site.ok("einhorn --version"), "1.1.1");
    site.ok(
        "cd /srv/web && (setsid einhorn -m manual -n 2 -b 127.0.0.1:8080,r -- ./server --ack manual >/dev/null 2>&1 &)",
    );
    site.wait_for("it serves", || site.0.try_sh("einhornsh -e state | grep -q acked").status.success());
    let load = site.load(WEB);
    site.release("two");
    site.ok("einhornsh -e upgrade");
    load.wait_for_release("two", 20);
    load.stop().assert_nothing_lost();
    site.ok("kill -INT $(cat /tmp/einhorn.pid)");
    site.wait_for("it is gone", || !site.0.try_sh("pgrep -f '^einhorn'").status.success());
}
