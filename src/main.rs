//! The program `einhyrningsins`; called as `einhorn`, it stands in for Ruby's.

use std::process::ExitCode;

use einhyrningsins::sys::allocator::WithReserve;
use einhyrningsins::sys::signal::keep_memory_faults_from_the_runtime;

#[global_allocator]
static MEMORY: WithReserve = WithReserve;

/// The C library runs it before Rust's runtime starts.
#[used]
#[expect(unsafe_code, reason = "the section holds addresses of such functions, and this is one")]
#[unsafe(link_section = ".init_array")]
static BEFORE_THE_RUNTIME: extern "C" fn() = keep_memory_faults_from_the_runtime;

fn main() -> ExitCode {
    einhyrningsins::supervisor::main()
}
