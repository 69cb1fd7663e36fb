//! The control thread: serves the control socket. It reads and writes for clients and passes their requests on as
//! `Input`; it decides nothing but which client may ask for what.

mod acceptor;
pub(crate) mod access;
mod connection;
mod connections;
mod eviction;
mod handle;
pub(crate) mod handover;
mod line_buffer;
mod message;
mod poll;
mod requests;
mod server;
pub(crate) mod socket_file;
mod turns;
mod watched;

pub(crate) use handle::{Control, ControlPaused, start};
pub(crate) use message::{Hearing, Then};
