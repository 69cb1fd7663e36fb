//! Asks for an upgrade and waits for its end, whatever that is: done, failed, the time over, Ctrl-C, the master gone. It
//! never tells the master to stop an upgrade.

use std::time::Duration;

use crate::base::Mono;
use crate::client::connection::{Connection, Deadline};
use crate::client::failure::{Exit, Failure};
use crate::client::progress::Progress;
use crate::client::question::Question;
use crate::client::reply::Reply;
use crate::client::request::Request;
use crate::client::screen::Screen;
use crate::client::text::{Colour, Text};
use crate::protocol::{PAUSED, UpgradeAsked};
use crate::sys::clock;

/// Time between two requests for the progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// After which an answer is not waited for any more: Ruby's master may lose a request while it re-executes itself.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// The last word on an upgrade that came to its end.
const DONE: &str = "Upgrade done";

/// The last word on one that ends because the master does.
const GOING_DOWN: &str = "Upgrade failed: einhorn is going down";

pub(super) fn upgrade(
    connection: &mut Connection,
    asked: &UpgradeAsked,
    deadline: Deadline,
    screen: &mut Screen<'_>,
) -> Result<Exit, Failure> {
    connection.catch_interrupts()?;
    let mut progress = Progress::on(screen);
    let last_word = follow(connection, asked, deadline, &mut progress, screen);
    progress.end();
    let last_word = last_word?;
    if !is_done(&last_word) && !last_word.starts_with(PAUSED) {
        progress.tell_last_steps(screen);
    }
    conclude(&last_word, screen)
}

/// Shows every step and returns the last word.
fn follow(
    connection: &mut Connection,
    asked: &UpgradeAsked,
    deadline: Deadline,
    progress: &mut Progress,
    screen: &mut Screen<'_>,
) -> Result<String, Failure> {
    let command = asked.command();
    let id = connection.next_id();
    // einhorn's clients are not told what an upgrade waits for; those that ask in JSON are.
    connection.send(&Request::new(id, command, &asked.args()).in_json())?;
    let mut question = Question::new();
    // Lines show every step, so that no status is needed.
    let mut next_request = progress.has_bar().then(|| clock::now().after(PROGRESS_EVERY));
    loop {
        let reply = connection.receive_until(earlier(next_request, deadline.moment()), command)?;
        let now = clock::now();
        match reply {
            Some(reply) if reply.id == Some(id) && !reply.waits => return last_word(reply),
            Some(reply) if reply.id == Some(id) && reply.message.starts_with(PAUSED) => return last_word(reply),
            Some(reply) if reply.id == Some(id) => progress.step(&reply.message, screen),
            // How far it is can be left unsaid, whatever is wrong with it.
            Some(reply) => match question.take(connection, reply) {
                Ok(Some(answer)) => {
                    progress.show(&answer.status);
                    next_request = Some(now.after(PROGRESS_EVERY));
                }
                Ok(None) => {}
                Err(_) => next_request = None,
            },
            None => {}
        }
        deadline.check(now, command)?;
        if next_request.is_some_and(|moment| moment <= now) {
            question.ask(connection)?;
            next_request = Some(now.after(PROGRESS_TIMEOUT));
        }
    }
}

/// What is refused has not failed: nothing was tried.
fn last_word(reply: Reply) -> Result<String, Failure> {
    if reply.is_failed_upgrade() { Ok(reply.message) } else { reply.accepted() }
}

fn is_done(last_word: &str) -> bool {
    last_word.trim_end() == DONE
}

/// The last word is said in full, with its colour; a failure has something to add.
fn conclude(last_word: &str, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let last_word = last_word.trim_end();
    if is_done(last_word) {
        screen.say(Text::painted(last_word, Colour::Green));
        return Ok(Exit::Done);
    }
    if last_word.starts_with(PAUSED) {
        screen.say(last_word);
        return Ok(Exit::Paused);
    }
    screen.say(Text::painted(last_word, Colour::Red));
    // Where a worker failed, the further lines say how, and where the log is.
    let hint = match last_word.lines().count() {
        _ if last_word.starts_with(GOING_DOWN) => return Ok(Exit::Failed),
        0 | 1 => "The old workers go on; `einhyrningsinsctl status` shows them, and the master's log says more.",
        _ => "The old workers go on; `einhyrningsinsctl status` shows them, `einhyrningsinsctl history` this upgrade.",
    };
    screen.report_error(&hint);
    Ok(Exit::Failed)
}

