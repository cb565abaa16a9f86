//! Servers of a command that looks at what several nodes share.

use super::storage::NotChecked;
use crate::causes::with_causes;
use crate::config::WrongSetting;
use crate::store::shared::OpenError;

/// Why they are not looked at.
pub(super) fn unchecked(error: &OpenError) -> anyhow::Error {
    match error.settings() {
        [] => NotChecked(with_causes(error)).into(),
        settings => WrongSetting::of_several(settings, error).into(),
    }
}
