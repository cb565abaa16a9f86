//! System calls of a running node that fail, or take long, as strace has them.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use super::process::{Node, until};

/// Calls that go another way until this is dropped.
pub(crate) struct TracedCalls {
    strace: Child,
    /// A line for each.
    calls: NamedTempFile,
}

impl TracedCalls {
    /// Reads of this file in this node, which go as `how` says in the words of strace.
    pub(crate) fn of_reads(node: &Node, path: &Path, how: &str) -> Self {
        Self::of_all_reads(node, &[path], how)
    }

    /// Those of these files, which need not be there yet.
    pub(crate) fn of_all_reads(node: &Node, paths: &[&Path], how: &str) -> Self {
        Self::new(node, "pread64,preadv2", paths, how)
    }

    /// Calls of these names for these files.
    pub(crate) fn new(node: &Node, names: &str, paths: &[&Path], how: &str) -> Self {
        let calls = NamedTempFile::new().unwrap();
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", &format!("trace={names}")]);
        strace.args(["-e", &format!("inject={names}:{how}"), "-o"]);
        strace.arg(calls.path());
        for path in paths {
            strace.arg("-P").arg(path);
        }
        strace.args(["-p", &node.id().to_string()]);
        let strace = strace.stdout(Stdio::null()).spawn().unwrap();
        until("the node is traced", || node.is_traced().then_some(()));
        Self { strace, calls }
    }

    /// Waits until there was one.
    pub(crate) fn until_called(&self) {
        until("it is called", || {
            let length = self.calls.as_file().metadata().unwrap().len();
            (length > 0).then_some(())
        });
    }
}

/// Runs a command that is killed as it is about to do one of these for the nth time; whether it has
/// been.
pub(crate) fn is_killed_at(command: &Command, calls: &str, number: usize) -> bool {
    let mut strace = Command::new("strace");
    let (trace, inject) = (
        format!("trace={calls}"),
        format!("inject={calls}:signal=KILL"),
    );
    let inject = format!("{inject}:when={number}");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
    for (name, value) in command.get_envs() {
        // For the command alone, not for what traces it.
        let value = value.unwrap().to_str().unwrap();
        strace.args(["-E", &format!("{}={value}", name.to_str().unwrap())]);
    }
    strace.arg(command.get_program()).args(command.get_args());
    strace.current_dir(command.get_current_dir().unwrap());
    let ended = strace.stdout(Stdio::null()).stderr(Stdio::null()).status();
    !ended.unwrap().success()
}

impl Drop for TracedCalls {
    fn drop(&mut self) {
        // It lets go of the node when it is told to end, and has ended where that has.
        let pid = i32::try_from(self.strace.id()).unwrap();
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::INT);
        self.strace.wait().unwrap();
    }
}
