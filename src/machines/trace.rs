//! A trace: the inputs of the machines and their outputs, one JSON document a line. A replay (`tests/support/replay.rs`) makes
//! the machines of a state line, gives them the same inputs, and compares the outputs.
//!
//! A state line stands before everything else, and behind each gap. No line holds an environment, a configuration or what a client has
//! sent, but for the ids of pings; `doc/ARCHITECTURE.md` says what a change of a type that stands here means.

use serde::{Deserialize, Serialize};

use crate::base::Mono;
use crate::machines::reexec::{self, Reexec};
use crate::pool::{self, Action, Event, Pool};

/// The number of this format. A name that stands here and gets another meaning makes a new number.
pub const FORMAT: u32 = 2;

/// A machine as a trace sees it.
pub trait Machine {
    type Input: Clone;
    type Output: Clone;

    fn handle(&mut self, now: Mono, input: Self::Input, outputs: &mut Vec<Self::Output>);

    fn line(step: Step<Self::Input, Self::Output>) -> Line;
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    State(Box<State>),
    Pool(Box<Step<Event, Action>>),
    Reexec(Step<reexec::Input, reexec::Output>),
}

/// Every machine, at a moment at which no launch is without its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub format: u32,
    /// The version of the program that wrote it.
    pub program: String,
    pub now: Mono,
    /// How many lines are missing before this one.
    pub lost: u64,
    pub pool: pool::State,
    pub reexec: Reexec,
}

/// What one machine was told, and what it asked for then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step<I, O> {
    pub now: Mono,
    pub input: I,
    pub outputs: Vec<O>,
}

impl State {
    pub fn new(now: Mono, lost: u64, pool: &Pool, reexec: &Reexec) -> Self {
        let program = env!("CARGO_PKG_VERSION").to_owned();
        Self { format: FORMAT, program, now, lost, pool: pool.state().clone(), reexec: reexec.clone() }
    }
}

impl Machine for Pool {
    type Input = Event;
    type Output = Action;

    fn handle(&mut self, now: Mono, input: Event, outputs: &mut Vec<Action>) {
        self.handle(now, input, outputs);
    }

    fn line(step: Step<Event, Action>) -> Line {
        Line::Pool(Box::new(step))
    }
}

impl Machine for Reexec {
    type Input = reexec::Input;
    type Output = reexec::Output;

    fn handle(&mut self, now: Mono, input: reexec::Input, outputs: &mut Vec<reexec::Output>) {
        self.handle(now, input, outputs);
    }

    fn line(step: Step<reexec::Input, reexec::Output>) -> Line {
        Line::Reexec(step)
    }
}
