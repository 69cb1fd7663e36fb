//! The last events and actions of a run, as text, and all of them as the lines that a master writes with `--trace`. Off while
//! searching: a run that failed is run again with it on.

use std::collections::VecDeque;
use std::fmt::Write;

use einhyrningsins::base::Mono;
use einhyrningsins::machines::reexec::Reexec;
use einhyrningsins::machines::trace::{Line, Machine, State, Step};
use einhyrningsins::pool::Pool;

use crate::ledger::Ledger;
use crate::world::{Known, Life, World};

/// How many lines a failure shows.
const LINES_MAX: usize = 90;

#[derive(Debug, Default)]
pub struct Trace {
    on: bool,
    lines: VecDeque<String>,
    /// To be replayed.
    record: Vec<u8>,
}

impl Trace {
    pub fn recording() -> Self {
        Self { on: true, ..Self::default() }
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    pub fn line(&mut self, line: impl FnOnce() -> String) {
        if !self.on {
            return;
        }
        if self.lines.len() == LINES_MAX {
            self.lines.pop_front();
        }
        self.lines.push_back(line());
    }

    /// Tells a machine, and writes down what it asks for.
    pub fn tell<M: Machine>(&mut self, machine: &mut M, now: Mono, input: M::Input, outputs: &mut Vec<M::Output>) {
        let (told, known) = (self.on.then(|| input.clone()), outputs.len());
        machine.handle(now, input, outputs);
        if let Some(told) = told {
            self.write(&M::line(Step { now, input: told, outputs: outputs[known..].to_vec() }));
        }
    }

    /// Both machines are others from here on, or the run begins.
    pub fn state(&mut self, now: Mono, pool: &Pool, reexec: &Reexec) {
        if self.on {
            self.write(&Line::State(Box::new(State::new(now, 0, pool, reexec))));
        }
    }

    fn write(&mut self, line: &Line) {
        serde_json::to_writer(&mut self.record, line).expect("it is text");
        self.record.push(b'\n');
    }

    pub fn record(&self) -> &[u8] {
        &self.record
    }

    pub fn text(&self) -> String {
        self.lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }
}

/// One line about the world: the counters, then each process that is not nothing.
pub fn portrait(world: &World, ledger: &Ledger) -> String {
    let mut text = format!(
        "      target {} modern {} good {} upgrading {:?} serving {} |",
        ledger.settings.target,
        ledger.modern,
        ledger.good,
        ledger.upgrading,
        world.serving()
    );
    for process in &world.processes {
        if process.life == Life::Free && process.known == Known::Nothing {
            continue;
        }
        let mark = |set: bool, mark: char| if set { mark } else { '-' };
        let _ = write!(
            text,
            " {}:v{}{}{}{}{}{}",
            process.pid,
            process.version,
            match process.life {
                Life::Free => '.',
                Life::Alive => 'A',
                Life::Zombie(_) => 'Z',
                Life::Husk => 'H',
            },
            mark(process.execed, 'x'),
            mark(process.acked_at.is_some(), 'a'),
            mark(process.told, 't'),
            mark(process.killed, 'k'),
        );
    }
    text
}
