//! A run: the load, a calm to compare with, rounds of graceful events until enough requests are done, and rounds of violent ones. It
//! ends at the first fault, and then tells what happened last, and what the master had to say.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

use crate::event::{Event, GRACEFUL, Kill, STEADY, VIOLENT};
use crate::load::Load;
use crate::master_killed;
use crate::rng::Rng;
use crate::site::{Extra, Orphans, Site, Wanted};
use crate::support::ControlClient;
use crate::table::{Line, table, thousands};
use crate::tally::{Phase, Tally};
use crate::verdict;

/// Clients at the addresses that are always there, and at the one that comes and goes.
const CLIENTS: [usize; 2] = [64, 8];
/// Of all requests, so many thousandths are asked in the calm.
const CALM_PER_MILLE: u64 = 50;
/// Between two events.
const PAUSE_MS_MAX: u64 = 250;
/// After which a master that does not come to rest is a fault where that is what is planted.
const PLANT_LIMIT: Duration = Duration::from_secs(10);
/// What a fault is told with.
const EVENTS_TOLD: usize = 12;
const SLOW_TOLD: usize = 10;
const SLOW_TEXT_MAX: usize = 400;
const LOG_LINES_TOLD: usize = 80;

pub struct Options {
    pub seed: u64,
    /// How many requests the graceful part has at least.
    pub requests: u64,
    pub violent_rounds: u64,
    pub plant: Plant,
}

/// A fault that a run must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    Nothing,
    /// Workers die of what tells them to go.
    Deadly,
    /// Connections to the control socket are left open.
    Held,
}

pub struct Outcome {
    pub tally: Tally,
    /// For people: the table, and what was wrong, with what happened before it.
    pub report: String,
    pub fault: Option<String>,
}

struct Run {
    options: Options,
    site: Site,
    load: Load,
    rng: Rng,
    began: Instant,
    /// Their places are the numbers that the load counts by.
    phases: Vec<(&'static str, u64)>,
    /// What happened, and when.
    story: Vec<(Duration, String)>,
    /// Events after which the master came to rest late.
    slow: Vec<String>,
    kills: Vec<Kill>,
    held: Vec<ControlClient>,
}

/// Runs it all. The events, what is asked, and in which order, are given by the seed; the times are the machine's.
pub fn run(options: Options) -> Outcome {
    let graceful_signal = if options.plant == Plant::Deadly { "INT" } else { "USR2" };
    let wanted = Wanted { number: 4, extra: Extra::Absent, deploy: 0, graceful_signal, orphans: Orphans::Serve };
    let site = Site::start(wanted);
    let load = Load::start(&CLIENTS, options.seed);
    let (rng, began, phases) = (Rng::new(options.seed), Instant::now(), vec![("calm", 1)]);
    let mut run = Run {
        options,
        site,
        load,
        rng,
        began,
        phases,
        story: Vec::new(),
        slow: Vec::new(),
        kills: Vec::new(),
        held: Vec::new(),
    };
    // What the support of the tests says by a panic is a fault as any other.
    let fault = match catch_unwind(AssertUnwindSafe(|| run.all())) {
        Ok(result) => result.err(),
        Err(_) => Some("the run was given up, see above".to_owned()),
    };
    run.finish(fault)
}

impl Run {
    fn all(&mut self) -> Result<(), String> {
        self.load.lead(STEADY, &self.site.targets());
        self.calm()?;
        while self.requests() < self.options.requests || self.story.is_empty() {
            for event in self.shuffled(&GRACEFUL) {
                // Of a bind that comes and one that goes, a round has what can be, and mostly both.
                if event.is_possible(&self.site) {
                    self.graceful(event)?;
                }
            }
        }
        if self.options.violent_rounds == 0 {
            return Ok(());
        }
        self.site.expect_warnings();
        for _ in 0..self.options.violent_rounds {
            self.shuffled(&VIOLENT).into_iter().try_for_each(|event| self.violent(event))?;
        }
        self.kill_master_whose_workers_serve_on()?;
        self.kill_master_whose_workers_leave()
    }

    fn calm(&mut self) -> Result<(), String> {
        let wanted = (self.options.requests * CALM_PER_MILLE / 1000).max(1);
        while self.requests() < wanted {
            thread::sleep(Duration::from_millis(20));
            self.check_losses()?;
        }
        Ok(())
    }

    fn graceful(&mut self, event: Event) -> Result<(), String> {
        self.begin(event.name());
        event.happen(&mut self.site, &self.load, &mut self.rng)?;
        self.settle()?;
        self.site.ask_everywhere()?;
        if self.options.plant == Plant::Held {
            self.site.limit = PLANT_LIMIT;
            self.held.push(self.site.master.connect());
        }
        self.rest();
        self.check_losses()
    }

    fn violent(&mut self, event: Event) -> Result<(), String> {
        let before = self.load.so_far().losses.len();
        self.begin(event.name());
        let kill = event.happen(&mut self.site, &self.load, &mut self.rng)?;
        self.settle()?;
        self.site.ask_everywhere()?;
        self.rest();
        let tally = self.load.so_far();
        let lost = tally.losses.get(before..).unwrap_or_default();
        if let Some(kill) = kill {
            self.tell(format!(
                "{} lost, of {} on their way to {:?} and others",
                lost.len(),
                kill.in_flight,
                kill.victims
            ));
            self.kills.push(kill);
        }
        verdict::only_what_they_held(lost, &self.kills)
    }

