//! What a client is told of failures of the store: each has a code, which is stable, and a message
//! for people, which says what they can do.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::io;

use indicatif::HumanBytes;

use super::code::Code;
use crate::blob::BlobError;
use crate::disk::{DiskError, NoRoom, is_file_size_limit, is_full, is_shortage};
use crate::index::IndexError;
use crate::store::StoreError;

/// Everything a client may know of a refusal.
pub(super) struct Refusal {
    pub(super) code: Code,
    pub(super) message: Cow<'static, str>,
    /// After how many seconds it is worth to ask again, where that alone may help.
    pub(super) retry: Option<u32>,
}

impl Refusal {
    pub(super) const SHUTTING_DOWN: Self =
        Self::new(Code::ShuttingDown, "the node is shutting down");
    const FULL: Self = Self::new(
        Code::DiskFull,
        "the node has no room left on its disk, of which --min-free stays free; remove files, or have \
         whoever runs the node make room there",
    );
    const DISK_QUOTA: Self = Self::new(
        Code::DiskFull,
        "a quota of the system leaves the node no more room; remove files, or have whoever runs the \
         node raise it",
    );
    const FILE_SIZE_LIMIT: Self = Self::new(
        Code::FileSizeLimit,
        "the system of the node lets no file be so long, by a limit of its own (ulimit -f) or that \
         of its file system",
    );
    const OVER_QUOTA: Self = Self::new(
        Code::OverQuota,
        "the node keeps as much content as it may (--quota)",
    );
    const OVER_SHARE: Self = Self::new(
        Code::OverQuota,
        "unfinished uploads of one client take no more than half of what the quota (--quota) has \
         free; end some first",
    );
    const TOO_LONG: Self = Self::new(
        Code::TooLong,
        "name, type and description are too long together",
    );
    const READ_ONLY: Self = Self::new(
        Code::ReadOnly,
        "the node takes no changes after a failure that its log names, until it is restarted",
    );
    pub(super) const SHORTAGE: Self = Self::new(
        Code::Shortage,
        "the node is short of open files or memory; try again in a moment",
    );
    const UNAVAILABLE: Self = Self::new(
        Code::Unavailable,
        "what the node keeps its files with is out of reach for now; try again in a moment",
    );
    const UNREADABLE: Self = Self::new(
        Code::Unreadable,
        "what the node stored cannot be read now, which its log tells more of; try again later",
    );
    const WRITE_FAILED: Self = Self::new(
        Code::WriteFailed,
        "the node cannot write to its storage; it goes on as soon as it can",
    );
    const DAMAGED: Self = Self::new(Code::Damaged, "what the node stored is damaged");
    const MISSING: Self = Self::new(Code::Damaged, "what the node stored is missing");
    pub(super) const INTERNAL: Self =
        Self::new(Code::Internal, "the node failed; its log says why");

    const fn new(code: Code, message: &'static str) -> Self {
        Self {
            code,
            message: Cow::Borrowed(message),
            retry: code.retry_after(),
        }
    }

    pub(super) fn told(code: Code, message: String) -> Self {
        Self {
            code,
            message: message.into(),
            retry: code.retry_after(),
        }
    }

    /// Of content for which the quota has no room; `free` is none where it never has.
    fn over_quota(quota: u64, free: Option<u64>) -> Self {
        let quota = HumanBytes(quota);
        let message = match free {
            Some(free) => format!(
                "the node has too little room: of {quota} that it may keep (--quota), {} are free; \
                 remove files, also from its trash if it has one, or have whoever runs the node \
                 raise that",
                HumanBytes(free)
            ),
            None => format!(
                "the content is longer than all that the node may keep, {quota} (--quota); whoever \
                 runs the node can raise that"
            ),
        };
        let refusal = Self::told(Code::OverQuota, message);
        Self {
            // However much is removed, what is too long for all of it never fits.
            retry: refusal.retry.filter(|_| free.is_some()),
            ..refusal
        }
    }

    /// Of content for which the disk has no room.
    fn no_room(NoRoom { free, reserve }: &NoRoom) -> Self {
        let (free, reserve) = (HumanBytes(*free), HumanBytes(*reserve));
        let message = format!(
            "the disk of the node has too little room: {free} are free beside {reserve} that stay so \
             (--min-free); remove files, or have whoever runs the node make room there"
        );
        Self::told(Code::DiskFull, message)
    }
}

