//! The way to the node that serves: another one by a stream, or this one by a pipe in memory.

use std::time::Duration;

use aether_core::PublicKey;
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::mpsc;

use crate::{
    framed::Pipe,
    identity::public_key,
    network::Command,
    proto::budget::Fault,
    streams::{self, OpenError},
};

/// How long a stream may take to be opened, dialing included. A call has time left then to be
/// tried elsewhere.
const PATIENCE: Duration = Duration::from_secs(3);

/// Bytes on the way between two ends in this process.
const WINDOW: usize = 256 * 1024;

/// A stream on which this node is called.
pub(super) struct Inbound {
    pub(super) caller: PeerId,
    pub(super) pipe: Box<dyn Pipe>,
}

/// Opens sessions.
#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) me: PeerId,
    pub(super) protocol: StreamProtocol,
    pub(super) network: mpsc::Sender<Command>,
    /// Calls of this node to itself take the same way as all others, short of the network.
    pub(super) own: mpsc::Sender<Inbound>,
}

impl Route {
    /// A stream to a node's services, or why there is none.
    pub(super) async fn open(&self, peer: PeerId) -> Result<Box<dyn Pipe>, String> {
        if peer == self.me {
            let (ours, theirs) = tokio::io::duplex(WINDOW);
            let inbound = Inbound { caller: self.me, pipe: Box::new(theirs) };
            return match self.own.send(inbound).await {
                Ok(()) => Ok(Box::new(ours)),
                Err(_) => Err("the node has stopped".into()),
            };
        }
        let opening = streams::open(&self.network, peer, self.protocol.clone(), "services");
        match tokio::time::timeout(PATIENCE, opening).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(OpenError::NotTaken { .. })) => Err(format!("{peer} serves nothing")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("no connection within {PATIENCE:?}")),
        }
    }

    /// Charges a node that did what no correct one does.
    pub(super) fn blame(&self, peer: PeerId) {
        let Some(peer): Option<PublicKey> = public_key(&peer) else { return };
        // A full queue spares it once.
        let _ = self.network.try_send(Command::Penalize { peer, fault: Fault::Malformed });
    }
}
