//! HTTP without TLS on a port where TLS is spoken.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::code::Code;
use super::error_body::ErrorBody;

/// What such a client is told, of which it would else see only that the connection ends.
const WHY: &str = "this port speaks HTTPS: ask it with https:// in place of http://";
/// How many bytes of its request are read, so that the answer is not lost by closing too early.
const MOST: u64 = 64 << 10;

/// Answers 400, and ends the connection when the client has read that.
pub(super) async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let answer = ErrorBody::new(Code::HttpsOnly, WHY).last_answer();
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MOST), &mut tokio::io::sink()).await?;
    Ok(())
}
