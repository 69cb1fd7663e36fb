//! What a killed master leaves to the next: who its workers are, and which sockets they hold. It is written at each change, and read once, by
//! a start that finds its lock free. What is not certain is not in it for the reader: a text that is not whole, of another boot, or of
//! another user is none.

use serde::{Deserialize, Serialize};

use crate::base::printable;
use crate::config::Bind;
use crate::handoff::crc32;
use crate::handover::held::NamedFile;
use crate::handover::process::Process;
use crate::pool::State;
use crate::release::socket_options::SocketOptions;

/// What is read of one at most: ten times what a pool of as many workers as there may be takes.
pub(crate) const BYTES_MAX: u64 = 16 << 20;

/// What a reader has to understand; another number is another format.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Journal {
    format: u32,
    /// Of the kernel's: pids and the clock mean nothing in another.
    boot: String,
    /// The effective user of the master.
    uid: u32,
    pub(crate) master: Process,
    pub(crate) sockets: Vec<JournalSocket>,
    /// When each worker began.
    pub(crate) workers: Vec<Process>,
    /// The process that has the sockets, too.
    pub(crate) holder: Option<Process>,
    pub(crate) pool: State,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JournalSocket {
    pub(crate) inode: u64,
    pub(crate) bind: Bind,
    pub(crate) file: Option<NamedFile>,
    pub(crate) options: SocketOptions,
}

/// The master that writes, and when it did.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) boot: String,
    pub(crate) uid: u32,
    pub(crate) master: Process,
}

impl Journal {
    pub(crate) fn new(author: Author, sockets: Vec<JournalSocket>, workers: Vec<Process>, pool: State) -> Self {
        let Author { boot, uid, master } = author;
        Self { format: FORMAT, boot, uid, master, sockets, workers, holder: None, pool }
    }

    pub(crate) fn with_holder(self, holder: Option<Process>) -> Self {
        Self { holder, ..self }
    }

    /// One line of JSON, and its checksum in another.
    pub(crate) fn text(&self) -> Vec<u8> {
        // It fails for maps whose keys are no strings, of which there are none.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        let sum = crc32(&text);
        text.extend(format!("\n{sum:08x}\n").bytes());
        text
    }

    /// # Errors
    /// Why nothing can be made of it, in a sentence.
    pub(crate) fn read(text: &[u8], boot: &str, uid: u32) -> Result<Self, String> {
        let journal = Self::of_any(text)?;
        if journal.boot != boot {
            return Err("it was written before the machine was started".to_owned());
        }
        if journal.uid != uid {
            return Err(format!("it was written by a master of uid {}", journal.uid));
        }
        Ok(journal)
    }

    /// # Errors
    /// As [`Self::read`], of whichever boot and user it is.
    pub(in crate::handover) fn of_any(text: &[u8]) -> Result<Self, String> {
        let lines = text.strip_suffix(b"\n").and_then(|text| text.iter().rposition(|byte| *byte == b'\n'));
        let at = lines.ok_or("it is not whole")?;
        let (body, sum) = (&text[..at], &text[at + 1..text.len() - 1]);
        if format!("{:08x}", crc32(body)).as_bytes() != sum {
            return Err("it is damaged".to_owned());
        }
        let journal: Self =
            serde_json::from_slice(body).map_err(|error| format!("it is of another version: {}", shown(&error)))?;
        if journal.format != FORMAT {
            return Err(format!("it is of another version: format {}", journal.format));
        }
        // Numbers up to 1 mean no process of a worker's, and some of them all.
        if let Some(worker) = journal.workers.iter().find(|worker| worker.pid.0 <= 1) {
            return Err(format!("no worker has the process id {}", worker.pid));
        }
        journal.pool.check()?;
        Ok(journal)
    }
}

/// It may quote what stands there.
fn shown(error: &serde_json::Error) -> String {
    printable::line(&error.to_string()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Mono, Pid, Signal, Version, WorkerIndex};
    use crate::pool::{Ping, Settings, Told, Worker};

    const BOOT: &str = "5d0c1f5e-2c41-4a0e-a6a6-9b3a6f1d7f10";
    const UID: u32 = 1000;
    const NOW: Mono = Mono::from_nanos(100_000_000_000_000);

    fn journal() -> Journal {
        let master = Process { pid: Pid(100), began: 7 };
        let author = Author { boot: BOOT.to_owned(), uid: UID, master };
        let workers = vec![Process { pid: Pid(101), began: 8 }, Process { pid: Pid(102), began: 9 }];
        Journal::new(author, Vec::new(), workers, State::new(Settings::default()))
    }

    fn cause(text: &[u8]) -> String {
        Journal::read(text, BOOT, UID).map(|_| ()).unwrap_err()
    }

    #[test]
    fn what_was_written_is_read() {
        let read = Journal::read(&journal().text(), BOOT, UID).unwrap();
        assert_eq!((read.master, read.workers, read.pool), (journal().master, journal().workers, journal().pool));
    }

    /// A thousand workers are allowed, and there may be old ones beside them.
    #[test]
    fn a_journal_of_ten_thousand_workers_is_read() {
        let of = |count: i32| {
            let mut pool = State::new(Settings::default());
            let told = Told { signals: vec![Signal::USR2], first_at: NOW, last_at: NOW, kill_at: Some(NOW) };
            let ping = Ping::new(NOW, "x".repeat(64));
            let worker = |pid: i32| Worker {
                acked_at: Some(NOW),
                told: Some(told.clone()),
                ping: Some(ping.clone()),
                ..Worker::new(Pid(pid), WorkerIndex(0), Version(0), Signal::USR2, NOW)
            };
            pool.workers = (2..count + 2).map(|pid| worker(4_000_000 + pid)).collect();
            let workers = pool.workers.iter().map(|worker| Process { pid: worker.pid, began: u64::MAX });
            Journal { workers: workers.collect(), pool, ..journal() }
        };
        let (small, large) = (of(1000).text().len(), of(10_000).text());
        println!("{small} bytes of 1,000 workers, {} of 10,000", large.len());
        assert!(u64::try_from(large.len()).unwrap() <= BYTES_MAX);
        let read = Journal::read(&large, BOOT, UID).unwrap();
        assert_eq!((read.workers.len(), read.pool), (10_000, of(10_000).pool));
    }

    /// As a disk leaves it that has lost its power.
    #[test]
    fn a_journal_that_is_cut_or_changed_at_any_byte_is_none() {
        let text = journal().text();
        for length in 0..text.len() {
            cause(&text[..length]);
        }
        for at in 0..text.len() {
            for byte in [0, b'0', b'\n', text[at] ^ 1] {
                let mut changed = text.clone();
                changed[at] = byte;
                if changed != text {
                    cause(&changed);
                }
            }
        }
        cause(&[text.as_slice(), b"\n"].concat());
        cause(&text.repeat(2));
        cause(&vec![0; 4096]);
    }

    #[test]
    fn a_journal_of_another_boot_user_or_format_is_none() {
        let text = journal().text();
        assert!(Journal::read(&text, "another", UID).unwrap_err().contains("before the machine was started"));
        assert!(Journal::read(&text, BOOT, 0).unwrap_err().contains("uid 1000"));
        assert!(cause(&Journal { format: 2, ..journal() }.text()).contains("format 2"));
    }
}
