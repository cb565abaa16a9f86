//! `larder config`: the effective settings, and where each comes from.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches};
use serde::Serialize;

use super::client::plain;
use crate::config::{Settings, SettingsFile, Source};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Settings,

    /// Print one JSON object rather than a settings file.
    #[arg(long)]
    json: bool,

    /// Told by whoever has read the command line.
    #[arg(skip)]
    pub(super) effective: Vec<Setting>,
}

/// A setting as it counts.
#[derive(Debug, Serialize)]
pub(super) struct Setting {
    #[serde(skip)]
    name: String,
    /// None where it is not set, or a secret.
    value: Option<Value>,
    source: String,
    /// Why a value that it has is not among these.
    #[serde(skip)]
    unsaid: &'static str,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
enum Value {
    Switch(bool),
    Number(i64),
    Text(String),
    List(Vec<String>),
}

impl Arguments {
    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// The settings that a command line, the environment and a file give to `command`.
pub(super) fn effective(
    command: &clap::Command,
    matches: &ArgMatches,
    file: Option<&SettingsFile>,
) -> Vec<Setting> {
    let settings = command.get_arguments().filter(|arg| {
        let name = arg.get_long();
        !matches!(name, None | Some("help" | "version" | "config" | "json"))
    });
    let settings = settings.map(|arg| setting(arg, matches, file));
    settings.collect()
}

fn setting(arg: &Arg, matches: &ArgMatches, file: Option<&SettingsFile>) -> Setting {
    let name = arg.get_long().unwrap_or_default().to_owned();
    let raw = matches.get_raw(arg.get_id().as_str()).into_iter().flatten();
    let texts: Option<Vec<_>> = raw.map(|it| Some(it.to_str()?.to_owned())).collect();
    let Some(source) = Source::of(arg, matches, file) else {
        return Setting {
            name,
            value: None,
            source: "not set".to_owned(),
            unsaid: "",
        };
    };
    let (value, unsaid) = match texts {
        _ if arg.is_hide_env_values_set() => (None, ", and not shown"),
        None => (None, ", and no UTF-8, so that no settings file can say it"),
        Some(texts) => (value(arg, texts), ""),
    };
    Setting {
        name,
        value,
        source: source.to_string(),
        unsaid,
    }
}

/// What a setting is whose texts are these.
fn value(arg: &Arg, mut texts: Vec<String>) -> Option<Value> {
    if matches!(arg.get_action(), ArgAction::Append) {
        // An empty list is another one than that which counts where there is none.
        return Some(Value::List(texts));
    }
    let text = texts.pop()?;
    Some(match (arg.get_action(), text.parse::<i64>()) {
        (ArgAction::SetTrue, _) => Value::Switch(text == "true"),
        // A text of digits may be another one than its number, such as the name of a directory.
        (_, Ok(number)) if number.to_string() == text => Value::Number(number),
        _ => Value::Text(text),
    })
}

/// Prints the settings, if a node can be started by them; fails as that would where not, and prints
/// nothing.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    arguments.settings.checked()?;
    let mut out = stdout().lock();
    if arguments.json {
        let settings = arguments.effective.iter();
        let by_name: BTreeMap<_, _> = settings.map(|it| (&it.name, it)).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&by_name)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for Setting {
        name,
        value,
        source,
        unsaid,
    } in &arguments.effective
    {
        // The path of the file is one line, too.
        let source = plain(source);
        match value {
            Some(value) => writeln!(out, "{name} = {}  # {source}", toml(value))?,
            None => writeln!(out, "# {name}: {source}{unsaid}")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A value as a settings file has it.
fn toml(value: &Value) -> toml::Value {
    match value.clone() {
        Value::Switch(on) => on.into(),
        Value::Number(number) => number.into(),
        Value::Text(text) => text.into(),
        Value::List(texts) => texts.into(),
    }
}
