//! What the master says of itself, as texts and documents: log lines for what the pool has to say, `status`, einhorn's state document,
//! systemd, the process title, help. Only looks at what it describes.

pub(crate) mod calendar;
pub(crate) mod complaints;
pub(crate) mod counters;
pub(crate) mod death;
pub(crate) mod einhorn_state;
pub(crate) mod fd_store;
pub(crate) mod help;
pub(crate) mod history;
pub(crate) mod last_words;
pub(crate) mod releases;
pub(crate) mod sentences;
pub(crate) mod status;
pub(crate) mod systemd;
pub(crate) mod systemd_status;
pub(crate) mod title;
pub(crate) mod view;
pub(crate) mod waits;
