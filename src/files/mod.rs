//! Decides about files: which directory, file and link is trusted, where files without a given path go, which master has the lock
//! and the pid file, and what may stand where a socket is bound. Makes no system call that needs `unsafe`; those are in `sys`.

pub mod control_socket;
pub mod directory;
pub mod error;
pub mod file_watch;
pub mod lockfile;
pub mod log_file;
pub mod path_trust;
pub mod pidfile;
pub mod private_file;
pub mod program;
pub mod room;
pub mod spot;
pub mod tmpdir;
pub mod trusted_file;
pub mod unix_socket;
