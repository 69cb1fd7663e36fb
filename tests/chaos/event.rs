//! What happens to the master, each event by its name, and how it is done. When an event returns, its end has not yet been looked
//! at, but for what the client of an upgrade is told.

use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::load::Load;
use crate::rng::Rng;
use crate::site::{Extra, Site};
use crate::support::{Process, holds_within};

/// The clients of the load that go to the addresses that are always there, and those for the one that comes and goes.
pub const STEADY: usize = 0;
pub const EXTRA: usize = 1;

/// Workers, at least and at most.
const WORKERS: (u64, u64) = (2, 6);
/// Between two HUPs.
const DOUBLE_MS_MAX: u64 = 150;
/// Within which a worker that was killed is gone, and a stopped one stands still.
const DEATH_LIMIT: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    Hup,
    DoubleHup,
    Upgrade,
    UpgradeFleet,
    /// Two clients ask for different kinds of upgrade, one after the other.
    TwoUpgrades,
    Reload,
    /// The further address comes, or goes.
    BindAdded,
    BindRemoved,
    NumberInFile,
    NumberByCommand,
    /// TTIN or TTOU: one worker more, or one less.
    NumberBySignal,
    WorkerKilled,
    /// Stopped first, so that what it holds can be listed.
    WorkerStoppedAndKilled,
    WorkerKilledInUpgrade,
    AllWorkersKilled,
}

/// Of which no request may be lost.
pub const GRACEFUL: [Event; 11] = [
    Event::Hup,
    Event::DoubleHup,
    Event::Upgrade,
    Event::UpgradeFleet,
    Event::TwoUpgrades,
    Event::Reload,
    Event::BindAdded,
    Event::BindRemoved,
    Event::NumberInFile,
    Event::NumberByCommand,
    Event::NumberBySignal,
];

/// Of which that may be lost which the dead workers held.
pub const VIOLENT: [Event; 4] =
    [Event::WorkerKilled, Event::WorkerStoppedAndKilled, Event::WorkerKilledInUpgrade, Event::AllWorkersKilled];

/// Workers that were killed.
#[derive(Debug)]
pub struct Kill {
    pub victims: Vec<Process>,
    /// The far ends of the victims' TCP connections, where they were stopped to be asked.
    pub peers: Option<Vec<std::net::SocketAddr>>,
    /// Requests that were on their way just before.
    pub in_flight: u64,
    /// When the victims were gone.
    pub gone: Instant,
}

