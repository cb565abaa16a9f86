//! What a simulated power cut leaves, which other tests build upon.

use std::path::Path;

use crate::common::power_cut::{Operation, Simulated, Variant};

#[test]
fn only_what_was_synced_survives_for_sure() {
    let mut disk = Simulated::default();
    for operation in [
        Operation::CreateDir("dir".into()),
        Operation::SyncDir("".into()),
        Operation::Create("dir/new".into(), 0),
        Operation::Write(0, 0, b"synced".to_vec()),
        Operation::Sync(0),
        Operation::Write(0, 6, b" not".to_vec()),
    ] {
        disk.apply(&operation);
    }
    for (variant, expected) in [
        (Variant::DropUnsynced, None),
        (Variant::KeepAll, Some("synced not")),
        (Variant::TornLast, Some("synced n")),
        (Variant::NamesWithoutData, Some("synced")),
        (Variant::ZerosForData, Some("synced\0\0\0\0")),
        (Variant::DataWithoutNames, None),
    ] {
        assert_eq!(left(&disk, variant, "dir/new").as_deref(), expected);
    }
    disk.apply(&Operation::SyncDir("dir".into()));
    for (variant, expected) in [
        (Variant::DropUnsynced, "synced"),
        (Variant::DataWithoutNames, "synced not"),
    ] {
        assert_eq!(left(&disk, variant, "dir/new").as_deref(), Some(expected));
    }
    disk.apply(&Operation::Sync(0));
    for variant in Variant::ALL {
        assert_eq!(
            left(&disk, variant, "dir/new").as_deref(),
            Some("synced not")
        );
    }
}

#[test]
fn an_unsynced_rename_or_removal_may_be_undone() {
    let mut disk = Simulated::default();
    for operation in [
        Operation::CreateDir("a".into()),
        Operation::CreateDir("b".into()),
        Operation::Create("a/1".into(), 0),
        Operation::Create("b/2".into(), 1),
        Operation::Write(0, 0, b"one".to_vec()),
        Operation::Write(1, 0, b"two".to_vec()),
        Operation::SyncFileSystem,
        Operation::Rename("a/1".into(), "b/2".into()),
    ] {
        disk.apply(&operation);
    }
    let both = |disk: &Simulated, variant| ["a/1", "b/2"].map(|path| left(disk, variant, path));
    let some = |text: &str| Some(text.to_owned());
    let undone = [some("one"), some("two")];
    assert_eq!(both(&disk, Variant::DropUnsynced), undone);
    assert_eq!(both(&disk, Variant::KeepAll), [None, some("one")]);
    disk.apply(&Operation::SyncDir("b".into()));
    let twice = [some("one"), some("one")];
    assert_eq!(both(&disk, Variant::DropUnsynced), twice);
    disk.apply(&Operation::Remove("b/2".into()));
    assert_eq!(both(&disk, Variant::DropUnsynced), twice);
    assert_eq!(both(&disk, Variant::KeepAll), [None, None]);
    disk.apply(&Operation::SyncFileSystem);
    for variant in Variant::ALL {
        assert_eq!(both(&disk, variant), [None, None]);
    }
}

#[test]
fn a_directory_whose_name_is_lost_takes_its_files_along() {
    let mut disk = Simulated::default();
    for operation in [
        Operation::CreateDir("dir".into()),
        Operation::Create("dir/file".into(), 0),
        Operation::Sync(0),
        Operation::SyncDir("dir".into()),
    ] {
        disk.apply(&operation);
    }
    assert_eq!(left(&disk, Variant::DropUnsynced, "dir/file"), None);
    assert_eq!(
        left(&disk, Variant::KeepAll, "dir/file"),
        Some(String::new())
    );
}

/// What a power cut leaves of a file; None if it is gone.
fn left(disk: &Simulated, variant: Variant, path: &str) -> Option<String> {
    let tree = disk.cut_power(variant);
    let bytes = tree.0.get(Path::new(path))?.clone();
    Some(String::from_utf8(bytes.unwrap()).unwrap())
}
