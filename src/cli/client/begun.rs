//! Uploads that were begun and have not ended, remembered across runs.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use crate::base_url::BaseUrl;

/// Where it is written down which upload a file belongs to, until that is whole: in the user's
/// state directory (XDG Base Directory Specification). Without one nothing is remembered.
pub(super) struct Begun(Option<PathBuf>);

impl Begun {
    pub(super) fn of(node: &BaseUrl, path: &Path, about: &Metadata) -> Self {
        let variable = |name| std::env::var_os(name).filter(|it| !it.is_empty());
        let home = || Some(PathBuf::from(variable("HOME")?).join(".local/state"));
        let state = variable("XDG_STATE_HOME").map(PathBuf::from).or_else(home);
        let whole = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let changed = about.modified().ok();
        // The same file, as far as one can tell without reading it.
        let file = format!("{node} {} {} {changed:?}", whole.display(), about.len());
        let name = blake3::hash(file.as_bytes()).to_hex();
        Self(state.map(|it| it.join("larder/uploads").join(name.as_str())))
    }

    pub(super) fn recall(&self) -> Option<String> {
        std::fs::read_to_string(self.0.as_ref()?).ok()
    }

    /// Where that fails, the upload can only go on while this process lives.
    pub(super) fn remember(&self, upload: &str) {
        if let Some(path) = &self.0
            && let Some(dir) = path.parent()
        {
            let written = std::fs::create_dir_all(dir).and_then(|()| std::fs::write(path, upload));
            drop(written);
        }
    }

    pub(super) fn forget(&self) {
        if let Some(path) = &self.0 {
            // It may never have been written.
            let _ = std::fs::remove_file(path);
        }
    }
}
