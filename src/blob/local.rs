//! Blobs as files of the local file system.
