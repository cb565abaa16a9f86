//! Registrations at a bootstrap server, and queries for its list: each is taken or refused
//! in order.
//!
//!     cargo +nightly fuzz run register

#![no_main]

use std::cell::LazyCell;

use libfuzzer_sys::fuzz_target;
use tokio::runtime::{Builder, Runtime};

#[path = "../../tests/common/any_registration.rs"]
mod any_registration;

use any_registration::InMemoryBootstrap;

thread_local! {
    static SERVER: LazyCell<(Runtime, InMemoryBootstrap)> = const {
        LazyCell::new(|| {
            let runtime = Builder::new_current_thread().enable_time().build();
            (runtime.expect("a runtime starts"), InMemoryBootstrap::new())
        })
    };
}

fuzz_target!(|input: (&[u8], &str)| {
    let (body, query) = input;
    SERVER.with(|it| {
        let (runtime, server) = &**it;
        runtime.block_on(server.register(body, query));
    });
});
