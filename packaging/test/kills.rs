//! The master of a service is killed at random moments under load, and systemd starts the next one, again and again: `make kills-systemd`,
//! and a short run of it with the other tests of the packages.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};

use crate::machine::Machine;
use crate::rng::Rng;
use crate::site::{Site, WEB, address};
use crate::support::{ControlClient, LIMIT, Load, Pace, Process, Target};

const UNIT: &str = "einhyrningsins@web";
const WEB_6: &str = "[::1]:8080";
const FILE: &str = "/run/einhyrningsins/web/web.sock";
const CONTROL: &str = "/run/einhyrningsins/web/einhorn.sock";
const RELOAD: &str = "---%0Aid: 1%0Acommand: reload%0Aargs: []%0A";
const GROUP: &str = "/sys/fs/cgroup/system.slice/system-einhyrningsins.slice/einhyrningsins@web.service/cgroup.procs";

/// How often it is killed in a short run.
const KILLS_DEFAULT: usize = 24;

/// What a kill may take in all, and all else, on a machine that does other work, too: after that the machine is gone.
const LIFE_PER_KILL: Duration = Duration::from_secs(10);
const LIFE_BESIDE: Duration = Duration::from_secs(900);

/// So many deaths in a row at most, before the last master is left alone until it has workers of its own.
const DEATHS_IN_A_ROW: u64 = 8;

/// Within this time of its start a master is killed that has no time to be ready.
const EARLY_MS: u64 = 600;

/// So long at most another one serves before something happens to it...
const CALM_MS: u64 = 1_200;

/// ...and within this time of that it is killed.
const WITHIN_MS: u64 = 400;

/// The unit's `after-master` lets a master that has lived for less than a second be followed a second later. Those that lived about so long
/// count to neither.
const SHORT_LIFE_MS: [u128; 2] = [950, 1_050];

const MEMORY_GROWTH_MAX_KIB: i32 = 4_096;

/// What is under way when the master is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// Its start: it adopts, or replaces what it has adopted.
    Start,
    Idle,
    /// By HUP: a re-exec, and new workers.
    Upgrade,
    /// An upgrade that systemd waits for.
    Reload,
    /// Of one more worker.
    Launch,
    Reexec,
}

const MOMENTS: [Moment; 8] = [
    Moment::Start,
    Moment::Start,
    Moment::Start,
    Moment::Idle,
    Moment::Upgrade,
    Moment::Reload,
    Moment::Launch,
    Moment::Reexec,
];

/// How long it took after a kill.
#[derive(Default)]
struct Times {
    until_started: Vec<Duration>,
    /// Of the masters that were let be until then.
    until_ready: Vec<Duration>,
}

/// A master that was killed.
struct Killed {
    master: Process,
    life: Duration,
    at: Instant,
    /// On the clock of systemd's timestamps.
    at_of_systemd: Duration,
    until_next_started: Option<Duration>,
    until_next_ready: Option<Duration>,
}

struct Run {
    site: Site,
    rng: Rng,
    kills: usize,
    last: Option<Killed>,
    after_short_life: Times,
    after_long_life: Times,
}

impl Run {
    /// The next master, as soon as systemd has begun it.
    fn next_master(&mut self) -> Process {
        let (mut found, before) = (None, self.last.as_ref().map(|last| last.master));
        self.site.wait_for("the next master runs", || {
            found = master(&self.site);
            found.is_some() && found != before
        });
        if let Some(last) = &mut self.last {
            last.until_next_started.get_or_insert(last.at.elapsed());
        }
        found.unwrap()
    }

    fn wait_until_ready(&mut self) {
        let expected = format!("active\n{}", self.kills);
        let shown = || self.site.ok(&format!("systemctl show --value -p ActiveState -p NRestarts {UNIT} | sort -r"));
        self.site.wait_for("it is ready, and as often begun anew as it was killed", || shown() == expected);
        let ready = self.site.of("web", "ActiveEnterTimestampMonotonic").parse().unwrap();
        if let Some(last) = &mut self.last {
            last.until_next_ready = Some(Duration::from_micros(ready).saturating_sub(last.at_of_systemd));
        }
    }

    /// Counts what the last kill has led to.
    fn conclude(&mut self) {
        let Some(last) = self.last.take() else { return };
        let times = match last.life.as_millis() {
            life if life < SHORT_LIFE_MS[0] => &mut self.after_short_life,
            life if life > SHORT_LIFE_MS[1] => &mut self.after_long_life,
            _ => return,
        };
        times.until_started.extend(last.until_next_started);
        times.until_ready.extend(last.until_next_ready);
    }

    /// Kills the next master at some moment.
    fn kill(&mut self) {
        let master = self.next_master();
        let began = Instant::now();
        let moment = self.rng.pick(&MOMENTS);
        match moment {
            Moment::Start => self.pass(EARLY_MS),
            Moment::Idle | Moment::Upgrade | Moment::Reload | Moment::Launch | Moment::Reexec => {
                self.wait_until_ready();
                self.pass(CALM_MS);
                bring_about(moment, master, &self.site);
                self.pass(WITHIN_MS);
            }
        }
        let at_of_systemd = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap());
        let signal = self.rng.pick(&[Signal::SIGKILL, Signal::SIGABRT, Signal::SIGSEGV]);
        assert!(master.signal(signal), "it had ended: {moment:?}\n{}", self.site.all_journals());
        self.conclude();
        let (life, at) = (began.elapsed(), Instant::now());
        let (until_next_started, until_next_ready) = (None, None);
        self.last = Some(Killed { master, life, at, at_of_systemd, until_next_started, until_next_ready });
        self.kills += 1;
    }

    fn pass(&mut self, limit_ms: u64) {
        thread::sleep(Duration::from_millis(self.rng.below(limit_ms)));
    }
}

