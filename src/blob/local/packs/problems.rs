//! What is wrong with the files about packs, for who looks before they are opened: opening makes
//! them anew.

use std::path::{Path, PathBuf};

use super::super::super::BlobError;
use super::open_packs::OpenPacks;
use super::pack::{Pack, path};
use super::start::Names;
use super::{dead, index_file};

/// Whether there is any pack in `dir`, or that cannot be looked at. Blocks.
pub(crate) fn are_any(dir: &Path) -> bool {
    let names = dir.exists().then(|| Names::read(dir));
    names.is_some_and(|names| names.map_or(true, |names| !names.packs.is_empty()))
}

/// The damaged files about packs in `dir`, each with what is wrong. Blocks.
pub(crate) fn problems(dir: &Path) -> Result<Vec<(PathBuf, String)>, BlobError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut problems = Vec::new();
    let none_open = OpenPacks::at_most(0);
    for number in Names::read(dir)?.packs {
        let Some(pack) = Pack::open(dir, number, &none_open)? else {
            let pack = path(dir, number, super::pack::EXTENSION);
            problems.push((
                pack,
                "has a damaged header (made anew where an entry is whole)".to_owned(),
            ));
            continue;
        };
        problems.extend(dead::problem(dir, &pack));
        let index = path(dir, number, index_file::EXTENSION);
        if index.exists() && index_file::read(dir, &pack, pack.file_len()?).is_none() {
            let problem = "damaged, or not of its pack (made anew from the pack)";
            problems.push((index, problem.to_owned()));
        }
    }
    Ok(problems)
}
