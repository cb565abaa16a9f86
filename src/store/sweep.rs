//! Looking through the bucket that several nodes share, for objects that no row knows: what was
//! written by whoever came too late, after all that knew of it was gone.

use crate::blob::s3::{Object, ObjectPurpose};
use crate::index::IndexError;
use crate::index::postgres::PostgresIndex;

/// Those of these objects that no row knows.
pub(super) async fn unknown<'a>(
    index: &PostgresIndex,
    objects: &'a [Object],
) -> Result<Vec<&'a Object>, IndexError> {
    let places = objects.iter().filter_map(|it| match it.purpose {
        ObjectPurpose::Place(place) => Some(place),
        _ => None,
    });
    let uploads = objects.iter().filter_map(|it| match it.purpose {
        ObjectPurpose::Upload(upload) => Some(upload),
        _ => None,
    });
    let places = index.unknown(&places.collect::<Vec<_>>()).await?;
    let uploads = index.unknown_uploads(&uploads.collect::<Vec<_>>()).await?;
    let unknown = objects.iter().filter(|it| match it.purpose {
        ObjectPurpose::Place(place) => places.contains(&place),
        ObjectPurpose::Upload(upload) => uploads.contains(&upload),
        ObjectPurpose::Trial => true,
    });
    Ok(unknown.collect())
}
