//! What is logged, and how.

use clap::{Args, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};

/// The settings of the log, which goes to standard error.
#[derive(Args, Debug, Clone)]
pub struct Log {
    /// What to log: error, warn, info, debug, trace, off, or as target=level,...
    #[arg(
        long,
        env = "LARDER_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    log: Targets,

    /// How to log.
    #[arg(
        long,
        env = "LARDER_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: Format,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line an event, for people.
    Text,
    /// One JSON object a line: timestamp, level, target, message, and the event's own fields.
    Json,
}

impl Log {
    /// A log of what is wrong, for people.
    pub fn of_warnings() -> Self {
        Self {
            log: Targets::new().with_default(LevelFilter::WARN),
            log_format: Format::Text,
        }
    }

    /// What to log.
    pub fn filter(&self) -> Targets {
        self.log.clone()
    }

    /// How to log.
    pub fn format(&self) -> Format {
        self.log_format
    }
}
