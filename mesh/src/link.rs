//! The link on the wire: one frame per substream, acknowledged by an empty answer.
//!
//! A substream of `/aether/<mesh>/link/<version>` carries the frame's length (four bytes, big
//! endian) and the frame; the answer is one zero byte. libp2p's request-response bounds the time
//! and the number of substreams.

use std::{io, sync::Arc};

use futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::{StreamProtocol, request_response};
use tokio::sync::Semaphore;

use crate::proto::link::MAX_FRAME;

/// Bytes of frames that are being received, over all peers, beyond the first [`FREE`] of each. A
/// frame for which there is no room is refused: substreams are bounded by connection, and a peer
/// that never finishes any must not have all of them grow.
const MAX_ROOM: usize = 32 * 1024 * 1024;

/// Bytes of a frame that need no room, so that the short ones that watch members always pass.
const FREE: u32 = 8 * 1024;

#[derive(Clone, Debug)]
pub(crate) struct Codec {
    room: Arc<Semaphore>,
}

impl Default for Codec {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(MAX_ROOM)) }
    }
}

impl request_response::Codec for Codec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = ();

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        let mut length = [0; 4];
        io.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length);
        if length as usize > MAX_FRAME {
            let reason = format!("a frame of {length} bytes exceeds the limit of {MAX_FRAME}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        let Ok(_room) = self.room.clone().try_acquire_many_owned(length.saturating_sub(FREE))
        else {
            let reason = format!("no room for a frame of {length} bytes now");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, reason));
        };
        // Grows with what arrives, not with what was announced.
        let mut frame = Vec::new();
        io.take(length.into()).read_to_end(&mut frame).await?;
        if frame.len() < length as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(frame)
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<()>
    where
        T: AsyncRead + Unpin + Send,
    {
        io.read_exact(&mut [0]).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        frame: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        let length = u32::try_from(frame.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        io.write_all(&length.to_be_bytes()).await?;
        io.write_all(&frame).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, (): ()) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        io.write_all(&[0]).await
    }
}

#[cfg(test)]
mod tests {
    use futures::{executor::block_on, io::Cursor};
    use libp2p::request_response::Codec as _;

    use super::*;

    #[test]
    fn without_room_only_short_frames_are_read_and_room_comes_back() {
        let codec = Codec::default();
        let read = |length: u32| {
            let bytes = [&length.to_be_bytes()[..], &vec![7; length as usize]].concat();
            let protocol = StreamProtocol::new("/link");
            block_on(codec.clone().read_request(&protocol, &mut Cursor::new(bytes)))
        };
        let most = u32::try_from(MAX_FRAME).unwrap();
        let all = codec.room.clone().try_acquire_many_owned(u32::try_from(MAX_ROOM).unwrap());
        assert_eq!(read(FREE).unwrap().len(), FREE as usize);
        assert_eq!(read(most).unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
        drop(all);
        assert_eq!(read(most).unwrap().len(), MAX_FRAME);
        assert_eq!(codec.room.available_permits(), MAX_ROOM);
    }
}
