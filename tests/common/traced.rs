//! Reads of one file in a running node that fail, or take long, as strace has them.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use super::process::{Node, until};

/// Reads of one file that go another way until this is dropped.
pub(crate) struct TracedReads {
    strace: Child,
    /// A line for each.
    reads: NamedTempFile,
}

impl TracedReads {
    /// Those of this file in this node, which go as `how` says in the words of strace.
    pub(crate) fn new(node: &Node, path: &Path, how: &str) -> Self {
        Self::of_all(node, &[path], how)
    }

    /// Those of these files, which need not be there yet.
    pub(crate) fn of_all(node: &Node, paths: &[&Path], how: &str) -> Self {
        let reads = NamedTempFile::new().unwrap();
        let inject = format!("inject=pread64,preadv2:{how}");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=pread64,preadv2", "-e", &inject]);
        strace.arg("-o").arg(reads.path());
        for path in paths {
            strace.arg("-P").arg(path);
        }
        strace.args(["-p", &node.id().to_string()]);
        let strace = strace.stdout(Stdio::null()).spawn().unwrap();
        until("the node is traced", || node.is_traced().then_some(()));
        Self { strace, reads }
    }

    /// Waits until the file is read.
    pub(crate) fn until_read(&self) {
        until("it is read", || {
            let length = self.reads.as_file().metadata().unwrap().len();
            (length > 0).then_some(())
        });
    }
}

impl Drop for TracedReads {
    fn drop(&mut self) {
        // It lets go of the node when it is told to end, and has ended where that has.
        let pid = i32::try_from(self.strace.id()).unwrap();
        let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::INT);
        self.strace.wait().unwrap();
    }
}
