//! Two masters in trouble for minutes: one that stays the same process image all the time, so that what it leaks adds up, and one that is
//! replaced again and again, so that what it hands over does. It looks at them every few seconds, and fails if descriptors, threads or
//! zombies stay, or memory grows.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use crate::event::{Event, Kill, STEADY};
use crate::load::Load;
use crate::rng::Rng;
use crate::site::{Extra, Orphans, Site, Wanted};
use crate::slope::Slope;
use crate::table::thousands;
use crate::trouble::Trouble;
use crate::verdict;

/// The memory of a master may grow by so much. A leak of 100 bytes in each trouble would be about that.
const SLOPE_MAX_KIB_PER_HOUR: f64 = 1024.0;
const SAMPLE_EVERY: Duration = Duration::from_secs(2);
/// Of the time, the part whose samples are not judged: a log that is not read has to fill its queue some twenty times until the
/// allocator has all the memory that this takes.
const WARM_UP: f64 = 0.5;
/// Clients of each master.
const CLIENTS: usize = 8;

/// What befalls the master that is never replaced. Deaths are rare in it: after each, the next launch is later.
const LASTING: [Trouble; 12] = [
    Trouble::RequestGivenUp,
    Trouble::RequestGivenUp,
    Trouble::RequestGivenUp,
    Trouble::ControlLineGivenUp,
    Trouble::ControlLineGivenUp,
    Trouble::ControlLineGivenUp,
    Trouble::AnswerNotRead,
    Trouble::AnswerNotRead,
    Trouble::LogNotRead,
    Trouble::Event(Event::NumberBySignal),
    Trouble::Event(Event::NumberByCommand),
    Trouble::Event(Event::WorkerKilled),
];

const RENEWED: [Trouble; 12] = [
    Trouble::RequestGivenUp,
    Trouble::ControlLineGivenUp,
    Trouble::AnswerNotRead,
    Trouble::UpgradeNotAwaited,
    Trouble::LogNotRead,
    Trouble::Event(Event::Hup),
    Trouble::Event(Event::DoubleHup),
    Trouble::Event(Event::UpgradeFleet),
    Trouble::Event(Event::Reload),
    Trouble::Event(Event::NumberInFile),
    Trouble::Event(Event::WorkerKilled),
    Trouble::Event(Event::AllWorkersKilled),
];

pub struct Outcome {
    pub report: String,
    pub fault: Option<String>,
}

struct Patient {
    name: &'static str,
    troubles: &'static [Trouble],
    site: Site,
    load: Load,
    kills: Vec<Kill>,
    counts: BTreeMap<String, u64>,
    samples: Vec<Sample>,
}

/// One look at a master.
#[derive(Clone, Copy)]
struct Sample {
    at_s: f64,
    descriptors: usize,
    threads: i32,
    zombies: usize,
    /// Memory of its own, and with its share of what it has in common with others.
    anonymous_kib: f64,
    pss_kib: f64,
    /// How long a question took that goes through the inbox of the main thread.
    answer: Duration,
}

pub fn soak(span: Duration, seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    let mut patients = [Patient::new("never replaced", &LASTING, seed), Patient::new("replaced often", &RENEWED, seed)];
    let (began, mut sampled) = (Instant::now(), Instant::now());
    let mut fault = None;
    while began.elapsed() < span && fault.is_none() {
        fault = patients.iter_mut().find_map(|patient| patient.suffer(&mut rng).err());
        if sampled.elapsed() > SAMPLE_EVERY {
            patients.iter_mut().for_each(|patient| patient.sample(began));
            sampled = Instant::now();
        }
    }
    let fault = fault.or_else(|| patients.iter().find_map(|patient| patient.check_slope(span).err()));
    let mut report = format!("seed {seed}: {} s\n\n{}", began.elapsed().as_secs(), table(&patients, span));
    if let Some(fault) = &fault {
        let _infallible = write!(report, "\nFAULT: {fault}\n");
    }
    Outcome { report, fault }
}

