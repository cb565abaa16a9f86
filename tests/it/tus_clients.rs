//! The clients that people use, tus-js-client, Uppy and tuspy, against a node; where they can go
//! on, both sides are killed.
//!
//! `tests/run` installs them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use larder::hash::BlobHash;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::common::tus::look;
use crate::common::{npm, venv};

const MIB: usize = 1 << 20;
const LENGTH: usize = 96 * MIB;
/// What the file is called that they upload.
const FILE: &str = "a file.bin";

/// A client that goes on where it was killed.
struct Client {
    command: Command,
    dir: TempDir,
    storage: PathBuf,
    running: Option<Child>,
}

impl Client {
    /// One that `command` runs with the endpoint, the file and where to remember uploads.
    fn new(mut command: Command, node: &Node, node_dir: &TempDir) -> Self {
        let dir = tempfile::tempdir().unwrap();
        command.arg(node.url("/api/p2p/tus"));
        command.arg(dir.path().join(FILE));
        command.arg(dir.path().join("urls.json"));
        command.stdout(Stdio::piped());
        Self {
            command,
            dir,
            storage: node_dir.path().join("peer_storage/uploading"),
            running: None,
        }
    }

    fn start(&mut self) {
        self.running = Some(self.command.spawn().unwrap());
    }

    /// Waits until the node holds so many bytes of an upload that is not whole.
    fn until_here(&self, bytes: usize) {
        until("enough has come", || {
            let len = self.len_at_node()?;
            assert!(
                len < LENGTH,
                "the upload was over before anybody was killed"
            );
            (len >= bytes).then_some(())
        });
    }

    fn len_at_node(&self) -> Option<usize> {
        let entries = std::fs::read_dir(&self.storage).ok()?;
        let paths = entries.filter_map(|it| Some(it.ok()?.path()));
        let contents = paths.filter(|path| path.extension().is_none());
        let all = contents.filter_map(|path| Some(path.metadata().ok()?.len()));
        usize::try_from(all.sum::<u64>()).ok()
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

/// Runs a script of `tests/clients`.
fn script(mut program: Command, name: &str) -> Command {
    program.arg(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/clients")
            .join(name),
    );
    program
}

/// A node that is killed and comes back under the same address.
fn restart(node: Node, dir: &TempDir) -> Node {
    let address = node.address.to_string();
    node.kill();
    Node::start(dir, &["--listen", &address])
}

fn goes_on(command: Command) {
    goes_on_with(command, &[]);
}

fn goes_on_with(command: Command, more: &[&str]) {
    let dir = &tempfile::tempdir().unwrap();
    let mut node = Node::start(dir, &[]);
    let mut client = Client::new(command, &node, dir);
    client.command.args(more);
    let content = content(1, LENGTH);
    std::fs::write(client.dir.path().join(FILE), &content).unwrap();
    client.start();
    client.until_here(LENGTH / 8);
    client.kill();
    let here = client.len_at_node().unwrap();
    client.start();
    client.until_here(here + LENGTH / 8);
    node = restart(node, dir);
    // The client itself goes on with the node that is back.
    client.until_here(here + LENGTH / 4);
    client.kill();
    node = restart(node, dir);
    client.start();
    let id = client.wait();

    let files = get(node.address, "/api/p2p/files", &[]).json();
    let files = files["files"].as_array().unwrap();
    assert_eq!(files.len(), 1, "{files:?}");
    let file = &files[0];
    assert_eq!(file["file_id"], *id);
    assert_eq!(file["original_name"], FILE);
    assert_eq!(file["content_type"], "application/x-test");
    assert_eq!(file["description"], "na\u{ef}ve");
    assert_eq!(file["hash"], BlobHash::of(&content).to_string());
    // Once more, and the upload is known to be finished.
    client.start();
    assert_eq!(client.wait(), id);
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["files"].as_array().unwrap().len(), 1);
}

#[test]
fn tus_js_client_goes_on_after_kills_on_both_sides() {
    goes_on(script(npm::node(), "upload.mjs"));
}

#[test]
fn tus_js_client_goes_on_with_parts_in_parallel() {
    goes_on_with(script(npm::node(), "upload.mjs"), &["4"]);
}

#[test]
fn uppy_uploads_as_a_whole_and_in_parallel_parts_from_a_page_of_another_site() {
    // The node has to know the page's origin before the page knows the node's.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let dir = tempfile::tempdir().unwrap();
    let origin = format!("http://127.0.0.1:{port}");
    let node = Node::start(&dir, &["--cors-origin", &origin]);
    for (number, parallel) in [(2, "1"), (3, "4")] {
        let path = dir.path().join(FILE);
        let content = content(number, 5 * MIB + 3);
        std::fs::write(&path, &content).unwrap();
        let mut uppy = script(npm::node(), "uppy.mjs");
        uppy.arg(node.url("/api/p2p/tus")).arg(&path);
        let output = uppy.args([parallel, &port]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let files = get(node.address, "/api/p2p/files", &[]).json();
        let files = files["files"].as_array().unwrap();
        let file = files.last().unwrap();
        assert_eq!(file["original_name"], FILE);
        assert_eq!(file["description"], "na\u{ef}ve");
        assert_eq!(file["hash"], BlobHash::of(&content).to_string());
        let url = String::from_utf8(output.stdout).unwrap();
        let upload = url.trim().split_once("/api").unwrap().1;
        let looked = look(node.address, &format!("/api{upload}"));
        assert_eq!(looked.header("larder-file-id"), file["file_id"]);
        let concat = looked.header("upload-concat");
        assert_eq!(concat.split(' ').count() == 4, parallel == "4", "{concat}");
    }
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["files"].as_array().unwrap().len(), 2);
}

#[test]
fn tuspy_goes_on_after_kills_on_both_sides() {
    goes_on(script(venv::command("python3"), "upload.py"));
}
