//! Lets real processes become other programs, and looks at what has come over and what has not.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::base::{Ending, Pid, Signal};
use crate::sys::clock;
use crate::sys::fd::{lift, set_cloexec_on_inherited};
use crate::sys::signal::{block_all, prepare_dispositions, send};
use crate::sys::testing::{LIMIT, fork_to_run, in_own_process, on_first_thread, reap, shell, wait_until};

fn words(list: &[&str]) -> Vec<OsString> {
    list.iter().map(OsString::from).collect()
}

/// A number that no test opens.
const CLOSED: std::os::fd::RawFd = 999;

/// Becomes a shell, or whatever this is, that runs the script.
fn run(program: Program<'_>, script: &str, keep: &[BorrowedFd<'_>]) -> ReexecError {
    let keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    exec(program, &words(&["sh", "-c", script, "name", "word"]), &[("A".into(), "1".into())], &keep)
}

fn at(path: &Path) -> Program<'static> {
    Program::Checked(Box::leak(Box::new(Executable::open(path).unwrap())))
}

fn shell_program() -> Program<'static> {
    at(Path::new("/bin/sh"))
}

/// What is printed by the script for which a first thread gives itself up, and its pid before.
fn printed(script: &str, give_up: impl FnOnce(&str) -> ReexecError) -> (Pid, String) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("output");
    let script = format!("exec >{}; {script}", path.display());
    let pid = fork_to_run(|| {
        set_cloexec_on_inherited(&[]).unwrap();
        panic!("{}", give_up(&script));
    });
    assert_eq!(reap(pid), Ending::Code(0));
    (pid, fs::read_to_string(path).unwrap())
}

fn file(dir: &TempDir, content: &[u8], mode: u32) -> PathBuf {
    let path = dir.path().join("program");
    let _ = fs::remove_file(&path);
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    path
}

fn copy(dir: &TempDir, program: &str) -> PathBuf {
    file(dir, &fs::read(program).unwrap(), 0o755)
}

fn image_of(path: &Path) -> Image {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path).unwrap();
    Image::adopt(path.to_owned(), file.into())
}

/// Masks from a status file of /proc; signal n is bit n-1.
fn masks(status: &str) -> BTreeMap<&str, u64> {
    let lines = status.lines().filter_map(|line| line.split_once(":\t"));
    lines.filter_map(|(field, mask)| Some((field, u64::from_str_radix(mask, 16).ok()?))).collect()
}

fn own_status() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    status
        .lines()
        .filter(|line| line.starts_with("Sig") && !line.starts_with("SigQ:"))
        .map(|line| format!("{line}\n"))
        .collect()
}

const fn bit(number: i32) -> u64 {
    1 << (number - 1)
}

#[test]
fn the_process_becomes_the_program_under_the_same_pid() {
    in_own_process(module_path!(), "the_process_becomes_the_program_under_the_same_pid", || {
        let (pid, said) = printed("echo $$ $0 $1 $A", |script| run(shell_program(), script, &[]));
        assert_eq!(said, format!("{pid} name word 1\n"));
    });
}

#[test]
fn kept_descriptors_stay_at_their_numbers_and_no_other_does() {
    in_own_process(module_path!(), "kept_descriptors_stay_at_their_numbers_and_no_other_does", || {
        let (_, said) = printed("ls /proc/$$/fd; readlink /proc/$$/fd/200", |script| {
            let kept = lift(File::open("/dev/zero").unwrap().into(), 200).unwrap();
            let _stray = lift(File::open("/dev/null").unwrap().into(), 210).unwrap();
            run(shell_program(), script, &[kept.as_fd(), kept.as_fd()])
        });
        assert_eq!(said.lines().collect::<Vec<_>>(), ["0", "1", "2", "200", "/dev/zero"]);
    });
}

