//! What a check of everything stored has come to, in numbers.

use serde_json::{Value, json};

use super::counted::counted;

/// What stands before what is told of contents that are held for others.
pub(super) const OF_COPIES: &str = "copies: ";

/// What was looked at, and what was found.
pub(super) struct Summary {
    pub(super) files: u64,
    pub(super) blobs: u64,
    pub(super) blob_bytes: u64,
    /// What is damaged or missing, or could not be looked at.
    pub(super) problems: u64,
    /// What nobody needs.
    pub(super) left_over: u64,
}

impl Summary {
    /// The same where it is of what is held for others.
    pub(super) fn of_copies(&self, is_json: bool) -> String {
        if is_json {
            return json!({ "copies": self.object() }).to_string();
        }
        format!("{OF_COPIES}{}", self.told_of(" held for others"))
    }

    fn object(&self) -> Value {
        json!({ "files": self.files, "blobs": self.blobs, "blob_bytes": self.blob_bytes,
            "problems": self.problems, "left_over": self.left_over })
    }

    /// A line for people, or for programs.
    pub(super) fn told(&self, is_json: bool) -> String {
        if is_json {
            return self.object().to_string();
        }
        self.told_of("")
    }

    /// A line for people about files of which something is said.
    fn told_of(&self, said: &str) -> String {
        let Self {
            files,
            blobs,
            blob_bytes,
            problems,
            left_over,
        } = *self;
        let left = match left_over {
            0 => String::new(),
            count => format!(", {count} left over"),
        };
        format!(
            "{}{said}, {} of {}: {}{left}",
            counted(files, "file"),
            counted(blobs, "blob"),
            counted(blob_bytes, "byte"),
            counted(problems, "problem")
        )
    }
}
