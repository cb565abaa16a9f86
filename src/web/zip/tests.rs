//! Names, blocks and the records of 64 bits; that programs can unpack it tests with real ones show.

use super::*;

/// A number of so many bytes at this place.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let bytes = bytes[at..at + length].iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn paths(names: &[&str]) -> Vec<String> {
    let mut taken = Names::default();
    names.iter().map(|name| taken.take(name)).collect()
}

#[test]
fn no_name_leads_out_of_the_folder_that_an_archive_is_unpacked_in() {
    let names = [
        "../../etc/passwd",
        "/etc/shadow",
        r"..\..\boot.ini",
        r"C:\windows\win.ini",
        "d:/x",
        "a/./b//c",
        "..",
        "",
        "/",
        "a\0b\n",
        "x/a\u{202e}gpj.exe",
        "12:30.txt",
    ];
    let expected = [
        "etc/passwd",
        "etc/shadow",
        "boot.ini",
        "windows/win.ini",
        "x",
        "a/b/c",
        "download",
        "download (2)",
        "download (3)",
        "a\u{fffd}b\u{fffd}",
        // A file has this name, so the folder cannot.
        "x (2)/a\u{fffd}gpj.exe",
        "12:30.txt",
    ];
    assert_eq!(paths(&names), expected);
}

#[test]
fn no_two_files_lie_at_one_place() {
    let names = [
        "a.txt",
        "a.txt",
        "A.TXT",
        "a (2).txt",
        "caf\u{e9}",
        "cafe\u{301}",
        "folder",
        "folder/inside",
        "Folder/other",
        ".hidden",
        ".hidden",
        "deep/er",
        "deep",
    ];
    let expected = [
        "a.txt",
        "a (2).txt",
        "A (3).TXT",
        "a (2) (2).txt",
        "caf\u{e9}",
        "caf\u{e9} (2)",
        "folder",
        "folder (2)/inside",
        "Folder (2)/other",
        ".hidden",
        ".hidden (2)",
        "deep/er",
        "deep (2)",
    ];
    assert_eq!(paths(&names), expected);
}

#[test]
fn names_that_are_too_long_stay_apart() {
    let long = format!("{}.txt", "\u{3042}".repeat(90));
    let folder = format!("{}/x", "b".repeat(300));
    let names = [long.as_str(); 5];
    let paths = paths(&[&names[..], &[&folder, "b"]].concat());
    let apart: std::collections::HashSet<_> = paths.iter().collect();
    assert_eq!(apart.len(), paths.len());
    for part in paths.iter().flat_map(|it| it.split('/')) {
        assert!(part.len() <= 255, "{part}");
    }
}

#[test]
fn many_files_of_one_name_are_told_apart_in_time_that_grows_with_them() {
    let names = vec!["IMG.jpg"; MAX_FILES];
    let paths = paths(&names);
    assert_eq!(paths.last().unwrap(), &format!("IMG ({MAX_FILES}).jpg"));
}

#[test]
fn blocks_hold_the_bytes_however_they_come_and_have_the_length_that_was_promised() {
    for size in [0, 1, 65_534, 65_535, 65_536, 131_070, 200_000] {
        let content: Vec<u8> = (0..size).map(|it: u32| it.to_le_bytes()[0]).collect();
        for piece in [1000, 65_535, 65_536, 1 << 20] {
            let (mut blocks, mut framed) = Blocks::begin(size.into());
            for piece in content.chunks(piece) {
                framed.extend(blocks.framed(piece));
            }
            assert_eq!(framed.len() as u64, blocks::length(size.into()), "{size}");
            assert!(inflated(&framed) == content, "{size} in {piece}");
        }
    }
}

/// The bytes in stored blocks, as RFC 1951 reads them.
fn inflated(mut blocks: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let (is_last, length) = (blocks[0], number(blocks, 1, 2));
        assert!(is_last <= 1);
        assert_eq!(number(blocks, 3, 2), !length & 0xffff);
        let (head, rest) = blocks[5..].split_at(usize::try_from(length).unwrap());
        bytes.extend_from_slice(head);
        blocks = rest;
        if is_last == 1 {
            assert!(blocks.is_empty());
            return bytes;
        }
    }
}

/// Where the record of a name begins in the directory of an archive, and its field of 64 bits.
fn record<'a>(end: &'a [u8], name: &str) -> (&'a [u8], &'a [u8]) {
    let mut at = 0;
    loop {
        let record = &end[at..];
        assert_eq!(number(record, 0, 4), 0x0201_4b50, "{name} is missing");
        let [names, extras] = [28, 30].map(|at| usize::try_from(number(record, at, 2)).unwrap());
        let extra = &record[46 + names..46 + names + extras];
        if &record[46..46 + names] == name.as_bytes() {
            return (record, extra);
        }
        at += 46 + names + extras;
    }
}

#[test]
fn what_32_bits_do_not_hold_stands_in_64() {
    let mut writer = Writer::default();
    let sizes = [10, 5 << 30, 20];
    let mut length = 0;
    let mut begins = Vec::new();
    for size in sizes {
        begins.push(length);
        let (begun, head) = writer.begin(format!("{size}"), size, None);
        length += head.len() as u64 + blocks::length(size);
        let end = writer.end(&begun, 7);
        assert_eq!(end.len(), if size > 1 << 32 { 24 } else { 16 });
        length += end.len() as u64;
    }
    let end = writer.finish();
    // Before 4 GiB all is in the short fields.
    let (first, extra) = record(&end, "10");
    assert_eq!((number(first, 24, 4), number(first, 42, 4)), (10, 0));
    assert!(extra.is_empty());
    let (long, extra) = record(&end, &sizes[1].to_string());
    assert_eq!(
        (number(long, 20, 4), number(long, 24, 4)),
        (0xffff_ffff, 0xffff_ffff)
    );
    assert_eq!(number(long, 42, 4), begins[1]);
    let told = [number(extra, 4, 8), number(extra, 12, 8)];
    assert_eq!((number(extra, 0, 2), number(extra, 2, 2)), (1, 16));
    assert_eq!(told, [sizes[1], blocks::length(sizes[1])]);
    // Behind it only the place is a long one.
    let (last, extra) = record(&end, "20");
    assert_eq!(
        (number(last, 24, 4), number(last, 42, 4)),
        (20, 0xffff_ffff)
    );
    assert_eq!((number(extra, 0, 2), number(extra, 2, 2)), (1, 8));
    assert_eq!(number(extra, 4, 8), begins[2]);
    // The end of the directory, where it is, and the end for all readers.
    let (rest, ending) = end.split_at(end.len() - 22);
    let (rest, locator) = rest.split_at(rest.len() - 20);
    let (directory, of_64) = rest.split_at(rest.len() - 56);
    assert_eq!(number(ending, 0, 4), 0x0605_4b50);
    assert_eq!(number(ending, 16, 4), 0xffff_ffff);
    assert_eq!(number(locator, 0, 4), 0x0706_4b50);
    assert_eq!(number(locator, 8, 8), length + directory.len() as u64);
    assert_eq!(number(of_64, 0, 4), 0x0606_4b50);
    let told = [24, 32, 40, 48].map(|at| number(of_64, at, 8));
    assert_eq!(told, [3, 3, directory.len() as u64, length]);
}
