//! Log lines on standard error.

use std::io::{self, IsTerminal};

use tracing::Level;

use crate::options::LogFormat;

/// Starts logging: warnings and what happens to machines, more with each `-v`.
pub fn init(verbose: u8, format: LogFormat) {
    let level = match verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        // A full disk behind standard error must not end this process.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
