//! Settings of servers that cannot be, and those that a start is without.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::common::forms::uploaded;
use crate::common::process::{Node, larder};
use crate::common::raw_http::get;
use crate::nodes::{command, servers, start_with};
use crate::postgres::Server;
use crate::s3_store::S3Store;

/// What a command says that does not begin, on one line, and its exit status.
fn refusal(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    let said = String::from_utf8(stderr).unwrap();
    let last = said.lines().filter(|it| it.starts_with("larder: "));
    let [told] = last.collect::<Vec<_>>()[..] else {
        panic!("{said}");
    };
    (status.code(), told.to_owned())
}

fn ordinary(dir: &Path, subcommand: &str) -> Command {
    let mut command = larder(dir);
    command.arg(subcommand);
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_has_lost_its_settings_does_not_begin_anew_in_its_directory() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let node = start_with(&dir, &url, &store, &[]);
    let file = uploaded(node.address, "file", b"content")["file_id"].clone();
    let path = format!("/api/p2p/file/{}", file.as_str().unwrap());
    node.stop();

    let bucket = format!("s3://{}/fleet", store.endpoint().bucket);
    for subcommand in ["serve", "verify", "rebuild-index"] {
        let (status, told) = refusal(ordinary(dir.path(), subcommand));
        assert_ne!(status, Some(0), "{subcommand}");
        for part in [&*bucket, "larder.servers", "--index", "[files_elsewhere]"] {
            assert!(told.contains(part), "{subcommand}: {told}");
        }
    }
    let storage = dir.path().join("peer_storage");
    assert!(!storage.join("journal").exists(), "nothing has begun there");

    let node = start_with(&dir, &url, &store, &[]);
    assert_eq!(get(node.address, &path, &[]).body, b"content");
    node.stop();
    // Whoever means it says so.
    fs::remove_file(storage.join("larder.servers")).unwrap();
    let node = Node::start(&dir, &[]);
    assert_eq!(get(node.address, &path, &[]).status, 404);
    node.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_settings_of_a_bucket_is_told_by_their_names() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let url = database.database("one").await;
    let key = ("AWS_ACCESS_KEY_ID", "somebody else");
    let secret = ("AWS_SECRET_ACCESS_KEY", "a wrong one");
    for (name, value) in [key, secret] {
        let dir = TempDir::new().unwrap();
        let mut command = command(dir.path(), &url, store.endpoint());
        command.env(name, value);
        let (status, told) = refusal(command);
        assert_eq!(status, Some(2), "{told}");
        assert!(told.contains("--blobs"), "{told}");
        assert!(told.contains("AWS_ACCESS_KEY_ID"), "{told}");
        assert!(!told.contains('<') && !told.contains(value), "{told}");
        assert!(!dir.path().join("peer_storage/larder.servers").exists());
    }
}

#[test]
fn what_is_half_set_or_no_url_is_told_by_its_name_before_anything_is_asked() {
    let dir = TempDir::new().unwrap();
    let index = ("LARDER_INDEX", "postgres://larder@127.0.0.1:1/larder");
    let blobs = ("LARDER_BLOBS", "s3://bucket/prefix");
    let both = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
    for (set, parts) in [
        (
            &[("LARDER_INDEX", ""), blobs][..],
            &["--index", "LARDER_INDEX"][..],
        ),
        (
            &[("LARDER_INDEX", "host=127.0.0.1 dbname=larder"), blobs],
            &["--index", "postgres://"],
        ),
        (
            &[("LARDER_INDEX", "postgres:///larder"), blobs],
            &["--index", "no host"],
        ),
        (
            &[
                (
                    "LARDER_INDEX",
                    "postgres://127.0.0.1/larder?sslmode=verify-full",
                ),
                blobs,
            ],
            &["--index", "sslmode is require"],
        ),
        (&[index, blobs, (both[0], "key")], &both),
        (
            &[index, blobs, (both[0], "key\n"), (both[1], "secret")],
            &["AWS_ACCESS_KEY_ID", "line break"],
        ),
        (
            &[index, blobs, ("AWS_REGION", "here\n")],
            &["AWS_REGION", "line break"],
        ),
        (
            &[index, ("LARDER_BLOBS", "s3://key:secret@bucket/prefix")],
            &["--blobs", "AWS_ACCESS_KEY_ID"],
        ),
        (
            &[
                index,
                blobs,
                ("LARDER_S3_ENDPOINT", "http://key:secret@127.0.0.1:1"),
            ],
            &["--s3-endpoint", "without keys"],
        ),
        (
            &[index, blobs, ("LARDER_S3_ENDPOINT", "http://127.0.0.1:1?a")],
            &["--s3-endpoint"],
        ),
        (&[index, blobs, (both[1], "secret"), (both[0], "")], &both),
        (
            &[("LARDER_S3_ENDPOINT", "http://127.0.0.1:1")],
            &["--s3-endpoint", "LARDER_S3_ENDPOINT"],
        ),
    ] {
        let mut command = ordinary(dir.path(), "serve");
        command.envs(set.iter().copied());
        let (status, told) = refusal(command);
        assert_eq!(status, Some(2), "{told}");
        assert!(parts.iter().all(|it| told.contains(it)), "{told}");
        assert!(!told.contains("secret"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_not_there_and_a_user_that_is_not_known_are_told_as_settings() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let (server, _) = url.rsplit_once('/').unwrap();
    let (_, host) = server.split_once('@').unwrap();
    for wrong in [
        format!("{server}/nowhere"),
        format!("postgres://nobody@{host}/one"),
        format!("{url}?sslmode=require"),
    ] {
        for subcommand in ["serve", "verify"] {
            let mut command = ordinary(dir.path(), subcommand);
            servers(&mut command, &wrong, store.endpoint());
            let (status, told) = refusal(command);
            assert_eq!(status, Some(2), "{told}");
            assert!(told.contains("--index (from LARDER_INDEX)"), "{told}");
        }
    }
}

#[test]
fn a_trash_is_refused_where_several_nodes_share_their_files() {
    let dir = TempDir::new().unwrap();
    let mut command = larder(dir.path());
    command.args([
        "--index",
        "postgres://127.0.0.1:1/none",
        "--blobs",
        "s3://none",
    ]);
    command.args(["--trash", "24h"]);
    let (status, told) = refusal(command);
    assert_eq!(status, Some(2), "{told}");
    assert!(
        told.contains("--trash") && told.contains("no trash yet"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_no_header_takes_is_told_by_the_name_of_its_file() {
    let (database, store) = (Server::start(), S3Store::start().await);
    let (url, dir) = (database.database("one").await, TempDir::new().unwrap());
    let token = dir.path().join("token");
    fs::write(&token, "token\n").unwrap();
    let mut command = command(dir.path(), &url, store.endpoint());
    for key in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"] {
        command.env_remove(key);
    }
    command.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:9/");
    command.env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &token);
    let (status, told) = refusal(command);
    assert_eq!(status, Some(2), "{told}");
    assert!(
        told.contains("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        "{told}"
    );
}
