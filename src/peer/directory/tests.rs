//! The directory, told by made-up peers.

use std::collections::BTreeSet;

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
    directory.begin_reading(peer(1));
    directory.put(peer(1), file(2, "a", Some("x"))).unwrap();
    directory.end_reading(peer(1));
    assert_eq!(all(&directory)[0].file.id, id(2));
    directory.forget(peer(1));
    let rows = directory.rows.lock();
    assert!(rows.is_empty());
    assert_eq!(rows.bytes, 0);
}

/// The ids of what a peer is known to hold.
fn ids_of(directory: &Directory, peer: PeerId) -> Vec<u8> {
    let held = all(directory).into_iter();
    let held = held.filter(|it| it.peers.contains(&peer));
    held.map(|it| it.file.id.as_bytes()[0]).collect()
}

/// A directory with room for so many of the files made here.
fn with_room_for(of_peer: usize, of_all: usize) -> Directory {
    let probe = Directory::default();
    probe.put(peer(1), file(1, "a", None)).unwrap();
    let one = probe.rows.lock().bytes;
    Directory::new(Options {
        max_peer_bytes: of_peer * one,
        max_bytes: of_all * one,
    })
}

#[test]
fn of_a_peer_that_tells_too_much_the_newest_files_are_kept() {
    let directory = with_room_for(3, 100);
    for number in 1..=9 {
        directory.put(peer(1), file(number, "a", None)).unwrap();
    }
    assert_eq!(ids_of(&directory, peer(1)), [7, 8, 9]);
    assert!(directory.is_partial(peer(1)));
    assert_eq!(directory.put(peer(1), file(2, "a", None)), Err(NoRoom));
    assert_eq!(directory.partial_peers(), 1);
    directory.forget(peer(1));
    assert!(directory.has_room_for(peer(1)) && !directory.is_partial(peer(1)));
}

#[test]
fn who_comes_new_finds_room_and_the_largest_gives_way() {
    let directory = with_room_for(100, 100);
    let [liar, other, honest] = [5, 6, 7].map(peer);
    for number in 1..=100 {
        directory.put(liar, file(number, "a", None)).unwrap();
    }
    for number in 101..=110 {
        directory.put(other, file(number, "a", None)).unwrap();
    }
    for number in 111..=120 {
        directory.put(honest, file(number, "a", None)).unwrap();
    }
    let expected: Vec<u8> = (111..=120).collect();
    assert_eq!(ids_of(&directory, honest), expected);
    assert_eq!(ids_of(&directory, other).len(), 10);
    assert!(directory.is_partial(liar));
    // More than its share takes nothing from who has less.
    for number in 1..=100 {
        let _ = directory.put(liar, file(number, "a", None));
    }
    assert_eq!(ids_of(&directory, honest), expected);
    // Who is named may have more.
    directory.name(honest);
    for number in 121..=200 {
        directory.put(honest, file(number, "a", None)).unwrap();
    }
    assert!(ids_of(&directory, honest).len() >= 80);
}

