//! Uploads of any bytes with any boundary, in any pieces, through the handler of the
//! server: each is taken whole or refused without a trace.
//!
//!     cargo +nightly fuzz run upload

#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

#[path = "../../tests/common/in_memory.rs"]
mod in_memory;

use in_memory::InMemory;

thread_local! {
    static NODE: LazyCell<(Runtime, InMemory)> = const {
        LazyCell::new(|| {
            let runtime = Builder::new_current_thread().enable_time().build();
            (runtime.expect("a runtime starts"), InMemory::new())
        })
    };
}

fuzz_target!(|input: (&str, &[u8], &[u8])| {
    let (boundary, body, cuts) = input;
    NODE.with(|it| {
        let (runtime, node) = &**it;
        runtime.block_on(async {
            let answer = node.upload(boundary, body, cuts).await;
            node.assert_all_or_nothing(&answer).await;
            // Lets tasks end that outlive the request.
            tokio::task::yield_now().await;
        });
    });
});
