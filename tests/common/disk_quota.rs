//! A quota of the system that is used up: every write below a directory, and every file that would
//! be made there, fails as the kernel has it then.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static int is_used_up(const char *path) {
    const char *dir = getenv("QUOTA_OF");
    return path && !strncmp(path, dir, strlen(dir)) && !access(getenv("QUOTA_USED_UP"), F_OK);
}

static int refuses(const char *path) {
    if (is_used_up(path)) { errno = EDQUOT; return 1; }
    return 0;
}

static int refuses_at(int file) {
    char name[64], path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return refuses(path);
}

#define REAL(name) __typeof__(&name) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t length) {
    REAL(write);
    return refuses_at(file) ? -1 : real(file, bytes, length);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t at) {
    REAL(pwrite64);
    return refuses_at(file) ? -1 : real(file, bytes, length, at);
}

int open64(const char *path, int flags, ...) {
    REAL(open64);
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    if ((flags & O_CREAT) && access(path, F_OK) && refuses(path)) return -1;
    return real(path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return access(path, F_OK) && refuses(path) ? -1 : real(path, mode);
}
"#;

/// The quota of what is below the storage directory.
pub(crate) struct DiskQuota {
    library: PathBuf,
    used_up: PathBuf,
    of: PathBuf,
}

impl DiskQuota {
    /// One that is not used up.
    pub(crate) fn of(dir: &TempDir, below: &Path) -> Self {
        let (source, library) = (dir.path().join("quota.c"), dir.path().join("quota.so"));
        fs::write(&source, SOURCE).unwrap();
        let mut made = Command::new("cc");
        made.args(["-shared", "-fPIC", "-o"]);
        let made = made.arg(&library).arg(&source).stdout(Stdio::null());
        assert!(made.status().unwrap().success());
        Self {
            library,
            used_up: dir.path().join("used up"),
            of: below.to_owned(),
        }
    }

    /// Uses it up, or not any more.
    pub(crate) fn use_up(&self, is_used_up: bool) {
        if is_used_up {
            fs::write(&self.used_up, "").unwrap();
        } else {
            fs::remove_file(&self.used_up).unwrap();
        }
    }

    /// Has a command's process be under it.
    pub(crate) fn rules(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library);
        command.env("QUOTA_USED_UP", &self.used_up);
        command.env("QUOTA_OF", &self.of);
    }
}