impl Patient {
    fn new(name: &'static str, troubles: &'static [Trouble], seed: u64) -> Self {
        let (extra, orphans) = (Extra::Absent, Orphans::Serve);
        let mut site = Site::start(Wanted { number: 3, extra, deploy: 0, graceful_signal: "USR2", orphans });
        site.expect_warnings();
        let load = Load::start(&[CLIENTS], seed);
        load.lead(STEADY, &site.targets());
        Self { name, troubles, site, load, kills: Vec::new(), counts: BTreeMap::new(), samples: Vec::new() }
    }

    /// One trouble, after which all must be as it was.
    fn suffer(&mut self, rng: &mut Rng) -> Result<(), String> {
        let trouble = rng.pick(self.troubles);
        *self.counts.entry(format!("{trouble:?}")).or_default() += 1;
        let tell = |why: String| format!("the master that is {}, after {trouble:?}: {why}", self.name);
        self.kills.extend(trouble.happen(&mut self.site, &self.load, rng).map_err(tell)?);
        self.site.settle().map_err(tell)?;
        verdict::only_what_they_held(&self.load.so_far().losses, &self.kills).map_err(tell)
    }

    fn sample(&mut self, began: Instant) {
        let asked = Instant::now();
        self.site.status();
        let answer = asked.elapsed();
        let master = self.site.master.process();
        let memory = master.text("smaps_rollup");
        let kib = |field: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
            line.split_whitespace().next().and_then(|kib| kib.parse().ok()).unwrap_or(f64::NAN)
        };
        self.samples.push(Sample {
            at_s: began.elapsed().as_secs_f64(),
            descriptors: master.descriptors().len(),
            threads: master.thread_count().unwrap_or_default(),
            zombies: master.children_at_once().iter().filter(|child| child.is_zombie()).count(),
            anonymous_kib: kib("Anonymous:"),
            pss_kib: kib("Pss:"),
            answer,
        });
    }

    fn slope(&self, span: Duration) -> Option<Slope> {
        let warm = self.samples.iter().filter(|sample| sample.at_s > span.as_secs_f64() * WARM_UP);
        Slope::of(&warm.map(|sample| (sample.at_s, sample.anonymous_kib)).collect::<Vec<_>>())
    }

    fn check_slope(&self, span: Duration) -> Result<(), String> {
        match self.slope(span) {
            Some(slope) if slope.is_above(SLOPE_MAX_KIB_PER_HOUR) => {
                Err(format!("the memory of the master that is {} grows by {slope:?}, in KiB", self.name))
            }
            Some(_) | None => Ok(()),
        }
    }
}

fn table(patients: &[Patient], span: Duration) -> String {
    let mut text = "| master | troubles | samples | descriptors | threads | zombies | own memory, KiB | with its share, KiB | \
        growth, KiB per hour | answer, longest | requests | lost |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for patient in patients {
        let range = |of: fn(&Sample) -> f64| {
            let values = || patient.samples.iter().map(of);
            format!("{}-{}", values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
        };
        let slope =
            patient.slope(span).map_or_else(|| "-".to_owned(), |it| format!("{:.0} ± {:.0}", it.per_hour, it.error));
        let longest = patient.samples.iter().map(|sample| sample.answer).max().unwrap_or_default();
        let sum = patient.load.so_far().sum();
        let _infallible = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {slope} | {:.1} ms | {} | {} |",
            patient.name,
            patient.counts.values().sum::<u64>(),
            patient.samples.len(),
            range(|sample| sample.descriptors as f64),
            range(|sample| f64::from(sample.threads)),
            range(|sample| sample.zombies as f64),
            range(|sample| sample.anonymous_kib),
            range(|sample| sample.pss_kib),
            longest.as_secs_f64() * 1000.0,
            thousands(sum.requests()),
            thousands(sum.lost_count()),
        );
    }
    for patient in patients {
        let _infallible = writeln!(text, "\n{}: {:?}", patient.name, patient.counts);
    }
    text
}
