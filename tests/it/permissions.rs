//! Who else may get at what is stored: nobody, whatever the umask says.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::peers::peer_id;
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;
use crate::common::tus;

/// The command with this umask.
fn under(umask: &str, dir: &TempDir, arguments: &[&str]) -> Command {
    let bare = larder(dir.path());
    let mut command = Command::new("/bin/bash");
    let script = format!("umask {umask} && exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(bare.get_program());
    command.args(arguments).current_dir(dir.path()).env_clear();
    let set = bare.get_envs();
    command.envs(set.filter_map(|(name, value)| Some((name, value?))));
    command
}

/// The directory and all that is in it, with its mode.
fn modes(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mode = |path: &Path| fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777;
    let mut modes = vec![(dir.to_owned(), mode(dir))];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            modes.extend(self::modes(&path));
        } else {
            modes.push((path.clone(), mode(&path)));
        }
    }
    modes
}

fn assert_private(dir: &Path) {
    for (path, mode) in modes(dir) {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, wanted, "{} is {mode:o}", path.display());
    }
}

fn use_it(node: &Node) {
    uploaded(node.address, "short", &content(1, 100));
    uploaded(node.address, "long", &content(2, 200_000));
    let upload = tus::created(node.address, 100_000);
    tus::patched(node.address, &upload, 0, &content(3, 70_000));
}

#[test]
fn what_is_stored_is_its_owners_alone_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        let dir = tempfile::tempdir().unwrap();
        let storage = dir.path().join("peer_storage");
        for _ in 0..2 {
            let node = Node::spawn(&dir, under(umask, &dir, &["--discover-every", "1"]));
            use_it(&node);
            let peer = tempfile::tempdir().unwrap();
            let arguments = ["--discover-every", "1", "--peer", &node.url("")];
            let peer = Node::start(&peer, &arguments);
            // It may remember that of the first time, too.
            let id = peer_id(peer.address);
            until("the peer is met", || {
                let told = get(node.address, "/api/peers", &[]).json();
                let mut peers = told["peers"].as_array().unwrap().iter();
                peers.any(|it| it["peer_id"] == *id).then_some(())
            });
            assert!(modes(&storage).len() > 15);
            assert_private(&storage);
            node.stop();
            assert_private(&storage);
        }
        let verify = under(umask, &dir, &["verify"]).output().unwrap();
        assert!(verify.status.success(), "{verify:?}");
        let rebuild = under(umask, &dir, &["rebuild-index"]).output().unwrap();
        assert!(rebuild.status.success(), "{rebuild:?}");
        assert_private(&storage);
    }
}

#[test]
fn what_a_bootstrap_server_stores_is_its_owners_alone() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["bootstrap", "--listen", "127.0.0.1:0"];
    let server = Node::spawn(&dir, under("000", &dir, &arguments));
    let url = format!("http://{}", server.address);
    let peer = tempfile::tempdir().unwrap();
    let _peer = Node::start(&peer, &["--discover-every", "1", "--bootstrap", &url]);
    until("the peer is registered", || {
        let told = get(server.address, "/health", &[]).json();
        (told["peers"] == 1).then_some(())
    });
    server.stop();
    assert_private(&dir.path().join("bootstrap_storage"));
}

#[test]
fn an_open_directory_is_told_and_opened_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let storage = dir.path().join("peer_storage");
    let node = Node::start(&dir, &[]);
    let file = uploaded(node.address, "a", b"a");
    node.stop();
    let told = |dir: &Path| {
        let log = fs::read_to_string(dir.join("log")).unwrap();
        let warnings = log.lines().filter(|it| it.contains(" WARN "));
        let open = warnings.filter(|it| it.contains("other users of this machine"));
        open.count()
    };
    assert_eq!(told(dir.path()), 0);
    for (times, mode) in (1..).zip([0o755, 0o777, 0o710, 0o705]) {
        fs::set_permissions(&storage, Permissions::from_mode(mode)).unwrap();
        let node = Node::start(&dir, &[]);
        assert_eq!(told(dir.path()), times, "{mode:o}");
        let target = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        assert_eq!(get(node.address, &target, &[]).body, b"a");
        let name = format!("{mode:o}");
        uploaded(node.address, &name, &content(mode, 100_000));
        node.stop();
        let inside = modes(&storage).split_off(1);
        for (path, mode) in inside {
            assert_eq!(mode & 0o077, 0, "{} is {mode:o}", path.display());
        }
    }
}

/// The command without the right of root to read whatever the rights of a file say.
fn without_override(dir: &TempDir, arguments: &[&str]) -> Command {
    let bare = larder(dir.path());
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        for set in ["--bounding-set", "--inh-caps"] {
            command.args([set, "-dac_override,-dac_read_search"]);
        }
        command.arg(bare.get_program());
        command
    } else {
        Command::new(bare.get_program())
    };
    command.args(arguments).current_dir(dir.path()).env_clear();
    let set = bare.get_envs();
    command.envs(set.filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn content_that_the_node_may_not_read_is_told_with_its_file_and_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(&dir, &[]);
    let bytes = content(2, 200_000);
    let file = uploaded(node.address, "long", &bytes);
    node.stop();
    let hash = file["hash"].as_str().unwrap();
    let blob = format!("peer_storage/blobs/{}/{hash}", &hash[..2]);
    let allow = |mode| {
        let blob = dir.path().join(&blob);
        fs::set_permissions(blob, Permissions::from_mode(mode)).unwrap();
    };
    allow(0);
    let node = Node::spawn(&dir, without_override(&dir, &[]));
    let by_id = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
    let assert_found = |unreadable: u64, status: &str| {
        let health = get(node.address, "/health", &[]).json();
        assert_eq!(health["damaged"], 0, "{health}");
        assert_eq!(health["unreadable"], unreadable, "{health}");
        assert_eq!(health["status"], status, "{health}");
    };
    let refused = get(node.address, &by_id, &[]).refusal();
    assert_eq!(refused, (503, "unreadable".to_owned()));
    assert_found(1, "degraded");
    let log = node.log();
    let told = log
        .lines()
        .find(|it| it.contains("ERROR") && it.contains(&blob));
    assert!(
        told.is_some_and(|it| it.contains("Permission denied")),
        "{log}"
    );
    // An archive tries again, too, and says the same until it is to be had.
    let archive = format!("/api/p2p/zip?id={}", file["file_id"].as_str().unwrap());
    for _ in 0..2 {
        let refused = get(node.address, &archive, &[]).refusal();
        assert_eq!(refused, (503, "unreadable".to_owned()));
    }
    allow(0o600);
    assert_eq!(get(node.address, &archive, &[]).status, 200);
    assert!(get(node.address, &by_id, &[]).body == bytes);
    assert_found(0, "healthy");
    node.stop();
    allow(0);
    let checked = without_override(&dir, &["verify"]).output().unwrap();
    let told = String::from_utf8(checked.stdout).unwrap();
    assert!(
        told.contains(&blob) && told.contains("Permission denied"),
        "{told}"
    );
}
