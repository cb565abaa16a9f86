//! The directory, told by made-up peers.

use super::*;

fn peer(number: u8) -> PeerId {
    PeerId::of_public_key(&[number; 32])
}

fn id(number: u8) -> FileId {
    FileId::from_bytes([number; 16])
}

fn file(number: u8, name: &str, content: Option<&str>) -> NetworkFile {
    NetworkFile {
        id: id(number),
        hash: content.map(|text| BlobHash::of(text.as_bytes())),
        name: name.to_owned(),
        size: 1,
        content_type: None,
        uploaded_at: "2026-01-21T10:00:00".to_owned(),
    }
}

fn all(directory: &Directory) -> Vec<Held> {
    directory.page(None, None, usize::MAX, usize::MAX).0
}

#[test]
fn a_file_shows_all_who_hold_its_content() {
    let directory = Directory::default();
    directory.put(peer(1), file(1, "a", Some("x"))).unwrap();
    directory.put(peer(2), file(2, "b", Some("x"))).unwrap();
    directory.put(peer(3), file(3, "c", None)).unwrap();
    let shown: Vec<_> = all(&directory).into_iter().map(|it| it.peers).collect();
    let both = BTreeSet::from([peer(1), peer(2)]);
    assert_eq!(shown, [both.clone(), both, BTreeSet::from([peer(3)])]);
    let providers = directory.providers(&BlobHash::of(b"x"));
    let holders: BTreeSet<_> = providers.iter().map(|it| it.peer).collect();
    assert_eq!(holders, BTreeSet::from([peer(1), peer(2)]));
}

#[test]
fn nobody_changes_what_another_told_of_a_file() {
    let directory = Directory::default();
    directory.put(peer(1), file(1, "true", Some("x"))).unwrap();
    directory.put(peer(2), file(1, "lie", Some("y"))).unwrap();
    assert_eq!(directory.get(peer(1), id(1)).unwrap().name, "true");
    assert_eq!(directory.with_id(id(1)).len(), 2);
    assert_eq!(directory.newest_named(peer(1), "lie"), None);
    directory.withdraw(peer(2), id(1));
    assert_eq!(directory.with_id(id(1))[0].file.name, "true");
}

#[test]
fn what_is_taken_back_is_gone_everywhere() {
    let directory = Directory::default();
    for number in 1..=3 {
        directory
            .put(peer(1), file(number, "a", Some("x")))
            .unwrap();
    }
    assert!(directory.withdraw(peer(1), id(1)));
    assert!(!directory.withdraw(peer(1), id(1)));
    assert_eq!(directory.count_of(peer(1)), 2);
    let again = Instant::now();
    directory.put(peer(1), file(2, "a", Some("x"))).unwrap();
    directory.keep_since(peer(1), again);
    assert_eq!(all(&directory)[0].file.id, id(2));
    directory.forget(peer(1));
    let state = directory.state();
    assert!(state.files.is_empty() && state.by_hash.is_empty() && state.peers.is_empty());
    assert_eq!(state.bytes, 0);
}

#[test]
fn there_is_room_for_so_much_per_peer_and_in_all() {
    let one = file(1, "a", None).bytes();
    let directory = Directory::new(Options {
        max_peer_bytes: 2 * one,
        max_bytes: 3 * one,
    });
    directory.put(peer(1), file(1, "a", None)).unwrap();
    directory.put(peer(1), file(2, "a", None)).unwrap();
    assert_eq!(directory.put(peer(1), file(3, "a", None)), Err(NoRoom));
    // What is known already may be told again.
    directory.put(peer(1), file(2, "a", None)).unwrap();
    directory.put(peer(2), file(1, "a", None)).unwrap();
    assert_eq!(directory.put(peer(2), file(2, "a", None)), Err(NoRoom));
    directory.forget(peer(1));
    directory.put(peer(2), file(2, "a", None)).unwrap();
}

#[test]
fn a_name_means_its_newest_file() {
    let directory = Directory::default();
    for number in 1..=3 {
        let name = if number == 3 { "other" } else { "name" };
        directory.put(peer(1), file(number, name, None)).unwrap();
    }
    let newest = directory.newest_named(peer(1), "name").unwrap();
    assert_eq!(newest.id, id(2));
    assert_eq!(directory.newest_named(peer(1), "nam"), None);
    assert_eq!(directory.newest_named(peer(2), "name"), None);
}

#[test]
fn pages_follow_each_other_and_search_names() {
    let directory = Directory::default();
    for number in 1..=5 {
        let name = if number % 2 == 0 { "Even.txt" } else { "odd" };
        directory.put(peer(1), file(number, name, None)).unwrap();
    }
    let ids = |page: &[Held]| page.iter().map(|it| it.file.id).collect::<Vec<_>>();
    let (page, next) = directory.page(None, None, 2, 100);
    assert_eq!(ids(&page), [id(1), id(2)]);
    let (page, next) = directory.page(next, None, 3, 100);
    assert_eq!((ids(&page), next), (vec![id(3), id(4), id(5)], None));
    let (page, _) = directory.page(None, Some("even"), 10, 100);
    assert_eq!(ids(&page), [id(2), id(4)]);
    let (page, next) = directory.page(None, Some("even"), 10, 1);
    assert_eq!((page, next), (vec![], Some((id(1), None))));
}
