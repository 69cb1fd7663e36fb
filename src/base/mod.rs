//! What every room may name: ids, signals, resource limits, processors, time, exit codes, settings, and text and bytes from outside.
//! It decides nothing and touches nothing.

pub mod cpu_set;
pub mod exit_code;
pub mod limits;
pub mod printable;
pub mod wire;

mod ending;
mod ids;
mod resource;
mod settings;
mod signal;
mod time;

pub use cpu_set::CpuSet;
pub use ending::Ending;
pub use ids::{ClientId, Pid, Slot, Version, WorkerIndex};
pub use resource::{Resource, ResourceLimit};
pub use settings::{
    AckMode, EXIT_CODES_MAX, ExitCodes, FACILITIES, LogFormat, LogTarget, STAGES_MAX, Share, Stages, WorkerOutput,
};
pub use signal::Signal;
pub use time::{Mono, Wall, due, earlier};
