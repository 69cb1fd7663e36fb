//! What the surroundings of a service give it and take from it without a word, said in a line each: sockets that a .socket unit has opened,
//! and files that no one outside can see. Changes nothing.

use std::path::Path;

use crate::config::{self, Config, Directory};
use crate::sys::procfs::is_in_private_tmp;

/// Those beside the ones that a master of ours has had systemd keep.
pub(crate) fn warn_of_unused_sockets(count: usize) {
    if count > 0 {
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
