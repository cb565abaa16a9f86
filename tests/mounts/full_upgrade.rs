//! A storage directory of an older larder on a disk without room: it is not brought up, stays as
//! it is, and is once there is room.

use std::path::Path;

use crate::common::older::unpack_into;
use crate::common::process::{Node, larder};
use crate::common::tree::Tree;
use crate::small_disk::{SmallDisk, storage};

/// How much is left free, in bytes.
const LEFT: u64 = 4 << 20;

fn tree(disk: &SmallDisk) -> Tree {
    let mut tree = Tree::read(&storage(&disk.dir));
    tree.0.remove(Path::new("larder.lock"));
    tree
}

#[test]
fn where_there_is_no_room_for_an_upgrade_nothing_is_changed_and_that_is_told() {
    for archive in ["format-1.tar.gz", "format-2-first.tar.gz"] {
        let disk = SmallDisk::mount();
        unpack_into(archive, &storage(&disk.dir));
        let filler = disk.fill_to(LEFT);
        let before = tree(&disk);
        for arguments in [&["upgrade", "--check"][..], &["upgrade"], &[]] {
            let output = larder(disk.dir.path()).args(arguments).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(told.contains("[no_room_to_upgrade]"), "{told}");
            assert!(
                told.contains("MiB of room of which 4 MiB are free"),
                "{told}"
            );
            assert!(tree(&disk) == before, "{arguments:?} has changed something");
        }
        std::fs::remove_file(filler).unwrap();
        let node = Node::start(&disk.dir, &[]);
        node.stop();
        let verified = larder(disk.dir.path()).arg("verify").output().unwrap();
        assert!(verified.status.success(), "{verified:?}");
    }
}
