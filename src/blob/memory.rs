//! Blobs in memory, for tests.
