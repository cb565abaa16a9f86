//! The settings file (TOML): what stands in it takes the place of defaults, so that flags
//! and environment variables go before it. Its keys are the flags' names.

use std::io::{self, Write, stderr};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, Args, Command};
use toml::de::{DeTable, DeValue};

use super::alike::{hint, likeness, meant, setting_of_others};
use super::line::{check, reason};
use crate::{given_file, secret_file};

/// The file that is read where none is named.
const USUAL: &str = "larder.toml";
/// The longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;
/// What only the command line can tell.
const NOT_IN_FILE: [&str; 3] = ["config", "help", "version"];

/// The file that the command line or the environment names.
#[derive(Args, Debug)]
pub struct NamedFile {
    /// Settings file (TOML), whose keys are the names of the flags; flags and environment
    /// variables go before it [default: larder.toml, if there is one].
    #[arg(long, env = "LARDER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl NamedFile {
    /// The file to read: the one that is named, or the usual one if it is there. Blocks.
    pub fn path(&self) -> Option<&Path> {
        let usual = Path::new(USUAL);
        let usual = || usual.exists().then_some(usual);
        self.config.as_deref().or_else(usual)
    }
}

/// A settings file that was read.
#[derive(Debug)]
pub struct SettingsFile {
    path: PathBuf,
    entries: Vec<Entry>,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    key: String,
    line: usize,
    values: Values,
}

#[derive(Debug, PartialEq, Eq)]
enum Values {
    Switch(bool),
    One(String),
    List(Vec<String>),
}

/// Why a settings file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{0} cannot be read: {1}")]
    Unreadable(PathBuf, io::Error),
    /// A line of it is wrong.
    #[error("{path}, line {line}: {reason}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

impl SettingsFile {
    /// Reads the settings in the file at `path` and checks each as the flag of `command`
    /// that has its name. Blocks.
    pub fn read(path: &Path, command: &Command) -> Result<Self, FileError> {
        let unreadable = |error| FileError::Unreadable(path.to_owned(), error);
        let given = given_file::read(path, MAX_BYTES).map_err(unreadable)?;
        let warning = secret_file::check(&given.file);
        let text = given.text().map_err(unreadable)?;
        let wrong = |(line, reason)| FileError::Wrong {
            path: path.to_owned(),
            line,
            reason,
        };
        let entries = parse(&text, command).map_err(wrong)?;
        for entry in &entries {
            let checked = entry.check(command);
            checked.map_err(|reason| wrong((entry.line, reason)))?;
        }
        let secret = |entry: &Entry| entry.arg(command).is_some_and(Arg::is_hide_env_values_set);
        if entries.iter().any(secret)
            && let Some(warning) = warning.map_err(unreadable)?
        {
            // There is no log yet, and nobody has to read it.
            let _ = writeln!(stderr(), "larder: {}: {warning}", path.display());
        }
        Ok(Self {
            path: path.to_owned(),
            entries,
        })
    }

    /// The command with these settings for defaults.
    pub fn apply(&self, command: Command) -> Command {
        command.mut_args(|arg| match self.entry(&arg) {
            Some(entry) => arg.default_values(entry.values.texts()),
            None => arg,
        })
    }

    /// Where the file sets what `arg` does: the file and the line.
    pub fn place(&self, arg: &Arg) -> Option<(&Path, usize)> {
        Some((&self.path, self.entry(arg)?.line))
    }

    fn entry(&self, arg: &Arg) -> Option<&Entry> {
        let name = arg.get_long()?;
        self.entries.iter().find(|entry| entry.key == name)
    }
}

impl Entry {
    /// The flag that the setting takes the place of.
    fn arg<'a>(&self, command: &'a Command) -> Option<&'a Arg> {
        let mut all = command.get_arguments();
        all.find(|arg| arg.get_long() == Some(&self.key))
    }

    /// What is said of a setting that does not exist.
    fn meant(&self, command: &Command) -> String {
        let key = self.key.to_lowercase().replace('_', "-");
        if let Some(flag) = setting_of_others(&key) {
            return hint(Some(flag));
        }
        let flags = command.get_arguments().filter_map(|arg| {
            let flag = arg.get_long().filter(|it| !NOT_IN_FILE.contains(it))?;
            let variable = arg.get_env().unwrap_or_default().to_string_lossy();
            Some((flag, variable.to_lowercase().replace('_', "-")))
        });
        let meant = meant(flags, |(flag, variable)| {
            likeness(flag, &key).max(likeness(variable, &key))
        });
        hint(meant.map(|(flag, _)| flag))
    }

    /// Fails with the reason unless the setting exists and takes this.
    fn check(&self, command: &Command) -> Result<(), String> {
        let key = &self.key;
        let arg = self
            .arg(command)
            .filter(|_| !NOT_IN_FILE.contains(&key.as_str()))
            .ok_or_else(|| format!("no setting is called {key}; {}", self.meant(command)))?;
        match (&self.values, arg.get_action()) {
            (Values::Switch(_), ArgAction::SetTrue) => return Ok(()),
            (_, ArgAction::SetTrue) => return Err(format!("{key} is either true or false")),
            (Values::Switch(_), _) => return Err(no_switch(key, arg)),
            (Values::List(_), action) if !matches!(action, ArgAction::Append) => {
                return Err(format!("{key} takes one value, not a list"));
            }
            _ => {}
        }
        check(arg, self.values.texts()).map_err(|error| reason(&error))
    }
}

