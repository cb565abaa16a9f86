//! Settings that cannot be: each, however it is set, ends the command with status 2 and one
//! line that names it, where it was set and what is wrong with it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::authority::Authority;
use crate::common::commands::command;
use crate::common::process::{Node, larder, start};

const SECRET: &str = "pass-that-nobody-sees";

/// A setting, its variable, a value that it cannot have, and what is said of that.
const WRONG: &[(&str, &str, &str, &str)] = &[
    ("listen", "LARDER_LISTEN", "example.com", "IP address"),
    ("port", "PEER_PORT", "70000", "65535"),
    ("port", "PEER_PORT", "http", "invalid"),
    ("storage", "STORAGE_DIR", "", "a value is required"),
    ("bootstrap", "BOOTSTRAP_SERVER", "ftp://x", "http://"),
    ("bootstrap", "BOOTSTRAP_SERVER", "http://a:1,b", "http://"),
    ("peer", "LARDER_PEER", "localhost", "10.0.0.5:5004"),
    ("peer", "LARDER_PEER", "fd00::5:5004", "[fd00::5]:5004"),
    ("bootstrap", "BOOTSTRAP_SERVER", "10.0.0.5", "10.0.0.5:5004"),
    (
        "peer",
        "LARDER_PEER",
        "http://me:pass-that-nobody-sees@host",
        "http://",
    ),
    (
        "discover-every",
        "LARDER_DISCOVER_EVERY",
        "0",
        "from 1s to 24h",
    ),
    (
        "peer-networks",
        "LARDER_PEER_NETWORKS",
        "10.0.0.0/33",
        "10.0.0.0/33",
    ),
    ("peer-ca", "LARDER_PEER_CA", "missing", "No such file"),
    ("peer-ca", "LARDER_PEER_CA", "directory", "Is a directory"),
    (
        "peer-ca",
        "LARDER_PEER_CA",
        "empty",
        "there is no certificate in empty",
    ),
    ("peer-rate", "LARDER_PEER_RATE", "-1", "invalid value '-1'"),
    ("keep", "LARDER_KEEP", "some", "asked, all"),
    ("scrub-every", "LARDER_SCRUB_EVERY", "never", "or off"),
    ("trash", "LARDER_TRASH", "0", "from 1s"),
    (
        "scrub-rate",
        "LARDER_SCRUB_RATE",
        "0",
        "--scrub-every off reads nothing",
    ),
    ("peer-stall", "LARDER_PEER_STALL", "0", "from 1s to 1h"),
    ("copies", "LARDER_COPIES", "17", "from 1 to 16"),
    (
        "offer",
        "LARDER_OFFER",
        "much",
        "a size is a number and a unit",
    ),
    ("gone-after", "LARDER_GONE_AFTER", "0", "from 1s to"),
    ("surplus-after", "LARDER_SURPLUS_AFTER", "x", "a time is"),
    ("base-url", "BASE_URL", "localhost:5004", "http://"),
    (
        "base-url",
        "BASE_URL",
        "http://me:pass-that-nobody-sees@host",
        "http://",
    ),
    ("max-upload", "LARDER_MAX_UPLOAD", "10XB", "10GiB"),
    ("quota", "LARDER_QUOTA", "1,5GiB", "10GiB"),
    ("min-free", "LARDER_MIN_FREE", "little", "10GiB"),
    ("directory", "LARDER_DIRECTORY", "1KiB", "1MiB at least"),
    (
        "durability",
        "LARDER_DURABILITY",
        "never",
        "always, relaxed",
    ),
    ("verify-reads", "LARDER_VERIFY_READS", "some", "on, off"),
    (
        "cors-origin",
        "LARDER_CORS_ORIGIN",
        "example.com",
        "http://",
    ),
    (
        "token",
        "LARDER_TOKEN",
        "nobody-sees",
        "a token has 16 to 512",
    ),
    (
        "token",
        "LARDER_TOKEN",
        "pass that nobody-sees",
        "a token has 16 to 512",
    ),
    ("token", "LARDER_TOKEN", "", "a token has 16 to 512"),
    ("token-file", "LARDER_TOKEN_FILE", "missing", "No such file"),
    (
        "token-file",
        "LARDER_TOKEN_FILE",
        "directory",
        "Is a directory",
    ),
    (
        "token-file",
        "LARDER_TOKEN_FILE",
        "empty",
        "a token has 16 to 512",
    ),
    (
        "token-file",
        "LARDER_TOKEN_FILE",
        "short",
        "a token has 16 to 512",
    ),
    ("tokens", "LARDER_TOKENS", "missing", "No such file"),
    ("tokens", "LARDER_TOKENS", "directory", "Is a directory"),
    (
        "tokens",
        "LARDER_TOKENS",
        "short",
        "short, line 1: a token is",
    ),
    (
        "tokens",
        "LARDER_TOKENS",
        "twice",
        "twice has a token called a already",
    ),
    ("tokens", "LARDER_TOKENS", "long", "longer than"),
    ("network", "LARDER_NETWORK", "missing", "No such file"),
    (
        "network",
        "LARDER_NETWORK",
        "short",
        "short does not hold the certificate of a member",
    ),
    (
        "network-key",
        "LARDER_NETWORK_KEY",
        "short",
        "short is not the key of a network",
    ),
    (
        "upload-expiry",
        "LARDER_UPLOAD_EXPIRY",
        "0",
        "from 1h to 8760h",
    ),
    (
        "trusted-proxy",
        "LARDER_TRUSTED_PROXY",
        "gateway",
        "gateway",
    ),
    (
        "tls-cert",
        "LARDER_TLS_CERT",
        "cert.pem",
        "it needs --tls-key",
    ),
    (
        "tls-key",
        "LARDER_TLS_KEY",
        "key.pem",
        "it needs --tls-cert",
    ),
    (
        "shutdown-grace",
        "LARDER_SHUTDOWN_GRACE",
        "soon",
        "such as 30s",
    ),
    ("log", "LARDER_LOG", "a=b=c", "invalid"),
    ("log", "LARDER_LOG", "warning", "neither a level"),
    ("log", "LARDER_LOG", "loud", "neither a level"),
    ("log", "LARDER_LOG", "", "neither a level"),
    ("log", "LARDER_LOG", "info,", "neither a level"),
    ("log", "LARDER_LOG", "larder=", "neither a level"),
    ("log-format", "LARDER_LOG_FORMAT", "xml", "text, json"),
];

