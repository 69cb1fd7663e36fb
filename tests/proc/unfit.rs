//! Versions on trial whose workers live and do not serve, or turn against their master: each is given up, and nothing is lost that the
//! version itself did not hold.

use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use serde_json::Value as Json;

use crate::ctl::{CTL, Said, said};
use crate::support::{HeldRequest, LIMIT, Load, Master, Report, Setup, example, free_address};

/// It acks, accepts nothing, and does not hear what tells it to go.
const MUTE: &str = r#"exec python3 -c '
import os, signal, socket, time
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
master = socket.socket(socket.AF_UNIX)
master.connect(os.environ["EINHORN_SOCK_PATH"])
master.sendall(b"{\"command\": \"worker:ack\", \"pid\": %d}\n" % os.getpid())
time.sleep(1000)'"#;

struct Site {
    master: Master,
    address: SocketAddr,
}

impl Site {
    /// A master whose workers serve, and have no fault.
    fn start() -> Self {
        let worker = example("http_worker");
        let script = format!(
            "worker='{}'\nserve() {{ exec \"$worker\" --ack manual \"$@\"; }}\neval \"$RELEASE\"\n",
            worker.display()
        );
        let (setup, address) = (Setup::new("--config web.toml").script(&script), free_address());
        setup.write("web.toml", &file(address, "serve"));
        // In a session of its own, as a service is.
        let master = setup.bound_by_file(address).through(&["setsid"]).start();
        master.wait_for_log("Up to 2 / 2 manual ACKs", 1);
        Self { master, address }
    }

    /// The next release does this.
    fn next_is(&self, release: &str) {
        self.master.replace("web.toml", &file(self.address, release));
    }

    fn ctl(&self, words: &[&str]) -> Said {
        let mut command = Command::new(CTL);
        command.args(words).env_clear().env("TMPDIR", self.master.directory()).stdin(Stdio::null());
        said(command)
    }

    /// The release is given up for this reason. Returns what became of the requests meanwhile.
    #[track_caller]
    fn give_up(&self, release: &str, reason: &str) -> Report {
        let load = Load::start(self.address, 4);
        load.wait_for(20);
        self.next_is(release);
        let upgrade = self.ctl(&["upgrade", "--watch"]);
        assert_eq!(upgrade.code, Some(1), "{upgrade:?}; the log:\n{}", self.master.log());
        assert!((upgrade.out.clone() + &upgrade.err).contains(reason), "{upgrade:?}");
        load.wait_for(20);
        self.master.wait_for_log("Going back to version 0", 1);
        load.stop()
    }
}

fn file(address: SocketAddr, release: &str) -> String {
    format!(
        "bind = ['{address},r']\nnumber = 2\nack-mode = 'manual'\nearly-life = '20s'\nsignal-timeout = 30\n\
         env.set = {{ RELEASE = {release:?} }}\n"
    )
}

#[test]
fn a_release_on_another_port_is_given_up_and_what_waited_is_answered() {
    let site = Site::start();
    site.give_up("serve --fault elsewhere", "no worker accepts at").assert_nothing_lost();
}

#[test]
fn a_release_that_closes_the_socket_is_given_up_and_what_waited_is_answered() {
    Site::start().give_up("serve --fault close", "no worker accepts at").assert_nothing_lost();
}

#[test]
fn a_release_that_hangs_after_its_ack_is_given_up_and_what_waited_is_answered() {
    Site::start().give_up(MUTE, "no worker accepts at").assert_nothing_lost();
}

#[test]
fn a_release_that_ends_its_parent_is_given_up_and_the_master_stays() {
    for signal in ["TERM", "INT", "QUIT", "USR2"] {
        let site = Site::start();
        let release = format!("(sleep 1; kill -{signal} $EINHORN_MASTER_PID; sleep 5) & serve");
        site.give_up(&release, &format!("sent SIG{signal} to the master")).assert_nothing_lost();
    }
}

#[test]
fn a_release_that_stops_itself_is_given_up() {
    // What a stopped worker has in hand may be lost with it.
    Site::start().give_up("serve --fault stop", "was stopped by SIGSTOP");
    // Without an ack the old workers are not told to go, and nothing ends the wait but the trial.
    let report = Site::start().give_up("kill -STOP $$; serve", "was stopped by SIGSTOP");
    report.assert_nothing_lost();
}

/// Nothing accepts, but what an old worker has in hand may be why.
#[test]
fn a_release_is_not_blamed_while_a_connection_is_held() {
    let site = Site::start();
    let held = HeldRequest::begin(site.address, "/held");
    let load = Load::start(site.address, 2);
    load.wait_for(20);
    site.next_is(MUTE);
    let upgrade = site.ctl(&["upgrade"]);
    assert_eq!(upgrade.code, Some(0), "{upgrade:?}");
    let left_s = || {
        let status: Json = serde_json::from_str(&site.ctl(&["status", "--json"]).out).unwrap();
        status["trial"]["left_s"].as_f64()
    };
    site.master.wait_until("four seconds of the trial are over", LIMIT, || left_s().is_none_or(|left| left <= 16.0));
    assert_eq!(site.master.log().count("Going back"), 0, "{}", site.master.log());
    held.finish().unwrap();
    site.master.wait_for_log("Going back to version 0", 1);
    load.wait_for(20);
    load.stop().assert_nothing_lost();
}

/// What a worker has sent before its end is read after it has been forgotten.
#[test]
fn a_release_that_ends_its_parent_and_itself_is_not_obeyed() {
    let site = Site::start();
    let load = Load::start(site.address, 2);
    load.wait_for(20);
    let go = site.master.file("go");
    site.next_is(&format!("until [ -e {} ]; do sleep 0.1; done; kill -TERM $EINHORN_MASTER_PID; exit 3", go.display()));
    site.master.signal(Signal::SIGHUP);
    // By the next image, which goes on as it was.
    site.master.wait_for_log("===> Launched", 3);
    let thread = Pid::from_raw(site.master.wait_for_thread("signals").0);
    ptrace::seize(thread, ptrace::Options::empty()).unwrap();
    ptrace::interrupt(thread).unwrap();
    waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
    fs::write(go, "").unwrap();
    site.master.wait_for_log("Going back to version 0", 1);
    ptrace::detach(thread, None).unwrap();
    site.master.wait_for_log("Ignoring SIGTERM: it comes from worker", 1);
    load.wait_for(20);
    load.stop().assert_nothing_lost();
}
