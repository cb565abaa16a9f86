//! What clap says of wrong values, whose they are, and who gave them.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::alike::command_of_others;
use crate::safe_name::is_unsafe;

/// The flag whose value clap refuses, without hyphens; None where it refuses something else,
/// such as a flag that does not exist.
pub(super) fn refused_flag(error: &clap::Error) -> Option<String> {
    let is_of_value = matches!(
        error.kind(),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation
    );
    let argument = error.get(ContextKind::InvalidArg).filter(|_| is_of_value)?;
    let argument = argument.to_string();
    let (flag, _) = argument.split_once([' ', '=']).unwrap_or((&argument, ""));
    flag.strip_prefix("--").map(str::to_owned)
}

/// What clap says of a wrong value, in one line and without its advice. What may be a URL with
/// a password is not repeated.
pub(super) fn reason(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.split("\n\n").next().unwrap_or_default();
    let lines = text.trim_start_matches("error: ").lines();
    let text = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    let text: String = text.chars().filter(|it| !is_unsafe(*it)).collect();
    let value = error.get(ContextKind::InvalidValue);
    match value.map(ToString::to_string) {
        Some(value) if value.contains('@') => text.replace(&format!(" '{value}'"), ""),
        _ => text,
    }
}

/// What clap says of a command line that is wrong otherwise, in one line, with what it takes for
/// meant and where more is told.
pub(super) fn usage(error: &clap::Error, command: &Command) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return unfinished(command);
    }
    let meant = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    let meant = meant.into_iter().find_map(|it| match error.get(it)? {
        ContextValue::String(one) => Some(one.clone()),
        // The most alike comes last.
        ContextValue::Strings(several) => several.last().cloned(),
        _ => None,
    });
    // Which command it is about is told by the line that shows how that is called.
    let usage = error.get(ContextKind::Usage).map(ToString::to_string);
    let words = usage.unwrap_or_default();
    let mut words = words.split_whitespace().skip_while(|it| *it != "larder");
    let named = words
        .nth(1)
        .and_then(|it| Some((it, command.find_subcommand(it)?)));
    let meant = meant.map(|it| format!("; did you mean {it}?"));
    let hint = match named {
        Some((name, command)) => meant.unwrap_or_else(|| with_hyphen(error, name, command)),
        None => of_command(error, command)
            .or_else(|| of_others(error))
            .or(meant)
            .unwrap_or_default(),
    };
    let named = named.map_or_else(String::new, |(it, _)| format!("{it} "));
    format!(
        "{}{hint} (`larder {named}--help` tells more)",
        reason(error)
    )
}

/// What is said of a command line that ends where one of several commands is to follow.
fn unfinished(command: &Command) -> String {
    let mut typed = std::env::args_os().skip(1);
    let named = typed.find_map(|it| command.find_subcommand(it));
    let named = named.filter(|it| it.has_subcommands());
    let of = named.unwrap_or(command).get_subcommands();
    let follow: Vec<_> = of
        .map(Command::get_name)
        .filter(|it| *it != "help")
        .collect();
    let name = named.map_or_else(String::new, |it| format!("{} ", it.get_name()));
    let follow = follow.join(", ");
    format!("one of these is to follow: {follow} (`larder {name}--help` tells more)")
}

/// What is said of a command that only other programs have.
fn of_others(error: &clap::Error) -> Option<String> {
    let typed = error.get(ContextKind::InvalidSubcommand);
    let typed = typed.or_else(|| error.get(ContextKind::InvalidArg))?;
    let meant = command_of_others(&typed.to_string())?;
    Some(format!("; did you mean {meant}?"))
}

/// What is said of a flag before the command that has it.
fn of_command(error: &clap::Error, command: &Command) -> Option<String> {
    let refused = error.get(ContextKind::InvalidArg)?.to_string();
    let flag = refused.strip_prefix("--")?;
    let has_flag = |it: &&Command| it.get_arguments().any(|arg| arg.get_long() == Some(flag));
    let typed = std::env::args_os().skip(1);
    let mut typed = typed.filter_map(|it| command.find_subcommand(it));
    let mut any = command.get_subcommands();
    let of = typed.find(has_flag).or_else(|| any.find(has_flag))?;
    let name = of.get_name();
    Some(format!(
        "; it stands behind the command, as in `larder {name} {refused} …`"
    ))
}

/// What is said of something that is called like a flag, for a command that takes names.
fn with_hyphen(error: &clap::Error, name: &str, command: &Command) -> String {
    let takes_names = command.get_positionals().next().is_some();
    let refused = error.get(ContextKind::InvalidArg).map(ToString::to_string);
    let refused = refused.filter(|_| takes_names && error.kind() == ErrorKind::UnknownArgument);
    let Some(refused) = refused.filter(|it| it.starts_with('-')) else {
        return String::new();
    };
    // Of several letters behind one hyphen clap tells the one that means nothing.
    let letter = refused.strip_prefix('-').unwrap_or_default();
    let has_letter = |it: &str| {
        let letters = it.strip_prefix('-').filter(|it| !it.starts_with('-'));
        it == refused || letters.is_some_and(|it| it.contains(letter))
    };
    let typed = std::env::args_os().map(|it| it.to_string_lossy().into_owned());
    let typed = typed.skip(1).find(|it| has_letter(it)).unwrap_or(refused);
    // Whatever a shell or a terminal would take otherwise is not typed once more.
    let is_plain = |it: char| it.is_alphanumeric() || "-_.,:+/".contains(it);
    let typed = if typed.chars().all(is_plain) {
        typed
    } else {
        "FILE".to_owned()
    };
    format!("; what is called so stands behind --, as in `larder {name} -- {typed}`")
}

/// Fails as clap would of these values of an argument alone.
pub(super) fn check<Value: AsRef<OsStr>>(
    arg: &Arg,
    values: impl IntoIterator<Item = Value>,
) -> Result<(), clap::Error> {
    let name = arg.get_long().unwrap_or_default();
    let flags = values.into_iter().map(|value| {
        let mut flag = OsString::from(format!("--{name}="));
        flag.push(value);
        flag
    });
    let line = std::iter::once(OsString::from("larder")).chain(flags);
    let alone = Command::new("larder").arg(without_variable(arg.clone()));
    alone.try_get_matches_from(line).map(drop)
}

/// The environment variable that gave the value of `flag` which clap refuses with `error`;
/// None where the command line did.
pub(super) fn variable_at_fault(
    command: &Command,
    flag: &str,
    error: &clap::Error,
) -> Option<String> {
    let line_alone = without_environment(command.clone()).try_get_matches();
    if line_alone.is_err_and(|it| refused_flag(&it) == refused_flag(error)) {
        return None;
    }
    let all = std::iter::once(command).chain(command.get_subcommands());
    let mut called_so = all
        .flat_map(Command::get_arguments)
        .filter(|arg| arg.get_long() == Some(flag));
    called_so.find_map(|arg| {
        let variable = arg.get_env()?;
        check(arg, [std::env::var_os(variable)?]).err()?;
        Some(variable.to_string_lossy().into_owned())
    })
}

fn without_environment(command: Command) -> Command {
    command
        .mut_args(without_variable)
        .mut_subcommands(without_environment)
}

fn without_variable(arg: Arg) -> Arg {
    arg.env(None::<&'static str>)
}
