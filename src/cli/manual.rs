//! What shells and `man` need to know of the commands.

use std::fs;
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap_complete::Shell;
use clap_mangen::Man;

#[derive(clap::Args)]
pub(super) struct Completions {
    /// The shell to complete commands in.
    shell: Shell,
}

#[derive(clap::Args)]
pub(super) struct Manual {
    /// A command whose page is printed, or a directory for the pages of all, which is made if its
    /// path has a slash; ./NAME is a directory also where a command has that name [default: prints
    /// the first page].
    #[arg(value_name = "COMMAND|DIRECTORY")]
    target: Option<PathBuf>,
}

impl Completions {
    /// Prints a script for the shell.
    pub(super) fn run(&self, mut command: clap::Command) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut command, "larder", &mut script);
        stdout().write_all(&script)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Manual {
    /// Prints the first page or that of a command, or writes all of them, into a directory that is
    /// made if it is not there.
    pub(super) fn run(&self, command: clap::Command) -> anyhow::Result<ExitCode> {
        let mut command = command.disable_help_subcommand(true);
        command.build();
        let directory = match &self.target {
            None => return print(&command),
            Some(target) => match named(&command, target) {
                Some(command) => return print(command),
                None if is_mistyped(target) => {
                    let target = target.display();
                    let told = format!(
                        "there is no command {target}, and no directory; ./{target} makes one"
                    );
                    command.error(ErrorKind::InvalidValue, told).exit()
                }
                None => target,
            },
        };
        let written = fs::create_dir_all(directory).and_then(|()| {
            for command in below(&command).into_iter().chain([&command]) {
                let file = Man::new(command.clone()).get_filename();
                fs::write(directory.join(file), page(command)?)?;
            }
            Ok(())
        });
        written.with_context(|| format!("cannot write to {}", directory.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The command that is called so, as people or as the files of the pages call it.
fn named<'a>(command: &'a clap::Command, target: &Path) -> Option<&'a clap::Command> {
    let name = target.to_str()?;
    let name = name.strip_prefix("larder-").unwrap_or(name);
    let all = below(command).into_iter();
    let mut all = all.filter_map(|it| Some((it.get_display_name()?.strip_prefix("larder-")?, it)));
    all.find(|(called, _)| *called == name).map(|it| it.1)
}

/// All commands below this one.
fn below(command: &clap::Command) -> Vec<&clap::Command> {
    let own = command.get_subcommands();
    own.flat_map(|it| std::iter::once(it).chain(below(it)))
        .collect()
}

/// Whether this is a word alone, and neither a command nor a directory.
fn is_mistyped(target: &Path) -> bool {
    target.components().count() == 1
        && !target.as_os_str().as_encoded_bytes().contains(&b'/')
        && !target.exists()
}

fn print(command: &clap::Command) -> anyhow::Result<ExitCode> {
    stdout().write_all(&page(command)?)?;
    Ok(ExitCode::SUCCESS)
}

/// The page of one command, with what scripts want to know: how it ends, and which variables
/// count.
fn page(command: &clap::Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let version = concat!("larder ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(version).manual("larder");
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    let variables: Vec<_> = command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_env()?.to_str()?, arg.get_long()?)))
        .collect();
    if !variables.is_empty() {
        let told = b".SH ENVIRONMENT\nFlags go before variables; an empty one is refused.\n";
        page.write_all(told)?;
    }
    for (variable, flag) in variables {
        let flag = escaped(flag);
        write!(page, ".TP\n\\fB{variable}\\fR\nthe same as \\-\\-{flag}\n")?;
    }
    for (variable, meaning) in heeded(command) {
        let meaning = escaped(meaning);
        write!(page, ".TP\n\\fB{variable}\\fR\n{meaning}\n")?;
    }
    if let Some(text) = command.get_after_help() {
        write_statuses(&text.to_string(), &mut page)?;
    }
    if command.get_name() != "larder" {
        page.write_all(b".SH SEE ALSO\n\\fBlarder\\fR(1)\n")?;
    }
    Ok(page)
}

/// The variables that a command heeds besides those of its flags, and what each is for.
fn heeded(command: &clap::Command) -> Vec<(&'static str, &'static str)> {
    let mut heeded = Vec::new();
    if command.get_arguments().any(|arg| arg.get_id() == "node") {
        heeded.push((
            "http_proxy, https_proxy, all_proxy, no_proxy",
            "the proxy that is asked for a node of another machine, as for curl",
        ));
        heeded.push((
            "LARDER_CONFIG, PEER_PORT, LARDER_LISTEN, LARDER_TLS_CERT, ...",
            "without --node, the settings of the node that is asked, as larder-serve(1) has them",
        ));
    }
    match command.get_name() {
        "put" => {
            heeded.push((
                "XDG_STATE_HOME",
                "where it notes what is on its way, in a folder larder [default: ~/.local/state]",
            ));
            heeded.push((
                "TMPDIR",
                "where what comes through a pipe is kept until it is sent [default: /tmp]",
            ));
        }
        "verify" => heeded.push((
            "TMPDIR",
            "where it makes what it needs if it cannot write to the storage directory \
             [default: /tmp]",
        )),
        _ => {}
    }
    heeded
}

/// Writes what the help says of exit statuses as a section.
fn write_statuses(text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for line in text.lines() {
        let number = line.trim_start().split_once("  ");
        let number = number.filter(|(number, _)| number.bytes().all(|it| it.is_ascii_digit()));
        match number {
            _ if line == "Exit status:" => page.write_all(b".SH EXIT STATUS\n")?,
            Some((number, meaning)) => write!(page, ".TP\n{number}\n{}\n", escaped(meaning))?,
            None if line.starts_with(' ') => writeln!(page, "{}", escaped(line.trim()))?,
            None => write!(page, ".PP\n{}\n", escaped(line))?,
        }
    }
    Ok(())
}

/// A text in which nothing is a command of the typesetter.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        return format!("\\&{text}");
    }
    text
}
