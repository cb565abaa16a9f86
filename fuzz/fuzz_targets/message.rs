//! Messages of strangers to every route that takes any: each is taken or refused in order.
//!
//!     cargo +nightly fuzz run message

#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

#[path = "../../tests/common/any_message.rs"]
mod any_message;
#[path = "../../tests/common/in_memory.rs"]
mod in_memory;

use any_message::send;
use in_memory::InMemory;

thread_local! {
    static NODE: LazyCell<(Runtime, InMemory)> = const {
        LazyCell::new(|| {
            let runtime = Builder::new_current_thread().enable_all().build();
            (runtime.expect("a runtime starts"), InMemory::new())
        })
    };
}

fuzz_target!(|input: (u8, &str, &[u8])| {
    let (place, text, body) = input;
    NODE.with(|it| {
        let (runtime, node) = &**it;
        runtime.block_on(send(node, usize::from(place), text, body));
    });
});
