//! The one privileged process of the suite, and the parent of all machines.
//!
//! It answers two clients on one sequenced-packet socket, in the words of
//! [`vmm_proto::message::spawn`]: `vmmd`, which has machines started and stopped and is told how
//! they ended, and `vmm-console`, which is handed a ring of each machine's output. Both may come
//! and go; machines, their ends and their output wait here. And this process may come and go: what
//! it knows is in files, and another one goes on from there.
//!
//! One thread, one loop ([`daemon`]), and nothing in it ever waits for anyone:
//!
//! ```text
//!   spawn.sock ── socket ── packet ── peers ┐
//!                                           ├─ daemon ── poller (epoll)
//!   tender ── launch ── status ── machine ──┘     │
//!     └ FIFO ── stage ── ring (file) ── rate      └ machines ── state (files)
//! ```
//!
//! * [`launch`] is the only place that starts a process, [`process`] the only one that reaps one,
//!   [`jail`] says what confines it and what does not. Unsafe code is in [`process`], [`birth`]
//!   and [`inherited`] alone, for one purpose each.
//! * [`machine::Run`] is one life of a machine, whoever started it; [`machines`] is the table.
//! * [`net`] makes the network interfaces of machines, which get them as open descriptors.
//! * [`peers`] owns the connections: who may speak ([`access`]), in what order, and what waits to be
//!   sent. [`manager`] is a service manager's side.
//! * [`state`] is what is on disk: a directory a machine ([`state::place`] lists its files). A
//!   start is written down before there is a process, the process writes down itself who it is
//!   ([`birth`]), and its end is written down before it is reaped.
//! * [`stage`] brings output from a FIFO into a ring so that no byte is lost or comes twice,
//!   whenever this process is killed. [`failpoint`] lets tests kill it at every step.
//!
//! What it promises: every start that came to a process ends with exactly one report, which is
//! kept until the supervisor has acknowledged it; every byte that a machine wrote is counted, and
//! in its ring unless newer bytes took its place; a machine inherits its image, its status file, its
//! console, its stage and its network interfaces, and nothing else. Machines run on when this process ends in whatever
//! way, and the next one with the same directory adopts those that are still who they were: same
//! process number, same time of birth, same boot. How an adopted one ends is known where the kernel
//! tells (Linux 6.15 and later); how one ended while nobody was there is not known to anyone.

pub mod access;
pub mod affinity;
pub mod birth;
pub mod console;
pub mod daemon;
pub mod descriptors;
pub mod failpoint;
pub mod inherited;
pub mod jail;
pub mod launch;
pub mod logging;
pub mod machine;
pub mod machines;
pub mod manager;
pub mod net;
pub mod options;
pub mod outbox;
pub mod packet;
pub mod peer;
pub mod peers;
pub mod poller;
pub mod process;
pub mod rate;
pub mod ring;
pub mod signals;
pub mod socket;
pub mod stage;
pub mod state;
pub mod status;
pub mod timers;

use std::process::ExitCode;

use clap::Parser;
use tracing::error;

use options::Options;

/// Runs the daemon with the arguments of this process until it is told to end.
///
/// Status 0: it ended as it was told to. 1: it could not start, or could not go on. 2: its command
/// line makes no sense.
pub fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            // Nobody is left to be told that nobody can be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    logging::init(options.verbose, options.log_format);
    let ended =
        options.config().map_err(daemon::Error::from).and_then(|config| daemon::run(&config));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error}");
            ExitCode::FAILURE
        }
    }
}
