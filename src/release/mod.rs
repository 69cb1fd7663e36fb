//! What the workers of one version are started from: program, environment, identity, sockets. Reads a configuration, looks up what
//! it names, opens what it binds. Starts nothing, and knows no supervisor.

pub(crate) mod access_control;
mod addresses;
pub(crate) mod bound_files;
pub(crate) mod call;
pub(crate) mod directory;
mod drop_ins;
pub(crate) mod environment;
pub(crate) mod exec_spec;
mod in_the_way;
pub(crate) mod links;
pub(crate) mod listeners;
pub(crate) mod preload;
pub(crate) mod prepare;
pub(crate) mod socket_options;
pub(crate) mod unix_place;
mod unpinned;
