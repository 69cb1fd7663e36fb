//! Control messages: what clients ask, what they are answered, and how a line carries both. Text in, values out; it knows
//! no socket and no client.

mod line;
mod request;
mod response;

pub use line::{LINE_MAX, escape, unescape};
pub use request::{Request, parse};
pub use response::reply;
