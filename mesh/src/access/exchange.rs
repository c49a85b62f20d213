//! The exchange at the begin of a connection, in the transport.
//!
//! It runs when the other's identity is proved and streams can be opened, on the connection's first
//! stream, and ends before the swarm hears of the connection. Version 1:
//!
//! | who | bytes | says |
//! |---|---|---|
//! | dialer | 1 | version, 1 |
//! | | 2, n | its capability, with its length, big endian |
//! | listener | 1 | 0 if the dialer may come in; otherwise why not, and this is the end |
//! | | 2, n | its own capability |
//! | dialer | 1 | 0 if the listener is a member; otherwise why not, and this is the end |
//!
//! | code | why not |
//! |---|---|
//! | 1 | no member: what was shown is no capability, another mesh's, another peer's or forged |
//! | 2 | the capability has expired |
//! | 3 | it was revoked |
//! | 4 | it holds from a later time on |
//! | 5 | the version isn't known |
//!
//! A listener shows nothing of itself to who isn't a member, and only those whose capability an
//! admin did sign learn more than that they are none.

use std::{future::Future, io, pin::pin, time::Duration};

use aether_core::PublicKey;
use futures::{
    AsyncReadExt as _, AsyncWriteExt as _,
    future::{Either, poll_fn, select},
};
use libp2p::{
    PeerId,
    core::{
        ConnectedPoint, Endpoint,
        muxing::{StreamMuxerBox, StreamMuxerExt as _, SubstreamBox},
    },
};

use super::Door;
use crate::{
    identity::public_key,
    proto::access::{Capability, MAX_CAPABILITY, Refusal},
};

const VERSION: u8 = 1;
const WELCOME: u8 = 0;

/// How long the exchange may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a refused peer has to read why.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection isn't made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    #[error("refused: {0}")]
    Refused(String),
    #[error("not let in: {0}")]
    NotLetIn(Refusal),
    #[error("not let in: it shows no capability")]
    NoCapability,
    #[error("not let in: its key is not Ed25519, as every member's is")]
    Key,
    #[error("no capabilities were exchanged in time; is the other a node of a closed mesh?")]
    Timeout,
    #[error("the connection was lost while capabilities were exchanged")]
    Lost(#[source] io::Error),
}

impl From<io::Error> for ExchangeError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// Exchanges capabilities on a fresh connection, and gives it back if both ends are members.
pub(crate) async fn exchange(
    door: Door,
    peer: PeerId,
    muxer: StreamMuxerBox,
    point: ConnectedPoint,
) -> Result<(PeerId, StreamMuxerBox), ExchangeError> {
    // When both ends dial at once to punch a hole, one of the two dials as a listener.
    let dials = matches!(point, ConnectedPoint::Dialer { role_override: Endpoint::Dialer, .. });
    let result = match tokio::time::timeout(TIMEOUT, run(&door, peer, muxer, dials)).await {
        Ok(result) => result,
        Err(_) => Err(ExchangeError::Timeout),
    };
    if let Err(error) = &result {
        report(&door, &peer, error);
    }
    result.map(|muxer| (peer, muxer))
}

/// Strangers come and go; a member that is refused is worth a line.
fn report(door: &Door, peer: &PeerId, error: &ExchangeError) {
    match error {
        ExchangeError::Refused(why) => {
            // Each attempt fails alike: the first is worth a warning.
            match door.refused(why) {
                true => tracing::warn!(%peer, why, "a node of the mesh refused this one"),
                false => tracing::debug!(%peer, why, "refused again"),
            }
        }
        ExchangeError::NotLetIn(
            refusal @ (Refusal::Expired { .. } | Refusal::Revoked { .. } | Refusal::NotYet { .. }),
        ) => tracing::info!(%peer, %refusal, "refused a member"),
        error => tracing::debug!(%peer, %error, "refused a stranger"),
    }
}

async fn run(
    door: &Door,
    peer: PeerId,
    mut muxer: StreamMuxerBox,
    dials: bool,
) -> Result<StreamMuxerBox, ExchangeError> {
    let key = public_key(&peer).ok_or(ExchangeError::Key)?;
    let stream = poll_fn(|cx| match dials {
        true => {
            // Opening a stream doesn't drive the connection, accepting one does.
            if let std::task::Poll::Ready(Err(error)) = muxer.poll_unpin(cx) {
                return std::task::Poll::Ready(Err(error));
            }
            muxer.poll_outbound_unpin(cx)
        }
        false => muxer.poll_inbound_unpin(cx),
    });
    let stream = stream.await?;
    let talk = async {
        let mut stream = stream;
        let result = match dials {
            true => dial(door, &key, &mut stream).await,
            false => listen(door, &key, &mut stream).await,
        };
        if matches!(result, Err(ExchangeError::NotLetIn(_) | ExchangeError::NoCapability)) {
            // Dropping the connection at once could overtake the answer.
            let _ = tokio::time::timeout(LINGER, until_end(&mut stream)).await;
        }
        result
    };
    let shown = drive(&mut muxer, talk).await?;
    door.let_in(key, shown);
    Ok(muxer)
}

