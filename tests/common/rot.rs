//! What becomes of files where they lie, as a disk does it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Changes one byte of a file.
pub(crate) fn flip(path: &Path, at: usize) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let (mut byte, at) = ([0], at as u64);
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0] ^= 1;
    file.write_all_at(&byte, at).unwrap();
}

/// Makes a file so long.
pub(crate) fn set_len(path: &Path, len: usize) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_len(len as u64).unwrap();
}
