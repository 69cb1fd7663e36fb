//! The master as it is shown: what the documents about it are made of.

use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::output::counters::Counters;
use crate::output::history::History;
use crate::pool::Pool;
use crate::release::listeners::Listener;

#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) config: &'a Config,
    pub(crate) pool: &'a Pool,
    /// The program of the workers that are launched now, by the name that it was found by.
    pub(crate) program: Option<&'a Path>,
    /// Those of the workers that are launched now, in the order of the `-b` options.
    pub(crate) listeners: &'a [Arc<Listener>],
    /// How often the master has replaced its program.
    pub(crate) generation: u64,
    pub(crate) counters: &'a Counters,
    pub(crate) history: &'a History,
    /// Whether workers are forked from what was loaded.
    pub(crate) is_preloaded: bool,
    /// Log lines that found no room.
    pub(crate) dropped_lines: u64,
}