#[test]
fn nothing_older_than_what_was_heard_or_read_is_news() {
    let directory = Directory::default();
    assert!(directory.hears(peer(1), 5));
    assert!(!directory.hears(peer(1), 5) && !directory.hears(peer(1), 4));
    directory.read_at(peer(1), 9);
    assert!(!directory.hears(peer(1), 9));
    // An answer that was overtaken makes nothing news again; a clock that was set back does.
    assert!(directory.hears(peer(1), SET_BACK + 100));
    directory.read_at(peer(1), 200);
    assert!(!directory.hears(peer(1), 300));
    directory.read_at(peer(1), 50);
    assert!(directory.hears(peer(1), 51) && directory.hears(peer(2), 1));
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

/// Two peers with keys hold what is one to people, the second under an id that is less, or greater.
#[test]
fn what_stands_for_alike_files_is_who_is_known_or_was_told_first_and_no_choice_of_an_id() {
    type Known = fn(&Directory, PeerId);
    let ranks: [(bool, Known); 3] = [
        (true, |_, _| {}),
        (false, Directory::name),
        (false, Directory::serves),
    ];
    for (is_first, known) in ranks {
        for other in [10, 90] {
            let told = [(peer(1), 50), (peer(2), other)];
            let alike = |number| file(number, "report.txt", Some("x"));
            let directory = Directory::default();
            for at in if is_first { [0, 1] } else { [1, 0] } {
                let (peer, number) = told[at];
                directory.put(peer, alike(number)).unwrap();
            }
            known(&directory, peer(1));
            assert_eq!(directory.earlier(&alike(50)), [], "{is_first} {other}");
            assert_eq!(directory.earlier(&alike(other)), [id(50)], "{is_first}");
            // Who repeats what it told stays where it was.
            directory.put(peer(2), alike(other)).unwrap();
            assert_eq!(directory.earlier(&alike(other)), [id(50)], "{is_first}");
            directory.forget(peer(1));
            assert_eq!(directory.earlier(&alike(other)), []);
        }
    }
}

#[test]
fn who_tells_another_size_of_a_content_makes_no_second_file_of_it() {
    let told = |number, size| NetworkFile {
        size,
        ..file(number, "report.txt", Some("x"))
    };
    for (number, size) in [(10, 0), (60, 2), (90, u64::MAX)] {
        let directory = Directory::default();
        directory.put(peer(1), told(50, 1)).unwrap();
        directory.put(peer(2), told(number, size)).unwrap();
        assert_eq!(directory.earlier(&told(number, size)), [id(50)]);
        assert_eq!(directory.len(), 1);
        assert_eq!(directory.earlier(&told(50, 1)), []);
    }
}

/// A file of many, in the order of the ids or not.
fn one_of_many(number: u32, content: u32) -> NetworkFile {
    let id = u128::from(number.wrapping_mul(0x9e37_79b9)) << 32 | u128::from(number);
    NetworkFile {
        id: FileId::from_bytes(id.to_be_bytes()),
        hash: Some(BlobHash::of(&content.to_le_bytes())),
        ..file(1, &format!("file {number}"), None)
    }
}

/// So many files that more is to be done with all of them than is done at once.
const MANY: u32 = 10_000;

#[test]
fn what_is_to_be_done_with_many_files_is_done_in_the_end() {
    let directory = Directory::default();
    let [gone, other] = [peer(1), peer(2)];
    for number in 0..MANY {
        directory.put(gone, one_of_many(number, number)).unwrap();
    }
    directory.forget(gone);
    assert_eq!(directory.get(gone, one_of_many(1, 1).id), None);
    assert_eq!(
        (directory.count_of(gone), directory.partial_peers()),
        (0, 0)
    );
    assert!(directory.rows.lock().has_work());
    // Who is met again meanwhile tells anew.
    directory.put(gone, one_of_many(7, 7)).unwrap();
    while directory.change(Rows::work) {}
    assert_eq!((directory.len(), directory.count_of(gone)), (1, 1));
    directory.forget(gone);

    for number in 0..MANY {
        directory.put(other, one_of_many(number, number)).unwrap();
    }
    directory.begin_reading(other);
    directory.put(other, one_of_many(3, 3)).unwrap();
    directory.end_reading(other);
    // What is read again before that was ended stays, too.
    directory.begin_reading(other);
    let last = one_of_many(MANY - 1, MANY - 1);
    directory.put(other, last.clone()).unwrap();
    while directory.change(Rows::work) {}
    assert_eq!(directory.count_of(other), 2);
    assert!(directory.get(other, last.id).is_some());
    directory.forget(other);
    let rows = directory.rows.lock();
    assert!(rows.is_empty() && rows.bytes == 0);
}

/// One page of a directory, from either end.
type Page =
    fn(&Directory, Option<FileKey>, Option<&str>, usize, usize) -> (Vec<Held>, Option<FileKey>);

/// The ids of all files, page by page.
fn paged(directory: &Directory, page: Page) -> Vec<FileId> {
    let (mut ids, mut at) = (Vec::new(), None);
    loop {
        let (files, next) = page(directory, at, None, 100, 100);
        ids.extend(files.iter().map(|it| it.file.id));
        if next.is_none() {
            return ids;
        }
        at = next;
    }
}

#[test]
fn each_row_is_found_in_every_way_whatever_came_and_went() {
    let directory = Directory::default();
    // Some contents of many files, and some peers that tell of the same ones.
    let mut told = std::collections::BTreeMap::new();
    for step in 0..20_000_u32 {
        let scattered = step.wrapping_mul(0x85eb_ca6b).rotate_left(13);
        let (number, by) = (scattered % 1500, u8::try_from(scattered % 3).unwrap());
        let file = one_of_many(number, number / 4);
        if step % 3 == 2 {
            let was_told = told.remove(&(by, file.id)).is_some();
            assert_eq!(directory.withdraw(peer(by), file.id), was_told);
        } else {
            directory.put(peer(by), file.clone()).unwrap();
            told.insert((by, file.id), file);
        }
    }
    for ((by, id), file) in &told {
        assert_eq!(directory.get(peer(*by), *id).as_ref(), Some(file));
        let holders = directory.providers(&file.hash.unwrap());
        assert!(holders.iter().any(|it| it.peer == peer(*by)));
    }
    let ids: BTreeSet<_> = told.keys().map(|(_, id)| *id).collect();
    assert_eq!(directory.len(), ids.len());
    assert!(paged(&directory, Directory::page).iter().eq(&ids));
    let back = paged(&directory, Directory::page_back);
    assert!(back.iter().eq(ids.iter().rev()));
    for by in 0..3 {
        let expected = told.keys().filter(|it| it.0 == by).count();
        assert_eq!(directory.count_of(peer(by)), expected);
        directory.forget(peer(by));
    }
    while directory.change(Rows::work) {}
    let rows = directory.rows.lock();
    assert!(rows.is_empty() && rows.bytes == 0);
}

#[test]
fn a_peer_is_partial_until_all_that_it_tells_fits() {
    let directory = with_room_for(3, 100);
    let tell = |numbers: std::ops::RangeInclusive<u8>| {
        directory.begin_reading(peer(1));
        for number in numbers {
            let _ = directory.put(peer(1), file(number, "a", None));
        }
    };
    tell(1..=3);
    directory.end_reading(peer(1));
    assert!(!directory.is_partial(peer(1)));
    tell(1..=9);
    directory.end_reading(peer(1));
    assert!(directory.is_partial(peer(1)) && directory.is_cut(peer(1)));
    // While it is read again not all of it is known yet.
    tell(7..=9);
    assert!(directory.is_partial(peer(1)) && !directory.is_cut(peer(1)));
    directory.end_reading(peer(1));
    assert!(!directory.is_partial(peer(1)));
}
