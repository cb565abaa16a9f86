//! Pages of files, which have an end in bytes, too.

use crate::record::{FileRecord, PAGE_BYTES};

/// The first of these files that make up a page: at most `limit`, and none behind the one whose
/// texts make it [`PAGE_BYTES`].
pub(super) fn page_of<E>(
    records: impl IntoIterator<Item = Result<FileRecord, E>>,
    limit: usize,
) -> Result<Vec<FileRecord>, E> {
    let (mut page, mut bytes) = (Vec::new(), 0);
    for record in records.into_iter().take(limit) {
        let record = record?;
        bytes += record.file.text_bytes();
        page.push(record);
        if bytes >= PAGE_BYTES {
            break;
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::hash::BlobHash;
    use crate::record::{FileId, NewFile, Timestamp};

    fn records(description_bytes: usize) -> impl Iterator<Item = Result<FileRecord, Infallible>> {
        (0..u8::MAX).map(move |number| {
            Ok(FileRecord {
                id: FileId::from_bytes([number; 16]),
                uploaded_at: Timestamp(0),
                file: NewFile {
                    name: String::new(),
                    content_type: None,
                    description: "x".repeat(description_bytes),
                    size: 0,
                    hash: BlobHash::of(b""),
                },
            })
        })
    }

    #[test]
    fn a_page_ends_with_the_file_that_fills_it() {
        for (description_bytes, limit, expected) in [
            (0, 3, 3),
            (0, 1000, usize::from(u8::MAX)),
            (PAGE_BYTES, 3, 1),
            (PAGE_BYTES - 1, 3, 2),
            (PAGE_BYTES / 2, 3, 2),
        ] {
            let Ok(page) = page_of(records(description_bytes), limit);
            assert_eq!(page.len(), expected, "{description_bytes}, {limit}");
        }
    }
}
