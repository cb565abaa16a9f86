//! `larder config`: the effective settings, and where each comes from.

use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches};
use serde::Serialize;

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
    let id = arg.get_id().as_str();
    let raw = matches.get_raw(id).into_iter().flatten();
    let texts: Vec<String> = raw.map(|it| it.to_string_lossy().into_owned()).collect();
    let source = Source::of(arg, matches, file);
    let source = source.map_or("not set".to_owned(), |it| it.to_string());
    let secret = arg.is_hide_env_values_set();
    Setting {
        name,
        value: value(arg, texts).filter(|_| !secret),
        source,
    }
}

fn value(arg: &Arg, mut texts: Vec<String>) -> Option<Value> {
    if matches!(arg.get_action(), ArgAction::Append) {
        return (!texts.is_empty()).then_some(Value::List(texts));
    }
    let text = texts.pop()?;
    Some(match (arg.get_action(), text.parse()) {
        (ArgAction::SetTrue, _) => Value::Switch(text == "true"),
        (_, Ok(number)) => Value::Number(number),
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
    } in &arguments.effective
    {
        match value {
            Some(value) => writeln!(out, "{name} = {}  # {source}", toml(value))?,
            None => writeln!(out, "# {name}: {source}")?,
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
