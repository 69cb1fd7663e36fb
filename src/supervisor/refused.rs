//! The exit code of a start that is refused. One that no later start can better is tried again nevertheless while workers of a killed master
//! serve: a file that was broken by then must not cost them. It looks, and changes nothing.

use std::path::Path;

use crate::base::exit_code::{BAD_OPTION, CANNOT_START, NOT_EXECUTABLE, NOT_FOUND};
use crate::config::{self, Config, Invocation};
use crate::release::call::Call;
use crate::release::directory::directory_of;
use crate::supervisor::adopt;
use crate::supervisor::process::report_warnings;

/// Stands for the file that cannot be read: its directory and its lock are the default ones.
const NO_FILE: &str = "command = ['-']\n";

/// In place of this code, said before the reason.
pub(crate) fn exit_code(code: u8, config: &Config, call: &Call) -> u8 {
    if ![BAD_OPTION, NOT_EXECUTABLE, NOT_FOUND].contains(&code) {
        return code;
    }
    let Ok(directory) = directory_of(config, &call.environ) else { return code };
    match adopt::what_serves(config, &config::lock_path(config, &directory)) {
        Some(workers) => {
            report_warnings(&[format!(
                "workers of a killed master serve on, {workers}: this start is worth another try"
            )]);
            CANNOT_START
        }
        None => code,
    }
}

/// The same where the command line, or what it names, cannot be understood.
pub(crate) fn exit_code_of_unread(call: &Call) -> u8 {
    let read = |_: &Path, _| Ok(NO_FILE.to_owned());
    match config::parse(&call.argv0, call.args.clone(), &read, &|name| call.variable(name)) {
        Ok(Invocation::Run(config)) => exit_code(BAD_OPTION, &config, call),
        Ok(_) | Err(_) => BAD_OPTION,
    }
}
