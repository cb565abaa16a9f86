//! Compact listings, as they are written, cut, and made up.

use proptest::prelude::*;

use super::*;
use crate::record::NewFile;

fn peer() -> PeerId {
    PeerId::of_public_key(&[1; 32])
}

fn record(id: u128, name: &str, size: u64, seconds: i64) -> FileRecord {
    FileRecord {
        id: FileId::from_bytes(id.to_be_bytes()),
        uploaded_at: Timestamp(seconds * 1000),
        file: NewFile {
            name: name.to_owned(),
            content_type: None,
            description: "told to nobody".to_owned(),
            size,
            hash: BlobHash::of(name.as_bytes()),
        },
    }
}

type Told = (u128, String, u64, i64, Option<String>);

fn page(told: &[Told], removed: &[u128], next: Option<u128>) -> Vec<u8> {
    let mut page = Writer::begin(peer(), Some(7), Some(8));
    let mut writer = Writer::default();
    for (id, name, size, seconds, content_type) in told {
        let record = record(*id, name, *size, *seconds);
        writer.file(&mut page, &record, content_type.as_deref());
    }
    let id = |it: u128| FileId::from_bytes(it.to_be_bytes());
    for removed in removed {
        Writer::removed(&mut page, id(*removed));
    }
    Writer::end(&mut page, 99, next.map(id));
    page
}

fn told() -> impl Strategy<Value = Told> {
    let name = ".{0,30}";
    let content_type = proptest::option::of("[a-z]{1,3}/[a-c]{1,2}");
    (
        any::<u128>(),
        name,
        any::<u64>(),
        0..4_000_000_000_i64,
        content_type,
    )
}

#[test]
fn the_bytes_stay_as_they_are() {
    let file = |id, content_type: &str| {
        (
            id,
            "a".to_owned(),
            300,
            1_769_000_400,
            Some(content_type.to_owned()),
        )
    };
    let page = page(&[file(1, "b/c"), file(2, "b/c")], &[], None);
    let hash = BlobHash::of(b"a");
    let mut expected = b"larder\x01\n".to_vec();
    expected.extend(peer().as_bytes());
    expected.extend([7, 8]);
    let rest = [
        hash.as_bytes().as_slice(),
        b"\xac\x02",
        b"\xd0\x9b\xc3\xcb\x06",
        b"\x01a",
    ];
    // The first has none of the zeros that ids are compared with before there is one.
    expected.extend([1 + 4 * 15, 1]);
    expected.extend(rest.concat());
    expected.extend(b"\x01\x03b/c");
    expected.extend([1 + 4 * 15, 2]);
    expected.extend(rest.concat());
    expected.push(2);
    expected.extend([0, 99, 0]);
    assert_eq!(page, expected);
}

#[test]
fn a_file_with_a_name_of_20_takes_72_bytes() {
    let files = 0..1000_u128;
    let named = |it: u128| {
        // Ids of a millisecond have those bytes that tell it in common.
        let id = 0x019b_e0f4_5c80_7000_8000_0000_0000_0000_u128;
        let scattered = it.wrapping_mul(0x9e37_79b9_7f4a_7c15) & 0x3fff_ffff_ffff_ffff;
        let text = Some("text/plain".to_owned());
        (
            id | it << 64 | scattered,
            format!("{it:0>20}"),
            100_000,
            1_769_000_400,
            text,
        )
    };
    let told: Vec<_> = files.map(named).collect();
    let bytes = page(&told, &[], None).len();
    assert!(bytes < 73 * told.len(), "{bytes}");
}

#[test]
fn what_is_out_of_bounds_is_no_listing() {
    let file = |name: &str| (1, name.to_owned(), 1, 1, Some("a/b".to_owned()));
    let right = page(&[file("name")], &[5], Some(6));
    Page::read(&right).unwrap();
    for length in 0..right.len() {
        assert_eq!(
            Page::read(&right[..length]).err(),
            Some(Malformed),
            "{length}"
        );
    }
    let behind = [right.as_slice(), b"x"].concat();
    assert_eq!(Page::read(&behind).err(), Some(Malformed));
    let long = page(&[file(&"x".repeat(MAX_NAME_BYTES + 1))], &[], None);
    assert_eq!(Page::read(&long).err(), Some(Malformed));
    let position = right.windows(4).position(|it| it == b"name").unwrap();
    let mut no_text = right.clone();
    no_text[position] = 0xff;
    assert_eq!(Page::read(&no_text).err(), Some(Malformed));
    // A number in more bytes than it needs, one that is cut, and one that is too great.
    for number in [&b"\x80\x00"[..], b"\xff", &[0xff; 10]] {
        assert_eq!(Bytes(number).number(), Err(Malformed));
    }
    assert_eq!(
        Bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01").number(),
        Ok(u64::MAX)
    );
}

proptest! {
    #[test]
    fn what_was_written_is_read(
        all in proptest::collection::vec(told(), 0..20),
        removed: Vec<u128>, next: Option<u128>,
    ) {
        let bytes = page(&all, &removed, next);
        let read = Page::read(&bytes).unwrap();
        prop_assert!(read.is_of(peer()));
        let told = (read.listed_at(), read.version(), read.total_files());
        prop_assert_eq!(told, (Some(7), Some(8), 99));
        let id = |it: u128| FileId::from_bytes(it.to_be_bytes());
        prop_assert_eq!(read.next(), next.map(id));
        prop_assert!(read.removed().into_iter().eq(removed.into_iter().map(id)));
        let files = all.iter().map(|(it, name, size, seconds, content_type)| NetworkFile {
            content_type: content_type.clone(),
            ..record(*it, name, *size, *seconds).into()
        });
        prop_assert!(read.files().eq(files));
    }

    #[test]
    fn no_bytes_make_the_reader_panic_or_read_more_than_is_there(
        bytes: Vec<u8>, all in proptest::collection::vec(told(), 0..5),
        at: prop::sample::Index, other: u8,
    ) {
        let made_up = [&MAGIC[..], peer().as_bytes(), &bytes].concat();
        let mut changed = page(&all, &[3], Some(9));
        let at = at.index(changed.len());
        changed[at] = other;
        for bytes in [bytes, made_up, changed] {
            if let Ok(page) = Page::read(&bytes) {
                prop_assert!(page.files().count() + page.removed().len() <= bytes.len());
            }
        }
    }
}
