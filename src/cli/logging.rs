//! The log: one line an event, to standard error.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Format, Log};

/// Logs as it is set from now on.
pub(super) fn start(log: &Log) {
    let lines = tracing_subscriber::fmt::layer().with_writer(stderr);
    // A log that nobody reads any longer stops nothing; to tell of that would, on the same pipe.
    let lines = lines.log_internal_errors(false);
    let lines = match log.format() {
        Format::Text => lines.with_ansi(stderr().is_terminal()).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(log.filter()))
        .init();
}
