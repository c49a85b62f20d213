//! One connection's part in streams.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use libp2p::{
    StreamProtocol,
    core::{InboundUpgrade, OutboundUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, Stream, StreamUpgradeError, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};
use tokio::sync::{oneshot, watch};

/// A stream that is to be opened, and who waits for it.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) protocol: StreamProtocol,
    pub(crate) reply: oneshot::Sender<Result<(Stream, Arc<()>), Refusal>>,
}

/// Why a stream wasn't opened.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// The other end doesn't speak the protocol.
    NotTaken,
    /// The other end wasn't reached.
    Unreachable(String),
}

/// Protocols offered on a connection, or the one that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Offer(Arc<[StreamProtocol]>);

impl From<Vec<StreamProtocol>> for Offer {
    fn from(protocols: Vec<StreamProtocol>) -> Self {
        Self(protocols.into())
    }
}

/// Goes through an offer without copying it: libp2p asks on every poll of a connection.
#[derive(Debug)]
pub(crate) struct Names(Arc<[StreamProtocol]>, usize);

impl Iterator for Names {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let name = self.0.get(self.1)?;
        self.1 += 1;
        Some(name.clone())
    }
}

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = Names;

    fn protocol_info(&self) -> Names {
        Names(self.0.clone(), 0)
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

/// A stream that the other end has opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) protocol: StreamProtocol,
    pub(crate) stream: Stream,
}

#[derive(Debug)]
pub(crate) struct Handler {
    /// What is taken now: whoever opens a stream after a name was taken finds it.
    offer: watch::Receiver<Offer>,
    in_use: Arc<()>,
    to_open: VecDeque<Opening>,
    opened: VecDeque<Opened>,
    waker: Option<Waker>,
}

impl Handler {
    pub(crate) fn new(offer: watch::Receiver<Offer>, in_use: Arc<()>) -> Self {
        let (to_open, opened) = (VecDeque::new(), VecDeque::new());
        Self { offer, in_use, to_open, opened, waker: None }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Opening;
    type ToBehaviour = Opened;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opening;

    fn listen_protocol(&self) -> SubstreamProtocol<Offer> {
        SubstreamProtocol::new(self.offer.borrow().clone(), ())
    }

    fn connection_keep_alive(&self) -> bool {
        !self.to_open.is_empty()
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, Opening, Opened>> {
        if let Some(opened) = self.opened.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(opened));
        }
        if let Some(opening) = self.to_open.pop_front() {
            let protocol = SubstreamProtocol::new(vec![opening.protocol.clone()].into(), opening);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, opening: Opening) {
        self.to_open.push_back(opening);
        self.wake();
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), Opening>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => {
                self.opened.push_back(Opened { protocol, stream });
                self.wake();
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: opening,
            }) => {
                // Whoever asked may have gone; the stream ends then.
                let _ = opening.reply.send(Ok((stream, self.in_use.clone())));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: opening, error }) => {
                let refusal = match error {
                    StreamUpgradeError::NegotiationFailed => Refusal::NotTaken,
                    StreamUpgradeError::Timeout => Refusal::Unreachable("no answer".to_owned()),
                    StreamUpgradeError::Io(error) => Refusal::Unreachable(error.to_string()),
                };
                let _ = opening.reply.send(Err(refusal));
            }
            _ => {}
        }
    }
}
