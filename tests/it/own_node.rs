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
