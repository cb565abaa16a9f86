//! Networks with members: who makes one, who is invited, and what an invitation is worth.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use tempfile::TempDir;

use crate::common::peers::peer_id;
use crate::common::process::{Node, larder, until};

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn network(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = larder(dir);
    command.arg("network").args(arguments).output().unwrap()
}

/// The first line of what a command prints that does what it should.
fn printed(dir: &Path, arguments: &[&str]) -> String {
    let output = network(dir, arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().next().unwrap_or_default().to_owned()
}

/// How a command ends that fails, and what it says.
fn refused(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let output = network(dir, arguments);
    assert!(output.stdout.is_empty(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), told)
}

#[test]
fn a_node_is_invited_joins_and_is_on_the_roll_until_its_time_is_over() {
    let (admin, member) = (dir(), dir());
    let (admin, member) = (admin.path(), member.path());
    printed(admin, &["create", "key"]);
    let key = printed(member, &["key"]);
    assert_eq!(printed(member, &["key"]), key);
    let invitation = printed(admin, &["invite", "key", &key]);
    let told = printed(member, &["join", "member", &invitation]);
    let node = Node::start(
        &dir(),
        &["--storage", member.join("peer_storage").to_str().unwrap()],
    );
    let id = peer_id(node.address);
    assert!(
        told.starts_with(&format!("peer {id} is a member of ")),
        "{told}"
    );
    // The key of a node that runs is told, too.
    assert_eq!(printed(member, &["key"]), key);
    let roll = printed(admin, &["members", "key"]);
    assert!(roll.starts_with(&format!("{id}  {key}  ")), "{roll}");
    assert!(roll.ends_with("  member"), "{roll}");
    // What was made before lasts to its end, whatever is made later.
    let output = network(admin, &["invite", "key", &key, "--for", "1s", "--once"]);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("an earlier invitation of this key counts until "),
        "{told}"
    );
    let short = String::from_utf8(output.stdout).unwrap();
    let (code, told) = until("its time is over", || {
        let output = network(member, &["join", "member", &short]);
        let told = String::from_utf8(output.stderr).unwrap();
        (!output.status.success()).then_some((output.status.code().unwrap(), told))
    });
    let still = printed(admin, &["members", "key"]);
    assert_eq!(still.split("  ").nth(2), roll.split("  ").nth(2), "{still}");
    assert!(still.ends_with("  once  member"), "{still}");
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("it has expired (expired)"), "{told}");
    for file in [
        admin.join("key"),
        admin.join("key.members"),
        member.join("member"),
    ] {
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn of_many_invitations_at_once_none_is_missing_on_the_roll() {
    let (admin, members) = (dir(), [(); 8].map(|()| dir()));
    printed(admin.path(), &["create", "key"]);
    std::thread::scope(|scope| {
        for member in &members {
            scope.spawn(|| {
                let key = printed(member.path(), &["key"]);
                printed(admin.path(), &["invite", "key", &key]);
            });
        }
    });
    let output = network(admin.path(), &["members", "key"]);
    let roll = String::from_utf8(output.stdout).unwrap();
    assert_eq!(roll.lines().count(), members.len(), "{roll}");
}

#[test]
fn an_invitation_counts_for_the_node_that_it_was_made_for_alone() {
    let (admin, member, other) = (dir(), dir(), dir());
    let (admin, member, other) = (admin.path(), member.path(), other.path());
    printed(admin, &["create", "key"]);
    let key = printed(member, &["key"]);
    let invitation = printed(admin, &["invite", "key", &key]);
    let mut changed = invitation.clone();
    changed.replace_range(
        changed.len() - 1..,
        if changed.ends_with('0') { "1" } else { "0" },
    );
    for (dir, invitation, code) in [
        (other, &*invitation, "(other_member)"),
        (member, &changed, "(wrong_signature)"),
        (member, &invitation[1..], "(no_certificate)"),
        (member, "", "(no_certificate)"),
        (member, &"x".repeat(100_000), "(no_certificate)"),
    ] {
        let (status, told) = refused(dir, &["join", "member", invitation]);
        assert_eq!(status, 2, "{told}");
        assert!(told.contains(code) && told.lines().count() == 1, "{told}");
        assert!(!dir.join("member").exists());
    }
}

#[test]
fn nobody_replaces_the_key_of_a_network_or_changes_a_node_to_another_by_mistake() {
    let (admin, member) = (dir(), dir());
    let (admin, member) = (admin.path(), member.path());
    let known = printed(admin, &["create", "key"]);
    let before = fs::read(admin.join("key")).unwrap();
    let (status, told) = refused(admin, &["create", "key"]);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("key is there already"), "{told}");
    assert_eq!(fs::read(admin.join("key")).unwrap(), before);
    assert_ne!(printed(admin, &["create", "other"]), known);
    let key = printed(member, &["key"]);
    let [invitation, elsewhere] =
        ["key", "other"].map(|network| printed(admin, &["invite", network, &key]));
    printed(member, &["join", "member", &invitation]);
    let kept = fs::read(member.join("member")).unwrap();
    let (status, told) = refused(member, &["join", "member", &elsewhere]);
    assert_eq!(status, 1, "{told}");
    assert!(told.contains("member is of another network"), "{told}");
    assert_eq!(fs::read(member.join("member")).unwrap(), kept);
    let (status, told) = refused(admin, &["invite", "key", "no-key"]);
    assert_eq!(status, 2, "{told}");
    assert!(told.contains("64 lowercase hex digits"), "{told}");
}

#[test]
fn an_invitation_is_taken_as_mail_and_editors_leave_it_and_only_whole() {
    let (admin, member) = (dir(), dir());
    let (admin, member) = (admin.path(), member.path());
    printed(admin, &["create", "key"]);
    let key = printed(member, &["key"]);
    let invitation = printed(admin, &["invite", "key", &key]);
    let (head, tail) = invitation.split_at(70);
    for (number, text) in [
        format!("{head}\n  {tail}\r\n"),
        format!("\u{feff}\u{201c}{head} {tail}\u{201d}"),
        format!("'{head}\u{200b}{tail}'"),
        format!("\"{head}\u{a0}{tail}\""),
        format!("> {head}\n{tail}"),
        format!("> {head}\n> {tail}"),
        format!(" >> {head}\r\n >> {tail}\r\n"),
        format!("> > \u{201c}{head}\n> > {tail}\u{201d}"),
    ]
    .iter()
    .enumerate()
    {
        printed(member, &["join", &format!("member{number}"), text]);
    }
    let as_pasted = format!("\u{feff}{key}\u{200b}");
    assert!(printed(admin, &["invite", "key", &as_pasted]).starts_with("larder-member-1."));
    let (code, told) = refused(admin, &[]);
    assert!(
        code == 2 && told.contains(" create, key, invite, "),
        "{told}"
    );
    for cut in [head, tail, &format!("{head}\n> {tail}x")] {
        let (code, told) = refused(member, &["join", "cut", cut]);
        assert_eq!(code, 2, "{told}");
        let hint = "it is to be given whole, as one line (no_certificate)";
        assert!(told.contains(hint), "{told}");
    }
    assert!(!member.join("cut").exists());
}
