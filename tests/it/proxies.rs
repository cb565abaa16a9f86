//! A node behind the proxies that people have, with the settings that README shows.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::authority::Authority;
use crate::common::browser::{script_at, succeeds};
use crate::common::process::{Node, until};
use crate::common::raw_http::get;

const NAME: &str = "files.example.org";
/// Under which path of a site the node is found, where it is not all of it.
const PREFIX: &str = "/larder";

/// How long the upload is, in MiB: longer than any limit that a proxy has by itself, and with
/// `LARDER_SOAK` than the files that fit in memory.
fn long() -> u64 {
    if std::env::var_os("LARDER_SOAK").is_some() {
        5 << 10
    } else {
        48
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Nginx,
    Caddy,
}

/// The blocks of README with the settings of a proxy: of a whole site, and of a path of one.
fn shown(language: &str) -> [String; 2] {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let begin = format!("```{language}\n");
    let blocks = readme.split(&begin).skip(1);
    let blocks = blocks.map(|it| it.split_once("```").unwrap().0.to_owned());
    blocks.collect::<Vec<_>>().try_into().unwrap()
}

/// Replaces what must be there.
fn with(text: &str, what: &str, by: &str) -> String {
    assert!(text.contains(what), "no {what} in {text}");
    text.replace(what, by)
}

/// A proxy in front of a node; ended on drop.
struct Proxy {
    process: Child,
    /// Where the node is found through it.
    base: String,
    port: u16,
    authority: PathBuf,
}

impl Proxy {
    /// Starts it in `dir` with what README shows, for a whole site or for what is below
    /// [`PREFIX`].
    fn start(kind: Kind, dir: &TempDir, node: SocketAddr, port: u16, prefixed: bool) -> Self {
        let authority = Authority::new();
        let (certificate, key) = authority.vouches(NAME, false);
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        fs::write(path("cert.pem"), certificate.pem()).unwrap();
        fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        let ca = dir.path().join("ca.pem");
        fs::copy(authority.file(), &ca).unwrap();
        let mut command = match kind {
            Kind::Nginx => nginx(dir, &path, node, port, prefixed),
            Kind::Caddy => caddy(&path, node, port, prefixed),
        };
        let log = File::create(path("proxy.log")).unwrap();
        let process = command
            .current_dir(dir.path())
            .env("HOME", dir.path())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("this test runs {kind:?}: {error}"));
        let prefix = if prefixed { PREFIX } else { "" };
        let proxy = Self {
            process,
            base: format!("https://{NAME}:{port}{prefix}"),
            port,
            authority: ca,
        };
        until("the proxy passes requests on", || {
            let (status, _) = proxy.curl(&["/health"]);
            (status == "200 2").then_some(())
        });
        proxy
    }

    /// What curl tells of an answer: its status and the version of HTTP, and the body. The first
    /// argument is the path.
    fn curl(&self, arguments: &[&str]) -> (String, Vec<u8>) {
        let (path, more) = arguments.split_first().unwrap();
        let output = self
            .command()
            .args(["--write-out", "%{stderr}%{http_code} %{http_version}"])
            .args(more)
            .arg(format!("{}{path}", self.base))
            .output()
            .unwrap();
        (String::from_utf8(output.stderr).unwrap(), output.stdout)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("curl");
        command.args(["--silent", "--noproxy", "*", "--max-time", "120"]);
        // The proxy tells the node of this address, and not of its own.
        command.args(["--interface", "127.0.0.2"]);
        let place = format!("{NAME}:{}:127.0.0.1", self.port);
        command.args(["--resolve", &place]);
        command.arg("--cacert").arg(&self.authority);
        // As the page sends it from a browser, one that vouches for nothing.
        let origin = format!("Origin: https://{NAME}:{}", self.port);
        command.args(["-H", &origin]);
        command
    }

    /// The JSON of an answer that must be 200.
    fn json(&self, arguments: &[&str]) -> Value {
        let (status, body) = self.curl(arguments);
        assert_eq!(status, "200 2", "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn nginx(
    dir: &TempDir,
    path: &dyn Fn(&str) -> String,
    node: SocketAddr,
    port: u16,
    prefixed: bool,
) -> Command {
    let [mut server, below] = shown("nginx");
    if prefixed {
        let (head, _) = server.split_once("location /").unwrap();
        server = format!("{head}{}}}\n", with(&below, "/larder", PREFIX));
    }
    server = with(&server, "listen 443", &format!("listen 127.0.0.1:{port}"));
    server = with(
        &server,
        "/etc/ssl/certs/files.example.org.pem",
        &path("cert.pem"),
    );
    server = with(
        &server,
        "/etc/ssl/private/files.example.org.key",
        &path("key.pem"),
    );
    server = with(&server, "127.0.0.1:5004", &node.to_string());
    let own = dir.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|it| format!("{it}_temp_path {own}/{it};\n"))
        .concat();
    // A single process, which ends with the test; as root it would give its rights up, and have
    // none in this directory.
    let config = format!(
        "daemon off; master_process off; pid {own}/pid; error_log stderr;\n\
         events {{}}\nhttp {{\naccess_log off;\n{temporary}{server}\n}}\n"
    );
    fs::write(path("nginx.conf"), config).unwrap();
    // Where Debian has it is not on everybody's path.
    let found = ["/usr/sbin/nginx", "nginx"];
    let program = found.iter().find(|it| Path::new(it).exists());
    let mut command = Command::new(program.unwrap_or(&"nginx"));
    command.args(["-c", &path("nginx.conf"), "-e", "stderr"]);
    command
}

fn caddy(path: &dyn Fn(&str) -> String, node: SocketAddr, port: u16, prefixed: bool) -> Command {
    let [mut site, below] = shown("caddyfile");
    if prefixed {
        let below = with(&below, "/larder", PREFIX);
        site = with(&site, "reverse_proxy 127.0.0.1:5004", &below);
    }
    // An authority of the test in place of one that would have to be asked for a certificate.
    let head = format!(
        "https://{NAME}:{port} {{\nbind 127.0.0.1\ntls {} {}",
        path("cert.pem"),
        path("key.pem")
    );
    site = with(&site, &format!("{NAME} {{"), &head);
    site = with(&site, "127.0.0.1:5004", &node.to_string());
    let config = format!("{{\nadmin off\nauto_https disable_redirects\n}}\n{site}");
    fs::write(path("Caddyfile"), config).unwrap();
    let mut command = Command::new("caddy");
    command.args([
        "run",
        "--adapter",
        "caddyfile",
        "--config",
        &path("Caddyfile"),
    ]);
    command
}

/// A file of [`long`] MiB, and what its bytes are does not repeat.
fn long_file(path: &Path) {
    let mut file = File::create(path).unwrap();
    for n in 0..long() {
        let mut piece = blake3::Hasher::new();
        piece.update(&n.to_le_bytes());
        let mut bytes = vec![0; 1 << 20];
        piece.finalize_xof().fill(&mut bytes);
        file.write_all(&bytes).unwrap();
    }
}

/// Everything that the page has comes through the proxy, under whatever path it is.
fn shows_the_page(proxy: &Proxy) {
    let (status, page) = proxy.curl(&["/"]);
    assert_eq!(status, "200 2");
    let page = String::from_utf8(page).unwrap();
    let links = page.split(['"']).filter(|it| it.starts_with("page/"));
    let mut found = 0;
    for link in links {
        let (status, _) = proxy.curl(&[&format!("/{link}")]);
        assert_eq!(status, "200 2", "{link}");
        found += 1;
    }
    assert!(found >= 3, "{page}");
}

/// What goes in comes out, however long, and events come while nothing else does.
fn passes_all_on(proxy: &Proxy, dir: &Path) {
    let events = File::create(dir.join("events")).unwrap();
    let url = format!("{}/api/events", proxy.base);
    let mut listening = proxy.command();
    let mut listening = listening
        .args(["--no-buffer", &url])
        .stdout(events)
        .spawn()
        .unwrap();
    let seen = |what: &str| {
        fs::read_to_string(dir.join("events"))
            .unwrap()
            .contains(what)
    };
    until("the first event", || seen("event: ").then_some(()));

    let (file, back) = (dir.join("long"), dir.join("back"));
    let form = format!("file=@{}", file.display());
    let answer = proxy.json(&["/api/p2p/upload", "-F", &form]);
    let id = answer["file"]["file_id"].as_str().unwrap();
    let (status, _) = proxy.curl(&[&format!("/api/p2p/file/{id}"), "-o", back.to_str().unwrap()]);
    assert_eq!(status, "200 2");
    let same = Command::new("cmp").args([&file, &back]).status().unwrap();
    assert!(same.success(), "other bytes came back");
    until("an event of the upload", || {
        seen("event: files").then_some(())
    });
    listening.kill().unwrap();
    listening.wait().unwrap();
}

/// An upload in parts goes on where its answer said, resolved as any client does.
fn takes_uploads_in_parts(proxy: &Proxy) {
    let made = [
        "/api/p2p/tus",
        "-X",
        "POST",
        "-D",
        "-",
        "-H",
        "Tus-Resumable: 1.0.0",
        "-H",
        "Upload-Length: 5",
        "-H",
        "Upload-Metadata: filename eA==",
    ];
    let (status, head) = proxy.curl(&made);
    assert_eq!(status, "201 2");
    let head = String::from_utf8(head).unwrap();
    let location = head
        .lines()
        .find_map(|it| it.strip_prefix("location: "))
        .unwrap();
    let base = url::Url::parse(&format!("{}/api/p2p/tus", proxy.base)).unwrap();
    let upload = base.join(location.trim()).unwrap();
    let path = upload.as_str().strip_prefix(&proxy.base);
    let path = path.unwrap_or_else(|| panic!("{upload} is not below {}", proxy.base));
    let part = [
        path,
        "-X",
        "PATCH",
        "-H",
        "Tus-Resumable: 1.0.0",
        "-H",
        "Upload-Offset: 0",
        "-H",
        "Content-Type: application/offset+octet-stream",
        "--data-binary",
        "hello",
    ];
    assert_eq!(proxy.curl(&part).0, "204 2");
    let listed = proxy.json(&["/api/p2p/files?name=x"]);
    assert_eq!(listed["files"][0]["size"], 5, "{listed}");
}

/// Names that make heads of 4 and of 8 KiB on their way in and out, as text of other scripts does
/// whose every byte is escaped.
fn passes_long_names_on(proxy: &Proxy) {
    for letters in [700, 1400] {
        let name = "\u{e9}".repeat(letters);
        let escaped = "%C3%A9".repeat(letters);
        let put = ["-X", "PUT", "--data-binary", "hello"];
        let kept = proxy.json(&[&[&*format!("/api/p2p/upload/{escaped}")], &put[..]].concat());
        assert_eq!(kept["file"]["original_name"], name);
        let id = kept["file"]["file_id"].as_str().unwrap();
        let path = format!("/api/p2p/file/{id}");
        let (status, head) = proxy.curl(&[&path, "-D", "-", "-o", "/dev/null"]);
        assert_eq!(status, "200 2");
        let head = String::from_utf8(head).unwrap();
        assert!(head.contains(&escaped), "{letters}: {head}");
        let listed = proxy.json(&[&format!("/api/p2p/files?name={escaped}")]);
        assert!(listed["file_count"].as_u64() > Some(0), "{letters}");
        let encoded = BASE64_STANDARD.encode(&name);
        let metadata = format!("Upload-Metadata: filename {encoded}");
        let begin = [
            "/api/p2p/tus",
            "-X",
            "POST",
            "-H",
            "Tus-Resumable: 1.0.0",
            "-H",
            "Upload-Length: 5",
            "-H",
            &metadata,
        ];
        assert_eq!(proxy.curl(&begin).0, "201 2", "{letters}");
    }
}

/// A browser uses the page as people do.
fn serves_a_browser(proxy: &Proxy, dir: &Path) {
    let archive = dir.join("archive.zip");
    let url = format!("{}/", proxy.base);
    let mut visit = script_at("proxied.mjs", &url, &[&archive]);
    succeeds(visit.env("NAME", NAME));
    let tested = Command::new("unzip").arg("-tq").arg(&archive).output();
    assert!(tested.unwrap().status.success());
}

/// A port that nobody has taken a moment ago: the node is told it before the proxy has it.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn works_behind(kind: Kind) {
    for prefixed in [false, true] {
        println!("{kind:?}, under a path: {prefixed}");
        let (dir, port) = (tempfile::tempdir().unwrap(), free_port());
        let base_url = format!("https://{NAME}:{port}");
        let settings = ["--trusted-proxy", "127.0.0.1", "--base-url", &base_url];
        let node = Node::start(&dir, if prefixed { &settings[..2] } else { &settings });
        let proxy = Proxy::start(kind, &dir, node.address, port, prefixed);
        shows_the_page(&proxy);
        long_file(&dir.path().join("long"));
        passes_all_on(&proxy, dir.path());
        takes_uploads_in_parts(&proxy);
        passes_long_names_on(&proxy);
        serves_a_browser(&proxy, dir.path());
        assert_eq!(get(node.address, "/health", &[]).status, 200);
        assert!(node.log().contains("client=127.0.0.2"), "{}", node.log());
    }
}

#[test]
fn a_node_works_behind_nginx_as_readme_shows_it_and_under_a_path() {
    works_behind(Kind::Nginx);
}

#[test]
fn a_node_works_behind_caddy_as_readme_shows_it_and_under_a_path() {
    works_behind(Kind::Caddy);
}