/// Polls a future, and the connection that it needs. Streams that the other end opens meanwhile
/// stay with the connection; an address that changes meanwhile is of no interest yet.
async fn drive<T>(
    muxer: &mut StreamMuxerBox,
    talk: impl Future<Output = Result<T, ExchangeError>>,
) -> Result<T, ExchangeError> {
    let background = poll_fn(|cx| {
        loop {
            match muxer.poll_unpin(cx) {
                std::task::Poll::Ready(Ok(_)) => {}
                std::task::Poll::Ready(Err(error)) => return std::task::Poll::Ready(error),
                std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
    });
    // What has arrived is read before the loss of the connection is believed.
    match select(pin!(talk), pin!(background)).await {
        Either::Left((result, _)) => result,
        Either::Right((error, talk)) => match futures::FutureExt::now_or_never(talk) {
            Some(result) => result,
            None => Err(error.into()),
        },
    }
}

async fn dial(
    door: &Door,
    peer: &PublicKey,
    stream: &mut SubstreamBox,
) -> Result<Capability, ExchangeError> {
    let (own, pass) = door.own();
    let mut hello = vec![VERSION];
    hello.extend(framed(&own));
    stream.write_all(&hello).await?;
    stream.flush().await?;
    match read_byte(stream).await? {
        WELCOME => {}
        code => return Err(ExchangeError::Refused(reason(code, pass.expires))),
    }
    let shown = judge(door, peer, stream).await?;
    stream.write_all(&[WELCOME]).await?;
    stream.close().await?;
    Ok(shown)
}

async fn listen(
    door: &Door,
    peer: &PublicKey,
    stream: &mut SubstreamBox,
) -> Result<Capability, ExchangeError> {
    if read_byte(stream).await? != VERSION {
        refuse(stream, 5).await?;
        return Err(ExchangeError::NoCapability);
    }
    let shown = judge(door, peer, stream).await?;
    let (own, pass) = door.own();
    let mut answer = vec![WELCOME];
    answer.extend(framed(&own));
    stream.write_all(&answer).await?;
    stream.flush().await?;
    match read_byte(stream).await? {
        WELCOME => {}
        code => return Err(ExchangeError::Refused(reason(code, pass.expires))),
    }
    stream.close().await?;
    Ok(shown)
}

/// Reads what the other shows, and tells it if that isn't enough.
async fn judge(
    door: &Door,
    peer: &PublicKey,
    stream: &mut SubstreamBox,
) -> Result<Capability, ExchangeError> {
    let Some(shown) = read_capability(stream).await? else {
        refuse(stream, 1).await?;
        return Err(ExchangeError::NoCapability);
    };
    match door.check(peer, &shown) {
        Ok(_) => Ok(shown),
        Err(refusal) => {
            refuse(stream, code(&refusal)).await?;
            Err(ExchangeError::NotLetIn(refusal))
        }
    }
}

/// Waits until the other end has read and closed, or has sent far more than there is to say.
async fn until_end(stream: &mut SubstreamBox) {
    let mut buffer = [0; 1024];
    for _ in 0..1024 {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

async fn refuse(stream: &mut SubstreamBox, code: u8) -> io::Result<()> {
    stream.write_all(&[code]).await?;
    stream.close().await
}

async fn read_byte(stream: &mut SubstreamBox) -> io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte).await?;
    Ok(byte[0])
}

async fn read_capability(stream: &mut SubstreamBox) -> io::Result<Option<Capability>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_CAPABILITY {
        return Ok(None);
    }
    let mut bytes = [0; MAX_CAPABILITY];
    stream.read_exact(&mut bytes[..length]).await?;
    Ok(Capability::decode(&bytes[..length]).ok())
}

fn framed(capability: &[u8]) -> Vec<u8> {
    let length = u16::try_from(capability.len()).expect("a capability is short");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(capability);
    bytes
}

fn code(refusal: &Refusal) -> u8 {
    match refusal {
        Refusal::Expired { .. } => 2,
        Refusal::Revoked { .. } => 3,
        Refusal::NotYet { .. } => 4,
        _ => 1,
    }
}

/// What a refusal means to the one who is refused.
fn reason(code: u8, expires: crate::proto::access::Wall) -> String {
    match code {
        1 => "it takes this node for no member of its mesh; is it another mesh's node?".to_owned(),
        2 => {
            format!("this node's capability expired at {expires}; ask an admin for a new invite")
        }
        3 => "this node's capability was revoked; ask an admin for a new invite, and begin with a \
              new data folder"
            .to_owned(),
        4 => "this node's capability isn't valid yet by its clock; check both clocks".to_owned(),
        _ => "it speaks another version of this exchange; update the older of the two".to_owned(),
    }
}
