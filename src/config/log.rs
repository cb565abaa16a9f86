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
        default_value = "info",
        value_parser = filter
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

/// Reads what to log. A word that is no level would name a part of the program, so that a typo
/// would silence everything else: such a part is only taken with its level.
fn filter(text: &str) -> Result<Targets, String> {
    let mut filter = Targets::new();
    for piece in text.split(',').map(str::trim) {
        let (target, level) = match piece.split_once('=') {
            None => (None, piece),
            Some((target, level)) => (Some(target.trim()), level.trim()),
        };
        let level = level.parse::<LevelFilter>().ok();
        let level = level.filter(|_| !piece.ends_with('=') && !piece.is_empty());
        filter = match (target, level) {
            (None, Some(level)) => filter.with_default(level),
            (Some(target), Some(level)) if !target.is_empty() => filter.with_target(target, level),
            _ => {
                return Err(format!(
                    "`{piece}` is invalid: it is neither a level (error, warn, info, debug, trace, \
                     off) nor target=level"
                ));
            }
        };
    }
    Ok(filter)
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
