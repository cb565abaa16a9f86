//! Answers of peers and bootstrap servers, and the words in them: each is read within
//! bounds, and as it was written.
//!
//!     cargo +nightly fuzz run answer

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/common/any_answer.rs"]
mod any_answer;

fuzz_target!(|input: (u64, &[u8])| {
    let (size, bytes) = input;
    any_answer::introductions(bytes);
    any_answer::listing(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        any_answer::words(text, size);
    }
});
