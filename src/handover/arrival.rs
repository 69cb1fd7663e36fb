//! What a new image finds: the handoff, and the image before, to which it goes back when the handoff is of no use. Until all of
//! it is understood no descriptor is touched.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use crate::config::Config;
use crate::handoff::{Document, Fd};
use crate::handover::plan::{Plan, Unreadable};
use crate::handover::salvage;
use crate::output::title;
use crate::release::call::{Call, REFUSED_VARIABLE, RETURN_VARIABLE};
use crate::sys::errno::{may_pass, words};
use crate::sys::fd::{adopt, close_on_exec, is_open, look_at, open_numbers};
use crate::sys::reexec::{self, Image, Program, ReexecError};
use crate::sys::socket::is_accepting;

/// How long to wait before a call is made again that failed.
const PAUSE: Duration = Duration::from_millis(50);

/// How often the document is tried to be read: for five seconds, if what it failed for may pass.
const READS_MAX: u32 = 100;

/// How often otherwise.
const READS_MIN: u32 = 2;

/// How often it is tried to go back: for five minutes, if what it failed for may pass.
const RETURNS_MAX: u32 = 6000;

/// How often otherwise: for ten seconds. Without the image before the workers have no master.
const RETURNS_MIN: u32 = 200;

/// What this image finds beside the document.
pub(crate) struct HandoffEnv {
    /// The document's descriptor.
    pub(crate) state_fd: RawFd,
    /// What came over the exec. None: /proc cannot be read.
    pub(crate) inherited: Option<Vec<RawFd>>,
    /// The image to go back to, and the document for it.
    way_back: Option<(RawFd, RawFd)>,
    /// Why another image came back to this one.
    pub(crate) refused: Option<String>,
}

impl HandoffEnv {
    /// To be called before anything is opened.
    pub(crate) fn look(state_fd: RawFd) -> Self {
        let text = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            state_fd,
            inherited: open_numbers(),
            way_back: text(RETURN_VARIABLE).and_then(|numbers| way_back(&numbers, state_fd)),
            refused: text(REFUSED_VARIABLE),
        }
    }

    /// What came over the exec, as far as can be told: without /proc, what this program was told the numbers of.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        let told = || [Some(self.state_fd), self.way_back.map(|(_, spare)| spare)].into_iter().flatten().collect();
        self.inherited.clone().unwrap_or_else(told)
    }

    /// Whether one of us has written the document, as far as can be told of one that cannot be read.
    fn is_of_ours(&self) -> bool {
        let names_us = || Plan::read_text(self.state_fd).is_ok_and(|text| Document::is_of_ours(&text));
        self.way_back.is_some() || self.refused.is_some() || names_us()
    }
}

fn way_back(numbers: &str, state_fd: RawFd) -> Option<(RawFd, RawFd)> {
    let numbers: Vec<RawFd> = numbers.split(',').filter_map(|number| number.parse().ok()).collect();
    let [image, state, spare] = numbers[..] else { return None };
    (state == state_fd).then_some((image, spare))
}

/// Changes nothing.
pub(crate) fn validate(env: &HandoffEnv) -> Result<Plan, String> {
    let reads_max = |error: &Unreadable| if error.may_pass { READS_MAX } else { READS_MIN };
    let text = again(|| Plan::read_text(env.state_fd), reads_max).map_err(|error| error.message)?;
    let document = Document::from_yaml(&text).map_err(|error| error.to_string())?;
    let plan = Plan::of(&document)?;
    let open = &plan.held.open;
    if open.control.is_none() {
        return Err("the handoff has no control socket".to_owned());
    }
    if let Some((Fd(other), _)) = open.sockets().find(|(fd, _)| is_open(fd.0) && !is_socket(*fd)) {
        return Err(format!("descriptor {other} of the handoff is no socket, it was exchanged on the way"));
    }
    let closed = open.descriptors().find(|(fd, _)| !is_open(fd.0));
    match closed {
        Some((Fd(closed), _)) => {
            Err(format!("descriptor {closed} of the handoff is not open, something on the way has closed it"))
        }
        None => Ok(plan),
    }
}

/// One that a worker has shut down can be mended.
fn is_socket(fd: Fd) -> bool {
    look_at(fd.0, is_accepting).is_ok_and(|found| found != Err(Errno::ENOTSOCK))
}

/// Becomes the image before, under the same pid, with all that it had left open and the same document. Where there is none, as
/// after Ruby's einhorn, it goes on with what there is to see.
///
/// # Errors
/// There is nothing.
pub(crate) fn fall_back(reason: &str, config: &Config, call: &Call, env: &HandoffEnv) -> Result<Plan, String> {
    let reason = match env.way_back {
        Some((image, spare)) => {
            format!("{reason}; {}", exec_previous_image((image, spare), env.state_fd, reason, config, call))
        }
        None => reason.to_owned(),
    };
    if env.is_of_ours() {
        // Only the document says as which user its workers run.
        return Err(reason);
    }
    let inherited = env.inherited.as_deref().unwrap_or_default();
    let Some(document) = salvage::document(config, inherited) else { return Err(reason) };
    let mut plan = Plan::of(&document)?;
    plan.notes.insert(
        0,
        format!(
            "{reason}; going on with {} workers and {} sockets that are there, and with default options",
            plan.held.pool.workers.len(),
            plan.held.open.listeners.len()
        ),
    );
    Ok(plan)
}

/// Comes back with the reason why it could not. What the system lacks for the moment is waited for: the end of this process would
/// be the end of all that looks after the workers.
fn exec_previous_image(
    (image, spare): (RawFd, RawFd),
    state_fd: RawFd,
    reason: &str,
    config: &Config,
    call: &Call,
) -> String {
    let image = match adopt(image) {
        Ok(image) => Image::adopt(PathBuf::from("the program before"), image),
        Err(errno) => return words(errno),
    };
    // That image reads the other descriptor, and knows this one's number no more. If the flag cannot be set, it finds the number
    // in /proc.
    let _stays_open = look_at(state_fd, close_on_exec);
    let name = title::of(config);
    let number = spare.to_string();
    let words = [name, "--with-state-fd".into(), number.into(), "--".into()];
    let argv: Vec<_> = words.into_iter().chain(config.program.iter().cloned()).collect();
    let mut env = call.environ.clone();
    env.push((REFUSED_VARIABLE.into(), reason.replace('\0', " ").into()));
    // It expects the descriptor that the document names as its way back.
    let go = || Err::<Infallible, _>(reexec::exec(Program::Image(&image), &argv, &env, &[image.as_fd().as_raw_fd()]));
    let returns_max = |failure: &ReexecError| if may_pass(failure.errno) { RETURNS_MAX } else { RETURNS_MIN };
    match again(go, returns_max) {
        Err(failure) => failure.to_string(),
    }
}

/// Makes the attempt until it succeeds, or as often as its error allows, with a pause in between.
///
/// # Errors
/// The last one.
fn again<T, E>(mut attempt: impl FnMut() -> Result<T, E>, attempts_max: impl Fn(&E) -> u32) -> Result<T, E> {
    let mut attempts = 1;
    loop {
        match attempt() {
            Err(error) if attempts < attempts_max(&error) => attempts += 1,
            result => return result,
        }
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "there is no loop yet, and no descriptor that tells")]
fn pause() {
    std::thread::sleep(PAUSE);
}
