//! What a check of everything stored has come to, in numbers.

use serde_json::json;

use super::counted::counted;

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
    /// A line for people, or for programs.
    pub(super) fn told(&self, is_json: bool) -> String {
        let Self {
            files,
            blobs,
            blob_bytes,
            problems,
            left_over,
        } = *self;
        if is_json {
            let told = json!({ "files": files, "blobs": blobs, "blob_bytes": blob_bytes,
                "problems": problems, "left_over": left_over });
            return told.to_string();
        }
        let left = match left_over {
            0 => String::new(),
            count => format!(", {count} left over"),
        };
        format!(
            "{}, {} of {}: {}{left}",
            counted(files, "file"),
            counted(blobs, "blob"),
            counted(blob_bytes, "byte"),
            counted(problems, "problem")
        )
    }
}
