//! A disk that the system makes read-only while a node runs: its stop tells that in one line.
//!
//! The disk is an ext4 file system in a file, which the test mounts and breaks; that takes root.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::mounted::Mounted;

fn done(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A file system of its own for a storage directory.
fn mounted(storage: &Path, image: &Path) -> Mounted {
    File::create(image).unwrap().set_len(200 << 20).unwrap();
    done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image));
    let image = image.to_str().unwrap();
    Mounted::by(&["-o", "loop,errors=remount-ro", image], storage)
}

/// Has the system find an error, after which it takes no more writes.
fn break_off(mounted: &Mounted) {
    let mut find = Command::new("findmnt");
    let device = done(find.args(["-no", "SOURCE"]).arg(&mounted.0));
    let device = Path::new(device.trim()).file_name().unwrap().to_owned();
    let trigger = Path::new("/sys/fs/ext4").join(device);
    fs::write(trigger.join("trigger_fs_error"), "1").unwrap();
}

#[test]
fn a_stop_on_a_disk_that_became_read_only_ends_with_one_clear_line() {
    for idle in [false, true] {
        let dir = TempDir::new().unwrap();
        let storage = dir.path().join("peer_storage");
        let image = dir.path().join("image");
        let mounted = mounted(&storage, &image);
        let node = Node::start(&dir, &[]);
        if !idle {
            uploaded(node.address, "kept", &content(1, 100_000));
        }
        break_off(&mounted);
        until("it is not ready", || {
            (get(node.address, "/ready", &[]).status == 503).then_some(())
        });
        node.signal(Signal::TERM);
        let status = node.wait();
        assert_eq!(status.code(), Some(1));
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        assert!(!log.contains("panicked"), "{log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("larder: the last changes may not be on disk"),
            "{log}"
        );
    }
}
