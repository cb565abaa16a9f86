//! Packs, read as `migrations/0002_packs.md` says, by code of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const PACK_HEADER: usize = 32;
const ENTRY_HEADER: usize = 44;

/// The hashes of the blobs in the packs below a storage directory, as hex digits; a node
/// may be writing there. Of a blob that is there twice, the second counts as `<hash> again`.
pub(crate) fn blobs_in_packs(storage: &Path) -> BTreeSet<String> {
    let dir = storage.join("packs");
    let mut blobs = BTreeSet::new();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "pack") {
            continue;
        }
        // A pack that was compacted since is gone.
        let Ok(pack) = std::fs::read(&path) else {
            continue;
        };
        let dead = std::fs::read(path.with_extension("dead")).unwrap_or_default();
        let dead: BTreeSet<_> = dead.chunks_exact(8).map(|it| number(&it[..4])).collect();
        let live = entries(&pack).into_iter();
        for (_, hash) in live.filter(|(offset, _)| !dead.contains(offset)) {
            if !blobs.insert(hash.clone()) {
                blobs.insert(format!("{hash} again"));
            }
        }
    }
    blobs
}

/// The entries of a pack: the offset and the hash of each that is there to its end.
fn entries(pack: &[u8]) -> BTreeMap<usize, String> {
    let (mut entries, mut offset) = (BTreeMap::new(), PACK_HEADER);
    while let Some(header) = pack.get(offset..offset + ENTRY_HEADER) {
        let end = offset + ENTRY_HEADER + number(&header[4..8]);
        if !header.starts_with(b"LPE1") || pack.len() < end {
            break;
        }
        let hash = header[8..40].iter().map(|byte| format!("{byte:02x}"));
        entries.insert(offset, hash.collect());
        offset = end;
    }
    entries
}

fn number(bytes: &[u8]) -> usize {
    u32::from_le_bytes(bytes.try_into().unwrap())
        .try_into()
        .unwrap()
}
