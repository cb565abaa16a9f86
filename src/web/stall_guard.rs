//! A limit on how long a client may leave an answer unread.

use std::pin::Pin;
use std::time::Duration;

use tokio::io::AsyncWrite;
use tokio_io_timeout::TimeoutWriter;

/// The same connection, whose writes fail when not a byte could be written for too long.
pub(super) fn guarded<S: AsyncWrite>(stream: S, limit: Duration) -> Pin<Box<TimeoutWriter<S>>> {
    let mut guarded = TimeoutWriter::new(stream);
    guarded.set_timeout(Some(limit));
    Box::pin(guarded)
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_nothing_is_given_up() {
        let (near, _far) = tokio::io::duplex(16);
        let began = tokio::time::Instant::now();
        let written = guarded(near, LIMIT).write_all(&[0; 17]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_reads_slowly_gets_everything() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = guarded(near, LIMIT);
        let writing = tokio::spawn(async move { near.write_all(&[7; 160]).await });
        let mut read = Vec::new();
        while read.len() < 160 {
            tokio::time::sleep(LIMIT.mul_f32(0.9)).await;
            read.push(far.read_u8().await.unwrap());
        }
        writing.await.unwrap().unwrap();
        assert_eq!(read, [7; 160]);
    }
}
