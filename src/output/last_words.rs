//! The last words on an upgrade that was given up: what einhorn would be understood by comes first and stays as it is; how the last
//! worker failed, what it wrote, and where the log is come below it, in the same message.

use crate::output::death::Death;

/// What is said at the end of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastWords {
    /// What has happened, and below it the lines of the reason, if that has more than one.
    headline: String,
    death: Option<Death>,
    /// Where the log can be read.
    log_place: Option<String>,
}

impl LastWords {
    /// The headline is all there is to say.
    pub(crate) fn short(headline: String) -> Self {
        Self { headline, death: None, log_place: None }
    }

    /// With the failure of the last worker, where one is known.
    pub(crate) fn of_failure(headline: String, death: Option<Death>, log_place: String) -> Self {
        Self { headline, death, log_place: Some(log_place) }
    }

    /// For clients that wait for the end.
    pub(crate) fn whole(&self) -> String {
        let place = self.log_place.iter().map(|place| format!("The log: {place}"));
        std::iter::once(self.why()).chain(place).collect::<Vec<_>>().join("\n")
    }

    /// The same without the place of the log.
    pub(crate) fn why(&self) -> String {
        let mut lines = vec![self.headline.clone()];
        if let Some(death) = &self.death {
            lines.push(death.sentence());
            lines.extend((!death.lines.is_empty()).then(|| "The last that it wrote:".to_owned()));
            lines.extend(death.lines.iter().map(|line| format!("  {line}")));
        }
        lines.join("\n")
    }

    /// For a line of limited length.
    pub(crate) fn brief(&self) -> String {
        let death = self.death.as_ref().map(Death::sentence);
        let wrote = self.death.as_ref().and_then(|death| death.lines.last()).map(|line| format!("it wrote: {line}"));
        let first = self.headline.lines().next().map(str::to_owned);
        [first, death, wrote].into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::base::{Ending, Pid, Version, WorkerIndex};
    use crate::output::death::Proof;

    fn failure(lines: &[&str]) -> LastWords {
        let proof = Proof::DiedBeforeAck { ending: Ending::Code(3), after: Duration::from_millis(212) };
        let lines = lines.iter().map(|&line| line.to_owned()).collect();
        let death = Death { pid: Pid(12), index: WorkerIndex(1), version: Version(3), at: 0, proof, lines };
        LastWords::of_failure(
            "Upgrade failed: 3 in a row".to_owned(),
            Some(death),
            "journalctl -u web.service".to_owned(),
        )
    }

    #[test]
    fn a_failure_says_how_the_worker_died_what_it_wrote_and_where_the_log_is() {
        let words = failure(&["Traceback", "ModuleNotFoundError: x"]);
        let expected = "\
Upgrade failed: 3 in a row
Worker 12 (slot 1) died 0.2s after its launch, before its ack: exit status 3
The last that it wrote:
  Traceback
  ModuleNotFoundError: x
The log: journalctl -u web.service";
        assert_eq!(words.whole(), expected);
        assert_eq!(words.why(), expected.rsplit_once('\n').unwrap().0);
        let brief = "Upgrade failed: 3 in a row; Worker 12 (slot 1) died 0.2s after its launch, before its ack: \
                     exit status 3; it wrote: ModuleNotFoundError: x";
        assert_eq!(words.brief(), brief);
    }

    #[test]
    fn where_less_is_known_less_is_said() {
        assert_eq!(failure(&[]).whole().lines().count(), 3);
        let long = LastWords::of_failure("Upgrade failed: x\n  y".to_owned(), None, "a file".to_owned());
        assert_eq!((long.brief().as_str(), long.why().as_str()), ("Upgrade failed: x", "Upgrade failed: x\n  y"));
        let short = LastWords::short("Upgrade done".to_owned());
        assert_eq!([short.whole(), short.why(), short.brief()], ["Upgrade done"; 3]);
    }
}
