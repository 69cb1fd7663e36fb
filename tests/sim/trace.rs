//! The last events and actions of a run, as text. Off while searching: a run that failed is run again with it on.

use std::collections::VecDeque;
use std::fmt::Write;

use crate::ledger::Ledger;
use crate::world::{Known, Life, World};

/// How many lines a failure shows.
const LINES_MAX: usize = 90;

#[derive(Debug, Default)]
pub struct Trace {
    on: bool,
    lines: VecDeque<String>,
}

impl Trace {
    pub fn recording() -> Self {
        Self { on: true, lines: VecDeque::new() }
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