/// All processes of the service by their pids outside.
fn processes(site: &Site) -> Vec<Process> {
    let pids = fs::read_to_string(site.0.path(GROUP)).unwrap_or_default();
    pids.lines().filter_map(|pid| pid.parse().ok().map(Process)).collect()
}

/// systemd makes it the first of its session. So is no child of it, which runs the same program until its exec.
fn master(site: &Site) -> Option<Process> {
    let runs_it = |process: &Process| process.program().is_some_and(|path| path.ends_with("einhyrningsins"));
    let is_first = |process: &Process| process.status("NSsid") == process.status("NSpid");
    processes(site).into_iter().find(|process| runs_it(process) && is_first(process))
}

fn loads(site: &Site) -> [Load; 3] {
    // A machine that has no time left would show how slow systemd is then.
    let start = |target: Target| Load::start_at(target, 2, "/", Pace { pause: Duration::from_millis(4), limit: LIMIT });
    let on = |text: &str| site.0.in_network(|| start(address(text).into()));
    [on(WEB), on(WEB_6), start(site.0.path(FILE).as_path().into())]
}

fn bring_about(moment: Moment, master: Process, site: &Site) {
    match moment {
        Moment::Start | Moment::Idle => {}
        Moment::Upgrade => assert!(master.signal(Signal::SIGHUP)),
        Moment::Reload => drop(site.ok(&format!("systemctl reload --no-block {UNIT}"))),
        Moment::Launch => assert!(master.signal(Signal::SIGTTIN)),
        Moment::Reexec => ControlClient::connect(&site.0.path(CONTROL)).send(RELOAD),
    }
}

/// The wanted number of workers, and nothing that is another master's.
fn wait_until_alone(site: &Site) {
    let is_alone = || {
        let (Some(master), all) = (master(site), processes(site)) else { return false };
        let workers = all.iter().filter(|process| process.program().is_some_and(|path| path.ends_with("server")));
        workers.count() == 4 && all.iter().all(|process| *process == master || process.parent() == Some(master))
    };
    site.wait_for("its own workers serve alone", is_alone);
    site.wait_for("its status says so", || site.of("web", "StatusText").starts_with("4/4 serving"));
    assert_eq!(site.of("web", "NFileDescriptorStore"), "3");
}

fn tell(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let Some(last) = times.len().checked_sub(1) else { return };
    let at = |share: usize| times[last * share / 100].as_millis();
    println!("{what}: p50 {} ms, p99 {} ms, longest of {} {} ms", at(50), at(99), last + 1, at(100));
}

#[test]
fn a_master_that_is_killed_again_and_again_costs_no_request() {
    let kills = std::env::var("KILLS").map_or(KILLS_DEFAULT, |kills| kills.parse().unwrap());
    let seed = std::env::var("KILLS_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("KILLS_SEED={seed}");
    let life = LIFE_BESIDE + LIFE_PER_KILL * u32::try_from(kills).unwrap();
    let site = Site::on(Machine::boot_for(life));
    site.configure("web", &format!("unix:{FILE}', '{WEB_6}', '{WEB}"), "", "");
    site.ok(&format!("systemctl start {UNIT}"));
    let (loads, mut first) = (loads(&site), None);
    let [after_short_life, after_long_life] = [Times::default(), Times::default()];
    let mut run = Run { site, rng: Rng::new(seed), kills: 0, last: None, after_short_life, after_long_life };
    while run.kills < kills {
        for _ in 0..=run.rng.below(DEATHS_IN_A_ROW) {
            run.kill();
        }
        let master = run.next_master();
        run.wait_until_ready();
        wait_until_alone(&run.site);
        for load in &loads {
            load.wait_for(10);
            let report = load.so_far();
            assert_eq!(report.lost_count(), 0, "after {} kills: {report}\n{}", run.kills, run.site.all_journals());
        }
        let (descriptors, memory) = *first.get_or_insert((master.descriptors().len(), master.anonymous_kib().unwrap()));
        // What it reads of a worker of a dead one may end a moment after that worker.
        let is_as_before = || master.descriptors().len() <= descriptors;
        run.site.wait_for("it has no more descriptors than before", is_as_before);
        assert!(master.anonymous_kib().unwrap() < memory + MEMORY_GROWTH_MAX_KIB);
    }
    run.conclude();
    for load in loads {
        let report = load.stop();
        println!("{} requests", report.total());
        report.assert_nothing_lost();
    }
    println!("{} kills", run.kills);
    for (lived, times) in [("a second or more", &mut run.after_long_life), ("less", &mut run.after_short_life)] {
        println!("after one that had lived for {lived}:");
        tell("the next one runs", &mut times.until_started);
        tell("it is ready", &mut times.until_ready);
    }
    // It ends as any other.
    let site = run.site;
    site.ok(&format!("systemctl reload {UNIT}"));
    site.ok(&format!("systemctl stop {UNIT}"));
    assert_eq!((site.of("web", "Result"), processes(&site)), ("success".to_owned(), Vec::new()));
    assert_eq!(site.of("web", "NFileDescriptorStore"), "0");
    assert!(!site.0.has("/run/einhyrningsins/web"));
}
