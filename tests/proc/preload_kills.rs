//! Loaders are killed at random moments of upgrades under load: `make preload-kills`, and a short run of it with the other tests.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value as Json;

use crate::preload::{LANGUAGES, preloaded, serving};
use crate::rng::Rng;
use crate::support::{LIMIT, Load, Master, Process};

/// How many upgrades there are at least, and how many loaders are killed in them, in a short run.
const UPGRADES_DEFAULT: usize = 3;
const KILLS_DEFAULT: usize = 10;

/// Each within this time of the one before.
const WITHIN_MS: u64 = 100;

const WORKERS: usize = 2;

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |number| number.parse().unwrap())
}

/// Of the versions that have one.
fn loaders(master: &Master) -> Vec<Process> {
    let reply: Json = serde_json::from_str(&master.control("{command: status, format: json}")).unwrap();
    let loaders = reply["status"]["loaders"].as_array().unwrap();
    let pids = loaders.iter().filter_map(|loader| loader["pid"].as_i64());
    pids.map(|pid| Process(i32::try_from(pid).unwrap())).collect()
}

/// While it loads, while it forks, while it waits, before a re-exec and after it.
fn kill_one(master: &Master, rng: &mut Rng) -> usize {
    std::thread::sleep(Duration::from_millis(rng.below(WITHIN_MS)));
    let loaders = loaders(master);
    if loaders.is_empty() {
        return 0;
    }
    usize::from(rng.pick(&loaders).signal(Signal::SIGKILL))
}

#[test]
fn no_request_is_lost_however_often_loaders_are_killed() {
    let (upgrades, kills) = (number("UPGRADES", UPGRADES_DEFAULT), number("KILLS", KILLS_DEFAULT));
    let seed = std::env::var("KILLS_SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    println!("KILLS_SEED={seed}");
    let mut rng = Rng::new(seed);
    for (interpreter, file, text) in LANGUAGES {
        let (master, _) = serving(preloaded(interpreter, file, text, &format!("-n {WORKERS}")), WORKERS);
        let load = Load::start(master.addr(), 2);
        load.wait_for_release("old", 5);
        let (mut upgraded, mut killed) = (0, 0);
        while upgraded < upgrades || killed < kills {
            let release = format!("new{upgraded}");
            master.release(&release);
            master.signal(Signal::SIGHUP);
            let begun = upgraded;
            master.wait_until("the upgrade is done", LIMIT, || {
                // Not more of them than there is time for in the upgrades that are left.
                if killed * upgrades < kills * (begun + 1) {
                    killed += kill_one(&master, &mut rng);
                }
                master.log().count("Upgraded successfully") > begun
            });
            upgraded += 1;
            load.wait_for_release(&release, 5);
        }
        let report = load.stop();
        println!("{interpreter}: {upgraded} upgrades, {killed} loaders killed, {} requests", report.total());
        report.assert_nothing_lost();
        // Nothing is left of those that were killed: the workers, and a loader where there is one.
        master.wait_until("there are no others", LIMIT, || {
            master.descendants().len() == WORKERS + loaders(&master).len()
        });
        master.signal(Signal::SIGTERM);
        assert_eq!(master.wait_exit().code(), Some(0));
        assert_eq!(master.descendants(), []);
    }
}
