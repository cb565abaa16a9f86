//! How a connection begins: as plain HTTP, over TLS to clients, or as one between members of a
//! network, all on the same port.

use std::io;

use rustls::server::Acceptor;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::counted::Counted;
use super::last_words;
use super::tls::Tls;
use crate::peer::membership::{Channel, Member};

/// What is spoken on a connection.
pub(super) enum Spoken {
    /// HTTP as it is.
    Plain(Counted),
    /// HTTP over TLS, with a member where one is at the other end.
    Tls(Box<TlsStream<Counted>>, Option<Member>),
}

/// Waits for what a client begins with, and does what it takes before HTTP. Ends the connections of
/// those who speak what is not spoken here.
pub(super) async fn begin(
    stream: Counted,
    tls: Option<&Tls>,
    members: Option<&Channel>,
) -> io::Result<Spoken> {
    match (tls, members) {
        (None, None) => return Ok(Spoken::Plain(stream)),
        (None, Some(_)) if !stream.begins_with_tls().await => return Ok(Spoken::Plain(stream)),
        (Some(_), _) if stream.begins_with_http().await => {
            last_words::refuse_plain_http(stream).await?;
            return Err(io::Error::other("the client speaks HTTP without TLS"));
        }
        _ => {}
    }
    let Some(channel) = members else {
        let tls = tls.ok_or(io::ErrorKind::Unsupported)?;
        let stream = tls.acceptor().accept(stream).await?;
        return Ok(Spoken::Tls(Box::new(stream), None));
    };
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let Some(config) = channel.server(&start.client_hello()) else {
        let config = tls.map_or_else(|| channel.strangers(), Tls::config);
        let stream = start.into_stream(config).await?;
        return Ok(Spoken::Tls(Box::new(stream), None));
    };
    let mut stream = start.into_stream(config).await?;
    let shown = stream.get_ref().1.peer_certificates();
    let shown = shown.and_then(|it| Some(it.first()?.to_vec()));
    let member = channel.receive(&mut stream, shown.as_deref()).await;
    let member = member.map_err(io::Error::other)?;
    Ok(Spoken::Tls(Box::new(stream), Some(member)))
}
