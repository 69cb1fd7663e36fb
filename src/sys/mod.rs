//! Calls the system: all `unsafe`, all system calls and the clock, in the words of the man pages. Every call is retried on
//! EINTR, keeps its errno, and makes descriptors that close on exec unless its name says otherwise. Decides nothing about
//! workers, and imports nothing but `base`.
#![allow(unsafe_code, reason = "this is the room for it; each block says why it is sound")]

pub mod accept;
pub mod accept_queue;
pub mod access_list;
pub mod account;
pub mod allocator;
pub mod birth;
pub mod capability;
mod child;
pub mod clock;
pub mod closed_directory;
pub mod directory;
pub mod errno;
pub mod exec_failure;
pub mod exec_pipe;
pub mod executable;
pub mod fd;
pub mod fd_passing;
pub mod file_id;
pub mod file_lock;
pub mod hearing;
pub mod held_socket;
pub mod identity;
pub mod interrupt;
pub mod limits;
pub mod meeting_point;
pub mod memfd;
pub mod notify_socket;
pub mod output_pipe;
pub mod packet_socket;
pub mod peer;
pub mod port_use;
pub mod prepared_exec;
pub mod process;
pub mod process_watch;
pub mod processors;
pub mod procfs;
pub mod reexec;
pub mod refuse;
pub mod resource_limit;
pub mod signal;
mod sock_diag;
pub mod socket;
pub mod stderr;
pub mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub mod title;
pub mod unix_client;
pub mod wait;
pub mod wakeup;
