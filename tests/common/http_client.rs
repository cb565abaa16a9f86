//! A client for tests that need more of HTTP than [`super::raw_http`].

/// A client that asks nobody but whom it is told to.
pub(crate) fn http_client() -> reqwest::Client {
    // Which is the same for all, so it does not matter who comes first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
