//! What the surroundings of a service give it and take from it without a word, said in a line each: sockets that a .socket unit has opened,
//! and files that no one outside can see. Changes nothing.

use std::path::Path;

use crate::config::{self, Config, Directory};
use crate::release::environment::Environment;
use crate::sys::procfs::is_in_private_tmp;

/// sd_listen_fds(3): for whom sockets were opened, and how many.
const LISTEN_PID: &str = "LISTEN_PID";
const LISTEN_FDS: &str = "LISTEN_FDS";

pub(crate) fn warn_of_unused_sockets(environ: &Environment) {
    let value = |wanted: &str| environ.iter().find(|(name, _)| name == wanted).and_then(|(_, value)| value.to_str());
    let is_ours = value(LISTEN_PID) == Some(&std::process::id().to_string());
    let count = value(LISTEN_FDS).and_then(|count| count.parse().ok()).filter(|count: &u32| is_ours && *count > 0);
    if let Some(count) = count {
        log::warn!(
            "The {count} sockets of a .socket unit (LISTEN_FDS) are not used: name their addresses with -b, and disable that unit"
        );
    }
}

pub(crate) fn warn_of_hidden_files(config: &Config, directory: &Directory) {
    let of_clients = [
        ("control socket", config::socket_path(config, directory), "-d"),
        ("pid file", config::pid_path(config, directory), "-e"),
    ];
    for (what, path, option) in of_clients.iter().filter(|(_, path, _)| is_in_private_tmp(path)) {
        let place = path.parent().unwrap_or(Path::new("/"));
        log::warn!(
            "The {what} {} is hidden from other processes: this service has a {} of its own (PrivateTmp=); choose another place \
             with {option}",
            path.display(),
            place.display()
        );
    }
}
