//! The store of a test: a `SeaweedFS` that it starts, or a bucket of its own in one that it is
//! given.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::blob::s3::Options;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path as Key;
use object_store::signer::Signer;
use object_store::{ClientOptions, ObjectStoreExt, RetryConfig};
use reqwest::Method;
use uuid::Uuid;

use crate::common::http_client::http_client;
use crate::seaweed::Seaweed;

/// Names the URL of a store that is there already, whose keys the variables `AWS_` tell.
const GIVEN: &str = "STORE_UNDER_TEST";
/// How long the store may take to begin.
const START: Duration = Duration::from_mins(1);

/// Who may use a store, by the variables that tell it.
pub(crate) fn keys() -> [(&'static str, String); 3] {
    let keys = [
        ("AWS_ACCESS_KEY_ID", "larder"),
        ("AWS_SECRET_ACCESS_KEY", "a secret of tests"),
        ("AWS_REGION", "us-east-1"),
    ];
    let is_given = env::var_os(GIVEN).is_some();
    keys.map(|(name, own)| {
        let given = is_given.then(|| env::var(name).unwrap());
        (name, given.unwrap_or_else(|| own.to_owned()))
    })
}

/// A bucket, and how it is reached.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) bucket: String,
}

impl Endpoint {
    pub(crate) fn address(&self) -> SocketAddr {
        let (_, address) = self.url.split_once("://").unwrap();
        address.parse().unwrap()
    }

    /// The same by way of another URL.
    pub(crate) fn by_way_of(&self, url: String) -> Self {
        let bucket = self.bucket.clone();
        Self { url, bucket }
    }

    /// The settings of a larder that is told of it.
    pub(crate) fn options(&self, prefix: &str, scratch: &Path) -> Options {
        Options {
            endpoint: Some(self.url.clone()),
            variables: keys().map(|(name, value)| (name.to_owned(), value)).into(),
            ..Options::new(&self.bucket, prefix, scratch)
        }
    }
}

/// A store with an empty bucket.
pub(crate) struct S3Store {
    process: Option<Seaweed>,
    endpoint: Endpoint,
}

/// Speaks HTTP as all tests do.
#[derive(Debug)]
struct Plain;

impl HttpConnector for Plain {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(http_client()))
    }
}

impl S3Store {
    /// Whichever the tests are run over.
    pub(crate) async fn start() -> Self {
        let Ok(url) = env::var(GIVEN) else {
            return Self::that_can_be_killed().await;
        };
        let bucket = format!("larder-{}", Uuid::new_v4().simple());
        let (process, endpoint) = (None, Endpoint { url, bucket });
        let store = Self { process, endpoint };
        store.until_ready().await;
        store
    }

    /// A `SeaweedFS` in any case.
    pub(crate) async fn that_can_be_killed() -> Self {
        let process = Seaweed::start();
        let (url, bucket) = (format!("http://{}", process.address()), "larder".to_owned());
        let store = Self {
            process: Some(process),
            endpoint: Endpoint { url, bucket },
        };
        store.until_ready().await;
        store
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Another client of the store, which asks what is there.
    pub(crate) fn bucket(&self) -> AmazonS3 {
        let [(_, key), (_, secret), (_, region)] = keys();
        AmazonS3Builder::new()
            .with_endpoint(&self.endpoint.url)
            .with_bucket_name(&self.endpoint.bucket)
            .with_access_key_id(key)
            .with_secret_access_key(secret)
            .with_region(region)
            .with_allow_http(true)
            .with_http_connector(Plain)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()
            .unwrap()
    }

    /// What may be killed or stopped, where it is this test's.
    pub(crate) fn process(&self) -> Option<&Seaweed> {
        self.process.as_ref()
    }

    /// Kills it, as a machine ends without power.
    pub(crate) fn kill(&mut self) {
        self.process.as_mut().unwrap().kill();
    }

    /// Starts it again, over what it had.
    pub(crate) async fn start_again(&mut self) {
        self.process.as_mut().unwrap().start_again();
        self.until_ready().await;
    }

    async fn until_ready(&self) {
        let (bucket, began) = (self.bucket(), Instant::now());
        let (client, root) = (http_client(), Key::default());
        let trial = Key::from("trial");
        loop {
            // Until it answers, and also where the bucket is there, this fails.
            let url = bucket.signed_url(Method::PUT, &root, START);
            let _ = client.put(url.await.unwrap()).send().await;
            // What is empty is kept without the part that keeps bytes, which is ready later.
            let put = bucket
                .put(&trial, Bytes::from_static(b"trial").into())
                .await;
            let Err(error) = put else {
                return bucket.delete(&trial).await.unwrap();
            };
            let log = self.process().map(Seaweed::log);
            assert!(began.elapsed() < START, "{error}; the store says {log:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
