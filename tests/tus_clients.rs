//! The clients that people use, tus-js-client and tuspy, against a node; both sides are killed.
//!
//! `tests/run` installs them to `target/clients`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A test fails by panicking.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::content::content;
use common::process::{Node, until};
use common::raw_http::get;
use larder::hash::BlobHash;
use tempfile::TempDir;

const MIB: usize = 1 << 20;
const LENGTH: usize = 96 * MIB;

/// A client that goes on where it was killed.
struct Client {
    /// The program and its first arguments.
    command: [PathBuf; 2],
    dir: TempDir,
    storage: PathBuf,
    running: Option<Child>,
}

impl Client {
    fn new(program: &Path, script: &str, node_dir: &TempDir) -> Self {
        assert!(
            program.is_absolute() && program.exists() || program == Path::new("node"),
            "{} is missing: tests/run installs it",
            program.display()
        );
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        Self {
            command: [program.to_owned(), scripts.join(script)],
            dir: tempfile::tempdir().unwrap(),
            storage: node_dir.path().join("peer_storage/uploading"),
            running: None,
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("a file.bin")
    }

    fn start(&mut self, node: &Node) {
        let [program, script] = &self.command;
        let child = Command::new(program)
            .arg(script)
            .arg(node.url("/api/p2p/tus"))
            .arg(self.file())
            .arg(self.dir.path().join("urls.json"))
            .env("CLIENTS", clients())
            .stdout(Stdio::piped())
            .spawn();
        self.running = Some(child.unwrap());
    }

    /// Waits until the node holds so many bytes of an upload that is not whole.
    fn until_here(&self, bytes: usize) {
        until("enough has come", || {
            let len = self.len_at_node()?;
            assert!(len < LENGTH, "the upload was over before anybody was killed");
            (len >= bytes).then_some(())
        });
    }

    fn len_at_node(&self) -> Option<usize> {
        let entries = std::fs::read_dir(&self.storage).ok()?;
        let mut paths = entries.filter_map(|it| Some(it.ok()?.path()));
        let content = paths.find(|path| path.extension().is_none())?;
        usize::try_from(content.metadata().ok()?.len()).ok()
    }

    fn kill(&mut self) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Waits for the end and returns the id of the file.
    fn wait(&mut self) -> String {
        let child = self.running.take().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            // It may have ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where the clients are installed.
fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

/// A node that is killed and comes back under the same address.
fn restart(node: Node, dir: &TempDir) -> Node {
    let address = node.address.to_string();
    node.kill();
    Node::start(dir, &["--listen", &address])
}

fn goes_on(mut client: Client, dir: &TempDir) {
    let content = content(1, LENGTH);
    std::fs::write(client.file(), &content).unwrap();
    let mut node = Node::start(dir, &[]);
    client.start(&node);
    client.until_here(LENGTH / 8);
    client.kill();
    let here = client.len_at_node().unwrap();
    client.start(&node);
    client.until_here(here + LENGTH / 8);
    node = restart(node, dir);
    // The client itself goes on with the node that is back.
    client.until_here(here + LENGTH / 4);
    client.kill();
    node = restart(node, dir);
    client.start(&node);
    let id = client.wait();

    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    let file = &files[0];
    assert_eq!(file["file_id"], *id);
    assert_eq!(file["original_name"], "a file.bin");
    assert_eq!(file["content_type"], "application/x-test");
    assert_eq!(file["description"], "na\u{ef}ve");
    assert_eq!(file["hash"], BlobHash::of(&content).to_string());
    // Once more, and the upload is known to be finished.
    let began = Instant::now();
    client.start(&node);
    client.wait();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{took:?}");
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["files"].as_array().unwrap().len(), 1);
}

#[test]
fn tus_js_client_goes_on_after_kills_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let module = clients().join("node_modules/tus-js-client");
    assert!(module.exists(), "tus-js-client is missing: tests/run installs it");
    goes_on(Client::new(Path::new("node"), "upload.mjs", &dir), &dir);
}

#[test]
fn tuspy_goes_on_after_kills_on_both_sides() {
    let dir = tempfile::tempdir().unwrap();
    let python = clients().join("venv/bin/python");
    goes_on(Client::new(&python, "upload.py", &dir), &dir);
}
