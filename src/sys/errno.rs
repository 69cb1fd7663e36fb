//! What every system call here has in common: the retry on EINTR, and the words for an error. Never hides an error.

use std::io;

use nix::errno::Errno;

use crate::base::exit_code::{BAD_OPTION, CANNOT_START};

/// Makes the call again for as long as a signal interrupts it.
///
/// # Errors
/// Every other error of the call.
pub fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// How often [`insist`] makes an attempt.
const INSISTENCE: usize = 3;

/// Makes the attempt again when it fails, at once and a few times: for what is never done later, and may have failed for want of
/// memory or of a descriptor that another process has given back since.
///
/// # Errors
/// The last one.
pub fn insist<T, E>(mut attempt: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut result = attempt();
    for _ in 1..INSISTENCE {
        if result.is_ok() {
            break;
        }
        result = attempt();
    }
    result
}

/// Whether the same call may succeed later, when the system has again what it lacks now.
pub fn may_pass(errno: Errno) -> bool {
    [Errno::ENOMEM, Errno::EAGAIN, Errno::ENFILE, Errno::EMFILE, Errno::ENOBUFS, Errno::EIO].contains(&errno)
}

/// How a start ends for want of a call that failed so: whether only a human can change that, or it may pass. What is not known to last may
/// pass: a directory that is missing may be mounted yet.
pub(crate) fn exit_code(errno: Errno) -> u8 {
    let lasts =
        [Errno::EACCES, Errno::EPERM, Errno::EROFS, Errno::ENOTDIR, Errno::EISDIR, Errno::ELOOP, Errno::ENAMETOOLONG];
    if lasts.contains(&errno) { BAD_OPTION } else { CANNOT_START }
}

/// The errno inside a standard library error; EIO for the few that have none.
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// The error as the end of a message: `permission denied`.
pub fn words(errno: Errno) -> String {
    let text = match errno {
        // "Try again" would be advice, and no cause.
        Errno::EAGAIN => "Resource temporarily unavailable",
        other => other.desc(),
    };
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if second.is_lowercase() => {
            format!("{}{}", first.to_lowercase(), text.get(first.len_utf8()..).unwrap_or_default())
        }
        // `I/O error` begins with an abbreviation.
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_lower_case_but_for_abbreviations() {
        assert_eq!(words(Errno::EACCES), "permission denied");
        assert_eq!(words(Errno::EIO), "I/O error");
    }

    #[test]
    fn an_interrupted_call_is_made_again() {
        let mut calls = 0;
        let result = retry(|| {
            calls += 1;
            if calls < 3 { Err(Errno::EINTR) } else { Ok(calls) }
        });
        assert_eq!(result, Ok(3));
        assert_eq!(retry(|| Err::<(), _>(Errno::EAGAIN)), Err(Errno::EAGAIN));
    }

    #[test]
    fn what_fails_is_tried_again_and_not_for_ever() {
        let mut calls = 0;
        let mut fail_until = |last: usize| {
            calls += 1;
            if calls < last { Err(calls) } else { Ok(calls) }
        };
        assert_eq!(insist(|| fail_until(INSISTENCE)), Ok(INSISTENCE));
        calls = 0;
        let mut fail = || {
            calls += 1;
            Err::<(), _>(calls)
        };
        assert_eq!(insist(&mut fail), Err(INSISTENCE));
    }
}
