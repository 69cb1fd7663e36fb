//! The trace of this master: hands inputs to the machines, and writes down what they were told and what they asked for.
//! The pool and the other machines are told everything through here.

mod writer;

pub(crate) use writer::{check, open};

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::base::Mono;
use crate::machines::reexec::Reexec;
use crate::machines::trace::{Line, Machine, State, Step};
use crate::pool::Pool;
use crate::sys::clock;
use crate::threads::crew::Crew;
use crate::trace::writer::TraceQueue;

/// How long the end of an image may wait for the last lines.
const FLUSH_MAX: Duration = Duration::from_millis(200);

/// None: nothing is written down.
#[derive(Default)]
pub(crate) struct Trace(Option<TraceQueue>);

impl Trace {
    /// Goes on in this file, or in none. So many lines are missing already.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn follow(&mut self, path: Option<&Path>, lost: u64, crew: &mut Crew) -> io::Result<()> {
        if self.0.as_ref().map(TraceQueue::path) != path {
            self.0 = path.map(|path| writer::start(path, lost, crew)).transpose()?;
        }
        Ok(())
    }

    /// Tells a machine.
    pub(crate) fn tell<M: Machine>(&self, machine: &mut M, now: Mono, input: M::Input, outputs: &mut Vec<M::Output>) {
        let Some(queue) = self.0.as_ref().filter(|queue| queue.takes_lines()) else {
            return machine.handle(now, input, outputs);
        };
        let (told, known) = (input.clone(), outputs.len());
        machine.handle(now, input, outputs);
        queue.push(text(&M::line(Step { now, input: told, outputs: outputs[known..].to_vec() })), None);
    }

    /// Writes down how everything stands, if the trace needs it. To be called between two turns: a launch without its answer is no part
    /// of a state.
    pub(crate) fn keep_state(&mut self, pool: &Pool, reexec: &Reexec) {
        let Some(queue) = &mut self.0 else { return };
        let now = clock::now();
        if let Some(lost) = queue.wants_state(now) {
            let state = State::new(now, lost, pool, reexec);
            queue.push(text(&Line::State(Box::new(state))), Some(lost));
        }
    }

    /// Waits a moment for what is on its way.
    pub(crate) fn flush(&self) {
        if let Some(queue) = &self.0 {
            queue.flush(FLUSH_MAX);
        }
    }

    /// How many lines are missing in the file as it is now.
    pub(crate) fn missing(&self) -> u64 {
        self.0.as_ref().map_or(0, TraceQueue::missing)
    }
}

fn text(line: &Line) -> Vec<u8> {
    // It fails for maps whose keys are no strings, of which there are none.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text
}
