//! A service that is being offered.

use tokio::sync::{mpsc, oneshot};

use super::Request;
use crate::{
    node::{Closed, Node},
    proto::service::directory::Refusal,
};

/// A service of this node, for as long as this is there.
///
/// When it is dropped, others are told, the service takes no more calls, and is gone when those
/// under way are finished. [`drain`](Self::drain) waits for that.
#[derive(Debug)]
pub struct Serving {
    name: String,
    requests: mpsc::Sender<Request>,
    is_over: bool,
    /// Whoever serves keeps the node running.
    _node: Node,
}

impl Serving {
    pub(crate) fn new(name: String, requests: mpsc::Sender<Request>, node: Node) -> Self {
        Self { name, requests, is_over: false, _node: node }
    }

    /// The service's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says whether the service can do its work: while it can't, clients ask others.
    pub async fn set_healthy(&self, is_healthy: bool) -> Result<(), Closed> {
        let request = Request::SetHealthy { name: self.name.clone(), is_healthy };
        self.requests.send(request).await.map_err(|_| Closed)
    }

    /// Ends the service in order: others are told, new calls are refused in a way that sends them
    /// elsewhere, and when this returns, all that was begun is finished.
    pub async fn drain(mut self) {
        let (reply, drained) = oneshot::channel();
        let request = Request::Drain { name: self.name.clone(), reply };
        if self.requests.send(request).await.is_ok() {
            let _ = drained.await;
        }
        self.is_over = true;
    }

    /// Serves until the node stops, without a handle.
    pub fn detach(mut self) {
        self.is_over = true;
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !self.is_over {
            let request = Request::End { name: std::mem::take(&mut self.name) };
            if let Err(mpsc::error::TrySendError::Full(_)) = self.requests.try_send(request) {
                tracing::warn!("the service is offered until the node stops: its driver is busy");
            }
        }
    }
}

/// Why a service isn't offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The node has stopped.
    #[error(transparent)]
    Closed(#[from] Closed),
    /// The node serves another of this name.
    #[error("this node serves {name:?} already; add the endpoints to that service")]
    Taken {
        /// The name.
        name: String,
    },
    /// It can't be announced.
    #[error(transparent)]
    Refused(Refusal),
}
