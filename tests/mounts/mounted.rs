//! Something that is mounted over a directory, which takes root; unmounted on drop.

use std::path::{Path, PathBuf};
use std::process::Command;

/// What is mounted over this directory.
pub(crate) struct Mounted(pub(crate) PathBuf);

impl Mounted {
    /// Mounts over a directory, which is made if it is not there, as `mount` with these arguments
    /// does.
    pub(crate) fn by(arguments: &[&str], on: &Path) -> Self {
        std::fs::create_dir_all(on).unwrap();
        mount(arguments, on);
        Self(on.to_owned())
    }

    /// Mounts an empty file system of its own.
    pub(crate) fn tmpfs(options: &str, on: &Path) -> Self {
        Self::by(&["-t", "tmpfs", "-o", options, "larder-test"], on)
    }

    /// Changes the options of what is mounted.
    pub(crate) fn remount(&self, options: &str) {
        mount(&["-o", &format!("remount,{options}")], &self.0);
    }
}

fn mount(arguments: &[&str], on: &Path) {
    let status = Command::new("mount").args(arguments).arg(on).status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "this test mounts, and may not ({status:?}): run it as root"
    );
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.0.display());
        }
    }
}
