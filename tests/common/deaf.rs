//! A node that is asked by others and asks nobody: whatever it connects to refuses it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <dlfcn.h>
#include <sys/socket.h>

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    int (*real)(int, const struct sockaddr *, socklen_t) = dlsym(RTLD_NEXT, "connect");
    if (address->sa_family == AF_INET || address->sa_family == AF_INET6) {
        errno = ECONNREFUSED;
        return -1;
    }
    return real(socket, address, length);
}
"#;

/// What has processes connect to nobody.
pub(crate) struct Deaf(PathBuf);

impl Deaf {
    pub(crate) fn new(dir: &TempDir) -> Self {
        let (source, library) = (dir.path().join("deaf.c"), dir.path().join("deaf.so"));
        std::fs::write(&source, SOURCE).unwrap();
        let mut made = Command::new("cc");
        made.args(["-shared", "-fPIC", "-o"]);
        let made = made.arg(&library).arg(&source).stdout(Stdio::null());
        assert!(made.status().unwrap().success());
        Self(library)
    }

    /// Has a command's process be so.
    pub(crate) fn rules(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.0);
    }
}
