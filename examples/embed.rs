//! A store in a program of its own: `cargo run --example embed --no-default-features`.
//!
//! It keeps a file, finds it again after the store was closed and opened, reads a part of it, and
//! removes it.

use std::error::Error;

use bytes::Bytes;
use futures_util::TryStreamExt;
use larder::store::local::{LocalStore, Options};
use larder::store::{About, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;

    let opened = LocalStore::open(Options::new(dir.path())).await?;
    let id = keep(&opened.store, "greeting.txt", &["Hello, ", "larder!"]).await?;
    opened.store.close().await?;
    drop(opened);

    let opened = LocalStore::open(Options::new(dir.path())).await?;
    let store = &opened.store;
    let record = store.get(id).await?.ok_or("the file is gone")?;
    println!("{} has the hash {}", record.file.name, record.file.hash);

    let blob = store.open_file(&record).await?.ok_or("it was removed")?;
    let pieces: Vec<Bytes> = blob.read(7..blob.size()).try_collect().await?;
    println!("its end: {}", String::from_utf8(pieces.concat())?);

    store.remove(id).await?;
    println!("{} files are left", store.totals().files);
    store.close().await?;
    Ok(())
}

/// Keeps content that comes in pieces; when this returns, no crash takes it back.
async fn keep(
    store: &Store,
    name: &str,
    pieces: &[&'static str],
) -> Result<larder::record::FileId, Box<dyn Error>> {
    let mut receiving = store.receive().await?;
    for piece in pieces {
        receiving
            .write(Bytes::from_static(piece.as_bytes()))
            .await?;
    }
    let about = About {
        name: name.to_owned(),
        ..About::default()
    };
    let record = store.ingest(receiving.finish().await?, about).await?;
    Ok(record.id)
}
