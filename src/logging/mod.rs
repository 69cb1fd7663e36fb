//! The log: what a line looks like, and the two threads that write it to standard error and to syslog. No caller ever waits for
//! either: a line that finds no room is dropped and counted.

mod backoff;
mod journal;
pub(crate) mod line;
mod logger;
mod place;
pub(crate) mod plan;
pub(crate) mod rate_limiter;
mod route;
mod stderr_output;
mod stderr_writer;
pub(crate) mod syslog_message;
mod syslog_writer;

pub(crate) use journal::mark_of;
pub(crate) use logger::{
    Logging, apply, count_lost, dropped_lines, flush, log_for_worker, log_output, lost_lines, print, room_for_output,
    set_verbosity, speak_as, start, waiting_lines,
};
pub(crate) use place::place;
pub(crate) use stderr_writer::Room;
