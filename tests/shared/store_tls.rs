//! A store that is reached over TLS, by certificates of an authority that no system knows.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use futures_util::TryStreamExt;
use object_store::ObjectStore;
use tempfile::TempDir;

use crate::common::authority::Authority;
use crate::common::content::content;
use crate::common::forms::uploaded;
use crate::common::process::{Node, until};
use crate::common::raw_http::get;
use crate::nodes::command;
use crate::postgres::Server;
use crate::s3_store::{Endpoint, S3Store};

/// The name that the certificate is for.
const NAME: &str = "localhost";
/// Longer than one part of an upload.
const LONG: usize = 9 << 20;

/// What speaks TLS in front of a store; ended on drop.
struct Front {
    process: Child,
    port: u16,
    _dir: TempDir,
}

impl Front {
    fn of(store: SocketAddr, authority: &Authority) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = authority.vouches(NAME, false);
        fs::write(dir.path().join("cert.pem"), certificate.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        fs::write(dir.path().join("nginx.conf"), config(store, port)).unwrap();
        // Where Debian has it is not on everybody's path.
        let found = ["/usr/sbin/nginx", "nginx"];
        let program = found.iter().find(|it| Path::new(it).exists());
        let process = Command::new(program.unwrap_or(&"nginx"))
            .arg("-p")
            .arg(dir.path())
            .args(["-c", "nginx.conf", "-e", "stderr"])
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        until("nginx listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self {
            process,
            port,
            _dir: dir,
        }
    }

    fn url(&self) -> String {
        format!("https://{NAME}:{}", self.port)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A single process, which ends with the test; what was signed, the host too, goes on as it came.
fn config(store: SocketAddr, port: u16) -> String {
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|it| format!("{it}_temp_path {it};\n"))
        .concat();
    format!(
        "daemon off; master_process off; pid pid; error_log stderr;\n\
         events {{}}\nhttp {{\naccess_log off;\n{temporary}\
         server {{\nlisten 127.0.0.1:{port} ssl;\n\
         ssl_certificate cert.pem;\nssl_certificate_key key.pem;\n\
         client_max_body_size 0;\n\
         location / {{\nproxy_pass http://{store};\nproxy_set_header Host $http_host;\n\
         proxy_http_version 1.1;\n}}\n}}\n}}\n"
    )
}

/// What becomes of a start that has to fail.
fn failed(mut command: Command) -> Output {
    let mut process = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until("it ends", || process.try_wait().unwrap());
    process.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_over_tls_is_believed_by_the_authorities_of_aws_ca_bundle_and_by_no_other() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let [authority, other] = [(); 2].map(|()| Authority::new());
    let front = Front::of(store.endpoint().address(), &authority);
    let dir = tempfile::tempdir().unwrap();
    let node = |bundle: Option<&Authority>| {
        let front = store.endpoint().by_way_of(front.url());
        let mut command = command(dir.path(), &url, &front);
        command.envs(bundle.map(|it| ("AWS_CA_BUNDLE", it.file())));
        command
    };
    for bundle in [None, Some(&other)] {
        let failed = failed(node(bundle));
        assert_eq!(failed.status.code(), Some(1), "{failed:?}");
        let told = String::from_utf8(failed.stderr).unwrap();
        assert!(told.contains("invalid peer certificate"), "{told}");
    }
    let node = Node::spawn(&dir, node(Some(&authority)));
    let long = content(1, LONG);
    for (name, bytes) in [("short", &b"short"[..]), ("long", &long)] {
        let file = uploaded(node.address, name, bytes);
        let path = format!("/api/p2p/file/{}", file["file_id"].as_str().unwrap());
        assert!(get(node.address, &path, &[]).body == bytes, "{name}");
    }
    let objects: Vec<_> = store.bucket().list(None).try_collect().await.unwrap();
    let blobs = objects
        .iter()
        .filter(|it| it.location.as_ref().contains("/blobs/"));
    assert_eq!(blobs.count(), 2, "{objects:?}");
    node.stop();
}

#[test]
fn a_bundle_without_an_authority_is_refused_before_anything_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let (missing, empty) = (dir.path().join("missing"), dir.path().join("empty"));
    fs::write(&empty, "# no certificate\n").unwrap();
    for (bundle, why) in [(&missing, "No such file"), (&empty, "no certificate")] {
        // Nobody listens there.
        let store = Endpoint {
            url: "https://127.0.0.1:1".to_owned(),
            bucket: "larder".to_owned(),
        };
        let mut command = command(dir.path(), "postgres://127.0.0.1:1/none", &store);
        command.env("AWS_CA_BUNDLE", bundle);
        let failed = failed(command);
        assert_eq!(failed.status.code(), Some(2), "{failed:?}");
        let told = String::from_utf8(failed.stderr).unwrap();
        let path = bundle.to_str().unwrap();
        for part in ["AWS_CA_BUNDLE", path, why] {
            assert!(told.contains(part), "no {part} in {told}");
        }
    }
}
