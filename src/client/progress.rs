//! What is seen of an upgrade while it goes on: a bar on a terminal, lines anywhere else. Knows nothing of how it ends.

use std::collections::VecDeque;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::base::printable;
use crate::client::screen::Screen;
use crate::client::status::Status;

/// Before it is known how far it is, and then. It fits a terminal of 80 columns, so that it stays one line.
const UNKNOWN: &str = "{msg}";
const KNOWN: &str = "[{bar:20}] {pos} of {len} acked  {msg}";

/// The same with a second line.
const WAITING: &str = "[{bar:20}] {pos} of {len} acked  {msg}\n{prefix}";

/// How much of a message is shown beside the bar, and of what is waited for below it.
const MESSAGE_CHARS_MAX: usize = 40;
const PREFIX_CHARS_MAX: usize = 79;

/// How many steps are told again when an upgrade has failed.
const LAST_STEPS_MAX: usize = 20;
const LAST_STEP_CHARS_MAX: usize = 500;

pub(super) enum Progress {
    Lines,
    /// With the last steps, which are seen for a moment only.
    Bar(ProgressBar, VecDeque<String>),
}

impl Progress {
    /// The bar is drawn on standard error: a terminal whenever the screen is one, or nothing is seen of it.
    pub(super) fn on(screen: &Screen<'_>) -> Self {
        if !screen.surface().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        if bar.is_hidden() {
            return Self::Lines;
        }
        bar.set_style(style(UNKNOWN));
        Self::Bar(bar, VecDeque::new())
    }

    /// Whether it can show how far things are.
    pub(super) fn has_bar(&self) -> bool {
        match self {
            Self::Lines => false,
            Self::Bar(..) => true,
        }
    }

    /// One step, in the master's words.
    pub(super) fn step(&mut self, message: &str, screen: &mut Screen<'_>) {
        match self {
            Self::Lines => screen.say(message),
            Self::Bar(bar, last_steps) => {
                if last_steps.len() == LAST_STEPS_MAX {
                    last_steps.pop_front();
                }
                let line = message.lines().next().unwrap_or_default();
                last_steps.push_back(line.chars().take(LAST_STEP_CHARS_MAX).collect());
                bar.set_message(printable::line(line).chars().take(MESSAGE_CHARS_MAX).collect::<String>());
            }
        }
    }

    /// How far it is, and what it waits for.
    pub(super) fn show(&self, status: &Status) {
        let Self::Bar(bar, _) = self else { return };
        let waits_for = status.waits_for.as_ref().map(|waits_for| printable::line(&waits_for.text));
        bar.set_prefix(waits_for.iter().flat_map(|text| text.chars().take(PREFIX_CHARS_MAX)).collect::<String>());
        let Some(upgrade) = &status.upgrade else { return };
        bar.set_style(style(if waits_for.is_some() { WAITING } else { KNOWN }));
        bar.set_length(u64::try_from(upgrade.target).unwrap_or_default());
        bar.set_position(u64::try_from(upgrade.acked).unwrap_or_default());
    }

    /// Leaves nothing behind, so that the last word stands alone.
    pub(super) fn end(&self) {
        match self {
            Self::Lines => {}
            Self::Bar(bar, _) => bar.finish_and_clear(),
        }
    }

    /// Leaves on the screen what the bar has shown for a moment only: of an upgrade that has failed, the last steps say what happened.
    pub(super) fn tell_last_steps(&mut self, screen: &mut Screen<'_>) {
        match self {
            Self::Lines => {}
            Self::Bar(_, last_steps) => last_steps.drain(..).for_each(|step| screen.say(step.as_str())),
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::printable::is_hidden;
    use crate::client::status::{Upgrade, WaitsFor};
    use crate::client::text::Surface;

    fn message_of(said: &str) -> String {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen::new(&mut out, &mut err, Surface::Terminal);
        let bar = ProgressBar::hidden();
        Progress::Bar(bar.clone(), VecDeque::new()).step(said, &mut screen);
        assert!(out.is_empty() && err.is_empty(), "it is said beside the bar, and nowhere else");
        bar.message()
    }

    #[test]
    fn what_a_master_says_beside_the_bar_steers_no_terminal() {
        assert_eq!(message_of("a\u{1b}[2J\r\u{9b}2J\u{202e}b\nmore"), r"a\x1b[2J\x0d\x9b2J\u{202e}b");
        assert_eq!(message_of(""), "");
    }

    #[test]
    fn the_last_steps_of_a_failed_upgrade_are_told_again() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut screen = Screen::new(&mut out, &mut err, Surface::Terminal);
        let mut progress = Progress::Bar(ProgressBar::hidden(), VecDeque::new());
        (0..LAST_STEPS_MAX + 5).for_each(|number| progress.step(&format!("step {number}"), &mut screen));
        progress.tell_last_steps(&mut screen);
        let lines: Vec<String> = (5..LAST_STEPS_MAX + 5).map(|number| format!("step {number}")).collect();
        assert_eq!(String::from_utf8(out).unwrap(), lines.join("\n") + "\n");
    }

    #[test]
    fn what_an_upgrade_waits_for_stands_below_its_bar() {
        let bar = ProgressBar::hidden();
        let progress = Progress::Bar(bar.clone(), VecDeque::new());
        let waits_for = WaitsFor { text: format!("waits\n{}", "x".repeat(100)), ..WaitsFor::default() };
        let upgrade = Some(Upgrade::default());
        progress.show(&Status { upgrade: upgrade.clone(), waits_for: Some(waits_for), ..Status::default() });
        assert_eq!(bar.prefix(), format!("waits\\x0a{}", "x".repeat(70)));
        progress.show(&Status { upgrade, ..Status::default() });
        assert_eq!(bar.prefix(), "");
    }

    /// An escape is longer than what it stands for, and the bar is one line.
    #[test]
    fn what_is_escaped_beside_the_bar_is_cut_as_it_is_shown() {
        let message = message_of(&"\u{202e}".repeat(1000));
        assert_eq!(message.chars().count(), MESSAGE_CHARS_MAX);
        assert!(!message.contains(is_hidden));
    }
}
