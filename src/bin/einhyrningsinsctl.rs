//! The program `einhyrningsinsctl`; called as `einhornsh`, it stands in for Ruby's.

use std::process::ExitCode;

fn main() -> ExitCode {
    einhyrningsins::client::main()
}