/// Switches, and their variables.
const SWITCHES: &[(&str, &str)] = &[
    ("no-mdns", "LARDER_NO_MDNS"),
    ("require-signed", "LARDER_REQUIRE_SIGNED"),
    ("private", "LARDER_PRIVATE"),
    ("open", "LARDER_OPEN"),
];

/// Where a setting is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Flag,
    Variable,
    File,
}

/// Writes a file that others may not read, of which a warning would tell.
fn write_secret(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A directory with files that some settings could name.
fn place() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| write_secret(&dir.path().join(name), text);
    let (certificate, key) = Authority::new().vouches("localhost", false);
    let (_, other_key) = Authority::new().vouches("localhost", false);
    write("cert.pem", &certificate.pem());
    write("key.pem", &key.serialize_pem());
    write("other.pem", &other_key.serialize_pem());
    write("empty", "");
    write("short", "nobody-sees\n");
    let line = format!("a read {}\n", "0".repeat(64));
    write("twice", &line.repeat(2));
    write("long", &"# a comment\n".repeat(100_000));
    fs::create_dir(dir.path().join("directory")).unwrap();
    dir
}

/// Fails unless the command ends with status 2 and one line with all of `told`, without a
/// secret, and before it has made anything.
fn assert_refused(dir: &Path, command: &mut Command, told: &[&str]) {
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{command:?}: {error}");
    assert_eq!(error.lines().count(), 1, "{command:?}: {error}");
    assert!(error.starts_with("larder: "), "{command:?}: {error}");
    for part in told {
        assert!(error.contains(part), "{part}: {command:?}: {error}");
    }
    assert!(
        !error.contains(SECRET) && !error.contains("nobody-sees"),
        "{error}"
    );
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    for made in ["peer_storage", "bootstrap_storage"] {
        assert!(!dir.join(made).exists(), "{command:?}");
    }
}

