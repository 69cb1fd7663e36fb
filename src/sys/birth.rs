//! What the master was born with, recorded once so that each worker can have it, however the master has changed itself.

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use crate::sys::limits;

/// Plain numbers, so that a handoff can carry them: a re-executed master is not born again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Birth {
    pub umask: u32,
    /// RLIMIT_NOFILE, the number of descriptors, soft and hard.
    pub nofile_soft: u64,
    pub nofile_hard: u64,
    /// The nice level, -20 to 19.
    pub nice: i32,
}

impl Birth {
    /// To be called before the first thread is started: the umask can only be read by setting it.
    ///
    /// # Errors
    /// A sandbox forbids the calls.
    pub fn record() -> Result<Self, Errno> {
        let (nofile_soft, nofile_hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(Self { umask: read_umask().bits(), nofile_soft, nofile_hard, nice: limits::nice()? })
    }

    /// Raises our own soft limit of descriptors to the hard one; workers are born with the old one. Returns the new one.
    ///
    /// # Errors
    /// The hard limit is above what the system allows by now.
    pub fn raise_nofile(&self) -> Result<u64, Errno> {
        setrlimit(Resource::RLIMIT_NOFILE, self.nofile_hard, self.nofile_hard)?;
        Ok(self.nofile_hard)
    }

    /// Takes [`Self::raise_nofile`] back, for a program that would pass the limit on.
    ///
    /// # Errors
    /// As [`Self::raise_nofile`].
    pub fn restore_nofile(&self) -> Result<(), Errno> {
        setrlimit(Resource::RLIMIT_NOFILE, self.nofile_soft, self.nofile_hard)
    }
}

/// The mask in between is a strict one: a file that another thread made now would be too private rather than too open.
fn read_umask() -> Mode {
    let found = umask(Mode::S_IRWXG | Mode::S_IRWXO);
    umask(found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::in_own_process;

    #[test]
    fn birth_is_read_without_changing_it() {
        in_own_process(module_path!(), "birth_is_read_without_changing_it", || {
            umask(Mode::from_bits_truncate(0o027));
            let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            let birth = Birth::record().unwrap();
            assert_eq!((birth.umask, birth.nofile_soft, birth.nofile_hard), (0o027, soft, hard));
            assert_eq!(Birth::record().unwrap(), birth);
            assert_eq!(birth.raise_nofile(), Ok(hard));
            assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
            birth.restore_nofile().unwrap();
            assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (soft, hard));
        });
    }

    #[test]
    fn a_level_of_minus_one_is_no_error() {
        in_own_process(module_path!(), "a_level_of_minus_one_is_no_error", || {
            if crate::sys::limits::set_nice(-1).is_ok() {
                assert_eq!(Birth::record().unwrap().nice, -1);
            }
        });
    }
}
