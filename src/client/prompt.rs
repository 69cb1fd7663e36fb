//! The shell on a terminal: welcome, prompt, line editing, history. What is said beside answers goes to standard error, as
//! Ruby's einhornsh has it.

use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Config, Editor};

use crate::client::completion::Completion;
use crate::client::failure::{Exit, Failure};
use crate::client::history::{self, History};
use crate::client::shell::{Flow, Shell};
use crate::sys::errno::{errno_of, words};

const PROMPT: &str = "> ";

type LineEditor = Editor<Completion, MemHistory>;

/// Until the user leaves, or the master does.
pub(super) fn run(shell: &mut Shell<'_, '_>) -> Result<Exit, Failure> {
    let commands = shell.commands()?;
    let mut editor = editor(Completion::new(commands)).map_err(|error| unusable(&error))?;
    let mut history = load_history(&mut editor, shell);
    shell.screen().report_error(&"`help` lists the commands, Tab completes them; `quit` or Ctrl-D leaves.");
    loop {
        match editor.readline(PROMPT) {
            Ok(line) => {
                remember(&line, &mut editor, &mut history);
                match shell.run_line(&line) {
                    Ok(Flow::GoOn) => {}
                    Ok(Flow::Quit) => break,
                    // A slip of the fingers; the next line may be better.
                    Err(failure) if failure.exit() == Exit::Usage => shell.screen().report_error(&failure),
                    Err(failure) => return Err(failure),
                }
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => break,
            Err(ReadlineError::Signal(_)) => {}
            Err(error) => return Err(unusable(&error)),
        }
    }
    shell.screen().report_error(&"Goodbye!");
    Ok(Exit::Done)
}

fn editor(completion: Completion) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .max_history_size(history::LINES_MAX)?
        .history_ignore_dups(true)?
        .completion_type(rustyline::CompletionType::List)
        .build();
    let lines = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, lines)?;
    editor.set_helper(Some(completion));
    Ok(editor)
}

/// Without a file the shell remembers for as long as it lives.
fn load_history(editor: &mut LineEditor, shell: &mut Shell<'_, '_>) -> Option<History> {
    let path = History::path(|name| std::env::var_os(name))?;
    match History::open(&path) {
        Ok((history, lines)) => {
            for line in lines {
                let _not_wanted_twice = editor.add_history_entry(line);
            }
            Some(history)
        }
        Err(error) => {
            let cause = error.raw_os_error().map_or_else(|| error.to_string(), |_| words(errno_of(&error)));
            shell.screen().report_error(&format!("cannot keep the history in {}: {cause}", path.display()));
            None
        }
    }
}

/// Nothing is made of a history that cannot be written any more.
fn remember(line: &str, editor: &mut LineEditor, history: &mut Option<History>) {
    let is_new = editor.add_history_entry(line).unwrap_or_default();
    if let (true, Some(kept)) = (is_new, history.as_mut()) {
        if kept.add(line).is_err() {
            *history = None;
        }
    }
}

fn unusable(error: &ReadlineError) -> Failure {
    Failure::system("read from the terminal", error)
}