#[test]
fn a_signal_during_the_exec_waits_for_the_next_image() {
    in_own_process(module_path!(), "a_signal_during_the_exec_waits_for_the_next_image", || {
        let dir = TempDir::new().unwrap();
        let path = copy(&dir, "/bin/sh");
        // A shell that waits for a child clears its mask; this one waits for none.
        let (_, said) = printed("exec cat /proc/self/status", |script| {
            prepare_dispositions();
            block_all();
            let own = nix::unistd::getpid();
            send(Pid(own.as_raw()), Signal::TERM).unwrap();
            // While the file is open for writing, the exec is tried again and again.
            let path_text = path.display();
            let writer = shell(&format!("exec 3>>{path_text}; sleep 0.2; kill -USR2 {own}; sleep 0.1"));
            let writing = format!("/proc/{writer}/fd/3");
            assert!(wait_until(LIMIT, || fs::read_link(&writing).is_ok_and(|open| open == path)));
            run(at(&path), script, &[])
        });
        let masks = masks(&said);
        for signal in [libc::SIGTERM, libc::SIGUSR2] {
            assert_ne!(masks["ShdPnd"] & bit(signal), 0, "signal {signal} is lost");
            assert_ne!(masks["SigBlk"] & bit(signal), 0, "signal {signal} is not blocked");
        }
        assert_eq!(masks["SigIgn"] & bit(libc::SIGPIPE), 0);
    });
}

#[test]
fn a_failure_changes_nothing() {
    on_first_thread(module_path!(), "a_failure_changes_nothing", || {
        let dir = TempDir::new().unwrap();
        prepare_dispositions();
        block_all();
        let status = own_status();
        let (kept, passed_on) = (File::open("/dev/zero").unwrap(), File::open("/dev/null").unwrap());
        keep_over_exec(passed_on.as_fd()).unwrap();
        // SAFETY: this number is not in use, and is only asked for its flags.
        let closed = unsafe { BorrowedFd::borrow_raw(CLOSED) };
        let text = file(&dir, b"hello", 0o755);
        let script = dir.path().join("script");
        fs::write(&script, "#!/no/such\n").unwrap();
        fs::set_permissions(&script, Permissions::from_mode(0o755)).unwrap();
        for (program, keep) in [
            (at(&script), &[kept.as_fd(), passed_on.as_fd()][..]),
            (at(&text), &[kept.as_fd(), passed_on.as_fd()]),
            (Program::Image(&image_of(&text)), &[kept.as_fd()]),
            (shell_program(), &[kept.as_fd(), passed_on.as_fd(), closed]),
        ] {
            run(program, "exit 1", keep);
            assert_eq!(own_status(), status);
            assert_eq!((closes_on_exec(kept.as_fd()), closes_on_exec(passed_on.as_fd())), (Ok(true), Ok(false)));
        }
    });
}

#[test]
fn each_failure_has_its_words() {
    on_first_thread(module_path!(), "each_failure_has_its_words", || {
        let dir = TempDir::new().unwrap();
        let own = fs::read("/bin/true").unwrap();
        let mut foreign = own.clone();
        foreign[18..20].copy_from_slice(&[0xfe, 0xfe]); // e_machine, elf(5)
        for (content, mode, errno, expected) in [
            (&b"#!/no/such\n"[..], 0o755, Errno::ENOENT, "its interpreter /no/such is missing"),
            (&own, 0o644, Errno::EACCES, "the file is not executable"),
            (b"", 0o755, Errno::ENOEXEC, "the file is empty"),
            (&own[..64], 0o755, Errno::ENOEXEC, "the file is damaged"),
            (&foreign, 0o755, Errno::ENOEXEC, "it is built for another kind of machine"),
        ] {
            let path = file(&dir, content, mode);
            let error = run(at(&path), "", &[]);
            assert_eq!(error.to_string(), format!("cannot run {}: {expected}", path.display()));
            assert_eq!(error.errno, errno);
        }
        assert_eq!(run(at(dir.path()), "", &[]).errno, Errno::EACCES);
        assert_eq!(run(shell_program(), &"x".repeat(200_000), &[]).errno, Errno::E2BIG);
        assert_eq!(run(shell_program(), "a\0b", &[]).errno, Errno::EINVAL);
        assert_eq!(exec(shell_program(), &[], &[("A=B".into(), "1".into())], &[]).errno, Errno::EINVAL);
        let path = file(&dir, b"hello", 0o755);
        let error = run(Program::Image(&image_of(&path)), "", &[]);
        assert_eq!(error.to_string(), format!("cannot go back to {}: exec format error", path.display()));
    });
}