impl Values {
    fn texts(&self) -> Vec<String> {
        match self {
            Self::Switch(on) => vec![on.to_string()],
            Self::One(text) => vec![text.clone()],
            Self::List(texts) => texts.clone(),
        }
    }
}

/// The entries of a file's text; or the line that is wrong, and why.
fn parse(text: &str, command: &Command) -> Result<Vec<Entry>, (usize, String)> {
    let line = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let line = line(error.span().map_or(0, |span| span.start));
        let written = text.lines().nth(line - 1).unwrap_or_default();
        (line, unread(written, error.message(), command))
    })?;
    let entries = table.into_inner().into_iter().map(|(key, value)| {
        let line = line(key.span().start);
        let key = key.into_inner().into_owned();
        let value = value.into_inner();
        let why_not = why_not(&value);
        match values(value) {
            Some(values) => Ok(Entry { key, line, values }),
            None => Err((
                line,
                format!("{key} is no text, number, switch or list{why_not}"),
            )),
        }
    });
    entries.collect()
}

/// Why a line cannot be read: with the setting in it, and without its value, which may be a secret.
fn unread(line: &str, problem: &str, command: &Command) -> String {
    let Some((key, value)) = line.split_once('=') else {
        return problem.to_owned();
    };
    let (key, value) = (key.trim(), value.trim());
    let is_key = |it: char| it.is_ascii_alphanumeric() || "-_".contains(it);
    if key.is_empty() || !key.chars().all(is_key) {
        return problem.to_owned();
    }
    if value.is_empty() {
        return format!("{key} has no value");
    }
    // Something else is wrong with a line that could stand alone, and with texts that have quotes.
    if value.contains(['"', '\'']) || DeTable::parse(line).is_ok() {
        return format!("{key}: {problem}");
    }
    let mut all = command.get_arguments();
    let arg = all.find(|arg| arg.get_long() == Some(key));
    if arg.is_some_and(|it| matches!(it.get_action(), ArgAction::SetTrue)) {
        return format!("{key} is either true or false, as in {key} = true ({problem})");
    }
    let first = arg.and_then(|it| choices(it).into_iter().next());
    let example = match first {
        Some(first) => format!("\"{first}\""),
        None if value.starts_with('[') => "[\"…\"]".to_owned(),
        None => "\"…\"".to_owned(),
    };
    format!(
        "{key}: a text stands in quotes, as in {key} = {example}; a whole number, true and false stand \
         without ({problem})"
    )
}

/// What is said of true and false for a setting that has other values.
fn no_switch(key: &str, arg: &Arg) -> String {
    let choices = choices(arg);
    match choices.first() {
        Some(first) => {
            let choices = choices.join(" or ");
            format!("{key} is no switch; it is {choices}, as in {key} = \"{first}\"")
        }
        None => format!("{key} is no switch"),
    }
}

/// The values that a setting can have, where these can be counted.
fn choices(arg: &Arg) -> Vec<String> {
    let choices = arg.get_possible_values().into_iter();
    choices.map(|it| it.get_name().to_owned()).collect()
}

/// What is said of a value that no setting has.
fn why_not(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::Float(_) | DeValue::Datetime(_) => ": in quotes it is a text",
        DeValue::Table(_) => ", but a table, and settings stand in none",
        _ => "",
    }
}

fn values(value: DeValue<'_>) -> Option<Values> {
    match value {
        DeValue::Boolean(on) => Some(Values::Switch(on)),
        DeValue::Array(items) => {
            let texts = items.into_iter().map(|item| text(item.into_inner()));
            texts.collect::<Option<_>>().map(Values::List)
        }
        one => text(one).map(Values::One),
    }
}

fn text(value: DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.into_owned()),
        DeValue::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_are_read_with_their_lines() {
        let text = "# a comment\nport = 5004\n\npeer = [\"a\",\n  \"b\"]\nopen = true\n";
        let entries = parse(text, &Command::new("larder")).unwrap();
        let find = |key: &str| entries.iter().find(|entry| entry.key == key).unwrap();
        let list = Values::List(vec!["a".to_owned(), "b".to_owned()]);
        for (key, line, values) in [
            ("port", 2, Values::One("5004".to_owned())),
            ("peer", 4, list),
            ("open", 6, Values::Switch(true)),
        ] {
            assert_eq!(
                (find(key).line, &find(key).values),
                (line, &values),
                "{key}"
            );
        }
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line() {
        for (text, line) in [
            ("port = \n", 1),
            ("\nport = 1\nport = 2", 3),
            ("[peer]\na = 1", 1),
            ("\n\npeer = [[1]]", 3),
            ("at = 2026-01-01", 1),
            ("ratio = 1.5", 1),
        ] {
            assert_eq!(
                parse(text, &Command::new("larder")).unwrap_err().0,
                line,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z=\\[\\]\", 0-9\n.#{}'-]{0,60}") {
            let lines = text.lines().count().max(1);
            match parse(&text, &Command::new("larder")) {
                Ok(entries) => prop_assert!(entries.iter().all(|entry| entry.line <= lines)),
                Err((line, _)) => prop_assert!(line <= lines + 1),
            }
        }
    }
}
