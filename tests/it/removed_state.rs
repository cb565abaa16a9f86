//! Small state that was removed, and a power cut.

use std::path::Path;
use std::sync::Arc;

use larder::disk::Disk;
use larder::state_file::StateFile;

use crate::common::power_cut::{Simulated, Variant};
use crate::common::recording_disk::RecordingDisk;

fn file(root: &Path, name: &str) -> StateFile {
    let path = root.join("states").join(name);
    StateFile::new(path, "test 1").with_before(root.join("before").join(name))
}

/// The version before is in another directory, whose changes may be lost where those of the first
/// are not.
#[test]
fn a_power_cut_brings_no_older_version_back_of_what_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let disk = RecordingDisk::new(dir.path(), Simulated::default(), Box::new(|| {}));
    for name in ["states", "before"] {
        disk.create_dir(&dir.path().join(name)).unwrap();
    }
    disk.sync_dir(dir.path()).unwrap();
    let on_disk = |name: &str| file(dir.path(), name).on(Arc::clone(&disk) as Arc<dyn Disk>);
    for content in [b"one", b"two"] {
        on_disk("removed").save(content).unwrap();
    }
    disk.open_dir(dir.path())
        .unwrap()
        .sync_file_system()
        .unwrap();
    let before = disk.count();
    on_disk("removed").remove(&*disk).unwrap();
    // This has the names beside it synced.
    on_disk("other").save(b"three").unwrap();
    let (mut now, mut seen) = (Simulated::default(), 0);
    for (done, operation) in disk.operations().iter().enumerate() {
        now.apply(operation);
        for variant in Variant::ALL.into_iter().filter(|_| done + 1 >= before) {
            let left = tempfile::tempdir().unwrap();
            now.cut_power(variant).write(left.path());
            let recalled = file(left.path(), "removed").load().unwrap();
            let is_right = recalled.as_deref().is_none_or(|it| it == b"two");
            assert!(is_right, "after {done}, {variant:?}: {recalled:?}");
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen}");
}
