//! Unit tests of the trace thread: what is written, what is lost and counted, and where a file ends.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tempfile::TempDir;

use super::*;
use crate::sys::testing::{LIMIT, in_own_process};
use crate::threads::spawn::shortage;

const STATE: &str = "{\"state\":{\"format\":1}}\n";
const NOW: Mono = Mono::from_nanos(1);

/// A trace that is written to, in a directory of its own.
struct Site {
    directory: TempDir,
    queue: TraceQueue,
}

impl Site {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// The path is prepared first.
    fn with(prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        prepare(&path);
        let queue = start(&path, 0, &mut Crew::required()).unwrap();
        Self { directory, queue }
    }

    /// A state line, if one is wanted at this moment: with how many lines lost.
    fn state(&mut self, now: Mono) -> Option<u64> {
        let lost = self.queue.wants_state(now);
        if lost.is_some() {
            self.queue.push(STATE.into(), lost);
            self.queue.flush(LIMIT);
        }
        lost
    }

    /// As the main thread does it.
    fn line(&self, line: &str) {
        if self.queue.takes_lines() {
            self.queue.push(line.into(), None);
            self.queue.flush(LIMIT);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path("trace")).unwrap()
    }
}

fn later(seconds: u64) -> Mono {
    NOW.after(Duration::from_secs(seconds))
}

#[test]
fn a_state_line_comes_first_and_only_its_user_reads_what_follows() {
    let mut site = Site::new();
    site.line("too early\n");
    assert_eq!([site.state(NOW), site.state(later(60))], [Some(0), None]);
    site.line("one\n");
    assert_eq!(site.text(), format!("{STATE}one\n"));
    assert_eq!(fs::metadata(site.path("trace")).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_later_image_goes_on_in_the_same_file_behind_a_line_that_was_cut() {
    let cut = format!("{STATE}{{\"pool\":{{");
    let mut site = Site::with(|path| fs::write(path, &cut).unwrap());
    site.state(NOW);
    assert_eq!(site.text(), format!("{cut}\n{STATE}"));
}

#[test]
fn a_full_disk_loses_lines_until_a_state_line_fits() {
    in_own_process(module_path!(), "a_full_disk_loses_lines_until_a_state_line_fits", || {
        // The signal that comes with the error.
        SigSet::from(Signal::SIGXFSZ).thread_block().unwrap();
        let mut site = Site::new();
        site.state(NOW);
        site.line("one\n");
        let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
        setrlimit(Resource::RLIMIT_FSIZE, STATE.len() as u64 + 6, hard).unwrap();
        ["two\n", "three\n", "four\n"].into_iter().for_each(|line| site.line(line));
        assert_eq!(site.text(), format!("{STATE}one\n"), "no half of a line stands there");
        assert_eq!((site.queue.missing(), site.state(NOW)), (3, None), "not at once");
        // Still no room, so that this one is missing, too.
        assert_eq!((site.state(later(1)), site.queue.missing()), (Some(3), 4));
        setrlimit(Resource::RLIMIT_FSIZE, hard, hard).unwrap();
        assert_eq!((site.state(later(2)), site.queue.missing()), (Some(4), 0));
        site.line("five\n");
        let text = site.text();
        assert_eq!(text.replace("\n\n", "\n"), format!("{STATE}one\n{STATE}five\n"), "{text:?}");
    });
}

#[test]
fn a_full_file_becomes_the_one_before_and_the_next_begins_with_a_state() {
    let fill = |path: &Path| {
        fs::write(path, STATE).unwrap();
        File::options().write(true).open(path).unwrap().set_len(FILE_BYTES_MAX - 50).unwrap();
        fs::write(path.with_extension("1"), "before").unwrap();
    };
    let mut site = Site::with(fill);
    assert_eq!(site.state(NOW), Some(0));
    site.line(&format!("{}\n", "x".repeat(50)));
    assert_eq!(fs::read_to_string(site.path("trace.1")).unwrap(), "before", "a line needs the state before it");
    assert_eq!(site.state(NOW), Some(0), "at once");
    site.line("one\n");
    assert_eq!(site.text(), format!("{STATE}one\n"));
    let full = fs::metadata(site.path("trace.1")).unwrap().len();
    assert!((FILE_BYTES_MAX..FILE_BYTES_MAX + 100).contains(&full), "{full}");
    assert_eq!(site.state(later(60)), None);
}

#[test]
fn a_file_that_was_moved_away_is_not_missed() {
    let mut site = Site::with(|path| {
        fs::write(path, STATE).unwrap();
        File::options().write(true).open(path).unwrap().set_len(FILE_BYTES_MAX - 1).unwrap();
    });
    site.state(NOW);
    fs::rename(site.path("trace"), site.path("kept")).unwrap();
    assert_eq!(site.state(NOW), Some(0));
    assert_eq!(site.text(), STATE);
    assert!(!site.path("trace.1").exists());
}

/// A queue whose thread takes nothing.
fn stuck(site: &mut Site) -> Receiver<Item> {
    let (items, queued) = bounded(LINES_MAX);
    site.queue.items = items;
    queued
}

#[test]
fn a_full_queue_drops_lines_and_counts_them() {
    let mut site = Site::new();
    site.state(NOW);
    let queued = stuck(&mut site);
    for _ in 0..LINES_MAX + 2 {
        if site.queue.takes_lines() {
            site.queue.push(b"x".into(), None);
        }
    }
    assert_eq!((queued.len(), site.queue.missing()), (LINES_MAX, LINES_MAX as u64 + 2));
    // There is no room for a state either.
    let lost = site.queue.wants_state(later(1));
    site.queue.push(STATE.into(), lost);
    assert_eq!((lost, site.queue.missing()), (Some(2), LINES_MAX as u64 + 3));
}

#[test]
fn large_lines_do_not_fill_the_memory() {
    let mut site = Site::new();
    site.state(NOW);
    let queued = stuck(&mut site);
    let mebibyte = vec![b'x'; 1024 * 1024];
    (0..20).for_each(|_| site.queue.push(mebibyte.clone(), None));
    assert_eq!((queued.len(), site.queue.missing()), (8, 20));
}

#[test]
fn the_main_thread_writes_nothing_where_there_is_no_thread_and_counts() {
    shortage::begin();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace");
    let mut crew = Crew::optional();
    let mut queue = start(&path, 5, &mut crew).unwrap();
    assert_eq!(queue.wants_state(NOW), Some(5));
    queue.push(STATE.into(), Some(5));
    queue.flush(LIMIT);
    crew.turn(clock::now());
    assert_eq!((queue.missing(), path.exists()), (6, false));
}

#[test]
fn a_file_that_is_no_trace_is_refused_and_stays_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace");
    let refused = |cause: &str| {
        let message =
            format!("cannot write the trace {}: {cause}; need a trace or a path without a file", path.display());
        assert_eq!(open(&path).map(drop), Err(Problem::of_option(message)));
        fs::remove_file(&path).or_else(|_| fs::remove_dir(&path)).unwrap();
    };
    mkfifo(&path, Mode::S_IRWXU).unwrap();
    refused("it is a FIFO");
    fs::create_dir(&path).unwrap();
    refused("it is a directory");
    fs::write(directory.path().join("victim"), STATE).unwrap();
    symlink(directory.path().join("victim"), &path).unwrap();
    refused("it is a symbolic link");
    fs::write(&path, "command = ['server']\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert!(open(&path).is_err());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode(), mode);
    refused("it is a file of another kind");
    assert!(open(&path).is_ok());
    assert!(open(&directory.path().join("none/trace")).unwrap_err().message.contains("no such file or directory"));
}
