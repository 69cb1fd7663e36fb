//! The record, from notice to notice.

use std::time::Duration;

use super::*;
use crate::base::WorkerIndex;
use crate::output::death::Proof;
use crate::output::releases;
use crate::pool::UpgradeStyle;

/// What happens to a record, a second at a time.
struct Play {
    history: History,
    now: i64,
    modern: u32,
    good: u32,
}

impl Play {
    fn start() -> Self {
        Self { history: History::of_start(Version(0), Some(place("/srv/0")), 0), now: 0, modern: 0, good: 0 }
    }

    fn ask(&mut self, uid: u32, reason: &str) {
        let asker = Asker::Client { uid, user: None, pid: Pid(44) };
        self.history.ask(Request { asker, reason: Some(reason.to_owned()) });
    }

    fn hear(&mut self, notice: &Notice, why: Option<&str>) {
        self.now += 1;
        let place = Some(place(&format!("/srv/{}", self.modern)));
        let (modern, good) = (Version(self.modern.into()), Version(self.good.into()));
        self.history.hear(notice, Known { modern, good, place, why, now: self.now });
    }

    fn begin(&mut self) {
        self.modern += 1;
        self.hear(&Notice::UpgradeStarted { style: UpgradeStyle::Smooth, from: Version(self.good.into()) }, None);
    }

    fn succeed(&mut self) {
        self.good = self.modern;
        self.hear(&Notice::Upgraded { version: Version(self.modern.into()) }, None);
    }

    fn fail(&mut self, why: &str) {
        let (version, back_to) = (Version(self.modern.into()), Version(self.good.into()));
        self.hear(&Notice::UpgradeFailed { version, back_to, reason: UpgradeFailure::Failures(3) }, Some(why));
    }

    fn upgrade(&mut self) {
        self.ask(0, "x");
        self.begin();
        self.succeed();
    }

    fn shown(&self) -> Vec<(Option<u64>, &'static str, Option<&str>)> {
        let version = |entry: &Entry| entry.version.map(|version| version.0);
        self.history.entries().map(|entry| (version(entry), entry.result.name(), entry.why.as_deref())).collect()
    }
}

fn place(program: &str) -> Place {
    Place { program: program.into(), directory: None, pinned: Vec::new() }
}

fn death(version: u32) -> Death {
    let proof = Proof::AckMissed { after: Duration::from_secs(2) };
    Death { pid: Pid(9), index: WorkerIndex(1), version: Version(version.into()), at: 5, proof, lines: Vec::new() }
}

#[test]
fn a_start_is_done_when_as_many_serve_as_are_wanted() {
    let mut play = Play::start();
    play.hear(&Notice::UpTo { acked: 1, target: 2, broken_streak: 0 }, None);
    assert_eq!(play.shown(), [(Some(0), "running", None)]);
    play.hear(&Notice::UpTo { acked: 2, target: 2, broken_streak: 0 }, None);
    assert_eq!(play.shown(), [(Some(0), "done", None)]);
    assert_eq!(play.history.of(Version(0)).unwrap().ended, Some(2));
}

#[test]
fn every_end_of_an_upgrade_is_told_from_the_others() {
    let mut play = Play::start();
    play.ask(7, "first");
    play.begin();
    play.modern += 1;
    play.ask(8, "second");
    play.hear(&Notice::UpgradeStartedOver { acked: 0, target: 2 }, None);
    play.succeed();
    play.ask(9, "third");
    play.begin();
    play.fail("3 in a row\nWorker 9");
    play.ask(9, "fourth");
    play.hear(&Notice::UpgradeRefused { reason: "no file".to_owned() }, Some("no file"));
    play.begin();
    let (version, back_to) = (Version(4), Version(2));
    play.hear(
        &Notice::UpgradeFailed { version, back_to, reason: UpgradeFailure::Stopping },
        Some("einhorn is going down"),
    );
    let expected = [
        (Some(0), "replaced", Some("version 1 took its place")),
        (Some(1), "replaced", Some("version 2 took its place")),
        (Some(2), "done", None),
        (Some(3), "failed", Some("3 in a row\nWorker 9")),
        (None, "refused", Some("no file")),
        (Some(4), "stopped", Some("einhorn is going down")),
    ];
    assert_eq!(play.shown(), expected);
    let reasons: Vec<_> = play.history.entries().map(|entry| entry.request.reason.as_deref()).collect();
    assert_eq!(reasons, [None, Some("first"), Some("second"), Some("third"), Some("fourth"), None]);
    assert_eq!(play.history.of(Version(2)).unwrap().place, Some(place("/srv/2")));
}

#[test]
fn the_last_failure_is_one_until_the_next_upgrade_begins() {
    let mut play = Play::start();
    play.begin();
    play.fail("no");
    assert_eq!(play.history.last_failure().unwrap().version, Some(Version(1)));
    play.begin();
    assert_eq!(play.history.last_failure(), None);
}

