//! A node that is restarted, or whose answer is lost, while a command asks it: what was typed ends
//! as it would have without that.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Stdio};

use tempfile::TempDir;

use crate::common::commands::{command, done};
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::{held, until_sees};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::common::relay::Relay;

fn begin(here: &Path, url: &str, arguments: &[&str]) -> Child {
    let mut command = command(here, url, arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// What a command printed that went well all the same, and what it said of that.
fn ended(running: Child) -> (String, String) {
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

/// A node in `dir` that gets what it keeps through a cable.
fn start_in(dir: &TempDir, cable: &Relay, listen: &str) -> Node {
    let peer = cable.url();
    let usual = ["--discover-every", "1", "--peer", &peer, "--listen", listen];
    Node::start(dir, &usual)
}

/// How much of its one copy is there.
fn fetched(node: &Node) -> Option<u64> {
    let keeps = get(node.address, "/api/p2p/keep", &[]).json();
    keeps["keeps"].get(0)?["fetched"].as_u64()
}

#[test]
fn a_copy_is_waited_for_over_restarts_of_the_node() {
    let (far, near) = (Relay::new(), Relay::new());
    let holder_dir = tempfile::tempdir().unwrap();
    let holder = Node::start(&holder_dir, &["--base-url", &far.url()]);
    far.connect(holder.address);
    let bytes = content(5, 8 << 20);
    uploaded(holder.address, "file", &bytes);
    let dir = tempfile::tempdir().unwrap();
    let node = start_in(&dir, &far, "127.0.0.1:0");
    let address = node.address.to_string();
    until_sees(node.address, &["file"]);
    near.connect(node.address);
    far.stall_after(4 << 20);
    let here = tempfile::tempdir().unwrap();
    // One hears of the first restart as it happens, and the other only after the second.
    let mut direct = begin(here.path(), &node.url(""), &["keep", "file"]);
    let other = begin(here.path(), &near.url(), &["keep", "file"]);
    until("some of it is there", || {
        fetched(&node).filter(|it| *it > 0)
    });
    node.kill();
    let mut stderr = BufReader::new(direct.stderr.take().unwrap());
    let mut told = String::new();
    stderr.read_line(&mut told).unwrap();
    assert!(told.contains("tries again in "), "{told}");
    near.cut_after(0);
    far.mend();
    let node = start_in(&dir, &far, &address);
    let (printed, _) = ended(direct);
    assert!(printed.starts_with("keeps file"), "{printed}");
    stderr.read_to_string(&mut told).unwrap();
    // By its second restart it has forgotten that it was asked, since it keeps the file.
    node.stop();
    let node = start_in(&dir, &far, &address);
    assert_eq!(fetched(&node), None);
    near.mend();
    let (printed, _) = ended(other);
    assert!(printed.starts_with("keeps file"), "{printed}");
    let files = get(node.address, "/api/p2p/files", &[]).json();
    assert_eq!(files["total_files"], 1);
    let id = files["files"][0]["file_id"].as_str().unwrap();
    assert!(get(node.address, &format!("/api/p2p/file/{id}"), &[]).body == bytes);
}

#[test]
fn a_command_that_was_answered_ends_well_whichever_answer_after_that_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    // So that the room for more is the same, whatever others write to the disk.
    let node = Node::start(&dir, &["--quota", "1GB"]);
    let relay = Relay::new();
    relay.connect(node.address);
    let here = tempfile::tempdir().unwrap();
    let (here, url) = (here.path(), relay.url());
    for arguments in [&["rm", "a", "b"][..], &["info", "a", "b"], &["status"]] {
        let changes = arguments[0] == "rm";
        let prepare = || {
            if held(node.address).is_empty() {
                for name in ["a", "b"] {
                    uploaded(node.address, name, name.as_bytes());
                }
            }
        };
        prepare();
        let before = relay.carried();
        let undisturbed = done(here, &url, arguments);
        let whole = relay.carried() - before;
        // The first answer has come by then.
        for left in [whole / 2, whole * 2 / 3, whole * 5 / 6, whole - 60] {
            prepare();
            let before = relay.carried();
            relay.cut_after(left);
            let running = begin(here, &url, arguments);
            until("the cable is cut", || {
                (relay.carried() - before >= left).then_some(())
            });
            relay.mend();
            let (printed, told) = ended(running);
            assert_eq!(printed.lines().count(), undisturbed.lines().count());
            if changes {
                assert_eq!(held(node.address).len(), 0, "{told}");
            } else {
                assert_eq!(printed, undisturbed);
            }
        }
    }
}