impl Event {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hup => "HUP",
            Self::DoubleHup => "two HUPs, 1 to 150 ms apart",
            Self::Upgrade => "upgrade",
            Self::UpgradeFleet => "upgrade_fleet",
            Self::TwoUpgrades => "upgrade and upgrade_fleet at once",
            Self::Reload => "reload of the program",
            Self::BindAdded => "bind added, upgrade",
            Self::BindRemoved => "bind removed, upgrade",
            Self::NumberInFile => "number changed, HUP",
            Self::NumberByCommand => "set_workers",
            Self::NumberBySignal => "TTIN or TTOU",
            Self::WorkerKilled => "worker killed",
            Self::WorkerStoppedAndKilled => "worker stopped, listed, killed",
            Self::WorkerKilledInUpgrade => "worker killed in an upgrade",
            Self::AllWorkersKilled => "all workers killed at once",
        }
    }

    /// Whether it can happen now.
    pub fn is_possible(self, site: &Site) -> bool {
        match self {
            Self::BindAdded => site.wanted.extra == Extra::Absent,
            Self::BindRemoved => site.wanted.extra == Extra::Bound,
            Self::Hup
            | Self::DoubleHup
            | Self::Upgrade
            | Self::UpgradeFleet
            | Self::TwoUpgrades
            | Self::Reload
            | Self::NumberInFile
            | Self::NumberByCommand
            | Self::NumberBySignal
            | Self::WorkerKilled
            | Self::WorkerStoppedAndKilled
            | Self::WorkerKilledInUpgrade
            | Self::AllWorkersKilled => true,
        }
    }

    pub fn happen(self, site: &mut Site, load: &Load, rng: &mut Rng) -> Result<Option<Kill>, String> {
        match self {
            Self::Hup => hup(site),
            Self::DoubleHup => {
                hup(site);
                thread::sleep(Duration::from_millis(1 + rng.below(DOUBLE_MS_MAX)));
                hup(site);
            }
            Self::Upgrade => upgrade(site, &["upgrade"])?,
            Self::UpgradeFleet => upgrade(site, &["upgrade_fleet"])?,
            Self::TwoUpgrades => upgrade(site, &["upgrade", "upgrade_fleet"])?,
            Self::Reload => site.master.reload(),
            Self::BindAdded => {
                site.write(|wanted| wanted.extra = Extra::Bound);
                ask_for_upgrade(site, &["upgrade"])?;
                load.lead(EXTRA, &[site.extra_target()]);
            }
            Self::BindRemoved => {
                load.lead_away(EXTRA);
                site.write(|wanted| wanted.extra = Extra::Absent);
                ask_for_upgrade(site, &["upgrade_fleet"])?;
            }
            Self::NumberInFile => {
                let number = another(site.wanted.number, rng);
                site.write(|wanted| wanted.number = number);
                site.master.signal(Signal::SIGHUP);
            }
            Self::NumberByCommand => {
                site.number = another(site.number, rng);
                let answer = site.master.control(&format!("{{command: set_workers, args: ['{}']}}", site.number));
                if !answer.contains("message") {
                    return Err(format!("set_workers was answered with {answer}"));
                }
            }
            Self::NumberBySignal => {
                let (least, most) = WORKERS;
                let signals = [Signal::SIGTTOU, Signal::SIGTTIN];
                let more = site.number <= least || site.number < most && rng.below(2) == 0;
                site.number = if more { site.number + 1 } else { site.number - 1 };
                site.master.signal(signals[usize::from(more)]);
            }
            Self::WorkerKilled
            | Self::WorkerStoppedAndKilled
            | Self::WorkerKilledInUpgrade
            | Self::AllWorkersKilled => {
                return self.kill(site, load, rng).map(Some);
            }
        }
        Ok(None)
    }

    fn kill(self, site: &mut Site, load: &Load, rng: &mut Rng) -> Result<Kill, String> {
        let mut victims = site.master.workers();
        if self != Self::AllWorkersKilled {
            victims = vec![rng.pick(&victims)];
        }
        if self == Self::WorkerKilledInUpgrade {
            hup(site);
            thread::sleep(Duration::from_millis(rng.below(DOUBLE_MS_MAX)));
        }
        let mut peers = None;
        if self == Self::WorkerStoppedAndKilled {
            signal_all(&victims, Signal::SIGSTOP);
            if !holds_within(DEATH_LIMIT, || victims.iter().all(|victim| victim.is_stopped())) {
                return Err(format!("{victims:?} cannot be stopped"));
            }
            peers = Some(victims.iter().flat_map(|victim| victim.peers()).collect());
        }
        let in_flight = load.in_flight();
        // One that is told to go by the upgrade may be gone already.
        signal_all(&victims, Signal::SIGKILL);
        // Reaped, too: of a process that is a zombie already, threads may still be at an accept.
        let is_there = |victim: &Process| {
            victim.parent() == Some(site.master.process()) && victim.status("Tgid") == Some(victim.to_string())
        };
        if !holds_within(DEATH_LIMIT, || !victims.iter().any(is_there)) {
            return Err(format!("{victims:?} were killed and live"));
        }
        Ok(Kill { victims, peers, in_flight, gone: Instant::now() })
    }
}

/// Signals those of them that are still there.
pub fn signal_all(processes: &[Process], signal: Signal) {
    for process in processes {
        process.signal(signal);
    }
}

fn hup(site: &mut Site) {
    site.write(|_| {});
    site.master.signal(Signal::SIGHUP);
}

fn upgrade(site: &mut Site, commands: &[&str]) -> Result<(), String> {
    site.write(|_| {});
    ask_for_upgrade(site, commands)
}

/// Asks for these, each on a connection of its own, and waits until each client is told that the upgrade is done.
fn ask_for_upgrade(site: &Site, commands: &[&str]) -> Result<(), String> {
    let ask = |command: &&str| {
        let mut client = site.master.connect();
        client.send(&format!("{{id: 1, command: {command}, format: json}}"));
        client
    };
    let mut clients: Vec<_> = commands.iter().map(ask).collect();
    for client in &mut clients {
        let mut last = Value::Null;
        while let Some(line) = client.receive() {
            last = serde_json::from_str(&line).map_err(|error| format!("{line:?} is no JSON: {error}"))?;
            if last["wait"] != true {
                break;
            }
        }
        if last["message"] != "Upgrade done" {
            return Err(format!("{commands:?} ended with {last}"));
        }
    }
    Ok(())
}

fn another(number: u64, rng: &mut Rng) -> u64 {
    let (least, most) = WORKERS;
    let next = least + rng.below(most - least);
    if next >= number { next + 1 } else { next }
}