    fn kill_master_whose_workers_serve_on(&mut self) -> Result<(), String> {
        let before = self.load.so_far().losses.len();
        self.begin("master killed, its workers serve on");
        let orphans = master_killed::kill(&self.site);
        let refusal = master_killed::start_beside_orphans(&self.site)?;
        self.tell(format!("a second start is refused, {refusal}"));
        self.rest();
        verdict::nothing_lost(self.load.so_far().losses.iter().skip(before))?;
        self.begin("its workers ended, another master started");
        master_killed::replace_orphans(&mut self.site, &orphans)?;
        self.rest();
        Ok(())
    }

    fn kill_master_whose_workers_leave(&mut self) -> Result<(), String> {
        self.site.write(|wanted| wanted.orphans = Orphans::Leave);
        self.site.master.control("{command: upgrade}");
        self.settle()?;
        self.begin("master with -k killed, another one started until it has the port");
        master_killed::kill(&self.site);
        let starts = master_killed::start_until_it_holds(&mut self.site)?;
        self.tell(format!("start number {starts} has the port"));
        self.rest();
        Ok(())
    }

    fn settle(&mut self) -> Result<(), String> {
        if let Some(slow) = self.site.settle()? {
            let (_, event) = self.story.last().cloned().unwrap_or_default();
            self.slow.push(format!("{event}: {slow}"));
        }
        Ok(())
    }

    /// What comes to an end from now on is counted for this.
    fn begin(&mut self, name: &'static str) {
        let known = self.phases.iter().position(|(other, _)| *other == name);
        let phase: Phase = known.unwrap_or_else(|| {
            self.phases.push((name, 0));
            self.phases.len() - 1
        });
        self.phases[phase].1 += 1;
        self.tell(name.to_owned());
        self.load.enter(phase);
    }

    fn tell(&mut self, what: String) {
        self.story.push((self.began.elapsed(), what));
    }

    fn rest(&mut self) {
        thread::sleep(Duration::from_millis(self.rng.below(PAUSE_MS_MAX)));
    }

    fn requests(&self) -> u64 {
        self.load.so_far().sum().requests()
    }

    fn check_losses(&self) -> Result<(), String> {
        let tally = self.load.so_far();
        verdict::nothing_lost(tally.losses.iter())?;
        match tally.sum().refused {
            0 => Ok(()),
            count => Err(format!("{count} connections were refused")),
        }
    }

    fn shuffled<const N: usize>(&mut self, events: &[Event; N]) -> [Event; N] {
        let mut order = *events;
        for at in (1..N).rev() {
            order.swap(at, self.rng.below(at as u64 + 1) as usize);
        }
        order
    }

    /// Lets the clients have their answers, and tells how it was.
    fn finish(self, fault: Option<String>) -> Outcome {
        let Self { options, site, load, began, phases, story, slow, .. } = self;
        let took = began.elapsed();
        // Those who wait in vain after a fault are not waited for.
        let tally = if fault.is_some() { load.so_far() } else { load.stop() };
        // Violence has been judged event by event. What comes to an end in the last moment is judged here.
        let late = if options.violent_rounds == 0 { verdict::nothing_lost(tally.losses.iter()) } else { Ok(()) };
        let fault = fault.or(late.err());
        let line =
            |(phase, (name, times)): (Phase, &(&'static str, u64))| Line { name, times: *times, row: tally.row(phase) };
        let lines: Vec<_> = phases.iter().enumerate().map(line).collect();
        let sum = tally.sum();
        let mut report = format!(
            "seed {}: {} requests of {} clients in {} s, {} on a connection of their own; {} lost, {} refused\n\n{}",
            options.seed,
            thousands(sum.requests()),
            CLIENTS.iter().sum::<usize>(),
            took.as_secs(),
            thousands(sum.fresh),
            thousands(sum.lost_count()),
            thousands(sum.refused),
            table(&lines),
        );
        for line in slow.iter().take(SLOW_TOLD) {
            report.push_str(&format!("\nslow: {line:.SLOW_TEXT_MAX$}\n"));
        }
        if let Some(fault) = &fault {
            report.push_str(&told(fault, &story, &site));
        }
        Outcome { tally, report, fault }
    }
}

fn told(fault: &str, story: &[(Duration, String)], site: &Site) -> String {
    let last = story.iter().rev().take(EVENTS_TOLD).rev();
    let events: Vec<_> = last.map(|(at, what)| format!("  {:.3} s: {what}", at.as_secs_f64())).collect();
    let lines = site.master.log().lines();
    let log = lines.get(lines.len().saturating_sub(LOG_LINES_TOLD)..).unwrap_or_default();
    format!(
        "\nFAULT: {fault}\n\nthe last events:\n{}\n\nthe master's log:\n  {}\n",
        events.join("\n"),
        log.join("\n  ")
    )
}
