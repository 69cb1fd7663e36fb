//! The fuzz targets: each takes any bytes, hands them to one reader of text from outside, and asserts what must hold of the
//! result. `fuzz/` makes a libFuzzer program of them (`make fuzz`), and the tests below replay `fuzz/corpus` on any Rust.
//! Compiled for tests and with `--cfg fuzzing` only, never into the product.
//!
//! A target must not write files, wait, or depend on anything but its input. Where it needs an internal function of a room, that
//! room has a file `fuzzing.rs` which leads there.

mod binds;
mod checks;
mod command_lines;
mod configurations;
mod documents;
mod env_files;
mod handoffs;
mod journals;
mod life;
mod replies;
mod requests;

#[cfg(test)]
mod tests;

/// One target, and the name of its corpus below `fuzz/corpus`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
}

/// In the order in which `make fuzz` runs them.
pub const TARGETS: [Target; 9] = [
    Target { name: "requests", run: requests::requests },
    Target { name: "yaml", run: documents::yaml },
    Target { name: "handoff", run: handoffs::handoff },
    Target { name: "toml", run: configurations::toml },
    Target { name: "binds", run: binds::binds },
    Target { name: "argv", run: command_lines::argv },
    Target { name: "replies", run: replies::replies },
    Target { name: "env-file", run: env_files::env_file },
    Target { name: "journal", run: journals::journal },
];

/// The target of this name.
pub fn find(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