fn bare(dir: &Path) -> Command {
    let mut command = larder(dir);
    command.env_remove("PEER_PORT").env_remove("LARDER_NO_MDNS");
    command
}

/// Sets it in the settings file, which had nothing of it.
fn set_in_file(dir: &Path, settings: &[(&str, &str)]) {
    let lines = settings
        .iter()
        .map(|(name, value)| format!("{name} = {value:?}\n"));
    let text = format!("# settings\n{}", lines.collect::<String>());
    write_secret(&dir.join("larder.toml"), &text);
}

#[test]
fn a_value_that_cannot_be_is_refused_however_it_is_set() {
    let dir = place();
    let dir = dir.path();
    for (name, variable, value, problem) in WRONG {
        let flag = format!("--{name}");
        let mut by_flag = bare(dir);
        by_flag.arg(format!("{flag}={value}"));
        assert_refused(dir, &mut by_flag, &[&flag, "on the command line", problem]);
        // It is the flag's fault, whatever the environment says.
        by_flag.env(variable, value);
        assert_refused(dir, &mut by_flag, &[&flag, "on the command line", problem]);
        let mut by_variable = bare(dir);
        by_variable.env(variable, value);
        let from = format!("from {variable}");
        assert_refused(dir, &mut by_variable, &[&flag, &from, problem]);
        for command in ["serve", "config"] {
            let mut by_variable = bare(dir);
            by_variable.env(variable, value).arg(command);
            assert_refused(dir, &mut by_variable, &[&flag, &from, problem]);
        }
        set_in_file(dir, &[(name, value)]);
        for command in [&[][..], &["config"], &["config", "--json"]] {
            assert_refused(
                dir,
                bare(dir).args(command),
                &[&flag, "larder.toml, line 2", problem],
            );
        }
        fs::remove_file(dir.join("larder.toml")).unwrap();
    }
    for (name, variable) in SWITCHES {
        let flag = format!("--{name}");
        let mut by_variable = bare(dir);
        by_variable.env(variable, "perhaps");
        let from = format!("from {variable}");
        assert_refused(dir, &mut by_variable, &[&flag, &from, "true, false"]);
        set_in_file(dir, &[(name, "perhaps")]);
        let told = ["larder.toml, line 2", name, "either true or false"];
        assert_refused(dir, &mut bare(dir), &told);
        fs::remove_file(dir.join("larder.toml")).unwrap();
    }
}

#[test]
fn every_setting_is_among_those_that_are_tried() {
    let dir = tempfile::tempdir().unwrap();
    let printed = bare(dir.path())
        .args(["config", "--json"])
        .output()
        .unwrap();
    let printed: Value = serde_json::from_slice(&printed.stdout).unwrap();
    let settings: BTreeSet<_> = printed.as_object().unwrap().keys().cloned().collect();
    let tried = WRONG.iter().map(|it| it.0.to_owned());
    let tried: BTreeSet<_> = tried
        .chain(SWITCHES.iter().map(|it| it.0.to_owned()))
        .collect();
    assert_eq!(settings, tried);
}

