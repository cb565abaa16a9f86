//! The commands that ask a node, as processes.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{self, JoinHandle};

use serde_json::Value;

/// The command, run in `dir`, where it also keeps its state, against the node at a URL.
pub(crate) fn command(dir: &Path, node: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.current_dir(dir).env_clear().args(arguments);
    command
        .env("LARDER_NODE", node)
        .env("XDG_STATE_HOME", dir.join("state"));
    command
}

pub(crate) fn run(dir: &Path, node: &str, arguments: &[&str]) -> Output {
    command(dir, node, arguments).output().unwrap()
}

/// A command that runs while what it prints is read.
pub(crate) struct Printing {
    process: Child,
    output: JoinHandle<Vec<u8>>,
}

impl Printing {
    pub(crate) fn start(dir: &Path, node: &str, arguments: &[&str]) -> Self {
        let mut command = command(dir, node, arguments);
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut output = process.stdout.take().unwrap();
        let reading = thread::spawn(move || {
            let mut all = Vec::new();
            output.read_to_end(&mut all).unwrap();
            all
        });
        Self {
            process,
            output: reading,
        }
    }

    /// All that it printed, if it did what it should.
    pub(crate) fn done(mut self) -> Vec<u8> {
        assert!(self.process.wait().unwrap().success());
        self.output.join().unwrap()
    }
}

/// The names in the directory of commands, sorted, but for that of their state.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|it| it != "state").collect();
    names.sort();
    names
}

/// What a command prints that does what it should, and says nothing else.
pub(crate) fn done(dir: &Path, node: &str, arguments: &[&str]) -> String {
    let output = run(dir, node, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// What it prints as JSON, an object a line.
pub(crate) fn json(dir: &Path, node: &str, arguments: &[&str]) -> Vec<Value> {
    let text = done(dir, node, &[arguments, &["--json"]].concat());
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Exit status and error text of a command that fails without any other output.
pub(crate) fn failed(dir: &Path, node: &str, arguments: &[&str]) -> (i32, String) {
    let output = run(dir, node, arguments);
    assert!(output.stdout.is_empty(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), told)
}
