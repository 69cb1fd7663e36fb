//! The control thread: serves the control socket. It reads and writes for clients and passes their requests on as
//! `Input`; it decides nothing but which client may ask for what.

pub(crate) mod access;
mod connection;
mod eviction;
mod handle;
pub(crate) mod handover;
mod notes;
mod ready;
mod server;
pub(crate) mod socket_file;
mod turns;

pub(crate) use handle::{Control, Then, start};
