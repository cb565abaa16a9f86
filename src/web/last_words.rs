//! What a client is told whose connection ends with it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::code::Code;
use super::error_body::ErrorBody;
use super::seats::Taken;
use super::tls::Tls;

/// What clients are told that speak HTTP without TLS on a port where TLS is spoken, of which they
/// would else see only that the connection ends.
const HTTPS_ONLY: &str = "this port speaks HTTPS: ask it with https:// in place of http://";
/// What those are told for whom there is no place.
const NO_PLACE: &str = "as many connections are busy as may be; try again in a moment";
/// What those are told that come when no more files can be opened.
const NO_FILES: &str = "the node is short of open files; try again in a moment";
/// How many bytes of its request are read, so that the answer is not lost by closing too early.
const MOST: u64 = 64 << 10;
/// How long the first byte of a request is waited for: some clients believe no answer that comes
/// before they have asked.
const ASKED: Duration = Duration::from_millis(500);
/// How long it may take to tell a client that there is no place for it.
const TOLD: Duration = Duration::from_secs(2);

/// Tells a client that speaks HTTP without TLS so, and ends the connection when it has read that.
pub(super) async fn refuse_plain_http(
    stream: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    end(stream, Code::HttpsOnly, HTTPS_ONLY).await
}

/// Tells a client that there is no place for its connection, or, where it has the last file that
/// could be opened (`is_last`), none for what it asks. It ends early where others want its place.
pub(super) async fn refuse(
    stream: TcpStream,
    client: SocketAddr,
    is_last: bool,
    tls: Option<Tls>,
    place: Taken,
) {
    let (code, why) = if is_last {
        (Code::Shortage, NO_FILES)
    } else {
        (Code::TooManyConnections, NO_PLACE)
    };
    tracing::debug!(%client, why, "a connection is refused");
    let telling = async {
        match &tls {
            None => {
                let _ = timeout(ASKED, stream.readable()).await;
                end(stream, code, why).await
            }
            Some(tls) => end(tls.acceptor().accept(stream).await?, code, why).await,
        }
    };
    let seat = Arc::clone(&place.0);
    tokio::select! {
        told = timeout(TOLD, telling) => {
            if !matches!(told, Ok(Ok(()))) {
                tracing::debug!(%client, "it may not have heard why");
            }
        }
        () = seat.gone() => {}
    }
}

/// Answers with a refusal, and ends the connection when the client has read that.
async fn end(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    code: Code,
    why: &'static str,
) -> io::Result<()> {
    let answer = ErrorBody::new(code, why).last_answer();
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MOST), &mut tokio::io::sink()).await?;
    Ok(())
}