/// A setting, its variable and its value.
type Setting = (&'static str, &'static str, &'static str);

/// Settings that cannot be together, with their values and variables; and what is said.
const TOGETHER: &[(&[Setting], &str)] = &[
    (
        &[
            ("tls-cert", "LARDER_TLS_CERT", "cert.pem"),
            ("tls-key", "LARDER_TLS_KEY", "other.pem"),
        ],
        "cert.pem does not go with the key in other.pem",
    ),
    (
        &[
            ("tls-cert", "LARDER_TLS_CERT", "missing"),
            ("tls-key", "LARDER_TLS_KEY", "key.pem"),
        ],
        "the certificate in missing cannot be read",
    ),
    (
        &[
            ("tls-cert", "LARDER_TLS_CERT", "directory"),
            ("tls-key", "LARDER_TLS_KEY", "key.pem"),
        ],
        "the certificate in directory cannot be read",
    ),
    (
        &[
            ("tls-cert", "LARDER_TLS_CERT", "cert.pem"),
            ("tls-key", "LARDER_TLS_KEY", "missing"),
        ],
        "the private key in missing cannot be read",
    ),
    (
        &[
            ("tls-cert", "LARDER_TLS_CERT", "cert.pem"),
            ("tls-key", "LARDER_TLS_KEY", "empty"),
        ],
        "the private key in empty cannot be read",
    ),
    (
        &[
            ("token", "LARDER_TOKEN", "pass-that-nobody-sees"),
            ("token-file", "LARDER_TOKEN_FILE", "short"),
        ],
        "exclude each other",
    ),
    (
        &[
            ("open", "LARDER_OPEN", "true"),
            ("token", "LARDER_TOKEN", "pass-that-nobody-sees"),
        ],
        "exclude each other",
    ),
    (
        &[
            ("private", "LARDER_PRIVATE", "true"),
            ("tokens", "LARDER_TOKENS", "empty"),
        ],
        "there is no token in empty",
    ),
    (
        &[("private", "LARDER_PRIVATE", "true")],
        "it needs --tokens",
    ),
];

#[test]
fn settings_that_cannot_be_together_are_refused_wherever_they_stand() {
    let dir = place();
    let dir = dir.path();
    for (settings, problem) in TOGETHER {
        let ways = [Way::Flag, Way::Variable, Way::File];
        // All in one way, and each two ways together, for a start and for the check of one.
        let ways = ways.iter().flat_map(|one| ways.map(|other| (*one, other)));
        for (first, others, subcommand) in
            ways.flat_map(|(one, other)| ["serve", "config"].map(|it| (one, other, it)))
        {
            let mut command = bare(dir);
            command.arg(subcommand);
            let mut in_file = String::new();
            let (mut told, mut last) = (vec![(*problem).to_owned()], None);
            for (number, (name, variable, value)) in settings.iter().enumerate() {
                let way = if number == 0 { first } else { others };
                let is_switch = *value == "true";
                let from = match way {
                    Way::Flag if is_switch => {
                        command.arg(format!("--{name}"));
                        "on the command line".to_owned()
                    }
                    Way::Flag => {
                        command.arg(format!("--{name}={value}"));
                        "on the command line".to_owned()
                    }
                    Way::Variable => {
                        command.env(variable, value);
                        format!("from {variable}")
                    }
                    Way::File => {
                        let quoted = format!("{value:?}");
                        let value = if is_switch { *value } else { &quoted };
                        writeln!(in_file, "{name} = {value}").unwrap();
                        "from larder.toml, line".to_owned()
                    }
                };
                last = Some(format!("--{name} ({from}"));
                if problem.contains("go with") || problem.contains("each other") {
                    told.extend(last.clone());
                }
            }
            write_secret(&dir.join("larder.toml"), &in_file);
            if settings.len() == 1 {
                told.extend(last);
            }
            let told: Vec<_> = told.iter().map(String::as_str).collect();
            assert_refused(dir, &mut command, &told);
            fs::remove_file(dir.join("larder.toml")).unwrap();
        }
    }
}

#[test]
fn a_node_speaks_tls_with_files_that_stand_in_different_places() {
    let dir = place();
    set_in_file(dir.path(), &[("tls-cert", "cert.pem")]);
    let mut command = larder(dir.path());
    command.env("LARDER_TLS_KEY", "key.pem");
    let node = Node::spawn(&dir, command);
    let log = crate::common::process::until("it serves", || {
        let log = node.log();
        log.contains("serving").then_some(log)
    });
    assert!(log.contains("base_url=https://localhost"), "{log}");
}

#[test]
fn a_settings_file_that_cannot_be_read_is_refused() {
    let dir = place();
    let dir = dir.path();
    for (value, problem) in [
        ("missing", "missing cannot be read: No such file"),
        ("directory", "directory cannot be read: Is a directory"),
        ("long", "long cannot be read: it is longer than"),
    ] {
        for command in ["serve", "config", "verify", "rebuild-index"] {
            let mut by_flag = bare(dir);
            by_flag.args([command, "--config", value]);
            assert_refused(
                dir,
                &mut by_flag,
                &["--config (on the command line)", problem],
            );
            let mut by_variable = bare(dir);
            by_variable.arg(command).env("LARDER_CONFIG", value);
            assert_refused(
                dir,
                &mut by_variable,
                &["--config (from LARDER_CONFIG)", problem],
            );
        }
    }
    fs::create_dir(dir.join("larder.toml")).unwrap();
    assert_refused(
        dir,
        &mut bare(dir),
        &["--config", "larder.toml cannot be read"],
    );
}

#[test]
fn what_a_start_refuses_the_check_of_its_settings_refuses_too() {
    let dir = place();
    let dir = dir.path();
    fs::write(dir.join("open-tokens"), "").unwrap();
    fs::set_permissions(dir.join("open-tokens"), fs::Permissions::from_mode(0o666)).unwrap();
    for (arguments, status, told) in [
        (
            &["--listen", "192.0.2.77"][..],
            2,
            "no address of this machine",
        ),
        (
            &["--listen", "192.0.2.77:0"],
            2,
            "--listen (on the command line)",
        ),
        (
            &["--storage", "empty"],
            2,
            "--storage (on the command line): empty is no directory",
        ),
        (&["--storage", "empty/below/it"], 2, "empty is no directory"),
        (&["--tokens", "open-tokens"], 2, "others may write to it"),
        (&["--tokens", "short"], 2, "short, line 1"),
        (&["--token-file", "missing"], 2, "missing cannot be read"),
        (&["--peer-ca", "missing"], 2, "missing"),
        (&["--tls-key", "key.pem"], 2, "--tls-cert as well"),
    ] {
        for command in ["serve", "config"] {
            let output = bare(dir).arg(command).args(arguments).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(status), "{command}: {error}");
            assert!(error.contains(told), "{command} {arguments:?}: {error}");
            assert_eq!(error.lines().count(), 1, "{command}: {error}");
            assert!(output.stdout.is_empty(), "{command} {arguments:?}");
        }
    }
    // What is right is printed, though a node that runs has the port.
    let (_dir, node) = start();
    let port = node.address.port().to_string();
    let output = bare(dir)
        .args(["config", "--port", &port])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!dir.join("peer_storage").exists());
}

