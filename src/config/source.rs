//! Where each setting comes from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};

use super::file::SettingsFile;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The flag with this name, without hyphens.
    Flag(String),
    /// The environment variable with this name.
    Variable(String),
    /// A settings file, and the line there, counted from 1.
    File(PathBuf, usize),
    /// Nobody has set it.
    Default,
}

/// Where each setting of a command comes from, by the names of the flags.
#[derive(Debug, Clone, Default)]
pub struct Sources(BTreeMap<String, Source>);

impl Source {
    /// Where the setting of `arg` comes from; None where it has no value.
    pub fn of(arg: &Arg, matches: &ArgMatches, file: Option<&SettingsFile>) -> Option<Self> {
        let name = arg.get_long().unwrap_or_default().to_owned();
        let place = || {
            let (path, line) = file?.place(arg)?;
            Some(Self::File(path.to_owned(), line))
        };
        let Some(source) = matches.value_source(arg.get_id().as_str()) else {
            // An empty list has no value, and is set.
            return place();
        };
        Some(match source {
            ValueSource::CommandLine => Self::Flag(name),
            ValueSource::EnvVariable => {
                let variable = arg.get_env().unwrap_or_default();
                Self::Variable(variable.to_string_lossy().into_owned())
            }
            _ => place().unwrap_or(Self::Default),
        })
    }

    /// The same within a sentence.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Flag(_) => "on the command line".to_owned(),
            Self::Variable(name) => format!("from {name}"),
            Self::File(path, line) => format!("from {}, line {line}", path.display()),
            Self::Default => "by default".to_owned(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Variable(name) => f.write_str(name),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Sources {
    /// Those of a command line for `command` or one of its subcommands.
    pub fn new(command: &Command, matches: &ArgMatches, file: Option<&SettingsFile>) -> Self {
        let below = matches.subcommand();
        let below = below.and_then(|(name, it)| Some((command.find_subcommand(name)?, it)));
        let (command, matches) = below.unwrap_or((command, matches));
        let sources = command.get_arguments().filter_map(|arg| {
            let name = arg
                .get_long()
                .filter(|it| !["help", "version"].contains(it))?;
            Some((name.to_owned(), Source::of(arg, matches, file)?))
        });
        Self(sources.collect())
    }

    /// Where this one comes from, named as its flag is, if it has a value.
    pub fn of(&self, setting: &str) -> Option<Source> {
        self.0.get(setting).cloned()
    }
}
