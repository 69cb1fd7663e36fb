//! The master is killed at random moments under load, and another one started, again and again: `make kills`, and a short run of it with
//! the other tests.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::rng::Rng;
use crate::support::{LIMIT, Load, Master, Process, Setup};

/// How often it is killed in a short run.
const KILLS_DEFAULT: usize = 12;

/// So many deaths in a row at most, before the last master is left alone until it has workers of its own.
const DEATHS_IN_A_ROW: u64 = 4;

/// Within this time of what it is told to do the master is killed.
const WITHIN_MS: u64 = 400;

const MEMORY_GROWTH_MAX_KIB: i32 = 4_096;

/// One of each kind of socket.
struct Site {
    port: u16,
    /// Started one after the other; what is dropped kills its workers.
    masters: Vec<Master>,
    /// Of all masters.
    workers: Vec<Process>,
}

impl Site {
    fn start(output: &str) -> Self {
        let port = TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port();
        let setup = Setup::new("--config web.toml").bind(",r").options(&format!("-b [::1]:{port},r -b unix:web.sock"));
        setup.write(
            "web.toml",
            &format!("number = 2\nworker.output = '{output}'\nack-mode = 'manual'\nstop-delay = '10s'\n"),
        );
        let master = setup.http_worker("--ack manual").start();
        master.wait_for_log("Up to 2 / 2", 1);
        Self { port, masters: vec![master], workers: Vec::new() }
    }

    fn master(&self) -> &Master {
        self.masters.last().unwrap()
    }

    fn loads(&self) -> [Load; 3] {
        let (of_4, of_6) = (self.master().addr(), SocketAddr::from((Ipv6Addr::LOCALHOST, self.port)));
        [Load::start(of_4, 2), Load::start(of_6, 2), Load::start(self.master().file("web.sock").as_path(), 2)]
    }

    fn kill(&mut self, signal: Signal) {
        let workers = self.master().descendants();
        self.master().signal(signal);
        self.master().wait_exit();
        self.workers.extend(workers);
    }

    /// As the first was started. Returns how long it takes until it has its workers.
    fn start_next(&mut self) -> Duration {
        let began = Instant::now();
        let (port, address) = (self.port, self.master().addr());
        let options = format!("--config web.toml -b {address},r -b [::1]:{port},r -b unix:web.sock");
        let next = self.master().beside(&options).bound_by_file(address).http_worker("--ack manual").start();
        next.wait_for_log("adopting its workers", 1);
        self.masters.push(next);
        began.elapsed()
    }

    /// Until there are as many workers as are wanted, all of them the last master's.
    fn wait_until_alone(&mut self) {
        let last = self.masters.pop().unwrap();
        last.wait_for_log("Upgraded successfully", 1);
        last.wait_until("its own workers serve alone", LIMIT, || {
            last.workers().len() == 2 && !self.workers.iter().any(|worker| worker.is_alive())
        });
        self.workers.clear();
        self.masters = vec![last];
    }
}

/// What it does when it is killed.
fn disturb(master: &Master, rng: &mut Rng) {
    match rng.below(6) {
        0 => master.signal(Signal::SIGHUP),
        1 => {
            master.wait_for_log("Up to 2 / ", 1);
        }
        2 => master.signal(Signal::SIGTTIN),
        // The delay is longer than it lives.
        3 => master.signal(Signal::SIGINT),
        _ => {}
    }
    std::thread::sleep(Duration::from_millis(rng.below(WITHIN_MS)));
}

/// KILL, ABRT and SEGV, in upgrades, launches, re-execs and stops. A worker may be killed with it, which loses what that has in hand: none is.
#[test]
fn no_request_is_lost_however_often_the_master_is_killed() {
    let kills = std::env::var("KILLS").map_or(KILLS_DEFAULT, |kills| kills.parse().unwrap());
    let seed = std::env::var("KILLS_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("KILLS_SEED={seed}");
    let mut rng = Rng::new(seed);
    let mut site = Site::start(rng.pick(&["inherit", "capture"]));
    let (loads, mut times, mut first) = (site.loads(), Vec::new(), None);
    while times.len() < kills {
        for _ in 0..=rng.below(DEATHS_IN_A_ROW) {
            // Until then a signal is the kernel's.
            site.master().wait_for_log("Writing PID", 1);
            disturb(site.master(), &mut rng);
            site.kill(rng.pick(&[Signal::SIGKILL, Signal::SIGABRT, Signal::SIGSEGV]));
            times.push(site.start_next());
        }
        site.wait_until_alone();
        let process = site.master().process();
        let (descriptors, memory) =
            *first.get_or_insert((process.descriptors().len(), process.anonymous_kib().unwrap()));
        site.master()
            .wait_until("it has no more descriptors than before", LIMIT, || process.descriptors().len() <= descriptors);
        assert!(process.anonymous_kib().unwrap() < memory + MEMORY_GROWTH_MAX_KIB);
    }
    for load in loads {
        let report = load.stop();
        println!("{} requests", report.total());
        report.assert_nothing_lost();
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    println!(
        "{} kills; supervised again after: p50 {:?}, p99 {:?}, longest {:?}",
        times.len(),
        at(50),
        at(99),
        at(100)
    );
    // It ends as any other.
    site.master().signal(Signal::SIGQUIT);
    site.master().wait_exit();
    assert_eq!(site.master().descendants(), []);
}
