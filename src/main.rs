//! The program `einhyrningsins`; called as `einhorn`, it stands in for Ruby's.

use std::process::ExitCode;

use einhyrningsins::sys::allocator::WithReserve;

#[global_allocator]
static MEMORY: WithReserve = WithReserve;

fn main() -> ExitCode {
    einhyrningsins::supervisor::main()
}
