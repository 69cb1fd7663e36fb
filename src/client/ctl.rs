//! The subcommands of einhyrningsinsctl: each asks one master and shows what it says. Exit codes are for scripts, every
//! failure has its own.

use std::time::Duration;

use crate::base::Stages;
use crate::base::printable;
use crate::client::arguments::{Command, Level, Workers};
use crate::client::connection::{Connection, Deadline};
use crate::client::failure::{Exit, Failure};
use crate::client::question::{Answer, Question};
use crate::client::screen::Screen;
use crate::client::table;
use crate::client::text::Text;
use crate::client::upgrade::upgrade;
use crate::client::wait;
use crate::protocol::{SET_WORKERS_MAX, Terms, UpgradeAsked, UpgradeStyle};
use crate::sys::clock;

/// How long a master may take for an answer that it needs to wait for nothing for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Between two looks of `status --watch`.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// The lowest and the highest verbosity: everything, and errors only.
const VERBOSITIES: (u8, u8) = (0, 2);

/// How `status` is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Table,
    Json,
}

/// Runs any subcommand but the shell.
pub(super) fn run(command: Command, connection: &mut Connection, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    match command {
        Command::Status { check: true, ready, .. } => check_status(connection, ready, screen),
        Command::Status { json, watch, check: false, .. } => {
            let form = if json { Form::Json } else { Form::Table };
            if watch { watch_status(connection, form, screen) } else { show_status(connection, form, screen) }
        }
        Command::Upgrade { fleet, reason, canary, bake, deadline, watch, timeout, wait_old } => {
            let style = if fleet { UpgradeStyle::Fleet } else { UpgradeStyle::Smooth };
            let terms = Terms { stages: canary.and_then(|share| Stages::new(&[share])), bake, deadline };
            let whole = Deadline::from_now(timeout);
            let mut exit = upgrade(connection, &UpgradeAsked { style, reason, terms }, whole, screen)?;
            if let (Exit::Done, Some(limit)) = (exit, watch) {
                exit = wait::for_trial(connection, Deadline::from_now(limit), whole, screen)?;
            }
            match (exit, wait_old) {
                (Exit::Done, Some(limit)) => {
                    wait::for_old_workers(connection, Deadline::from_now(limit).or_earlier(whole), screen)
                }
                (exit, _) => Ok(exit),
            }
        }
        Command::Pause => simple(connection, "pause", &[], "done", screen),
        Command::Resume => simple(connection, "resume", &[], "done", screen),
        Command::Abort => simple(connection, "abort", &[], "done", screen),
        Command::Rollback { version } => {
            let args: Vec<String> = version.iter().map(u64::to_string).collect();
            simple(connection, "rollback", &args, "done", screen)
        }
        Command::History { json: false } => simple(connection, "history", &[], "no release is known", screen),
        Command::History { json: true } => show_history(connection, screen),
        Command::Diff => simple(connection, "diff", &[], "An upgrade would change nothing", screen),
        Command::Workers { count } => set_workers(connection, count, screen),
        Command::Signal { signals } => {
            let silence = format!("Every worker was sent {}", signals.join(" and "));
            simple(connection, "signal", &signals, &silence, screen)
        }
        Command::Die { signal, wait: None } => die(connection, signal, screen),
        Command::Die { signal, wait: Some(limit) } => {
            connection.catch_interrupts()?;
            let master = wait::watch(connection);
            match die(connection, signal, screen) {
                // It was about to end, and is what it was to be.
                Err(_) if master.as_ref().is_some_and(wait::is_ending) => {}
                told => {
                    told?;
                }
            }
            wait::for_end(connection, master, Deadline::from_now(limit), screen)
        }
        Command::LogsLevel { level } => set_level(connection, level, screen),
        Command::Raw { words } => raw(connection, &words, screen),
        Command::Shell { .. } => Ok(Exit::Done),
    }
}

fn show_status(connection: &mut Connection, form: Form, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let answer = Question::new().ask_and_wait(connection, deadline())?;
    screen.say(render(&answer, form));
    Ok(Exit::Done)
}

/// For load balancers and containers: whether as many workers serve as are wanted, or as are enough, and will go on to.
fn check_status(connection: &mut Connection, enough: Option<u32>, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let status = Question::new().ask_and_wait(connection, deadline())?.status;
    let wanted = enough.map_or(status.target, i64::from);
    let serving = i64::try_from(status.serving()).unwrap_or(i64::MAX);
    let needed = enough.map_or_else(String::new, |enough| format!(", {enough} needed"));
    let end = if status.stopping { ", and the master is stopping" } else { "" };
    screen.say(&*format!("{serving} of {} workers serve{needed}{end}", status.target));
    let is_ready = wanted > 0 && serving >= wanted && !status.stopping;
    Ok(if is_ready { Exit::Done } else { Exit::Failed })
}

