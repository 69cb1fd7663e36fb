//! What takes several steps, as a state machine: the replacement of the master's own program. A machine is a value with one method
//! that matters, `handle(now, input, &mut outputs)`. It does no I/O, reads no clock and cannot fail; what goes wrong outside
//! arrives as an input. `supervisor` does what the outputs say.

pub mod reexec;
pub mod reload;
pub mod trace;
