//! Settings that cannot be: one error for all of them, which names the setting, where it was
//! set and what is wrong with it.

use std::error::Error;
use std::fmt::{self, Display};

use super::file::FileError;
use super::line::{reason, refused_flag, usage, variable_at_fault};
use super::source::{Source, Sources};
use crate::causes::with_causes;

/// A setting that cannot be, or several that cannot be together. Shown in one line, without
/// the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongSetting {
    /// The flags' names, each with where it was set as far as that is known.
    settings: Vec<(String, Option<Source>)>,
    problem: String,
}

impl WrongSetting {
    /// Of these flags, named without hyphens, this is wrong.
    pub fn new(settings: &[&str], problem: impl Display) -> Self {
        let settings = settings.iter().map(|it| ((*it).to_owned(), None));
        Self {
            settings: settings.collect(),
            problem: problem.to_string(),
        }
    }

    /// Of this flag, named without hyphens, this is wrong, which is told with all its causes.
    pub fn of(setting: &str, error: &dyn Error) -> Self {
        Self::of_several(&[setting], error)
    }

    /// The same of flags that cannot be together.
    pub fn of_several(settings: &[&str], error: &dyn Error) -> Self {
        Self::new(settings, with_causes(error))
    }

    /// What clap says of the command line and the environment of `command`: of a value, or of
    /// something else, such as that no flag is called so.
    pub fn of_line(error: &clap::Error, command: &clap::Command) -> Self {
        let Some(setting) = refused_flag(error) else {
            return Self::new(&[], usage(error, command));
        };
        let source = match variable_at_fault(command, &setting, error) {
            Some(variable) => Source::Variable(variable),
            None => Source::Flag(setting.clone()),
        };
        Self {
            settings: vec![(setting, Some(source))],
            problem: reason(error),
        }
    }

    /// The same, which tells where the settings were set.
    #[must_use]
    pub fn set_by(mut self, sources: &Sources) -> Self {
        for (setting, source) in &mut self.settings {
            *source = source.take().or_else(|| sources.of(setting));
        }
        self
    }
}

impl Display for WrongSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (setting, source)) in self.settings.iter().enumerate() {
            let before = if number == 0 { "" } else { " and " };
            write!(f, "{before}--{setting}")?;
            if let Some(source) = source {
                write!(f, " ({})", source.told())?;
            }
        }
        let before = if self.settings.is_empty() { "" } else { ": " };
        write!(f, "{before}{}", self.problem)
    }
}

impl Error for WrongSetting {}

impl From<FileError> for WrongSetting {
    fn from(error: FileError) -> Self {
        match &error {
            FileError::Unreadable(..) => Self::new(&["config"], &error),
            // Which names the setting and the place.
            FileError::Wrong { .. } => Self::new(&[], &error),
        }
    }
}