#[test]
fn a_variable_that_is_set_and_empty_is_refused_by_every_command_that_heeds_it() {
    let dir = place();
    let dir = dir.path();
    let mut tried = BTreeSet::new();
    for line in [
        "serve",
        "config",
        "bootstrap",
        "verify",
        "rebuild-index",
        "token a --rights read",
        "put empty",
        "get x",
        "ls",
        "info x",
        "rm x",
        "keep x",
        "peers",
        "status",
    ] {
        let words: Vec<_> = line.split(' ').collect();
        let help = bare(dir).args([words[0], "--help"]).output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        for variable in help.split("[env: ").skip(1) {
            let variable = variable.split(['=', ']']).next().unwrap();
            let mut command = command(dir, "http://localhost:1", &words);
            command.env(variable, "");
            assert_refused(dir, &mut command, &[&format!("(from {variable}): ")]);
            tried.insert(variable.to_owned());
        }
    }
    for variable in ["LARDER_TOKEN", "LARDER_NODE", "PEER_PORT", "LARDER_OPEN"] {
        assert!(tried.contains(variable), "{tried:?}");
    }
}

#[test]
fn a_line_that_no_command_understands_is_told_in_one_line_with_where_to_look() {
    let dir = place();
    let dir = dir.path();
    for (line, told) in [
        (
            "foo",
            "unrecognized subcommand 'foo' (`larder --help` tells more)",
        ),
        ("staus", "did you mean status?"),
        ("--prot 1", "did you mean --port?"),
        (
            "ls --newst",
            "did you mean --newest? (`larder ls --help` tells more)",
        ),
        ("put", "<FILE>... (`larder put --help` tells more)"),
        ("token a", "--rights <RIGHTS> --tokens <FILE>"),
        (
            "get x --newest --all",
            "'--newest' cannot be used with '--all'",
        ),
        ("status extra", "unexpected argument 'extra'"),
        ("completions bsh", "did you mean bash?"),
        (
            "--private --private",
            "'--private' cannot be used multiple times",
        ),
        ("ls --limit x", "a whole number from 1 to"),
        ("serve --port x", "a whole number from 0 to 65535"),
        ("bootstrap --max-peers 0", "a whole number from 1 to"),
    ] {
        assert_refused(dir, bare(dir).args(line.split(' ')), &[told]);
    }
}