/// The document, as one line; a table the master makes itself.
fn show_history(connection: &mut Connection, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let mut reply = connection.exchange_in_json("history", deadline())?;
    let history = reply.history.take();
    reply.accepted()?;
    let history = history.ok_or_else(|| Failure::unreadable("the reply has no history"))?;
    screen.say(&*printable::json(&history.to_string()));
    Ok(Exit::Done)
}

/// Until the reader of the output or the master is gone.
fn watch_status(connection: &mut Connection, form: Form, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let mut question = Question::new();
    while !screen.is_closed() {
        let next = clock::now().after(WATCH_EVERY);
        let answer = question.ask_and_wait(connection, deadline())?;
        let text = render(&answer, form);
        match form {
            Form::Table => screen.replace(text),
            Form::Json => screen.say(text),
        }
        // What comes now was not asked for; an end of the connection is seen at once.
        while connection.receive_until(Some(next), "status --watch")?.is_some() {}
    }
    Ok(Exit::Done)
}

fn render(answer: &Answer, form: Form) -> Text {
    match form {
        Form::Table => table::render(&answer.status),
        // Escaped as JSON has it, so that it still says the same.
        Form::Json => Text::from(&*printable::json(&answer.document.to_string())),
    }
}

fn die(connection: &mut Connection, signal: Option<String>, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let args: Vec<String> = signal.into_iter().collect();
    simple(connection, "die", &args, "The master goes down", screen)
}

/// Steps up and down are commands of their own, so that two clients that step at once both count.
fn set_workers(connection: &mut Connection, count: Workers, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let (command, times) = match count {
        Workers::Exactly(number) => {
            let unchanged = format!("The number of workers is {number} already");
            let (command, argument) = if number > SET_WORKERS_MAX {
                ("config", format!("{{number: {number}}}"))
            } else {
                ("set_workers", number.to_string())
            };
            return simple(connection, command, &[argument], &unchanged, screen);
        }
        Workers::More(times) => ("inc", times),
        Workers::Less(times) => ("dec", times),
    };
    for _ in 0..times {
        simple(connection, command, &[], "done", screen)?;
    }
    Ok(Exit::Done)
}

/// Asks one thing and shows the answer; `silence` is said in place of an empty one.
fn simple(
    connection: &mut Connection,
    command: &str,
    args: &[String],
    silence: &str,
    screen: &mut Screen<'_>,
) -> Result<Exit, Failure> {
    let message = connection.exchange(command, args, deadline())?.accepted()?;
    let message = message.trim();
    screen.say(if message.is_empty() { silence } else { message });
    Ok(Exit::Done)
}

/// The master knows steps only, and stops at either end.
fn set_level(connection: &mut Connection, level: Level, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let (loudest, quietest) = VERBOSITIES;
    match level {
        Level::Louder => return simple(connection, "louder", &[], "done", screen),
        Level::Quieter => return simple(connection, "quieter", &[], "done", screen),
        Level::Debug => step_until(connection, "louder", loudest, screen)?,
        Level::Error => step_until(connection, "quieter", quietest, screen)?,
        Level::Info => {
            // From everything one step suffices; from anywhere else this ends at the quietest, one step too far.
            let (reached, message) = step(connection, "quieter")?;
            let message = if reached == quietest { step(connection, "louder")?.1 } else { message };
            screen.say(&*message);
        }
    }
    Ok(Exit::Done)
}

fn step_until(connection: &mut Connection, command: &str, wanted: u8, screen: &mut Screen<'_>) -> Result<(), Failure> {
    let (loudest, quietest) = VERBOSITIES;
    for _ in loudest..=quietest {
        let (reached, message) = step(connection, command)?;
        // A master whose configuration says to log errors alone is quieter than any command makes it.
        if reached == wanted || reached > quietest {
            screen.say(&*message);
            return Ok(());
        }
    }
    Err(Failure::refused(&format!("the master does not reach the verbosity {wanted} by {command}")))
}

/// The verbosity after one step, and the master's words for it: `Verbosity set to 1`.
fn step(connection: &mut Connection, command: &str) -> Result<(u8, String), Failure> {
    let message = connection.exchange(command, &[], deadline())?.accepted()?;
    let reached = message.split_whitespace().next_back().and_then(|word| word.parse().ok());
    reached.map(|reached| (reached, message.clone())).ok_or_else(|| Failure::refused(&message))
}

/// Whatever the master says goes to standard output, a refusal too.
fn raw(connection: &mut Connection, words: &[String], screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let Some((command, args)) = words.split_first() else { return Ok(Exit::Usage) };
    connection.catch_interrupts()?;
    connection.ask(command, args)?;
    loop {
        let reply = connection.receive(Deadline::Never, command)?;
        screen.say(&*reply.message);
        if !reply.waits {
            return Ok(if reply.is_refusal() { Exit::Failed } else { Exit::Done });
        }
    }
}

fn deadline() -> Deadline {
    Deadline::from_now(Some(ANSWER_TIMEOUT))
}

#[cfg(test)]
#[path = "ctl_tests.rs"]
mod tests;
