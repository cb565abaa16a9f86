//! What strangers tell takes no more memory than is stated, and leaves room for who comes new.
//!
//! One test in a process of its own, since the memory of a process is measured.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use larder::hash::BlobHash;
use larder::peer::directory::{Directory, NetworkFile, Options};
use larder::peer_id::PeerId;
use larder::record::FileId;

/// How many files each stranger tells of: much more than there is room for.
const FILES: u64 = 150_000;
/// How many files one peer tells of, all of which there is room for.
const WHOLE: u64 = 100_000;
/// What each of those may take with a name of 20 bytes, in bytes: a million in 200 MB.
const A_FILE: usize = 200;
/// Whatever else a process takes meanwhile, in bytes.
const ELSE: usize = 8 << 20;

/// The memory that this process has now, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let (_, resident) = status.split_once("VmRSS:").unwrap();
    let kib = resident.split_whitespace().next().unwrap();
    kib.parse::<usize>().unwrap() << 10
}

/// Scattered numbers (splitmix64).
fn scattered(number: u64) -> u64 {
    let mut number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number ^ (number >> 27)
}

/// A file with a name of so many bytes.
fn file(number: u64, name_bytes: usize) -> NetworkFile {
    let id = (u128::from(number) << 64) | u128::from(scattered(number));
    NetworkFile {
        id: FileId::from_bytes(id.to_be_bytes()),
        hash: Some(BlobHash::of(&number.to_le_bytes())),
        name: "n".repeat(name_bytes),
        size: 9,
        content_type: None,
        uploaded_at: String::new(),
    }
}

/// With a part of them: the bound is of each.
fn a_million_files_fit_into_200_mb() {
    let (peer, before) = (PeerId::of_public_key(&[5; 32]), resident());
    for mixed in [false, true] {
        let directory = Directory::default();
        for number in 0..WHOLE {
            let number = if mixed { scattered(number) } else { number };
            directory.put(peer, file(number, 20)).unwrap();
        }
        let taken = resident().saturating_sub(before);
        let of_each = taken / usize::try_from(WHOLE).unwrap();
        println!("{of_each} bytes a file, mixed: {mixed}");
        assert!(of_each < A_FILE, "{of_each} bytes a file");
        assert!(!directory.is_partial(peer));
    }
    // Nor is that because fewer are kept: a million is within the default.
    let most = Options::default().max_peer_bytes;
    assert!(most >= A_FILE * 1_000_000 && most < Options::default().max_bytes);
}

#[test]
fn what_strangers_tell_takes_no_more_memory_than_is_stated() {
    a_million_files_fit_into_200_mb();
    let options = Options {
        max_peer_bytes: 32 << 20,
        max_bytes: 48 << 20,
    };
    let limit = options.max_bytes;
    // In the order of the ids, in no order, and with names as long as they may be.
    let before = resident();
    for (order, mixed, name_bytes, files) in [
        ("growing", false, 1, FILES),
        ("scattered", true, 1, FILES),
        ("long names", false, 4096, FILES / 16),
    ] {
        let number = |it| if mixed { scattered(it) } else { it };
        let directory = Directory::new(options.clone());
        let strangers = [1, 2, 3, 4].map(|it| PeerId::of_public_key(&[it; 32]));
        for at in 0..files {
            for (stranger, peer) in (0..).zip(strangers) {
                let _ = directory.put(peer, file(number(at * 4 + stranger), name_bytes));
            }
        }
        let taken = resident() - before;
        println!("{order}: {} files in {taken} bytes", directory.len());
        assert!(taken < limit + ELSE, "{order}: {taken} bytes");
        // It is not only that little was kept.
        assert!(taken > limit / 3, "{order}: {taken} bytes");
        assert!(strangers.iter().all(|it| directory.is_partial(*it)));

        let honest = PeerId::of_public_key(&[9; 32]);
        for number in 0..10 {
            directory.put(honest, file(u64::MAX - number, 10)).unwrap();
        }
        for at in files..files + 1000 {
            let _ = directory.put(strangers[0], file(number(at * 4), name_bytes));
        }
        assert_eq!(directory.count_of(honest), 10, "{order}");
    }
}
