//! What a daemon says of itself, on standard error.

use tracing::level_filters::LevelFilter;

use crate::options::{Common, LogFormat};

/// Sets up logging for the whole process; once, at start.
pub fn init(options: &Common) {
    let level = match options.verbose {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        // A full disk behind standard error must not end a daemon.
        .log_internal_errors(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    match options.log_format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().init(),
    }
}