#[test]
fn a_file_that_stays_open_for_writing_is_given_up_after_a_second() {
    on_first_thread(module_path!(), "a_file_that_stays_open_for_writing_is_given_up_after_a_second", || {
        let dir = TempDir::new().unwrap();
        let path = copy(&dir, "/bin/sh");
        let _writer = OpenOptions::new().append(true).open(&path).unwrap();
        let started = clock::now();
        let error = run(at(&path), "exit 1", &[]);
        let waited = clock::now().since(started);
        assert_eq!(error.to_string(), format!("cannot run {}: the file is still open for writing", path.display()));
        assert!(waited >= Duration::from_millis(900) && waited < Duration::from_secs(5), "{waited:?}");
    });
}

#[test]
fn a_wrapper_may_be_a_script() {
    in_own_process(module_path!(), "a_wrapper_may_be_a_script", || {
        let dir = TempDir::new().unwrap();
        let wrapper = file(&dir, b"#!/bin/sh\nexec sh \"$@\"\n", 0o755);
        let (pid, said) = printed("echo $$ $1", |script| run(at(&wrapper), script, &[]));
        assert_eq!(said, format!("{pid} word\n"));
    });
}

/// The file that was checked is run, not the one that has taken its place.
#[test]
fn a_binary_is_run_by_the_descriptor_that_was_checked() {
    in_own_process(module_path!(), "a_binary_is_run_by_the_descriptor_that_was_checked", || {
        let dir = TempDir::new().unwrap();
        let path = copy(&dir, "/bin/sh");
        let (_, said) = printed("echo checked; ls /proc/$$/fd", |script| {
            let program = at(&path);
            file(&dir, b"#!/bin/sh\nexit 1\n", 0o755);
            run(program, script, &[])
        });
        assert_eq!(said.lines().collect::<Vec<_>>(), ["checked", "0", "1", "2"]);
    });
}

#[test]
fn a_script_that_was_replaced_since_is_not_run() {
    on_first_thread(module_path!(), "a_script_that_was_replaced_since_is_not_run", || {
        let dir = TempDir::new().unwrap();
        let path = file(&dir, b"#!/bin/sh\nexit 0\n", 0o755);
        let program = at(&path);
        file(&dir, b"#!/bin/sh\nexit 1\n", 0o755);
        let error = run(program, "", &[]);
        assert!(error.is_out_of_date(), "{error}");
        assert_eq!(
            error.to_string(),
            format!("{} was replaced after it was checked: stale file handle", path.display())
        );
    });
}

#[test]
fn an_image_can_be_gone_back_to_when_its_file_is_replaced_or_gone() {
    in_own_process(module_path!(), "an_image_can_be_gone_back_to_when_its_file_is_replaced_or_gone", || {
        let dir = TempDir::new().unwrap();
        for replacement in [Some(&b"#!/bin/false\n"[..]), None] {
            let image = image_of(&copy(&dir, "/bin/sh"));
            fs::remove_file(image.path()).unwrap();
            replacement.map(|content| file(&dir, content, 0o755));
            let (pid, said) = printed("echo $$; ls /proc/$$/fd", |script| run(Program::Image(&image), script, &[]));
            assert_eq!(said.lines().collect::<Vec<_>>(), [&pid.to_string(), "0", "1", "2"]);
        }
    });
}

#[test]
fn an_image_can_be_handed_on_and_then_closes_with_the_next_exec() {
    in_own_process(module_path!(), "an_image_can_be_handed_on_and_then_closes_with_the_next_exec", || {
        let image = image_of(Path::new("/bin/sh"));
        let number = image.as_fd().as_raw_fd();
        let test = format!("[ -e /proc/$$/fd/{number} ] && echo open || echo closed");
        assert_eq!(printed(&test, |script| run(shell_program(), script, &[image.as_fd()])).1, "open\n");
        keep_over_exec(image.as_fd()).unwrap();
        let adopted = Image::adopt(image.path, image.file);
        assert_eq!(printed(&test, |script| run(Program::Image(&adopted), script, &[])).1, "closed\n");
    });
}

#[test]
fn another_thread_than_the_first_is_our_mistake() {
    in_own_process(module_path!(), "another_thread_than_the_first_is_our_mistake", || {
        let tried = std::thread::scope(|scope| scope.spawn(|| run(shell_program(), "exit 1", &[])).join());
        assert!(tried.is_err());
    });
}

