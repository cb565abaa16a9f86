//! What every place for small state promises.

use std::sync::Arc;

use super::local::LocalState;
use super::memory::MemoryState;
use super::*;
use crate::disk::RealDisk;

const SINGLE: StateName = StateName::Single {
    name: "one",
    kind: "larder-one 1",
};
const SET: StateSet = StateSet {
    is_of: |_, _| true,
    is_id: |_| true,
    name: "many",
    kind: "larder-many 1",
};
const KEEP: Duration = Duration::from_hours(1);

fn one_of(id: &str) -> StateName {
    StateName::OneOf(SET, id.to_owned())
}

fn ids(found: &[Saved]) -> Vec<&str> {
    found.iter().map(|it| &*it.id).collect()
}

async fn conforms(state: &dyn SmallState) {
    assert_eq!(state.load(&SINGLE).await.unwrap(), None);
    assert_eq!(state.prepare(SET, KEEP).await.unwrap(), []);
    for content in [&b"first"[..], b"", b"last"] {
        for name in [&SINGLE, &one_of("a"), &one_of("b")] {
            state.save(name, content.to_vec()).await.unwrap();
            let loaded = state.load(name).await.unwrap();
            assert_eq!(loaded.as_deref(), Some(content), "{name}");
        }
    }
    state.save(&one_of("b"), b"other".to_vec()).await.unwrap();
    let found = state.prepare(SET, KEEP).await.unwrap();
    assert!(found.iter().all(|it| it.age < KEEP));
    let found = found.iter();
    let found: Vec<_> = found.map(|it| (&*it.id, it.content.as_deref())).collect();
    assert_eq!(found, [("a", Some(&b"last"[..])), ("b", Some(b"other"))]);
    for name in [SINGLE, one_of("a")] {
        state.remove(&name).await.unwrap();
        state.remove(&name).await.unwrap();
        assert_eq!(state.load(&name).await.unwrap(), None, "{name}");
    }
    let found = state.prepare(SET, KEEP).await.unwrap();
    assert_eq!(found.len(), 1);
    state.remove(&one_of("b")).await.unwrap();
}

#[tokio::test]
async fn every_place_keeps_what_was_saved_until_it_is_removed() {
    conforms(&MemoryState::default()).await;
    let dir = tempfile::tempdir().unwrap();
    conforms(&LocalState::new(dir.path(), Arc::new(RealDisk))).await;
}

#[tokio::test]
async fn what_stands_beside_a_set_is_removed_and_what_was_set_aside_stays_for_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let state = LocalState::new(dir.path(), Arc::new(RealDisk));
    state.prepare(SET, KEEP).await.unwrap();
    state.save(&one_of("a"), b"a".to_vec()).await.unwrap();
    let many = dir.path().join("many");
    let left = || {
        let names = std::fs::read_dir(&many).unwrap();
        let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    // What has no dot is somebody else's.
    for name in [".hidden", "note.txt", "content", "b.state"] {
        std::fs::write(many.join(name), b"none").unwrap();
    }
    // What is set aside is found, too, so that what it is about stays as long.
    assert_eq!(ids(&state.prepare(SET, KEEP).await.unwrap()), ["a", "b"]);
    assert_eq!(left(), ["a.state", "b.state.damaged", "content"]);
    let found = state.prepare(SET, Duration::ZERO).await.unwrap();
    assert_eq!(ids(&found), ["a"]);
    assert_eq!(left(), ["a.state", "content"]);
}