/// Command lines of other commands, and what is said of them.
const OTHER_LINES: &[(&str, &str)] = &[
    ("bootstrap --listen x", "--listen (on the command line): "),
    ("bootstrap --ttl 0", "--ttl (on the command line): "),
    (
        "bootstrap --ttl 18446744073709551615",
        "--ttl (on the command line): ",
    ),
    (
        "bootstrap --max-peers 0",
        "--max-peers (on the command line): ",
    ),
    (
        "status --node ftp://localhost",
        "--node (on the command line): ",
    ),
    (
        "status --node http://me:pass-that-nobody-sees@h",
        "--node (on the command line): ",
    ),
    ("status --ca missing", "--ca (on the command line): "),
    (
        "ls --ca empty",
        "--ca (on the command line): there is no certificate",
    ),
    (
        "put short --token nobody-sees!",
        "--token (on the command line): ",
    ),
    (
        "token a --rights read --tokens short",
        "--tokens (on the command line): ",
    ),
    (
        "token a --rights all --tokens new",
        "--rights (on the command line): ",
    ),
    ("token a:b --rights read --tokens new", "a name has 1 to 64"),
    (
        "token a --rights read --tokens no/new",
        "--tokens (on the command line): ",
    ),
];

/// Other commands, and variables with values that cannot be.
const OTHER_VARIABLES: &[(&str, &str, &str)] = &[
    ("bootstrap", "LARDER_BOOTSTRAP_LISTEN", "x"),
    ("bootstrap", "LARDER_PEER_RATE", "many"),
    ("verify", "STORAGE_DIR", ""),
    ("rebuild-index", "STORAGE_DIR", ""),
    ("token a --rights read", "LARDER_TOKENS", "short"),
    ("status", "LARDER_NODE", "ftp://localhost"),
    ("peers", "LARDER_CA", "directory"),
    ("get x", "LARDER_TOKEN", "nobody-sees!"),
];

#[test]
fn the_other_commands_refuse_as_the_node_does() {
    let dir = place();
    let dir = dir.path();
    for (line, told) in OTHER_LINES {
        assert_refused(dir, bare(dir).args(line.split(' ')), &[told]);
    }
    for (line, variable, value) in OTHER_VARIABLES {
        let arguments: Vec<_> = line.split(' ').collect();
        let mut by_variable = command(dir, "http://localhost:1", &arguments);
        by_variable.env(variable, value);
        let told = format!("(from {variable}): ");
        assert_refused(dir, &mut by_variable, &[&told]);
    }
}
