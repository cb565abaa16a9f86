//! The commands that ask a running node, over its REST interface.
//!
//! How they end is [`EXIT_STATUS`], or less of it.

mod again;
mod api;
mod backup;
mod batch;
mod begun;
mod bench;
mod choice;
mod connection;
mod copies;
mod copies_told;
mod download;
mod ended;
mod failure;
mod find;
mod get;
mod info;
mod keep;
mod landing;
mod links;
mod listed;
mod local_name;
mod ls;
mod offered;
mod output;
mod pages;
mod partial;
mod pattern;
mod peers;
mod proxy;
mod put;
mod raw_name;
mod restore;
mod rm;
mod running;
mod scrub;
mod send;
mod source;
mod status;
mod target;
mod trash;
mod verify;
mod wanted;

/// What the exit status says, for the help of a command; these lines stand where they belong.
macro_rules! exit_status {
    ($($line:literal),*) => {
        concat!(
            "Exit status:\n  0  done\n  1  failed, for the reason that is told\n  \
             2  wrong command line or setting\n",
            $($line, "\n",)*
            "  5  no node answers, or none that can be trusted\n  \
             6  the node wants a token, or another one"
        )
    };
}

/// What the last of them says, for commands that send or get bytes.
macro_rules! damaged {
    () => {
        "\n  7  damaged: the bytes of the file are not what they were, at the node, on the way, \
         or here\n     while they were sent"
    };
}

/// The exit status of commands that bring files or their bytes somewhere, or tell of them.
pub(super) const EXIT_STATUS: &str = concat!(
    exit_status!(
        "  3  no such file, there or here",
        "  4  the name means several files"
    ),
    damaged!()
);

/// That of `backup`, which asks for no file.
pub(super) const EXIT_STATUS_OF_BACKUP: &str = concat!(
    exit_status!("  3  there is no such backup"),
    "\n  7  the backup is made, and lacks the content of files that nobody has whole; or a backup \
     that is to stay cannot be read, so that none was given up"
);

/// That of `restore`, which asks no node.
pub(super) const EXIT_STATUS_OF_RESTORE: &str = "\
Exit status:
  0  done
  1  failed, for the reason that is told; the same command goes on from there
  2  nothing was restored: wrong command line or setting, no such directory, it is in use, or
     something else is where the files would go
  3  there is no such backup, or no such file in it
  7  done, but for files whose content the backup lacks, or cannot be read in it
With -o a file that has no place there stops no other; the status is the highest of theirs.";

/// That of `info`, which tells of all files that a name means.
pub(super) const EXIT_STATUS_OF_INFO: &str = concat!(
    exit_status!(
        "  3  no such file, there or here",
        "  4  what the name means is not clear, since other nodes have given it"
    ),
    damaged!()
);

/// That of `bench`, which asks for its own files alone.
pub(super) const EXIT_STATUS_OF_BENCH: &str = concat!(
    exit_status!(),
    "\n  7  the node has answered with other bytes than it was given"
);

/// That of `put`, to which a name means one file.
pub(super) const EXIT_STATUS_OF_PUT: &str =
    concat!(exit_status!("  3  no such file here"), damaged!());

/// That of `rm`, which reads no bytes.
pub(super) const EXIT_STATUS_OF_RM: &str = exit_status!(
    "  3  no such file there",
    "  4  the name means several files"
);

/// That of `ls`, which fails where what it looks for is nowhere.
pub(super) const EXIT_STATUS_OF_LS: &str = exit_status!("  3  no such file there");

/// That of commands that are asked for no file.
pub(super) const EXIT_STATUS_OF_LISTS: &str = exit_status!();

pub(super) use backup::Arguments as Backup;
pub(super) use bench::Arguments as Bench;
pub(super) use connection::{Connection, Credentials, written as node_url};
pub(super) use copies::Arguments as Copies;
pub(super) use get::Arguments as Get;
pub(super) use info::Arguments as Info;
pub(super) use keep::Arguments as Keep;
pub(super) use ls::Arguments as Ls;
pub(super) use offered::{Offered, offers};
#[cfg(feature = "shared")]
pub(super) use output::{bar, line};
pub(super) use output::{json, plain, say};
pub(super) use peers::Arguments as Peers;
pub(super) use put::Arguments as Put;
pub(super) use restore::Arguments as Restore;
pub(super) use rm::Arguments as Rm;
pub(super) use status::Arguments as Status;
pub(super) use trash::Arguments as Trash;
pub(super) use verify::{check, is_peer, verify};