/// In which file a process of this test binary shall say what it remembers, and what shall happen before.
const REMEMBER: &str = "EINHYRNINGSINS_TEST_REMEMBER";
const BEFORE: &str = "EINHYRNINGSINS_TEST_BEFORE";

/// What this test binary remembers when it is run so. `name` is absolute, or as seen from `directory`.
fn remembered(name: &Path, directory: &Path, before: &str) -> PathBuf {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("remembered");
    let status = Command::new(name)
        .arg0("not-what-it-is-called")
        .args(["--exact", "sys::reexec::tests::the_name_we_were_called_by_is_remembered"])
        .current_dir(directory)
        .envs([("PWD", directory.as_os_str()), (REMEMBER, path.as_os_str())])
        .env(BEFORE, before)
        .output()
        .unwrap();
    assert!(status.status.success(), "{status:?}");
    PathBuf::from(fs::read_to_string(path).unwrap())
}

/// The other side of [`remembered`].
fn say_what_is_remembered(path: &OsStr) {
    match env::var(BEFORE).unwrap().as_str() {
        "lose the file" => fs::remove_file(fs::read_link(OWN_PROGRAM).unwrap()).unwrap(),
        "exec by descriptor" => {
            let image = Image::remember().unwrap();
            let argv: Vec<_> = env::args_os().collect();
            let environ: Vec<_> = env::vars_os().filter(|(name, _)| name != BEFORE).collect();
            let environ = [environ, vec![(BEFORE.into(), "".into())]].concat();
            // The tests' own thread may not.
            assert_eq!(
                reap(fork_to_run(|| panic!("{}", exec(Program::Image(&image), &argv, &environ, &[])))),
                Ending::Code(0)
            );
            return;
        }
        _ => {}
    }
    let image = Image::remember().unwrap();
    assert_eq!(
        FileId::of(&File::from(image.file).metadata().unwrap()),
        FileId::of(&fs::metadata(OWN_PROGRAM).unwrap())
    );
    fs::write(path, image.path.as_os_str().as_bytes()).unwrap();
}

#[test]
fn the_name_we_were_called_by_is_remembered() {
    if let Some(path) = env::var_os(REMEMBER) {
        return say_what_is_remembered(&path);
    }
    let own = env::current_exe().unwrap();
    // Beside the test binary, for a second hard link to it.
    let dir = tempfile::tempdir_in(own.parent().unwrap()).unwrap();
    let release = dir.path().join("release");
    let (file, link, current) = (release.join("file"), release.join("link"), dir.path().join("current"));
    fs::create_dir(&release).unwrap();
    fs::hard_link(&own, &file).unwrap();
    symlink("file", &link).unwrap();
    symlink("release", &current).unwrap();
    let here = Path::new("/");
    assert_eq!(remembered(&file, here, ""), file);
    assert_eq!(remembered(&link, here, ""), link);
    // From a directory that the starter knows by a link, and by a name that is not the directory's.
    assert_eq!(remembered(Path::new("./link"), &current, ""), current.join("link"));
    assert_eq!(remembered(Path::new("../current/file"), &release, ""), release.join("../current/file"));
    assert_eq!(remembered(&link, here, "exec by descriptor"), file);
    assert_eq!(remembered(&link, here, "lose the file"), file);
}

#[test]
fn a_name_that_only_looks_deleted_stays() {
    let dir = TempDir::new().unwrap();
    let odd = dir.path().join("master (deleted)");
    fs::write(&odd, "").unwrap();
    let running = FileId::of(&fs::metadata(&odd).unwrap());
    assert_eq!(undelete(odd.clone(), running), odd);
    fs::remove_file(&odd).unwrap();
    assert_eq!(undelete(odd, running), dir.path().join("master"));
}

#[test]
fn a_known_directory_that_leads_elsewhere_is_not_believed() {
    on_first_thread(module_path!(), "a_known_directory_that_leads_elsewhere_is_not_believed", || {
        let dir = TempDir::new().unwrap();
        env::set_current_dir(dir.path()).unwrap();
        for known in ["/", ".", "/no/such"] {
            // SAFETY: there is one thread.
            unsafe { env::set_var("PWD", known) };
            assert_eq!(current_directory().unwrap(), dir.path().canonicalize().unwrap());
        }
    });
}
