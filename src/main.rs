//! The program `einhyrningsins`; called as `einhorn`, it stands in for Ruby's.

use std::process::ExitCode;

fn main() -> ExitCode {
    einhyrningsins::supervisor::main()
}
