//! Messages in frames, over any byte stream.

use std::marker::PhantomData;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};
use vmm_proto::frame::{self, FrameError, HEADER, Header};
use vmm_proto::message::wire::{self, FromWire, ToWire, WireError};
use vmm_proto::message::{Hello, VERSION};

/// How long a peer may take over one frame once it has begun it.
const FRAME_TIME: Duration = Duration::from_secs(10);

/// How long a peer may take nothing of what it is sent.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// How long the hello of a peer may take.
const HELLO_TIME: Duration = Duration::from_secs(10);

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The bytes are no frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The frame holds no message.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// the connection ended inside a frame
    #[error("the connection ended inside a frame")]
    Cut,
    /// a frame was begun and not finished within 10 seconds
    #[error("a frame was begun and not finished within {} seconds", FRAME_TIME.as_secs())]
    Stalled,
    /// the peer did not read within 30 seconds
    #[error("the peer did not read within {} seconds", WRITE_TIME.as_secs())]
    Unread,
    /// no hello came
    #[error("no hello came")]
    NoHello,
    /// the peer ({0}) speaks version {1} of the messages, this is version 1: upgrade the older one
    #[error(
        "the peer ({0}) speaks version {1} of the messages, this is version {VERSION}: upgrade \
         the older one"
    )]
    Version(String, u16),
}

/// The reading half: messages of type `T`.
#[derive(Debug)]
pub struct Reader<R, T> {
    inner: R,
    buffer: Vec<u8>,
    begun: Option<Instant>,
    message: PhantomData<T>,
}

impl<R: AsyncRead + Unpin, T: FromWire> Reader<R, T> {
    /// Reads messages from `inner`.
    pub fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), begun: None, message: PhantomData }
    }

    /// The next message and the request it belongs to; `None` when the peer has closed between two
    /// frames. Waiting for it may be given up and taken up again.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no use then.
    pub async fn next(&mut self) -> Result<Option<(u32, T)>, ConnectionError> {
        loop {
            if let Some((request, body)) = self.take_frame()? {
                return Ok(Some((request, wire::decode(&body)?)));
            }
            let read = self.inner.read_buf(&mut self.buffer);
            let count = match self.begun {
                None => read.await?,
                Some(begun) => timeout_at(begun + FRAME_TIME, read)
                    .await
                    .map_err(|_| ConnectionError::Stalled)??,
            };
            if count == 0 {
                let between = self.buffer.is_empty();
                return if between { Ok(None) } else { Err(ConnectionError::Cut) };
            }
            if self.begun.is_none() {
                self.begun = Some(Instant::now());
            }
        }
    }

    /// A whole frame out of the buffer, which never holds much more than one.
    fn take_frame(&mut self) -> Result<Option<(u32, Vec<u8>)>, ConnectionError> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let Header { length, request } = Header::parse(*header)?;
        let end = HEADER + length;
        if self.buffer.len() < end {
            let missing = end - self.buffer.len();
            self.buffer.reserve(missing);
            return Ok(None);
        }
        let rest = self.buffer.split_off(end);
        let mut body = std::mem::replace(&mut self.buffer, rest);
        body.drain(..HEADER);
        self.begun = (!self.buffer.is_empty()).then(Instant::now);
        Ok(Some((request, body)))
    }

    /// The same stream, for messages of another type.
    pub fn then<U: FromWire>(self) -> Reader<R, U> {
        let Self { inner, buffer, begun, .. } = self;
        Reader { inner, buffer, begun, message: PhantomData }
    }

    /// Reads and drops what the peer still sends, until it closes or `within` has passed.
    pub async fn drain(mut self, within: Duration) {
        let all = async {
            let mut bytes = [0; 4096];
            while self.inner.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
        };
        if timeout(within, all).await.is_err() {
            tracing::debug!("the peer went on sending after the end");
        }
    }
}

/// The writing half: messages of type `T`.
#[derive(Debug)]
pub struct Writer<W, T> {
    inner: W,
    buffer: Vec<u8>,
    message: PhantomData<T>,
}

