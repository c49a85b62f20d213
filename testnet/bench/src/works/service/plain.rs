//! libp2p's request-response, on swarms that do nothing else.

use std::{collections::BTreeMap, io, num::NonZeroUsize, time::Duration};

use anyhow::Context as _;
use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, StreamExt as _};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder,
    core::upgrade::Version,
    identity::Keypair,
    noise,
    request_response::{
        Behaviour, Codec, Config, Event, Message, OutboundRequestId, ProtocolSupport,
    },
    swarm::SwarmEvent,
    tcp, yamux,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};

use super::trial::Pair;
use crate::subjects::Transport;

const PROTOCOL: StreamProtocol = StreamProtocol::new("/bench/1");

/// Streams of a connection, and of a swarm: many times as many as any load has calls in flight, as
/// a stream outlives its call by a little.
const STREAMS: usize = 4096;

/// Events on their way between a swarm and its connections, over libp2p's 7 and 8.
const EVENTS: NonZeroUsize = NonZeroUsize::new(1024).expect("more than 0");

/// Largest message, in bytes.
const MAX_MESSAGE: u32 = 1 << 20;

/// A length of 4 bytes, and the bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Bytes;

async fn read<T: AsyncRead + Unpin>(stream: &mut T) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length);
    if length > MAX_MESSAGE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length as usize];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

async fn write<T: AsyncWrite + Unpin>(stream: &mut T, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(io::Error::other)?;
    // At once, so that it is one frame.
    stream.write_all(&[&length.to_be_bytes()[..], message].concat()).await
}

impl Codec for Bytes {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}

/// A request, and where its reply goes.
type ToCall = (Vec<u8>, oneshot::Sender<anyhow::Result<Vec<u8>>>);

pub(super) struct Plain {
    calls: mpsc::Sender<ToCall>,
    drivers: JoinSet<()>,
}

impl Plain {
    pub(super) async fn start(transport: Transport, is_lazy: bool) -> anyhow::Result<Self> {
        let mut server = swarm(is_lazy)?;
        let address = listen(&mut server, transport).await?;
        let peer = *server.local_peer_id();
        let mut caller = swarm(is_lazy)?;
        caller.add_peer_address(peer, address);
        let (calls, queue) = mpsc::channel(STREAMS);
        let mut drivers = JoinSet::new();
        drivers.spawn(answer(server));
        drivers.spawn(call(caller, peer, queue));
        Ok(Self { calls, drivers })
    }
}

impl Pair for Plain {
    async fn call(&self, payload: Vec<u8>) -> anyhow::Result<Vec<u8>> {
        let (reply, answer) = oneshot::channel();
        self.calls.send((payload, reply)).await.context("the caller has stopped")?;
        answer.await.context("the caller has stopped")?
    }

    async fn stop(mut self) {
        self.drivers.shutdown().await;
    }
}

fn swarm(is_lazy: bool) -> anyhow::Result<Swarm<Behaviour<Bytes>>> {
    let yamux = || {
        let mut config = yamux::Config::default();
        config.set_max_num_streams(STREAMS);
        config
    };
    let swarm = SwarmBuilder::with_existing_identity(Keypair::generate_ed25519())
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux)?
        .with_quic_config(|mut config| {
            config.max_concurrent_stream_limit = STREAMS as u32;
            config
        })
        .with_behaviour(|_| {
            let config = Config::default().with_max_concurrent_streams(STREAMS);
            Behaviour::new([(PROTOCOL, ProtocolSupport::Full)], config)
        })?
        .with_swarm_config(|config| {
            let config = config
                .with_max_negotiating_inbound_streams(STREAMS)
                .with_notify_handler_buffer_size(EVENTS)
                .with_per_connection_event_buffer_size(EVENTS.get())
                .with_idle_connection_timeout(Duration::from_secs(3600));
            match is_lazy {
                true => config.with_substream_upgrade_protocol_override(Version::V1Lazy),
                false => config,
            }
        })
        .build();
    Ok(swarm)
}

async fn listen(
    swarm: &mut Swarm<Behaviour<Bytes>>,
    transport: Transport,
) -> anyhow::Result<Multiaddr> {
    swarm.listen_on(transport.listen().parse()?)?;
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return Ok(address);
        }
    }
}

/// Answers each request with what it brings.
async fn answer(mut swarm: Swarm<Behaviour<Bytes>>) {
    loop {
        if let SwarmEvent::Behaviour(Event::Message { message, .. }) =
            swarm.select_next_some().await
            && let Message::Request { request, channel, .. } = message
        {
            // A caller that has gone wants none.
            let _ = swarm.behaviour_mut().send_response(channel, request);
        }
    }
}

async fn call(mut swarm: Swarm<Behaviour<Bytes>>, peer: PeerId, mut queue: mpsc::Receiver<ToCall>) {
    let mut waiting: BTreeMap<OutboundRequestId, _> = BTreeMap::new();
    loop {
        tokio::select! {
            asked = queue.recv() => {
                let Some((request, reply)) = asked else { return };
                waiting.insert(swarm.behaviour_mut().send_request(&peer, request), reply);
            }
            event = swarm.select_next_some() => {
                let (id, result) = match event {
                    SwarmEvent::Behaviour(Event::Message {
                        message: Message::Response { request_id, response },
                        ..
                    }) => (request_id, Ok(response)),
                    SwarmEvent::Behaviour(Event::OutboundFailure { request_id, error, .. }) => {
                        (request_id, Err(error.into()))
                    }
                    _ => continue,
                };
                if let Some(reply) = waiting.remove(&id) {
                    // Who asked may have gone.
                    let _ = reply.send(result);
                }
            }
        }
    }
}
