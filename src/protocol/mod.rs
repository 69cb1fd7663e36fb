//! Control messages: what clients ask, what they are answered, and how a line carries both. Text in, values out; it knows
//! no socket and no client.

mod arguments;
mod commands;
pub mod id_on_wire;
mod line;
mod peer;
mod request;
mod response;
mod settings;
mod upgrade;

pub use arguments::SET_WORKERS_MAX;
pub use commands::{Asked, COMMANDS, Command, Speaker, subcommand_help};
pub use line::{LINE_MAX, escape, unescape};
pub use peer::{Peer, Role};
pub use request::{Request, parse};
pub use response::{Asking, Format, More, Reply, object, to_json};
pub use settings::Change;
pub use upgrade::{PAUSED, UpgradeAsked};

/// How an upgrade is asked for.
pub use crate::pool::{Terms, UpgradeStyle};

/// What ties replies to a request: any value that a client likes.
pub use crate::yaml::Value as RequestId;