/// A limit in bytes, exactly, and as people read it where that is another text.
pub(super) struct Bytes(pub(super) u64);

impl Display for Bytes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        if bytes < 1024 {
            return write!(f, "{bytes} bytes");
        }
        write!(f, "{bytes} bytes ({})", HumanBytes(bytes))
    }
}

pub(super) fn of_store(error: &StoreError) -> Refusal {
    match error {
        StoreError::Blob(error) => of_blob(error),
        StoreError::Index(error) => of_index(error),
        StoreError::ShuttingDown => Refusal::SHUTTING_DOWN,
    }
}

/// Of something that changes what is stored.
pub(super) fn of_change(error: &StoreError) -> Refusal {
    match error {
        StoreError::Blob(BlobError::Disk(error)) | StoreError::Index(IndexError::Disk(error)) => {
            of_writing(&error.source)
        }
        StoreError::Index(IndexError::Lookup(_)) => Refusal::WRITE_FAILED,
        error => of_store(error),
    }
}

/// The same for whoever asks how the node is, which may be everybody: without how much it keeps.
pub(super) fn of_readiness(error: &StoreError) -> Refusal {
    let refusal = of_change(error);
    match (refusal.code, &refusal.message) {
        (Code::OverQuota, Cow::Owned(_)) => Refusal::OVER_QUOTA,
        (Code::DiskFull, Cow::Owned(_)) => Refusal::FULL,
        _ => refusal,
    }
}

fn of_writing(error: &io::Error) -> Refusal {
    of_shortage(error).unwrap_or(Refusal::WRITE_FAILED)
}

fn of_disk(error: &DiskError) -> Refusal {
    of_shortage(&error.source).unwrap_or(Refusal::UNREADABLE)
}

fn of_shortage(error: &io::Error) -> Option<Refusal> {
    if is_file_size_limit(error) {
        Some(Refusal::FILE_SIZE_LIMIT)
    } else if error.kind() == io::ErrorKind::QuotaExceeded {
        Some(Refusal::DISK_QUOTA)
    } else if let Some(room) = NoRoom::of(error) {
        Some(Refusal::no_room(room))
    } else if is_full(error) {
        Some(Refusal::FULL)
    } else {
        is_shortage(error).then_some(Refusal::SHORTAGE)
    }
}

fn of_blob(error: &BlobError) -> Refusal {
    match error {
        BlobError::Disk(error) => of_disk(error),
        BlobError::Unavailable(_) => Refusal::UNAVAILABLE,
        BlobError::Damaged { .. } if error.is_missing() => Refusal::MISSING,
        BlobError::Damaged { .. } => Refusal::DAMAGED,
        BlobError::Refused(_) => Refusal::READ_ONLY,
        BlobError::OverQuota { quota, free } => Refusal::over_quota(*quota, *free),
        BlobError::OverShare => Refusal::OVER_SHARE,
        BlobError::TooLarge(max) => {
            let max = Bytes(*max);
            let message =
                format!("a file that the node takes has at most {max}, as --max-upload says");
            Refusal::told(Code::TooLarge, message)
        }
    }
}

fn of_index(error: &IndexError) -> Refusal {
    match error {
        IndexError::Disk(error) => of_disk(error),
        IndexError::Unavailable(_) | IndexError::NoDatabase(_) | IndexError::Lost => {
            Refusal::UNAVAILABLE
        }
        IndexError::Lookup(_)
        | IndexError::Server(_)
        | IndexError::Clock
        | IndexError::OutOfOrder => Refusal::INTERNAL,
        IndexError::TakenOver => Refusal::told(Code::UploadTakenOver, error.to_string()),
        IndexError::OverQuota { quota, free } => Refusal::over_quota(*quota, *free),
        IndexError::Damaged { .. } => Refusal::DAMAGED,
        IndexError::Refused(_) => Refusal::READ_ONLY,
        IndexError::TooLong => Refusal::TOO_LONG,
        IndexError::Closed => Refusal::SHUTTING_DOWN,
    }
}
