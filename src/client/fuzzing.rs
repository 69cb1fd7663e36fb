//! What `fuzzing` needs of this room: a reply as it is understood, and all that stands on the screen after a master has said
//! something. No master is there: what it says lies ready, and its end of the connection is closed behind it.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use crate::base::Pid;
use crate::client::arguments::{Command, Level, Workers};
use crate::client::connection::Connection;
use crate::client::ctl;
use crate::client::failure::{Exit, Failure};
use crate::client::reply::Reply;
use crate::client::screen::Screen;
use crate::client::shell::{Rules, Shell};
use crate::client::text::Surface;
use crate::client::{CTL_NAME, conclude};
use crate::sys::interrupt::Interrupts;

/// How much a socket holds before it is read; more is cut.
pub(crate) const SAID_MAX: usize = 64 << 10;

/// Ways to ask, each as a number below this.
pub(crate) const WAYS: u8 = 9;

/// The way whose answer is shown as a table.
pub(crate) const STATUS: u8 = 0;

/// What a client understands of a reply.
pub(crate) struct Understood {
    pub(crate) message: String,
    pub(crate) id: Option<i64>,
    pub(crate) waits: bool,
}

/// What stands on standard output and error.
pub(crate) struct Shown {
    pub(crate) out: Vec<u8>,
    pub(crate) err: Vec<u8>,
}

/// A line without its newline. Errors: what is shown in place of an answer.
pub(crate) fn reply(line: &[u8]) -> Result<Understood, String> {
    let Reply { message, id, waits, status: _, history: _ } =
        Reply::read(line).map_err(|failure| failure.to_string())?;
    Ok(Understood { message, id, waits })
}

/// Asks in one of [`WAYS`], and hears `said` whatever it has asked.
pub(crate) fn show(way: u8, said: &[u8]) -> Shown {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut screen = Screen::new(&mut out, &mut err, Surface::Plain);
    let outcome = converse(way % WAYS, &said[..said.len().min(SAID_MAX)], &mut screen);
    conclude(outcome, CTL_NAME, &mut screen);
    Shown { out, err }
}

fn converse(way: u8, said: &[u8], screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let system = |error: std::io::Error| Failure::system("talk to itself", error);
    let (client, mut master) = UnixStream::pair().map_err(system)?;
    let (interrupts, _never_interrupts) = UnixStream::pair().map_err(system)?;
    master.write_all(said).and_then(|()| master.shutdown(Shutdown::Write)).map_err(system)?;
    let mut connection = Connection::over(client, Pid(1), Interrupts::from_socket(interrupts));
    let command = match way {
        STATUS => Command::Status { json: false, watch: false, check: false, ready: None },
        1 => Command::Status { json: true, watch: false, check: false, ready: None },
        2 => Command::Upgrade {
            fleet: false,
            reason: None,
            canary: None,
            bake: None,
            deadline: None,
            watch: None,
            timeout: None,
            wait_old: None,
        },
        3 => Command::Diff,
        4 => Command::Workers { count: Workers::More(3) },
        5 => Command::Die { signal: None, wait: None },
        6 => Command::LogsLevel { level: Level::Info },
        7 => Command::Raw { words: vec!["state".to_owned()] },
        _ => return shell(&mut connection, screen),
    };
    ctl::run(command, &mut connection, screen)
}

fn shell(connection: &mut Connection, screen: &mut Screen<'_>) -> Result<Exit, Failure> {
    let mut shell = Shell::new(connection, screen, Rules::Ours);
    let welcome = shell.greet()?;
    shell.screen().report_error(&welcome.trim_end());
    shell.run_line("help; state; upgrade")?;
    let names = shell.commands()?;
    shell.screen().say(names.join(" ").as_str());
    Ok(shell.exit())
}
