//! Going on with the machines of a `vmm-spawn` that is gone.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use tracing::{error, info, warn};
use vmm_proto::id::MachineId;

use super::Machines;
use crate::birth::Born;
use crate::console::Console;
use crate::failpoint;
use crate::jail::{Cell, Jail};
use crate::machine::{End, Machine, Phase, Report, Run, why_not_started};
use crate::poller::Token;
use crate::process::Ended;
use crate::state::machine_of;
use crate::state::place::{Contents, Damage, Place};
use crate::status::{Progress, Status};

/// How long a process may take to end that is killed as nothing else is known of its machine.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// Why a machine cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// {0}
    #[error(transparent)]
    Damage(#[from] Damage),
    /// it cannot be looked at: {0}
    #[error("it cannot be looked at: {0}")]
    Kernel(#[from] Errno),
}

impl Error {
    /// Whether the machine may be in order, and this process just lacks something.
    fn is_shortage(&self) -> bool {
        let (Self::Kernel(errno) | Self::Damage(Damage::Open(_, errno))) = self else {
            return false;
        };
        let shortages =
            [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOSPC, Errno::DQUOT, Errno::ROFS];
        shortages.contains(errno)
    }
}

impl Machines {
    /// Goes on with everything that is in the state directory.
    ///
    /// # Errors
    /// The directory cannot be read, or this process has not what it takes (descriptors, memory,
    /// room): then the machines run on.
    pub fn adopt(&mut self, now: Instant) -> Result<(), Error> {
        if !self.state.familiar {
            let why = "nothing says whether it is of this boot";
            if let Err(error) = self.state.begin_anew(why) {
                error!("what another boot may have left stays: {error}");
                return Ok(());
            }
        }
        for name in self.state.names()? {
            let name = name.to_string_lossy().into_owned();
            let Some(id) = machine_of(&name) else {
                self.state.set_aside(&name, "it is not of this program");
                continue;
            };
            if let Err(error) = self.adopt_one(id, now) {
                if error.is_shortage() {
                    return Err(error);
                }
                error!(%id, "it cannot be gone on with, so it is ended: {error}");
                self.end_whatever_it_is(id);
                self.state.set_aside(&name, &error.to_string());
            }
        }
        if !self.all.is_empty() {
            info!("{} machines were here before, {} of them run", self.all.len(), self.running);
        }
        Ok(())
    }

    /// Removes what earlier ones have left of the jails of machines that do not run any more.
    pub fn sweep(&mut self) {
        let runs =
            self.all.values().filter_map(|machine| Some((machine.id, machine.run.as_ref()?)));
        let taps = runs.clone().map(|(id, run)| (id, run.cell.taps)).collect();
        if let Err(error) = self.networks.sweep(&taps) {
            error!("it is not known whether taps of earlier machines are left: {error}");
        }
        self.jail.sweep(runs.map(|(_, run)| &run.cell));
    }

    fn adopt_one(&mut self, id: MachineId, now: Instant) -> Result<(), Error> {
        let place = self.state.place(&id.to_string())?;
        let contents = place.contents()?;
        let Some(record) = place.last()? else {
            if contents.attempts.is_empty() {
                // It was being made, or removed.
                self.state.remove(id);
                return Ok(());
            }
            return Err(Damage::Kind("run".into()).into());
        };
        let reports =
            contents.ends.iter().map(|&run| place.reported(run)).collect::<Result<Vec<_>, _>>()?;
        let console = Console::go_on(&place, now)?;
        let over = contents.ends.contains(&record.run) || contents.seen.contains(&record.run);
        let born = if over { None } else { place.born(record.run)? };
        let taken = over || born.is_some();
        if !taken && record.before == 0 {
            // Its first start never came to a process, so that nobody knows of it.
            self.state.remove(id);
            return Ok(());
        }
        let number = self.number(id);
        let mut machine = Machine::new(id, number, console);
        machine.last_run = if taken { record.run } else { record.before };
        machine.only_run = (taken && record.before == 0).then_some(record.run);
        machine.reports.extend(reports);
        sweep(id, &place, &contents, record.run, taken && !over);
        if let Some(born) = born {
            self.adopt_run(&place, &mut machine, (born, record.cell), now)?;
        }
        self.poller.watch(&machine.console, Token::Console(number))?;
        self.all.insert(id, machine);
        // What was on its way when the last one died makes nothing readable.
        self.on_console(number, now);
        failpoint::reach("adopted");
        Ok(())
    }

    /// Goes on with a run that is not over: with its process, or with its end.
    fn adopt_run(
        &mut self,
        place: &Place,
        machine: &mut Machine,
        (born, cell): (Born, Cell),
        now: Instant,
    ) -> Result<(), Error> {
        let (id, number) = (machine.id, machine.last_run);
        let status = Status::new(place.status(number)?);
        let Some(process) = born.find()? else {
            let exit = Jail::judge(&cell, Ended::UNSEEN.exit);
            let ended = Ended { exit, ..Ended::UNSEEN };
            let output_end = machine.console.drain(id, &self.scratch);
            let end = match status.progress()? {
                Progress::Ready => End::Exited { ended, output_end },
                Progress::Pending | Progress::TooMuch => {
                    End::NotStarted(why_not_started(&status, ended))
                }
            };
            warn!(%id, "it has ended while no vmm-spawn was there");
            let report = Report { run: number, end };
            place.report(&report)?;
            machine.reports.push_back(report);
            return Ok(());
        };
        let poller_number = self.number(id);
        self.jail.adopt(&cell);
        let mut run = Run::new(poller_number, (born.pid, process), cell, false, status, now);
        self.watch_run(&mut run)?;
        // Nobody is there yet to be told.
        if let Phase::Starting(starting) = &run.phase
            && starting.status.progress()? == Progress::Ready
        {
            self.watcher.forget(&starting.status);
            run.phase = Phase::Running;
        }
        info!(%id, pid = run.pid(), "it runs on");
        machine.run = Some(run);
        Ok(())
    }

    /// Ends the processes that wrote down that they are of this machine, and still are who they
    /// were.
    fn end_whatever_it_is(&mut self, id: MachineId) {
        let ended = self.state.place(&id.to_string()).and_then(|place| {
            for run in place.contents()?.attempts {
                let Ok(Some(born)) = place.born(run) else { continue };
                let Some(process) = born.find()? else { continue };
                pidfd_send_signal(&process, Signal::KILL)?;
                let timeout = Timespec {
                    tv_sec: KILL_PATIENCE.as_secs().try_into().unwrap_or(i64::MAX),
                    tv_nsec: 0,
                };
                let gone = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout))?;
                warn!(%id, pid = ?born.pid, gone = gone == 1, "its process was killed");
            }
            Ok(())
        });
        if let Err(error) = ended {
            error!(%id, "its process, if it has one, cannot be ended: {error}");
        }
    }
}

/// Removes what starts have left behind that matters no more.
fn sweep(id: MachineId, place: &Place, contents: &Contents, last: u64, goes_on: bool) {
    let attempts = contents.attempts.iter().filter(|run| !(goes_on && **run == last));
    let seen = contents.seen.iter().filter(|run| **run != last);
    let swept = attempts
        .map(|run| place.forget_attempt(*run))
        .chain(seen.map(|run| place.forget_seen(*run)))
        .collect::<Result<(), _>>();
    if let Err(error) = swept {
        warn!(%id, "something is left of an earlier start: {error}");
    }
    for name in &contents.foreign {
        warn!(%id, "{name:?} in its directory is not of this program");
    }
}
