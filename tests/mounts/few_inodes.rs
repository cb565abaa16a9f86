//! A file system with fewer inodes left than an upload needs.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::content::content;
use crate::common::forms::{file, form, upload, uploaded};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::small_disk::{SmallDisk, storage};

/// More than packs hold, so that it takes files.
const LONG: usize = 70_000;
/// Longer than a trial is waited for.
const TRIED: Duration = Duration::from_secs(5);

fn ready(node: &Node) -> u16 {
    get(node.address, "/ready", &[]).status
}

#[test]
fn a_node_is_not_ready_while_inodes_are_too_few_for_an_upload() {
    let disk = SmallDisk::mount_with("size=64M,nr_inodes=600");
    let node = Node::start(&disk.dir, &["--min-free", "0"]);
    uploaded(node.address, "before", &content(0, LONG));
    let path = |number: u32| -> PathBuf { storage(&disk.dir).join(format!("filler{number}")) };
    until("no inode is left", || {
        // What the node has in reserve goes, too.
        (0..1_000_000).find(|it| fs::File::create(path(*it)).is_err());
        (ready(&node) == 503).then_some(())
    });
    let mut refused = 0;
    for left in 0..6 {
        let body = form(&[file("refused", &content(100 + left, LONG))]);
        let answer = upload(node.address, &body);
        if answer.status != 200 {
            refused += 1;
            assert_eq!(answer.refusal(), (507, "disk_full".to_owned()));
            // However often it is tried.
            let began = Instant::now();
            while began.elapsed() < TRIED {
                assert_eq!(ready(&node), 503, "with {left} inodes");
            }
        }
        fs::remove_file(path(left)).unwrap();
    }
    assert!(refused > 0);
    for number in 6..600 {
        // There are not so many.
        let _ = fs::remove_file(path(number));
    }
    until("the node is ready again", || {
        (ready(&node) == 200).then_some(())
    });
    uploaded(node.address, "after", &content(1, LONG));
}
