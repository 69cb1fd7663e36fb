//! Histories that chance would seldom write, each asked for by name. They run under the same checks as any other.

use einhyrningsins::base::Mono;
use einhyrningsins::pool::{AckMode, Action, Command, Event, Pool, Terms, UpgradeStyle};

use crate::calm::Past;
use crate::plan::{Plan, all_available, settings};
use crate::rng::Rng;
use crate::run::Run;
use crate::trace::Trace;

/// Always, where a rate is out of 256.
const ALWAYS: u64 = 256;

/// How many upgrades in a row, and how much may happen between two.
const UPGRADES: u32 = 100;
const TURNS: u32 = 30;

/// I17: no wall clock reaches the pool. All it hears is a `Mono` and an `Event`, and a step of the wall clock is neither.
#[test]
fn a_wall_clock_cannot_reach_the_pool_by_type() {
    let _all_that_goes_in_and_out: fn(&mut Pool, Mono, Event, &mut Vec<Action>) = Pool::handle;
}

/// L2: with any settings, upgrades whose workers never serve cost no serving worker.
#[test]
fn upgrades_to_code_that_never_acks_leave_the_serving_workers_for_ever() {
    for seed in 0..200 {
        let mut run = settled(seed);
        let target = run.ledger.settings.target;
        never_ack(&mut run, seed);
        run.ledger.floor = target;
        for _ in 0..UPGRADES {
            upgrade(&mut run);
            (0..TURNS).for_each(|_| run.calm_once());
        }
        assert_eq!(run.world.serving(), target, "seed {seed}");
    }
}

/// L1 after L2: the good version comes at last, and all of the bad ones are forgotten.
#[test]
fn an_upgrade_to_good_code_completes_after_many_bad_ones() {
    for seed in 0..200 {
        let mut run = settled(seed);
        never_ack(&mut run, seed);
        for _ in 0..10 {
            upgrade(&mut run);
            (0..TURNS).for_each(|_| run.calm_once());
        }
        run.ledger.floor = run.ledger.settings.target;
        run.come_to_rest(Past::Kept);
        assert!(run.ledger.exited || run.coverage.settled == 2, "seed {seed}");
    }
}

/// L1 and L3 for upgrades that fall into each other, and into re-execs, at any moment: the floor holds throughout, and the last one completes.
#[test]
fn upgrades_during_upgrades_lose_no_worker_and_the_last_completes() {
    for seed in 0..200 {
        let mut run = settled(seed);
        run.ledger.floor = run.ledger.settings.target;
        run.plan.renews = if seed % 2 == 0 { 0 } else { ALWAYS };
        run.plan.reexecs = if seed % 4 < 2 { 0 } else { 1_024 };
        for _ in 0..UPGRADES {
            upgrade(&mut run);
            let turns = run.rng.below(12);
            (0..turns).for_each(|_| run.calm_once());
        }
        run.come_to_rest(Past::Forgiven);
    }
}

/// A pool at rest: started, every worker acked, nothing under way.
fn settled(seed: u64) -> Run {
    let mut rng = Rng::new(seed);
    let target_max = 1 + rng.below(6) as u32;
    let mut run = Run::new(
        Plan { keeps_all: true, ..Plan::calm(all_available(settings(&mut rng, target_max)), target_max) },
        rng,
        Trace::default(),
    );
    run.deliver(Event::Started);
    run.come_to_rest(Past::Forgiven);
    run
}

/// What is launched from now on does not serve, in whichever way its settings leave open. Where they come with the code,
/// and say each time something else of acks, only code that never runs is sure not to.
fn never_ack(run: &mut Run, seed: u64) {
    run.plan.renews = if seed % 2 == 0 { 0 } else { ALWAYS };
    match run.ledger.settings.ack {
        AckMode::Manual if run.plan.renews == 0 => run.plan.acks_never = ALWAYS,
        AckMode::Manual | AckMode::Timer(_) if run.rng.one_in(2) => run.plan.exec_hangs = ALWAYS,
        AckMode::Manual | AckMode::Timer(_) => run.plan.exec_fails = ALWAYS,
    }
    run.world.processes.iter_mut().for_each(|process| process.acks_left = 0);
}

fn upgrade(run: &mut Run) {
    let style = run.rng.pick(&[UpgradeStyle::Smooth, UpgradeStyle::Fleet]);
    run.deliver(Event::CommandGiven(Command::Upgrade { style, terms: Terms::default() }));
}
