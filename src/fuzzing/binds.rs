//! `-b`: a bind that is taken is written as a word that means the same, and a refusal is one line.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::base::limits::SOCKET_PATH_MAX;
use crate::config::Bind;
use crate::fuzzing::checks::is_one_line;

/// Each line of the input is a bind.
pub fn binds(data: &[u8]) {
    for line in data.split(|byte| *byte == b'\n') {
        match Bind::read(OsStr::from_bytes(line)) {
            Ok(bind) => check(line, &bind),
            Err(need) => assert!(is_one_line(&need), "{need:?}"),
        }
    }
}

fn check(line: &[u8], bind: &Bind) {
    let word = bind.to_word();
    assert_eq!(Bind::read(&word).as_ref(), Ok(bind), "{} is written as {word:?}", line.escape_ascii());
    assert!(!bind.to_string().is_empty());
    match bind {
        Bind::Tcp { host, .. } => {
            assert!(host.bytes().all(|byte| byte.is_ascii_graphic()), "{host:?} is a host");
            assert!(!(bind.is_ipv4_address() && bind.is_ipv6_address()), "{host} is of both families");
        }
        Bind::Unix { path, mode, .. } => {
            let bytes = path.as_os_str().as_bytes();
            assert!(!bytes.is_empty() && bytes.len() <= SOCKET_PATH_MAX && !bytes.contains(&0), "{path:?} is a path");
            assert!(mode.is_none_or(|mode| mode <= 0o777), "{mode:?} is a mode");
        }
    }
}
