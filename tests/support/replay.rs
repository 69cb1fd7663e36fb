//! Replays a trace: makes the machines of each state line, tells them what the lines behind it say, and stops at the first that asks
//! for something else than it did when the trace was written. It reads what `machines::trace` writes, and changes no file.

use std::fmt::{self, Debug};

use einhyrningsins::machines::reexec::Reexec;
use einhyrningsins::machines::trace::{FORMAT, Line, Machine, State, Step};
use einhyrningsins::pool::Pool;
use serde_json::Value;

/// What was replayed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub pool: Count,
    pub reexec: Count,
    pub states: u64,
    /// Lines that the state lines tell of as missing.
    pub lost: u64,
    /// Lines that were not written to their end.
    pub cut: u64,
}

/// Of one machine.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub inputs: u64,
    pub outputs: u64,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pool, reexec, states, lost, cut } = self;
        write!(f, "{} inputs led to the same outputs ", pool.inputs + reexec.inputs)?;
        write!(f, "(pool: {} to {}, re-exec: {} to {}); ", pool.inputs, pool.outputs, reexec.inputs, reexec.outputs)?;
        write!(f, "{states} state lines, {lost} lines missing before them, {cut} lines cut")
    }
}

/// # Errors
/// The line of the first difference, and what differs; or that this is no trace that can be replayed.
pub fn replay(trace: &[u8]) -> Result<Replayed, String> {
    let lines = (1..).zip(trace.split(|byte| *byte == b'\n'));
    let mut lines = lines.filter(|(_, line)| !line.is_empty()).peekable();
    let mut replay = Replay::default();
    while let Some((number, line)) = lines.next() {
        let ends_here = lines.peek().is_none_or(|(_, next)| next.starts_with(br#"{"state":"#));
        let outcome = match serde_json::from_slice(line) {
            // The master was killed while it wrote it.
            Err(_) if ends_here && number > 1 => {
                replay.replayed.cut += 1;
                Ok(())
            }
            Err(error) => Err(format!("this is no line of a trace: {error}")),
            Ok(line) => replay.follow(line),
        };
        outcome.map_err(|error| format!("line {number}: {error}"))?;
    }
    if replay.machines.is_none() { Err("there is no line in it".to_owned()) } else { Ok(replay.replayed) }
}

#[derive(Default)]
struct Replay {
    machines: Option<Machines>,
    replayed: Replayed,
}

struct Machines {
    pool: Pool,
    reexec: Reexec,
    /// The version of the program that wrote the trace.
    program: String,
}

impl Replay {
    fn follow(&mut self, line: Value) -> Result<(), String> {
        if let Some(format) = line.pointer("/state/format").filter(|format| **format != FORMAT) {
            return Err(format!("the trace has format {format}; the replay of this version reads format {FORMAT}"));
        }
        let line = serde_json::from_value(line).map_err(|error| self.blame(&error.to_string()))?;
        let Replayed { pool, reexec, .. } = &mut self.replayed;
        let outcome = match (line, &mut self.machines) {
            (Line::State(state), _) => self.restore(*state),
            (_, None) => Err("a trace begins with a state line".to_owned()),
            (Line::Pool(step), Some(machines)) => compare("pool", &mut machines.pool, *step, pool),
            (Line::Reexec(step), Some(machines)) => compare("re-exec", &mut machines.reexec, step, reexec),
        };
        outcome.map_err(|difference| self.blame(&difference))
    }

    fn restore(&mut self, state: State) -> Result<(), String> {
        let State { format: _, program, now: _, lost, pool, reexec } = state;
        pool.check()?;
        self.replayed.states += 1;
        self.replayed.lost += lost;
        self.machines = Some(Machines { pool: Pool::restore(pool), reexec, program });
        Ok(())
    }

    /// Another version may decide otherwise, or know other words.
    fn blame(&self, error: &str) -> String {
        let own = env!("CARGO_PKG_VERSION");
        match &self.machines {
            Some(machines) if machines.program != own => {
                format!("{error}\n(written by version {}, replayed by {own})", machines.program)
            }
            Some(_) | None => error.to_owned(),
        }
    }
}

fn compare<M>(name: &str, machine: &mut M, step: Step<M::Input, M::Output>, count: &mut Count) -> Result<(), String>
where
    M: Machine<Input: Debug, Output: Debug + PartialEq>,
{
    let Step { now, input, outputs: expected } = step;
    let mut seen = Vec::new();
    machine.handle(now, input.clone(), &mut seen);
    count.inputs += 1;
    count.outputs += seen.len() as u64;
    if seen == expected {
        return Ok(());
    }
    Err(format!("{name}, at {} ns: {input:?}\nexpected: {expected:?}\n    seen: {seen:?}", now.as_nanos()))
}
