//! The main thread: it starts everything, then does what the pool decides. The only one that forks, signals, reaps and
//! execs; it never waits for anything but the next input or deadline.

mod adopt;
mod adopted;
mod begin;
mod check;
mod check_as;
mod check_places;
mod children;
mod crash;
mod deaf;
mod denials;
mod end;
mod event_loop;
mod files;
mod foreground;
mod hand_over;
mod journal;
mod launch;
mod leftovers;
mod log_file;
mod lost_files;
mod master;
mod memory;
mod next_image;
mod perform;
mod process;
mod queue_watch;
mod recheck;
mod record;
mod reexec;
mod relay;
mod reload;
mod reply;
mod resume;
mod rollout;
mod running_check;
mod settings;
mod signals;
mod sockets;
mod startup;
mod surroundings;
mod undelivered;
mod unfit;
mod waits;

pub use signals::HEARD;
pub use startup::main;