#[test]
fn the_version_that_runs_stays_in_a_record_that_is_full() {
    let mut play = Play::start();
    (0..3).for_each(|_| play.upgrade());
    for _ in 0..2 * ENTRIES_MAX {
        play.begin();
        play.fail("no");
    }
    assert_eq!(play.history.entries().count(), ENTRIES_MAX);
    assert_eq!(play.history.of(Version(3)).unwrap().result, Outcome::Done);
    assert!(play.history.of(Version(0)).is_none());
}

#[test]
fn only_a_death_of_the_version_under_way_speaks_for_its_failure() {
    let mut play = Play::start();
    play.begin();
    play.history.note_death(death(0));
    assert_eq!((&play.history.failure, play.history.last_death.is_some()), (&None, true));
    play.history.note_death(death(1));
    assert_eq!(play.history.failure, Some(death(1)));
    play.fail("no");
    play.begin();
    assert_eq!(play.history.failure, None);
}

#[test]
fn the_name_of_a_user_is_put_to_the_request_that_it_was_looked_up_for() {
    let mut play = Play::start();
    play.ask(7, "x");
    assert_eq!(play.history.nameless(), Some(7));
    play.history.name(8, "eve".to_owned());
    play.history.name(7, "deploy".to_owned());
    assert_eq!(play.history.nameless(), None);
    play.begin();
    let Asker::Client { user, .. } = &play.history.of(Version(1)).unwrap().request.asker else { panic!("a client") };
    assert_eq!(user.as_deref(), Some("deploy"));
}

#[test]
fn a_record_that_begins_late_knows_what_runs() {
    let mut history = History::default();
    let known = || Known { modern: Version(4), good: Version(4), place: Some(place("/x")), why: None, now: 3 };
    history.begin_late(known());
    history.begin_late(known());
    assert_eq!(history.entries().count(), 1);
    let entry = history.of(Version(4)).unwrap();
    assert_eq!((entry.result, &entry.request.asker), (Outcome::Done, &Asker::Takeover));
}

#[test]
fn a_table_has_a_row_for_each_release_and_below_it_what_was_said() {
    let mut play = Play::start();
    play.ask(7, "fix\u{1b} it");
    play.history.name(7, "deploy".to_owned());
    play.begin();
    play.fail("3 in a row\nWorker 9 (slot 1) sent no ack within 2.0s");
    let expected = "\
VERSION  BEGAN                 TOOK  RESULT    ASKED BY        RELEASE
0        1970-01-01T00:00:00Z  1s    replaced  start           /srv/0
  version 1 took its place
1        1970-01-01T00:00:01Z  1s    failed    deploy, pid 44  /srv/1
  reason: fix\\x1b it
  3 in a row
  Worker 9 (slot 1) sent no ack within 2.0s
";
    assert_eq!(releases::table(&play.history), expected);
    let shown = releases::document(&play.history);
    let (user, reason) = (&shown[1]["user"], &shown[1]["reason"]);
    assert_eq!(
        (user.as_str(), reason.as_str(), shown[0]["uid"].as_i64()),
        (Some("deploy"), Some("fix\u{1b} it"), None)
    );
}

#[test]
fn a_release_is_told_by_what_leads_into_it() {
    let python = place("/usr/bin/python3");
    let pinned = Place { pinned: vec!["/srv/2/venv/bin/python".into()], ..python.clone() };
    let entered = Place { directory: Some("/srv/2".into()), ..python.clone() };
    let inside = Place { directory: Some("/srv/2".into()), ..place("/srv/2/bin/server") };
    for (place, path) in [
        (&python, "/usr/bin/python3"),
        (&pinned, "/srv/2/venv/bin/python"),
        (&entered, "/srv/2"),
        (&inside, "/srv/2/bin/server"),
    ] {
        assert_eq!(place.path(), Path::new(path));
    }
    let history = History::of_start(Version(0), Some(entered), 0);
    let lines = releases::lines(&history, Version(0));
    assert_eq!(lines, "version 0 is /srv/2, since 1970-01-01T00:00:00Z, by start\n");
    assert!(releases::table(&history).ends_with("  /srv/2\n  program: /usr/bin/python3\n"));
    let document = releases::document(&History::of_start(Version(0), Some(pinned), 0));
    let fields = ["path", "program"].map(|field| document[0][field].as_str().unwrap());
    assert_eq!(fields, ["/srv/2/venv/bin/python", "/usr/bin/python3"]);
    assert_eq!(document[0]["pinned"][0], "/srv/2/venv/bin/python");
}

#[test]
fn a_record_survives_the_handoff() {
    let mut play = Play::start();
    play.ask(7, "x");
    play.begin();
    play.ask(8, "y");
    play.history.note_death(death(1));
    let text = serde_json::to_string(&play.history).unwrap();
    let read: History = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), text);
    assert_eq!(read.nameless(), Some(8));
}
