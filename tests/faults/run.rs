//! Runs a cell: begins its phase, lets the tracer put the fault in, ends the fault, and judges. And records what a phase calls.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::cells::{Cell, Recording};
use crate::fault::{At, Fault, Scope};
use crate::phases::{Phase, Scene};
use crate::support::{LIMIT, Log, Process, holds_within};
use crate::verdict::{Came, judge};

/// The first word that makes this program the tracer.
pub const AS_TRACER: &str = "--tracer";

/// How long a call goes on failing that fails always.
const SPELL: Duration = Duration::from_secs(1);

/// How much of the log a failure shows.
const LOG_LINES: usize = 8;

/// What became of a cell.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub verdict: Result<Came, String>,
    /// The master made that call; threads take turns as they like, so that it may not.
    pub hit: bool,
    /// The last lines of the log.
    pub log: Vec<String>,
}

/// Runs it.
pub fn run(cell: &Cell, limit: Duration) -> Outcome {
    let attempt = catch_unwind(AssertUnwindSafe(|| attempt(cell, limit)));
    attempt.unwrap_or_else(|cause| {
        let words = cause.downcast_ref::<String>().cloned().unwrap_or_default();
        Outcome { verdict: Err(format!("the harness gave up: {words}")), hit: true, log: Vec::new() }
    })
}

fn attempt(cell: &Cell, limit: Duration) -> Outcome {
    let scene = cell.phase.begin();
    let tracer = Tracer::start(scene.master.process(), cell.phase.scope, Some(&cell.fault));
    let (hit, verdict) = thread::scope(|scope| {
        // A question of its may stay without an answer: the fault ends nevertheless.
        let act = scope.spawn(|| (cell.phase.act)(&scene));
        let over = || act.is_finished() && (cell.phase.over)(&scene) && is_at_rest(&scene);
        holds_within(limit, || tracer.has_hit() || over() || !scene.master.process().is_alive());
        if tracer.has_hit() && cell.fault.at == At::Always {
            // It lasts that long; a master that is gone has nothing to wait for.
            holds_within(SPELL, || !scene.master.process().is_alive());
        }
        let hit = tracer.has_hit();
        tracer.stop();
        (hit, judge(&scene, cell.phase.wanted, cell.descriptors_max, limit))
    });
    scene.master.log().settle();
    let lines = scene.master.log().lines();
    let log = lines[lines.len().saturating_sub(LOG_LINES)..].to_vec();
    Outcome { verdict, hit, log }
}

/// What the phase calls when nothing fails, and what is so afterwards.
pub fn record(phase: &Phase, limit: Duration) -> Recording {
    let scene = phase.begin();
    let tracer = Tracer::start(scene.master.process(), phase.scope, None);
    (phase.act)(&scene);
    let over = || (phase.over)(&scene) && is_at_rest(&scene);
    assert!(holds_within(LIMIT, over), "{} does not come to its end; the log:\n{}", phase.name, scene.master.log());
    let counts = tracer.stop().iter().filter_map(|line| count(line)).collect();
    let verdict = judge(&scene, phase.wanted, usize::MAX, limit);
    assert!(verdict.is_ok(), "{} fails when nothing does, {verdict:?}; the log:\n{}", phase.name, scene.master.log());
    Recording { counts, descriptors: settled_descriptors(&scene) }
}

/// The fewest that the master is seen with: a client's stay for a moment when it has closed its end.
fn settled_descriptors(scene: &Scene) -> usize {
    let master = scene.master.process();
    holds_within(LIMIT, || master.children().iter().all(|worker| worker.is_waiting()) && is_at_rest(scene));
    master.descriptors().len()
}

fn count(line: &str) -> Option<((String, String), u32)> {
    let mut words = line.strip_prefix("count ")?.rsplitn(3, ' ');
    let count = words.next()?.parse().ok()?;
    let (call, thread) = (words.next()?, words.next()?);
    Some(((thread.to_owned(), call.to_owned()), count))
}

/// A master that has ended is at rest, too.
fn is_at_rest(scene: &Scene) -> bool {
    let master = scene.master.process();
    !master.is_alive() || master.is_waiting()
}

/// A tracer that is attached.
struct Tracer {
    child: Child,
    said: Log,
}

impl Tracer {
    fn start(master: Process, scope: Scope, fault: Option<&Fault>) -> Self {
        let (said, stdout) = Log::catch();
        let mut command = Command::new("/proc/self/exe");
        command.args([AS_TRACER, &master.to_string(), &scope.to_string()]).args(fault.map(Fault::to_string));
        let child = command.stdin(Stdio::null()).stdout(stdout).spawn().expect("cannot start the tracer");
        // It holds the pipe's end of the tracer's.
        drop(command);
        let mut tracer = Self { child, said };
        let attached = holds_within(LIMIT, || tracer.said.count("attached") > 0 || tracer.has_ended());
        assert!(attached && tracer.said.count("attached") > 0, "cannot trace {master}");
        tracer
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn has_hit(&self) -> bool {
        self.said.count("hit") > 0
    }

    /// Lets go of the master; what the tracer has said.
    fn stop(mut self) -> Vec<String> {
        self.end();
        self.said.settle();
        self.said.lines()
    }

    fn end(&mut self) {
        Process(i32::try_from(self.child.id()).unwrap()).signal(Signal::SIGTERM);
        let _ended = self.child.wait();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if !self.has_ended() && thread::panicking() {
            self.end();
        }
    }
}
