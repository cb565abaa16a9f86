//! HTTP without TLS on a port where TLS is spoken.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What such a client is told, of which it would else see only that the connection ends.
const BODY: &str = concat!(
    r#"{"status":"error","code":"https_only","#,
    r#""message":"this port speaks HTTPS: ask it with https:// in place of http://"}"#
);
/// How many bytes of its request are read, so that the answer is not lost by closing too early.
const MOST: u64 = 64 << 10;

/// Answers 400, and ends the connection when the client has read that.
pub(super) async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let length = BODY.len();
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{BODY}"
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MOST), &mut tokio::io::sink()).await?;
    Ok(())
}
