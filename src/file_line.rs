//! A file as a line of JSON: in the list that a node gives out of one moment, and in backups.

use serde::{Deserialize, Serialize};

use crate::hash::BlobHash;
use crate::record::{FileId, FileRecord, NewFile, Timestamp};

/// The version of the list that is told here.
pub const VERSION: u32 = 1;

/// A line of the list of a moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The first one.
    Moment(Beginning),
    /// A file, as they come: in the order of their ids.
    File(FileLine),
    /// A file that was told before and is not of this moment, since it was removed meanwhile.
    Gone(FileId),
    /// The last one. A list without it was cut.
    End(End),
}

/// What a list begins with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Beginning {
    /// [`VERSION`] of whoever tells it.
    pub version: u32,
    /// Whose files they are.
    pub peer_id: String,
}

/// What a list ends with.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct End {
    /// How many files were told, those too that are gone.
    pub told: u64,
    /// Which moment it is, by the clock of whoever tells it, in milliseconds since 1970.
    pub at: i64,
}

/// A file: all that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLine {
    /// The file's id.
    pub id: FileId,
    /// When it was uploaded, in milliseconds since 1970.
    pub at: i64,
    /// The name that its uploader has given it.
    pub name: String,
    /// The content type, if one was given.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// What was said of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The length of the content, in bytes.
    pub size: u64,
    /// The hash of the content.
    pub hash: BlobHash,
    /// Whether a backup lacks the content, since nobody had it whole when that was made.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lacks: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so.
fn is_false(it: &bool) -> bool {
    !it
}

impl From<FileRecord> for FileLine {
    fn from(record: FileRecord) -> Self {
        let NewFile {
            name,
            content_type,
            description,
            size,
            hash,
        } = record.file;
        Self {
            id: record.id,
            at: record.uploaded_at.0,
            name,
            content_type,
            description,
            size,
            hash,
            lacks: false,
        }
    }
}

impl From<FileLine> for FileRecord {
    fn from(line: FileLine) -> Self {
        Self {
            id: line.id,
            uploaded_at: Timestamp(line.at),
            file: NewFile {
                name: line.name,
                content_type: line.content_type,
                description: line.description,
                size: line.size,
                hash: line.hash,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Backups are read by later versions: another form is another version.
    #[test]
    fn a_file_is_written_as_version_1_says() {
        let line = FileLine {
            id: FileId::from_bytes([7; 16]),
            at: 300,
            name: "a\n\u{fffd}FF".to_owned(),
            content_type: Some("b/c".to_owned()),
            description: String::new(),
            size: 5,
            hash: BlobHash::from_bytes([9; 32]),
            lacks: false,
        };
        let hash = "09".repeat(32);
        let golden = format!(
            "{{\"id\":\"07070707-0707-0707-0707-070707070707\",\"at\":300,\
             \"name\":\"a\\n\u{fffd}FF\",\"type\":\"b/c\",\"size\":5,\"hash\":\"{hash}\"}}"
        );
        assert_eq!(serde_json::to_string(&line).unwrap(), golden);
        assert_eq!(serde_json::from_str::<FileLine>(&golden).unwrap(), line);
        let record = FileRecord::from(line.clone());
        assert_eq!(FileLine::from(record), line);
        let end = Line::End(End { told: 1, at: 2 });
        let told = serde_json::to_string(&end).unwrap();
        assert_eq!(told, r#"{"end":{"told":1,"at":2}}"#);
    }
}
