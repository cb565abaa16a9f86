//! Commands that ask the node of the settings beside them, which shows a certificate that nobody
//! vouches for: that very one is believed, and no other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::common::authority::Authority;
use crate::common::commands::command;
use crate::common::process::{Node, larder, until};

/// Writes a certificate that vouches for itself, for this name until then, and its key.
fn certify(dir: &Path, name: &str, until: i32, is_authority: bool) {
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    if is_authority {
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    parameters.not_after = date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    write(dir, &certificate.pem(), &key.serialize_pem());
}

fn write(dir: &Path, certificate: &str, key: &str) {
    fs::write(dir.join("cert.pem"), certificate).unwrap();
    fs::write(dir.join("key.pem"), key).unwrap();
    fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
}

fn serve(dir: &TempDir) -> Node {
    let mut command = larder(dir.path());
    command.args(["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    Node::spawn(dir, command)
}

/// Writes the settings of a node on this port beside its files.
fn settings(dir: &Path, port: u16) {
    let text = format!("port = {port}\ntls-cert = \"cert.pem\"\ntls-key = \"key.pem\"\n");
    fs::write(dir.join("larder.toml"), text).unwrap();
}

/// Runs a command that is told of no authority, by --node or by the settings beside it.
fn run(dir: &Path, node: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = command(dir, node.unwrap_or_default(), arguments);
    if node.is_none() {
        command.env_remove("LARDER_NODE");
    }
    command.env("SSL_CERT_FILE", "/dev/null").output().unwrap()
}

fn done(dir: &Path, node: Option<&str>, arguments: &[&str]) -> String {
    let output = run(dir, node, arguments);
    assert!(
        output.status.success(),
        "{node:?} {arguments:?}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn refused(dir: &Path, node: Option<&str>) -> String {
    let output = run(dir, node, &["status"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{node:?}: {told}");
    told
}

#[test]
fn every_command_believes_the_certificate_of_the_settings_beside_it() {
    for (name, until, is_authority) in [
        ("localhost", 4000, false),
        ("localhost", 4000, true),
        ("files.example.org", 4000, false),
        ("files.example.org", 2020, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        certify(here, name, until, is_authority);
        let node = serve(&dir);
        let port = node.address.port();
        settings(here, port);
        fs::write(here.join("a"), "content").unwrap();
        let named = [
            None,
            Some(format!("https://localhost:{port}")),
            Some(format!("https://127.0.0.1:{port}/")),
        ];
        for node in &named {
            let node = node.as_deref();
            done(here, node, &["put", "a"]);
            for verb in ["status", "peers", "ls"] {
                done(here, node, &[verb]);
            }
            for verb in ["info", "keep"] {
                done(here, node, &[verb, "a"]);
            }
            assert_eq!(done(here, node, &["get", "a", "-o", "-"]), "content");
            done(here, node, &["rm", "a"]);
        }
    }
}

#[test]
fn no_other_certificate_is_believed_and_no_other_node() {
    let dirs = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let [own, other] = dirs.each_ref().map(TempDir::path);
    for dir in [own, other] {
        certify(dir, "localhost", 4000, true);
    }
    let imposter = serve(&dirs[1]);
    let port = imposter.address.port();
    settings(own, port);
    for node in [None, Some(format!("https://localhost:{port}"))] {
        let told = refused(own, node.as_deref());
        assert!(told.contains("cert.pem"), "{told}");
        assert!(told.contains("kill -HUP"), "{told}");
    }
    // Whose settings are of another node names no certificate of this one.
    settings(other, if port == 1 { 2 } else { 1 });
    let url = format!("https://localhost:{port}");
    let told = refused(other, Some(&url));
    assert!(!told.contains("cert.pem"), "{told}");
    // Nor does what the own certificate vouches for count as that.
    let authority = Authority::new();
    let (certificate, key) = authority.vouches("localhost", false);
    write(other, &certificate.pem(), &key.serialize_pem());
    imposter.stop();
    let vouched = serve(&dirs[1]);
    settings(own, vouched.address.port());
    fs::copy(authority.file(), own.join("cert.pem")).unwrap();
    refused(own, None);
}

#[test]
fn a_new_certificate_is_believed_when_the_node_has_read_it() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path();
    certify(here, "localhost", 4000, false);
    let node = serve(&dir);
    settings(here, node.address.port());
    done(here, None, &["status"]);
    certify(here, "localhost", 4000, false);
    let told = refused(here, None);
    assert!(told.contains("kill -HUP"), "{told}");
    node.signal(Signal::HUP);
    until("it shows the new one", || {
        run(here, None, &["status"]).status.success().then_some(())
    });
    // A file that is none is told with the setting that names it.
    fs::write(here.join("cert.pem"), "none").unwrap();
    let output = run(here, None, &["status"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("--tls-cert"), "{told}");
}

/// Starts a node that has its certificate from flags, of the user whose commands run in `here`.
fn serve_by_flags(dir: &TempDir, here: &Path, port: u16) -> Node {
    let mut node = larder(dir.path());
    node.args(["--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    node.env("PEER_PORT", port.to_string());
    node.env("XDG_STATE_HOME", here.join("state"));
    Node::spawn(dir, node)
}

#[test]
fn every_command_of_this_user_believes_the_certificate_of_a_node_whose_flags_name_it() {
    let [dir, here] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let here = here.path();
    certify(dir.path(), "files.example.org", 2020, true);
    let node = serve_by_flags(&dir, here, 0);
    let port = node.address.port();
    fs::write(here.join("a"), "content").unwrap();
    let done = |node: Option<&str>, arguments: &[&str]| {
        let mut command = command(here, node.unwrap_or_default(), arguments);
        if node.is_none() {
            command.env_remove("LARDER_NODE");
        }
        let command = command.env("PEER_PORT", port.to_string());
        let output = command.env("SSL_CERT_FILE", "/dev/null").output().unwrap();
        assert!(output.status.success(), "{node:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let named = [
        None,
        Some(port.to_string()),
        Some(format!("localhost:{port}")),
        Some(format!("127.0.0.1:{port}")),
        Some(format!("https://localhost:{port}/")),
    ];
    for node in &named {
        let node = node.as_deref();
        let put = done(node, &["put", "a"]);
        assert!(put.contains(&format!("https://localhost:{port}/")), "{put}");
        for verb in ["status", "peers", "ls"] {
            done(node, &[verb]);
        }
        for verb in ["info", "keep"] {
            done(node, &[verb, "a"]);
        }
        assert_eq!(done(node, &["get", "a", "-o", "-"]), "content");
        done(node, &["rm", "a"]);
    }
}

#[test]
fn what_is_known_of_a_node_whose_flags_name_its_certificate_ends_with_it() {
    let [dir, imposter_dir, here] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let here = here.path();
    for dir in [&dir, &imposter_dir] {
        certify(dir.path(), "localhost", 4000, true);
    }
    let node = serve_by_flags(&dir, here, 0);
    let port = node.address.port();
    let url = format!("https://localhost:{port}");
    done(here, Some(&url), &["status"]);
    // To other users it is unknown.
    let elsewhere = tempfile::tempdir().unwrap();
    let told = refused(elsewhere.path(), Some(&url));
    assert!(told.contains("--ca"), "{told}");
    let written = here.join(format!("state/larder/nodes/{port}"));
    assert!(written.exists());
    node.kill();
    assert!(written.exists());
    let imposter = serve_by_flags(&imposter_dir, elsewhere.path(), port);
    let told = refused(here, Some(&url));
    assert!(!told.contains("cert.pem"), "{told}");
    imposter.stop();
    let again = serve_by_flags(&dir, here, port);
    done(here, Some(&url), &["status"]);
    again.stop();
    assert!(!written.exists());
}
