//! What is seen of an upgrade while it goes on: a bar on a terminal, lines anywhere else. Knows nothing of how it ends.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::screen::Screen;
use crate::client::status::Status;

pub(in crate::client) enum Progress {
    Lines,
    Bar(ProgressBar),
}

impl Progress {
    /// The bar is drawn on standard error: a terminal whenever the screen is one, or nothing is seen of it.
    pub(in crate::client) fn on(screen: &Screen<'_>) -> Self {
        if !screen.surface().is_terminal() {
            return Self::Lines;
        }
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        if bar.is_hidden() {
            return Self::Lines;
        }
        let style = ProgressStyle::with_template("[{bar:30}] {pos} of {len} acked  {wide_msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
        Self::Bar(bar)
    }

    /// Whether it can show how far things are.
    pub(in crate::client) fn has_bar(&self) -> bool {
        match self {
            Self::Lines => false,
            Self::Bar(_) => true,
        }
    }

    /// One step, in the master's words.
    pub(in crate::client) fn step(&self, message: &str, screen: &mut Screen<'_>) {
        match self {
            Self::Lines => screen.say(message),
            Self::Bar(bar) => bar.set_message(message.lines().next().unwrap_or_default().to_owned()),
        }
    }

    /// How far it is.
    pub(in crate::client) fn show(&self, status: &Status) {
        let (Self::Bar(bar), Some(upgrade)) = (self, &status.upgrade) else { return };
        bar.set_length(u64::try_from(upgrade.target).unwrap_or_default());
        bar.set_position(u64::try_from(upgrade.acked).unwrap_or_default());
    }

    /// Leaves nothing behind, so that the last word stands alone.
    pub(in crate::client) fn end(&self) {
        match self {
            Self::Lines => {}
            Self::Bar(bar) => bar.finish_and_clear(),
        }
    }
}
