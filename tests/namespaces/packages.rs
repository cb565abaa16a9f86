//! The image and the Debian package, made as README says and used on the system that they are for.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use crate::common::process::until;
use crate::debian::{Debian, run};

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
const TOKEN: &str = "LARDER_TOKEN=0123456789abcdef";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The last stage of the Dockerfile: each instruction and what stands behind it, in one line.
fn instructions() -> Vec<(String, String)> {
    let text = fs::read_to_string(repository().join("packaging/Dockerfile")).unwrap();
    let lines: Vec<_> = text.lines().filter(|it| !it.starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let (_, last) = joined.rsplit_once("FROM ").unwrap();
    let instructions = last.lines().skip(1).filter_map(|it| it.split_once(' '));
    let owned = instructions.map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()));
    owned.collect()
}

/// A command as the Dockerfile writes it, in JSON.
fn words(text: &str) -> Vec<String> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_image_serves_as_its_own_user_and_says_that_it_is_well() {
    let Some(debian) = Debian::new() else { return };
    // An engine tells a container how names are looked up.
    fs::copy("/etc/resolv.conf", debian.path("/etc/resolv.conf")).unwrap();
    fs::write(debian.path("/etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    let (mut user, mut directory) = (String::new(), String::new());
    let (mut entry, mut arguments, mut health) = (Vec::new(), Vec::new(), Vec::new());
    for (instruction, rest) in instructions() {
        match &*instruction {
            "RUN" => drop(run(debian.command("/bin/sh").args(["-c", &rest])).unwrap()),
            "COPY" => {
                let (from, to) = rest.rsplit_once(' ').unwrap();
                assert_eq!(from, "--from=build /source/target/release/larder");
                fs::copy(LARDER, debian.path(to)).unwrap();
            }
            "USER" => user = rest,
            "WORKDIR" => directory = rest,
            "ENTRYPOINT" => entry = words(&rest),
            "CMD" => arguments = words(&rest),
            "HEALTHCHECK" => health = words(rest.split_once("CMD ").unwrap().1),
            "VOLUME" => assert_eq!(rest, directory),
            "EXPOSE" => assert_eq!(rest, "5004"),
            other => panic!("what is {other}?"),
        }
    }
    let command = [entry, arguments].concat();
    let mut node = debian.start(&user, (&directory, TOKEN), &command);
    assert!(!health.is_empty());
    until("its health is good", || {
        run(&mut node.beside(TOKEN, &health)).ok()
    });

    let put = ["larder", "put", "/etc/hostname"].map(str::to_owned);
    run(&mut node.beside(TOKEN, &put)).unwrap();
    let stored = debian.path(&format!("{directory}/peer_storage"));
    let (mode, owner) = fs::metadata(&stored)
        .map(|it| (it.mode(), it.uid()))
        .unwrap();
    assert_eq!((mode & 0o777, owner), (0o700, 10001));
    let wrong = "LARDER_TOKEN=another-token-than-that";
    assert!(run(&mut node.beside(wrong, &put)).is_err());

    let id = Pid::from_raw(i32::try_from(node.process.id()).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    assert!(node.process.wait().unwrap().success());
    assert!(run(debian.command("/usr/local/bin/larder").arg("status")).is_err());
}

#[test]
fn the_debian_package_is_installed_and_upgraded_and_leaves_what_is_the_users() {
    let Some(debian) = Debian::new() else { return };
    let made = debian.path("/root/made");
    let mut script = Command::new(repository().join("packaging/deb"));
    // What tests run is long, since nobody has optimized it.
    script.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip");
    script.env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    run(script.arg(LARDER).arg(&made)).unwrap();
    let package = fs::read_dir(&made).unwrap().next().unwrap().unwrap();
    let package = format!("/root/made/{}", package.file_name().to_str().unwrap());
    assert!(package.contains(concat!("larder_", env!("CARGO_PKG_VERSION"), "_")));
    let dpkg = |arguments: &[&str]| {
        let output = run(debian.command("dpkg").args(arguments)).unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let settings = debian.path("/etc/larder/larder.toml");

    dpkg(&["--install", &package]);
    dpkg(&["--verify", "larder"]);
    let status = dpkg(&["--status", "larder"]);
    assert!(status.contains("Status: install ok installed"), "{status}");
    assert!(status.contains("Depends: libc6 (>="), "{status}");
    let version = run(debian.command("larder").arg("--version")).unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    assert_eq!(
        version.trim(),
        concat!("larder ", env!("CARGO_PKG_VERSION"))
    );
    let config = ["config", "--config", "/etc/larder/larder.toml"];
    run(debian.command("larder").args(config)).unwrap();
    for file in ["man/man1/larder.1.gz", "bash-completion/completions/larder"] {
        assert!(debian.path("/usr/share").join(file).exists(), "{file}");
    }
    let unit = "/usr/lib/systemd/system/larder.service";
    // With the units of this machine, since systemd is not in every Debian.
    let text = fs::read_to_string(debian.path(unit)).unwrap();
    let program = format!("ExecStart={}", debian.path("/usr/bin/larder").display());
    assert!(text.contains("ExecStart=larder "), "{text}");
    let checked = debian.path("/root/larder.service");
    fs::write(&checked, text.replace("ExecStart=larder", &program)).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let said = run(verify.args(["verify", "--man=no"]).arg(&checked)).unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stderr), "");
    let enabled = debian.path("/etc/systemd/system/multi-user.target.wants/larder.service");
    assert!(!enabled.exists());

    // What the user has changed and stored stays through an upgrade and a removal.
    fs::write(&settings, "port = 5010\n").unwrap();
    let stored = debian.path("/var/lib/larder/peer_storage");
    fs::create_dir_all(&stored).unwrap();
    dpkg(&["--install", &package]);
    dpkg(&["--remove", "larder"]);
    assert!(!debian.path("/usr/bin/larder").exists());
    assert_eq!(fs::read_to_string(&settings).unwrap(), "port = 5010\n");
    dpkg(&["--purge", "larder"]);
    assert!(!settings.exists());
    assert!(!debian.path(unit).exists());
    assert!(stored.exists());
}
