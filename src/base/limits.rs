//! Limits of the system that several rooms name.

/// The longest path of a unix socket in bytes: what sockaddr_un holds with its final NUL, see unix(7).
pub const SOCKET_PATH_MAX: usize = 107;
