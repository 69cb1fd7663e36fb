//! Standard error in the file that `log.file` names: from the start on, and again whenever that file may have been renamed.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::base::exit_code::Problem;
use crate::config::LogSettings;
use crate::files::log_file;
use crate::supervisor::master::Supervisor;
use crate::sys::errno::words;
use crate::sys::stderr;

/// Where standard error went before, if it goes elsewhere now.
pub(crate) struct Before(Option<OwnedFd>);

impl Before {
    /// For the words on a start that is refused, whose reader does not know of the log yet.
    pub(crate) fn restore(self) {
        if let Some(before) = self.0 {
            let _best_effort = stderr::send_to(&before);
        }
    }
}

/// Sends standard error to the file, if there is one.
///
/// # Errors
/// Why that cannot be, in a sentence.
pub(crate) fn redirect(log: &LogSettings) -> Result<Before, Problem> {
    let Some(path) = &log.file else { return Ok(Before(None)) };
    let before = stderr::duplicate().ok();
    send_to(path)?;
    Ok(Before(before))
}

fn send_to(path: &Path) -> Result<(), Problem> {
    let file: File = log_file::open(path)?;
    Ok(stderr::send_to(&file).map_err(|errno| format!("cannot write the log {}: {}", path.display(), words(errno)))?)
}

impl Supervisor {
    /// If it cannot be opened, the log goes on in the file that it went to.
    pub(crate) fn reopen_log(&self) {
        let Some(path) = &self.config().log.file else { return };
        match send_to(path) {
            Ok(()) => log::debug!("Opened the log anew"),
            Err(Problem { message, .. }) => log::error!("{message}; going on with the file that was open"),
        }
    }
}