fn earlier(one: Option<Mono>, other: Option<Mono>) -> Option<Mono> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::testing::{FakeMaster, on_screen};
    use crate::protocol::UpgradeStyle;

    const STEPS: &str = "---%0Amessage: Upgrading smoothly, as commanded%0Arequest_id: <ID>%0Await: true%0A\n\
        ---%0Amessage: \"===> Launched 12 (index: 2)\"%0Arequest_id: <ID>%0Await: true%0A\n";

    fn run(
        master: &FakeMaster,
        style: UpgradeStyle,
        limit: Option<Duration>,
    ) -> (Result<Exit, Failure>, String, String) {
        let mut connection = master.connect();
        let deadline = Deadline::from_now(limit);
        on_screen(|screen| upgrade(&mut connection, &UpgradeAsked::plain(style), deadline, screen))
    }

    fn leak(text: String) -> &'static str {
        Box::leak(text.into_boxed_str())
    }

    #[test]
    fn every_step_is_shown_and_the_last_word_decides() {
        let done = leak(format!("{STEPS}---%0Amessage: Upgrade done%0Arequest_id: <ID>%0A\n"));
        let master = FakeMaster::serve(&[("upgrade%0A", done)]);
        let (result, out, err) = run(&master, UpgradeStyle::Smooth, None);
        assert_eq!(result, Ok(Exit::Done));
        assert_eq!(out, "Upgrading smoothly, as commanded\n===> Launched 12 (index: 2)\nUpgrade done\n");
        assert_eq!(err, "");
        assert_eq!(master.heard(), ["---%0Aid: 1%0Acommand: upgrade%0Aargs: []%0Aformat: json%0A"]);
    }

    #[test]
    fn a_failed_upgrade_is_a_failure_and_says_where_to_look() {
        let failed = "---%0Amessage: 'Upgrade failed: no new worker served'%0Arequest_id: <ID>%0A\n";
        let master = FakeMaster::serve(&[("upgrade_fleet", failed)]);
        let (result, out, err) = run(&master, UpgradeStyle::Fleet, None);
        assert_eq!(result, Ok(Exit::Failed));
        assert_eq!(out, "Upgrade failed: no new worker served\n");
        assert!(err.contains("log"), "{err}");
    }

    /// It said that the old workers go on while they, too, were told to go.
    #[test]
    fn no_worker_goes_on_when_the_master_goes_down() {
        let failed = "---%0Amessage: 'Upgrade failed: einhorn is going down'%0Arequest_id: <ID>%0A\n";
        let master = FakeMaster::serve(&[("upgrade", failed)]);
        let (result, out, err) = run(&master, UpgradeStyle::Smooth, None);
        assert_eq!((result, out.as_str(), err.as_str()), (Ok(Exit::Failed), format!("{GOING_DOWN}\n").as_str(), ""));
    }

    #[test]
    fn a_failure_in_several_lines_is_shown_whole() {
        let failed = "---%0Amessage: |-%0A  Upgrade failed: no%0A  Worker 12%0A    it wrote%0Arequest_id: <ID>%0A\n";
        let master = FakeMaster::serve(&[("upgrade", failed)]);
        let (result, out, err) = run(&master, UpgradeStyle::Smooth, None);
        assert_eq!((result, out.as_str()), (Ok(Exit::Failed), "Upgrade failed: no\nWorker 12\n  it wrote\n"));
        assert!(err.contains("einhyrningsinsctl history"), "{err}");
    }

    #[test]
    fn a_denied_upgrade_is_no_failed_one() {
        let denied =
            "---%0Amessage: 'Permission denied: uid 7 may only ack and ping its worker'%0Arequest_id: <ID>%0A\n";
        let master = FakeMaster::serve(&[("upgrade", denied)]);
        let (result, out, err) = run(&master, UpgradeStyle::Smooth, None);
        let failure = result.unwrap_err();
        assert!(failure.exit() == Exit::Failed && failure.to_string().starts_with("Permission denied"));
        assert_eq!((failure.exit(), out, err), (Exit::Failed, String::new(), String::new()));
    }

    #[test]
    fn an_upgrade_that_is_refused_in_silence_ends_with_the_time() {
        // On a busy machine the steps may come later than the time ends; then it is tried with more.
        let has_shown_its_steps = |millis| {
            let master = FakeMaster::silent(&[("upgrade", STEPS)]);
            let (result, out, _) = run(&master, UpgradeStyle::Smooth, Some(Duration::from_millis(millis)));
            let failure = result.unwrap_err();
            assert_eq!(failure.exit(), Exit::TimedOut);
            assert!(failure.hint().unwrap().contains("log"));
            out.lines().count() == 2
        };
        assert!([30, 300, 3_000, 30_000].into_iter().any(has_shown_its_steps));
    }

    #[test]
    fn a_master_that_dies_meanwhile_is_told() {
        let master = FakeMaster::serve(&[("upgrade", STEPS)]);
        let (result, _, _) = run(&master, UpgradeStyle::Smooth, None);
        assert!(result.unwrap_err().to_string().ends_with(" closed the connection"));
    }
}
