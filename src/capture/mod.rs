//! What workers write to standard output and standard error, on its way into the log (`worker.output`): a pipe for each worker, a thread
//! that reads all of them always, so that no worker waits, and a process beside the master, the relay, which holds the same pipes, so
//! that no worker meets a pipe without a reader when the master is killed or becomes another program. Starts no worker, and decides
//! nothing about one.

mod lines;
pub(crate) mod output;
pub(crate) mod relay;
pub(crate) mod source;
mod sources;
