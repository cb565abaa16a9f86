//! The page in a browser, headless Chromium, as the scripts of `tests/browser` use it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use tempfile::TempDir;

use super::npm;
use super::process::Node;

/// A script that visits the page of a node.
fn script(name: &str, node: &Node, arguments: &[&dyn AsRef<OsStr>]) -> Command {
    script_at(name, &node.url("/"), arguments)
}

/// The same of whatever page is at this URL.
pub(crate) fn script_at(name: &str, url: &str, arguments: &[&dyn AsRef<OsStr>]) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let screenshots = root.join("target/screenshots");
    std::fs::create_dir_all(&screenshots).unwrap();
    let mut command = npm::node();
    command.arg(root.join("tests/browser").join(name));
    command.arg(url).args(arguments);
    command.env("SCREENSHOTS", screenshots);
    command
}

/// Runs such a script, which must succeed.
pub(crate) fn run(name: &str, node: &Node, arguments: &[&dyn AsRef<OsStr>]) {
    succeeds(&mut script(name, node, arguments));
}

/// Runs a script to its end.
pub(crate) fn succeeds(script: &mut Command) {
    let output = script.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// A script that says by lines how far it is.
pub(crate) struct Visit {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Visit {
    /// Begins one.
    pub(crate) fn begin(name: &str, node: &Node, arguments: &[&dyn AsRef<OsStr>]) -> Self {
        let mut script = script(name, node, arguments);
        let mut process = script.stdout(Stdio::piped()).spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, says }
    }

    /// Waits until it says what it says next, which must be this.
    pub(crate) fn until(&mut self, line: &str) {
        assert_eq!(self.says.next().unwrap().unwrap(), line);
    }

    /// Waits until it has ended, which must be well.
    pub(crate) fn end(mut self) {
        assert!(self.process.wait().unwrap().success());
    }
}

/// A directory with a file.
pub(crate) fn with_file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// What a camera reads in a picture.
pub(crate) fn code_in(picture: &Path) -> String {
    let mut read = Command::new("zbarimg");
    let read = read.args(["-q", "--raw"]).arg(picture).output().unwrap();
    String::from_utf8(read.stdout).unwrap().trim().to_owned()
}
