//! Where the log can be read, for people who were told that something failed. Asks the system once for each question.

use crate::base::LogTarget;
use crate::logging::journal::goes_to_journal;
use crate::logging::plan::LogPlan;
use crate::sys::procfs::{Unit, own_unit, stderr_file};

/// `journalctl -u web.service`
pub(crate) fn place(plan: &LogPlan) -> String {
    let syslog = || format!("syslog, as {}", plan.ident);
    match plan.target {
        LogTarget::Stderr => stderr(),
        LogTarget::Syslog => syslog(),
        LogTarget::Both => format!("{}, and {}", stderr(), syslog()),
    }
}

fn stderr() -> String {
    if goes_to_journal() {
        return match own_unit() {
            Some(Unit::System(name)) => format!("journalctl -u {}", quoted(&name)),
            Some(Unit::User(name)) => format!("journalctl --user -u {}", quoted(&name)),
            None => format!("journalctl _PID={}", std::process::id()),
        };
    }
    stderr_file().map_or_else(|| "standard error of the master".to_owned(), |path| path.display().to_string())
}

/// As a shell has to be told: names of units may have backslashes.
fn quoted(name: &str) -> String {
    if name.contains('\\') { format!("'{name}'") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use log::LevelFilter;

    use super::*;
    use crate::logging::syslog_message::Facility;

    fn plan(target: LogTarget) -> LogPlan {
        let (level, syslog_level) = (LevelFilter::Info, LevelFilter::Info);
        LogPlan {
            level,
            target,
            syslog_level,
            facility: Facility::DAEMON,
            ident: "web".to_owned(),
            ..LogPlan::default()
        }
    }

    #[test]
    fn each_target_has_its_place() {
        assert_eq!(place(&plan(LogTarget::Syslog)), "syslog, as web");
        assert_eq!(place(&plan(LogTarget::Both)), format!("{}, and syslog, as web", place(&plan(LogTarget::Stderr))));
        assert_eq!(quoted(r"a\x2db.service"), r"'a\x2db.service'");
    }
}
