//! One connection of a flooder's.

use std::{future::poll_fn, io, net::SocketAddr, task::Poll, time::Duration};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _, stream::FuturesUnordered};
use libp2p::{
    Multiaddr, Transport as _,
    core::{
        Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox},
        transport::{Boxed, DialOpts, OrTransport, PortUse, upgrade::Version},
    },
    identity::Keypair,
    multiaddr::Protocol,
    noise, quic, tcp, yamux,
};
use tokio::{io::AsyncReadExt as _, io::AsyncWriteExt as _, net::TcpStream};

use super::{Tally, speech::Speech};

/// How long a flooder waits before it replaces what was refused or closed.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Streams of the other end that are kept, unanswered.
const KEPT: usize = 64;

/// Bytes of a stream's answers that the other end gets rid of, though nobody reads them.
const WINDOW: u32 = 64 * 1024;

/// What is done in one go before other connections have their turn.
const AT_ONCE: usize = 64;

/// What the streams of a connection say, by their number.
pub(super) type Script<'a> = &'a (dyn Fn(usize) -> Speech + Sync);

/// Opens connections, one after the other, each with a new identity. On each it keeps so many
/// streams open as the other end lets it, up to `depth`.
pub(super) async fn flood(address: &Multiaddr, depth: usize, script: Script<'_>, tally: &Tally) {
    loop {
        tally.connections.another();
        if let Ok(Ok(muxer)) = tokio::time::timeout(PATIENCE, dial(address)).await {
            let _open = tally.connections.open();
            hold(muxer, depth, script, tally).await;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

async fn dial(address: &Multiaddr) -> io::Result<StreamMuxerBox> {
    let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
    let mut transport = transport(&Keypair::generate_ed25519())?;
    transport.dial(address.clone(), options).map_err(io::Error::other)?.await
}

fn transport(key: &Keypair) -> io::Result<Boxed<StreamMuxerBox>> {
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(key).map_err(io::Error::other)?)
        .multiplex(yamux::Config::default())
        .map(|(_, muxer), _| StreamMuxerBox::new(muxer));
    let mut quic = quic::Config::new(key);
    // Yamux has no smaller window for what isn't read; QUIC has.
    quic.max_stream_data = WINDOW;
    let quic = quic::tokio::Transport::new(quic).map(|(_, muxer), _| StreamMuxerBox::new(muxer));
    let either = OrTransport::new(quic, tcp).map(|either, _| either.into_inner());
    Ok(either.boxed())
}

/// Keeps a connection until the other end closes it.
async fn hold(mut muxer: StreamMuxerBox, depth: usize, script: Script<'_>, tally: &Tally) {
    let (mut kept, mut speaking) = (Vec::new(), FuturesUnordered::new());
    let mut number = 0;
    poll_fn(|cx| {
        for _ in 0..AT_ONCE {
            match muxer.poll_unpin(cx) {
                Poll::Ready(Ok(_)) => continue,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            match muxer.poll_inbound_unpin(cx) {
                Poll::Ready(Ok(stream)) => {
                    kept.truncate(KEPT - 1);
                    kept.push(stream);
                    continue;
                }
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if speaking.len() < depth {
                match muxer.poll_outbound_unpin(cx) {
                    Poll::Ready(Ok(stream)) => {
                        speaking.push(speak(stream, script(number), tally));
                        number += 1;
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            match speaking.poll_next_unpin(cx) {
                Poll::Ready(Some(())) => {}
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Says a speech, and keeps its stream. Returns when it may be replaced.
async fn speak(stream: SubstreamBox, speech: Speech, tally: &Tally) {
    tally.streams.another();
    // An error means that the other end has closed it, which is its right.
    let _ = say(stream, speech, tally).await;
    tokio::time::sleep(AGAIN).await;
}

async fn say(mut stream: SubstreamBox, mut speech: Speech, tally: &Tally) -> io::Result<()> {
    stream.write_all(&speech.opening).await?;
    stream.flush().await?;
    let mut heard = vec![0; speech.agreed.len()];
    stream.read_exact(&mut heard).await?;
    if heard != speech.agreed {
        return Ok(());
    }
    let _open = tally.streams.open();
    while let Some(bytes) = (speech.more)() {
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        tally.said.fetch_add(bytes.len(), std::sync::atomic::Ordering::Relaxed);
    }
    if !speech.is_reading {
        std::future::pending::<()>().await;
    }
    let mut heard = [0; 1024];
    while stream.read(&mut heard).await? > 0 {}
    Ok(())
}

/// Opens TCP connections, one after the other, that never end their handshake.
pub(super) async fn half_open(address: &Multiaddr, beginning: &[u8], tally: &Tally) {
    let Some(address) = socket(address) else { return };
    loop {
        tally.connections.another();
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let _open = tally.connections.open();
            let mut heard = [0; 1024];
            if stream.write_all(beginning).await.is_ok() {
                while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {}
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Where a TCP address leads.
fn socket(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(ip), Protocol::Tcp(port)) => Some((ip, port).into()),
        (Protocol::Ip6(ip), Protocol::Tcp(port)) => Some((ip, port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_tcp_has_a_socket() {
        let socket = |text: &str| socket(&text.parse().unwrap());
        assert_eq!(socket("/ip4/127.0.0.1/tcp/7"), Some("127.0.0.1:7".parse().unwrap()));
        assert_eq!(socket("/ip6/::1/tcp/7"), Some("[::1]:7".parse().unwrap()));
        assert_eq!(socket("/ip4/127.0.0.1/udp/7/quic-v1"), None);
    }
}
