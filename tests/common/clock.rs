//! A clock that is wrong, and jumps.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Puts the wall clock off by as many seconds as a file says, each time it is asked.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    long shift = 0;
    if (clock == CLOCK_REALTIME) {
        FILE *file = fopen(getenv("SHIFT"), "r");
        if (file) {
            if (fscanf(file, "%ld", &shift) == 1) time->tv_sec += shift;
            fclose(file);
        }
    }
    return result;
}
"#;

/// The clock of the processes that it rules, in a directory.
pub(crate) struct ShiftedClock {
    library: PathBuf,
    shift: PathBuf,
}

impl ShiftedClock {
    /// A clock that is off by so many seconds.
    pub(crate) fn new(dir: &TempDir, seconds: &str) -> Self {
        let (source, library) = (dir.path().join("clock.c"), dir.path().join("clock.so"));
        fs::write(&source, SOURCE).unwrap();
        let mut made = Command::new("cc");
        made.args(["-shared", "-fPIC", "-o"]);
        let made = made.arg(&library).arg(&source).stdout(Stdio::null());
        assert!(made.status().unwrap().success());
        let shift = dir.path().join("shift");
        let clock = Self { library, shift };
        clock.set(seconds);
        clock
    }

    /// Has it jump, so that it is off by so many seconds.
    pub(crate) fn set(&self, seconds: &str) {
        let new = self.shift.with_extension("new");
        fs::write(&new, seconds).unwrap();
        fs::rename(new, &self.shift).unwrap();
    }

    /// Has a command's process go by this clock.
    pub(crate) fn rules(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library);
        command.env("SHIFT", &self.shift);
    }
}
