//! The settings file, the environment and the flags: which goes before which, what is said
//! of wrong ones, and what `larder config` tells.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::peers::{peer_id, reaches};
use crate::common::process::{Node, larder, until};
use crate::common::raw_http::get;

const SECRET: &str = "0123456789abcdef-secret";

fn dir_with(file: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("larder.toml"), file).unwrap();
    dir
}

fn config(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = larder(dir);
    command.env_clear().arg("config").args(arguments);
    command
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn effective(command: &mut Command) -> Value {
    serde_json::from_str(&text(&command.arg("--json").output().unwrap())).unwrap()
}

#[test]
fn a_flag_goes_before_the_environment_and_that_before_the_file() {
    let dir = dir_with("port = 1\ndiscover-every = 2\npeer-stall = 3\nno-mdns = true\n");
    let mut command = config(dir.path(), &["--peer-stall", "5"]);
    command
        .env("LARDER_DISCOVER_EVERY", "4")
        .env("LARDER_PEER_STALL", "4");
    let settings = effective(&mut command);
    for (name, value, source) in [
        ("port", json!(1), "larder.toml:1"),
        ("discover-every", json!(4), "LARDER_DISCOVER_EVERY"),
        ("peer-stall", json!(5), "--peer-stall"),
        ("no-mdns", json!(true), "larder.toml:4"),
        ("open", json!(false), "default"),
        ("peer-rate", json!(1000), "default"),
        ("base-url", Value::Null, "not set"),
    ] {
        assert_eq!(settings[name]["value"], value, "{name}");
        assert_eq!(settings[name]["source"], source, "{name}");
    }
}

#[test]
fn peers_and_servers_are_asked_where_no_scheme_is_written() {
    let asked = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let asked = asked.map(|dir| (Node::start(&dir, &[]), dir));
    let [flag, variable, file] = asked.each_ref().map(|(node, _)| node.address.to_string());
    let server = tempfile::tempdir().unwrap();
    let server = Node::start(&server, &["bootstrap", "--listen", "127.0.0.1:0"]);
    // A list of one source replaces that of another.
    for (peer, arguments, variables) in [
        (&flag, &["--peer", &flag][..], &[][..]),
        (&variable, &[], &[("LARDER_PEER", &variable)][..]),
        (&file, &[], &[]),
    ] {
        let dir = dir_with(&format!("peer = [\"{file}\"]\n"));
        let mut command = larder(dir.path());
        command.args(["--config", "larder.toml", "--discover-every", "1"]);
        command.args(arguments).envs(variables.iter().copied());
        command.env("BOOTSTRAP_SERVER", server.address.to_string());
        let node = Node::spawn(&dir, command);
        let id = peer_id(peer.parse().unwrap());
        until("the peer answers", || {
            reaches(node.address, &id).then_some(())
        });
        let own = peer_id(node.address);
        until("it has registered", || {
            let peers = get(server.address, "/peers", &[]).json();
            peers["peers"].to_string().contains(&own).then_some(())
        });
    }
}

#[test]
fn lists_are_replaced_and_not_added_to() {
    let dir = dir_with("bootstrap = [\"http://a:1\", \"http://b:2\"]\n");
    let of_file = effective(&mut config(dir.path(), &[]));
    assert_eq!(
        of_file["bootstrap"]["value"],
        json!(["http://a:1", "http://b:2"])
    );
    let of_flag = effective(&mut config(dir.path(), &["--bootstrap", "http://c:3"]));
    assert_eq!(of_flag["bootstrap"]["value"], json!(["http://c:3"]));
}

#[test]
fn what_is_wrong_in_the_file_is_told_with_its_line() {
    for (file, told) in [
        (
            "\nprot = 1",
            "larder.toml, line 2: no setting is called prot; did you mean port?",
        ),
        (
            "STORAGE_DIR = \"x\"",
            "called STORAGE_DIR; did you mean storage?",
        ),
        ("min_free = 1", "called min_free; did you mean min-free?"),
        ("xyzzy = 1", "`larder serve --help` names all"),
        (
            "listen = 127.0.0.1:80",
            "line 1: listen: a text stands in quotes, as in listen = \"…\"",
        ),
        (
            "port = 1\nquota = 10GiB",
            "line 2: quota: a text stands in quotes",
        ),
        ("peer = [10.0.0.1:1]", "as in peer = [\"…\"]"),
        (
            "open = True",
            "open is either true or false, as in open = true",
        ),
        (
            "open = yes",
            "open is either true or false, as in open = true",
        ),
        (
            "verify-reads = on",
            "a text stands in quotes, as in verify-reads = \"on\"",
        ),
        (
            "verify-reads = true",
            "verify-reads is no switch; it is on or off, as in verify-reads = \"on\"",
        ),
        (
            "quota = 1.5",
            "line 1: quota is no text, number, switch or list: in quotes",
        ),
        ("listen =", "line 1: listen has no value"),
        ("port = 70000", "larder.toml, line 1: invalid value '70000'"),
        ("port = true", "line 1: port is no switch"),
        ("open = \"yes\"", "line 1: open is either true or false"),
        ("storage = [\"a\"]", "line 1: storage takes one value"),
        ("keep = \"some\"", "possible values: asked, all"),
        ("config = \"other.toml\"", "no setting is called config"),
        (
            "[serve]\nport = 1",
            "line 1: serve is no text, number, switch or list, but a table",
        ),
        ("port = 1\nport = 2", "line 2: port: duplicate key"),
    ] {
        let dir = dir_with(file);
        for command in ["serve", "config", "verify"] {
            let output = larder(dir.path()).arg(command).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
            assert!(error.contains(told), "{error}");
        }
        assert!(!dir.path().join("peer_storage").exists());
    }
}

#[test]
fn a_line_that_cannot_be_read_is_told_without_its_value() {
    let dir = dir_with("token = pass-that-nobody-sees\n");
    let output = larder(dir.path()).arg("config").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("line 1: token: a text stands in quotes"),
        "{error}"
    );
    assert!(!error.contains("nobody-sees"), "{error}");
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let dir = tempfile::tempdir().unwrap();
    let output = config(dir.path(), &["--config", "none.toml"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("none.toml cannot be read"), "{error}");
    fs::write(dir.path().join("other.toml"), "port = 7").unwrap();
    let mut by_variable = config(dir.path(), &[]);
    by_variable.env("LARDER_CONFIG", "other.toml");
    assert_eq!(effective(&mut by_variable)["port"]["value"], 7);
}

#[test]
fn what_is_printed_is_a_settings_file_of_the_same_settings() {
    for (file, variables) in [
        (
            "storage = 'a \"b\" \\ c'\ncors-origin = ['http://x.example', '*']\nport = 0\n",
            &[][..],
        ),
        ("bootstrap = []\npeer = []\n", &[]),
        ("storage = \"007\"\nquota = \"010\"\n", &[]),
        (
            "open = false\nno-mdns = true\n",
            &[("LARDER_OPEN", "true"), ("LARDER_NO_MDNS", "false")],
        ),
        (
            "port = 1\n",
            &[("LARDER_PEER", "a:1,b:2"), ("STORAGE_DIR", "-0")],
        ),
        (
            "peer = ['a:1,b:2']\n",
            &[("LARDER_LOG", "warn,larder=debug")],
        ),
    ] {
        let dir = dir_with(file);
        let with = |arguments: &[&str]| {
            let mut command = config(dir.path(), arguments);
            command.envs(variables.iter().copied());
            command
        };
        let before = effective(&mut with(&[]));
        let printed = text(&with(&[]).output().unwrap());
        fs::write(dir.path().join("printed.toml"), &printed).unwrap();
        let after = effective(&mut config(dir.path(), &["--config", "printed.toml"]));
        for (name, setting) in before.as_object().unwrap() {
            assert_eq!(setting["value"], after[name]["value"], "{name}: {printed}");
        }
    }
}

#[test]
fn a_list_that_is_set_empty_is_told_as_that_and_counts() {
    let dir = dir_with("bootstrap = []\nport = 0\n");
    let told = &effective(&mut config(dir.path(), &[]))["bootstrap"];
    assert_eq!(
        (&told["value"], &told["source"]),
        (&json!([]), &json!("larder.toml:1"))
    );
    let printed = text(&config(dir.path(), &[]).output().unwrap());
    assert!(
        printed.contains("bootstrap = []  # larder.toml:1\n"),
        "{printed}"
    );
    assert!(printed.contains("# peer: not set\n"), "{printed}");
    let node = Node::spawn(&dir, larder(dir.path()));
    let log = node.log();
    let line = log.lines().find(|it| it.contains(" serving "));
    assert!(!line.unwrap().contains("9000"), "{log}");
}

#[test]
fn what_no_settings_file_can_say_is_told_and_not_written_as_something_else() {
    use std::os::unix::ffi::OsStrExt;

    let dir = dir_with("");
    let mut command = config(dir.path(), &[]);
    command.env("STORAGE_DIR", std::ffi::OsStr::from_bytes(b"caf\xe9"));
    let printed = text(&command.output().unwrap());
    assert!(
        printed.contains("# storage: STORAGE_DIR, and no UTF-8"),
        "{printed}"
    );
    // The path of the file is no more than a comment, whatever is in it.
    fs::write(dir.path().join("a\nport = 7"), "peer-rate = 5\n").unwrap();
    let printed = text(
        &config(dir.path(), &["--config", "a\nport = 7"])
            .output()
            .unwrap(),
    );
    fs::write(dir.path().join("printed.toml"), &printed).unwrap();
    let after = effective(&mut config(dir.path(), &["--config", "printed.toml"]));
    assert_eq!(
        (&after["port"]["value"], &after["peer-rate"]["value"]),
        (&json!(5004), &json!(5))
    );
}

#[test]
fn a_secret_is_never_shown() {
    let dir = dir_with(&format!("token = \"{SECRET}\"\n"));
    let other = dir_with("");
    let mut by_variable = config(other.path(), &[]);
    by_variable.env("LARDER_TOKEN", SECRET);
    for mut command in [
        config(dir.path(), &[]),
        config(dir.path(), &["--json"]),
        config(other.path(), &["--token", SECRET]),
        by_variable,
    ] {
        let printed = text(&command.output().unwrap());
        assert!(
            printed.contains("token") && !printed.contains(SECRET),
            "{printed}"
        );
    }
}

#[test]
fn a_node_and_the_check_of_its_storage_heed_the_file() {
    let dir = dir_with("storage = \"elsewhere\"\nport = 0\nlog-format = \"json\"\n");
    let mut command = larder(dir.path());
    command.env_clear().env("LARDER_NO_MDNS", "true");
    let node = Node::spawn(&dir, command);
    let status = get(node.address, "/api/p2p/status", &[]).json();
    assert_eq!(status["storage_dir"], "elsewhere");
    let logged = until("the request is logged", || {
        let log = node.log();
        let lines = log
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .into_iter()
            .find(|line| line["path"] == "/api/p2p/status")
    });
    for (key, value) in [
        ("level", json!("INFO")),
        ("status", json!(200)),
        ("message", json!("request")),
    ] {
        assert_eq!(logged[key], value, "{logged}");
    }
    node.stop();
    let verified = larder(dir.path()).arg("verify").output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    assert!(!dir.path().join("peer_storage").exists());
}
