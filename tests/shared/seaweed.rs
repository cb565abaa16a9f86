//! A store that speaks S3, in a process of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use larder::blob::s3::Options;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::{HttpClient, HttpConnector};
use object_store::path::Path as Key;
use object_store::signer::Signer;
use object_store::{ClientOptions, ObjectStoreExt, RetryConfig};
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::common::http_client::http_client;
use crate::common::venv;

/// The bucket of the tests.
const BUCKET: &str = "larder";
/// How long the store may take to begin.
const START: Duration = Duration::from_mins(1);
/// Who may use it.
const USERS: &str = r#"{"identities":[{"name":"larder",
    "credentials":[{"accessKey":"larder","secretKey":"a secret of tests"}],
    "actions":["Admin","Read","Write","List"]}]}"#;

/// A running store, killed on drop.
pub(crate) struct Seaweed {
    process: Child,
    dir: TempDir,
    ports: [u16; 8],
}

/// Speaks HTTP as all tests do.
#[derive(Debug)]
struct Plain;

impl HttpConnector for Plain {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(http_client()))
    }
}

/// Ports that nobody listens on, below those that connections take by themselves.
fn free_ports() -> [u16; 8] {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let own = u16::try_from(std::process::id() % 1_000).unwrap();
    for _ in 0..1_000 {
        let block = (own + NEXT.fetch_add(1, Ordering::Relaxed)) % 1_000;
        let ports = std::array::from_fn(|at| 12_000 + 8 * block + u16::try_from(at).unwrap());
        let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        if ports.iter().all(is_free) {
            return ports;
        }
    }
    panic!("no ports are free");
}

impl Seaweed {
    /// A store with an empty bucket.
    pub(crate) async fn start() -> Self {
        let (dir, ports) = (tempfile::tempdir().unwrap(), free_ports());
        fs::write(dir.path().join("users.json"), USERS).unwrap();
        let process = spawn(dir.path(), ports);
        let store = Self {
            process,
            dir,
            ports,
        };
        store.until_ready().await;
        store
    }

    /// Where it is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[7]).into()
    }

    /// Another client of the store, which asks what is there.
    pub(crate) fn bucket(&self) -> AmazonS3 {
        AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.address()))
            .with_bucket_name(BUCKET)
            .with_access_key_id("larder")
            .with_secret_access_key("a secret of tests")
            .with_allow_http(true)
            .with_http_connector(Plain)
            .with_retry(RetryConfig {
                max_retries: 0,
                ..RetryConfig::default()
            })
            .build()
            .unwrap()
    }

    /// Kills it, as a machine ends without power.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, over what it had.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.dir.path(), self.ports);
        self.until_ready().await;
    }

    /// Lets it stand still, or go on.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.process.id()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    async fn until_ready(&self) {
        let (bucket, began) = (self.bucket(), Instant::now());
        let (client, root) = (http_client(), Key::default());
        let trial = Key::from("trial");
        loop {
            // Until it answers, and also where the bucket is there, this fails.
            let url = bucket.signed_url(Method::PUT, &root, START);
            let _ = client.put(url.await.unwrap()).send().await;
            if bucket.put(&trial, Bytes::new().into()).await.is_ok() {
                return bucket.delete(&trial).await.unwrap();
            }
            let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            assert!(began.elapsed() < START, "the store does not start: {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The settings of a larder that is told that the store is there.
pub(crate) fn options(at: SocketAddr, prefix: &str, scratch: &Path) -> Options {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "larder"),
        ("AWS_SECRET_ACCESS_KEY", "a secret of tests"),
        ("AWS_REGION", "us-east-1"),
    ];
    Options {
        endpoint: Some(format!("http://{at}")),
        variables: variables
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        ..Options::new(BUCKET, prefix, scratch)
    }
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(dir: &Path, ports: [u16; 8]) -> Child {
    let mut log = File::options();
    let log = log.create(true).append(true);
    let log = log.open(dir.join("log")).unwrap();
    let names = [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port.grpc",
        "s3.port",
    ];
    let mut weed = venv::command("weed");
    weed.current_dir(dir)
        .args(["server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"])
        .args(["-master.peers=none", "-master.volumeSizeLimitMB=64"])
        .args(["-volume.max=300", "-s3.port.iceberg=0", "-s3.port.lance=0"])
        .args(["-s3.config=users.json", "-dir=."])
        .args(
            names
                .iter()
                .zip(ports)
                .map(|(name, port)| format!("-{name}={port}")),
        )
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}
