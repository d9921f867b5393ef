//! The life of a daemon's process.

use std::future::Future;
use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use crate::activation::Passed;
use crate::options::Common;
use crate::{logging, notify};

/// Runs a daemon to its end and turns a failure into a message and exit code 1.
///
/// One thread serves everything: what a daemon does between two waits is short, and a second
/// thread costs memory on every host.
///
/// Its work gets the sockets that a service manager passes, which have one of the names `sockets`.
pub fn daemon<F>(
    name: &str,
    options: &Common,
    sockets: &[&str],
    work: impl FnOnce(Passed) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    logging::init(options);
    let passed = Passed::from_manager(sockets);
    let result = passed.and_then(|passed| block_on(|| work(passed)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a future to its end on this thread.
///
/// # Errors
/// What the future returns, or why no runtime could be made.
pub fn block_on<F, T>(work: impl FnOnce() -> F) -> anyhow::Result<T>
where
    F: Future<Output = anyhow::Result<T>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()?;
    let result = runtime.block_on(async { work().await });
    // Blocking reads of a terminal or of a slow disk are not waited for.
    runtime.shutdown_background();
    result
}

/// Raises the limit of open descriptors to what the host lets this process have.
pub fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!("the limit of open descriptors stays {:?}: {error}", limit.current);
    }
}

/// Waits until the process is asked to end, by SIGTERM or SIGINT, and tells a service manager that it
/// does.
///
/// # Errors
/// When the signals cannot be watched.
pub async fn asked_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    notify::stopping();
    Ok(())
}
