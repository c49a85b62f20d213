//! The HTTP server: connections are bounded, handshakes and headers must come in time, and a stop
//! lets requests finish for a while.

use std::{io, sync::Arc, time::Duration};

use axum::{Router, http::StatusCode};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};

use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{Problem, Stopping};

/// Connections served at a time; more wait in the system's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long a client may take for the handshake of TLS, and to hear that it came to nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What TLS begins with: a record of the handshake (RFC 8446, section 5.1).
const HANDSHAKE: u8 = 22;
/// How long a client may take for the headers of a request, and between requests.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long requests may go on after a stop.
const DRAIN: Duration = Duration::from_secs(3);

/// Serves until told to stop, then drains. Returns once every connection is closed.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<TlsAcceptor>,
    mut stopping: Stopping,
) {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = stopping.wait() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let (tls, stopping) = (tls.clone(), stopping.clone());
                let connection = connection(stream, tls, router.clone(), stopping);
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: it passes, and trying at once would spin.
                tracing::warn!(%error, "can't accept a connection to the interface");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::warn!(open = connections.len(), "requests did not end in time, and are cut off");
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = room.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Events are small, and each is to leave at once.
    stream.set_nodelay(true)?;
    Ok((stream, permit))
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Router,
    mut stopping: Stopping,
) {
    let Some(tls) = tls else { return exchange(stream, router, stopping).await };
    let shaken = tokio::time::timeout(HANDSHAKE_TIMEOUT, shake_hands(stream, &tls));
    let shaken = tokio::select! {
        () = stopping.wait() => return,
        shaken = shaken => shaken.unwrap_or_else(|late| Err(late.into())),
    };
    match shaken {
        Ok(stream) => exchange(stream, router, stopping).await,
        Err(error) => tracing::debug!(%error, "no TLS with a client of the interface"),
    }
}

async fn shake_hands(mut stream: TcpStream, tls: &TlsAcceptor) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
        stream.write_all(&in_the_clear()?).await?;
        hang_up(stream).await?;
        return Err(io::Error::other("the client doesn't speak TLS"));
    }
    match tls.accept(stream).into_fallible().await {
        Ok(stream) => Ok(stream),
        Err((error, stream)) => {
            hang_up(stream).await?;
            Err(error)
        }
    }
}

/// What a client hears that doesn't speak TLS.
fn in_the_clear() -> io::Result<Vec<u8>> {
    let detail = "this interface speaks TLS: its URL begins with https://";
    let problem = serde_json::to_vec(&Problem::new(StatusCode::BAD_REQUEST, detail))?;
    let mut answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        problem.len()
    )
    .into_bytes();
    answer.extend(problem);
    Ok(answer)
}

/// Closes a connection so that the client can read what it was told last: what it has sent and
/// nobody has read would have the system cut it off.
async fn hang_up(mut stream: TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 1024];
    while stream.read(&mut unread).await? > 0 {}
    Ok(())
}

async fn exchange<S>(stream: S, router: Router, mut stopping: Stopping)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stopping.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection to the interface broke");
    }
}