impl<W: AsyncWrite + Unpin, T: ToWire> Writer<W, T> {
    /// Writes messages to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::new(), message: PhantomData }
    }

    /// Adds a message to what [`Writer::flush`] will send.
    ///
    /// # Errors
    /// When it is larger than a frame.
    pub fn push(&mut self, request: u32, message: &T) -> Result<(), ConnectionError> {
        let body = wire::encode(message)?;
        Ok(frame::encode(request, &body, &mut self.buffer)?)
    }

    /// Bytes that wait for [`Writer::flush`].
    pub fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// Sends what waits. A peer may be slow, but not take nothing for half a minute.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no use then.
    pub async fn flush(&mut self) -> Result<(), ConnectionError> {
        let mut sent = 0;
        while sent < self.buffer.len() {
            let some = timeout(WRITE_TIME, self.inner.write(&self.buffer[sent..]));
            match some.await.map_err(|_| ConnectionError::Unread)?? {
                0 => return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into()),
                count => sent += count,
            }
        }
        timeout(WRITE_TIME, self.inner.flush()).await.map_err(|_| ConnectionError::Unread)??;
        self.buffer.clear();
        // One large message is no reason to hold its memory for the rest of the connection.
        self.buffer.shrink_to(16 << 10);
        Ok(())
    }

    /// Sends one message.
    ///
    /// # Errors
    /// [`ConnectionError`]; the connection is of no use then.
    pub async fn send(&mut self, request: u32, message: &T) -> Result<(), ConnectionError> {
        self.push(request, message)?;
        self.flush().await
    }

    /// Tells the peer that nothing more comes.
    ///
    /// # Errors
    /// [`ConnectionError::Io`], [`ConnectionError::Unread`]
    pub async fn close(&mut self) -> Result<(), ConnectionError> {
        Ok(timeout(WRITE_TIME, self.inner.shutdown())
            .await
            .map_err(|_| ConnectionError::Unread)??)
    }

    /// The same stream, for messages of another type.
    pub fn then<U: ToWire>(self) -> Writer<W, U> {
        Writer { inner: self.inner, buffer: self.buffer, message: PhantomData }
    }
}

/// Both halves of a connection over a Unix socket, after the hellos.
pub type Halves<In, Out> = (Reader<OwnedReadHalf, In>, Writer<OwnedWriteHalf, Out>);

/// Says hello on a Unix socket and waits for the peer's.
///
/// # Errors
/// [`ConnectionError`]: no hello in time, or another version.
pub async fn greet<In: FromWire, Out: ToWire>(
    stream: UnixStream,
    own_name: &str,
) -> Result<Halves<In, Out>, ConnectionError> {
    let (read, write) = stream.into_split();
    let mut writer: Writer<_, Hello> = Writer::new(write);
    let mut reader: Reader<_, Hello> = Reader::new(read);
    writer.send(0, &Hello::of(own_name)).await?;
    let hello =
        timeout(HELLO_TIME, reader.next()).await.map_err(|_| ConnectionError::NoHello)??;
    match hello {
        Some((0, Hello { version: VERSION, .. })) => Ok((reader.then(), writer.then())),
        Some((0, Hello { version, name })) => {
            let name = name.chars().take(40).flat_map(char::escape_default).collect();
            Err(ConnectionError::Version(name, version))
        }
        _ => Err(ConnectionError::NoHello),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_arrive_as_they_were_sent_whatever_the_pieces() {
        let (here, there) = tokio::io::duplex(5);
        let sender = tokio::spawn(async move {
            let mut writer: Writer<_, String> = Writer::new(here);
            for number in 0..20u32 {
                writer.push(number, &format!("message {number}")).unwrap();
            }
            writer.flush().await.unwrap();
        });
        let mut reader: Reader<_, String> = Reader::new(there);
        for number in 0..20u32 {
            let next = reader.next().await.unwrap();
            assert_eq!(next, Some((number, format!("message {number}"))));
        }
        assert!(reader.next().await.unwrap().is_none());
        sender.await.unwrap();
    }

    #[tokio::test]
    async fn a_claim_of_four_gibibytes_ends_the_connection_at_once() {
        let (mut here, there) = tokio::io::duplex(64);
        here.write_all(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]).await.unwrap();
        let mut reader: Reader<_, String> = Reader::new(there);
        assert!(matches!(reader.next().await, Err(ConnectionError::Frame(_))));
        assert!(reader.buffer.capacity() < 1 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_stalls_inside_a_frame_is_given_up() {
        let (mut here, there) = tokio::io::duplex(64);
        here.write_all(&[0, 0, 0]).await.unwrap();
        let mut reader: Reader<_, String> = Reader::new(there);
        assert!(matches!(reader.next().await, Err(ConnectionError::Stalled)));
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_is_not_an_end_between_frames() {
        let (mut here, there) = tokio::io::duplex(64);
        here.write_all(&[0, 0, 0, 9, 0, 0, 0, 1, 1]).await.unwrap();
        drop(here);
        let mut reader: Reader<_, String> = Reader::new(there);
        assert!(matches!(reader.next().await, Err(ConnectionError::Cut)));
    }
}
