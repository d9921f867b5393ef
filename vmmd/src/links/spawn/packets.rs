//! Messages to and from `vmm-spawn`, and how long it may take.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::time::Instant;
use vmm_proto::message::spawn::{FromSpawn, ToSpawn};
use vmm_proto::message::wire;
use vmm_service::packet::PacketSocket;

/// How long `vmm-spawn` may say nothing before it is asked, and may take to answer or to read. It
/// never waits for anyone, so that one which takes longer is stopped: then it is as good as gone.
const ANSWER: Duration = Duration::from_secs(3);

/// Sends a message, if `vmm-spawn` takes it in time.
pub(super) async fn send(
    connection: &PacketSocket,
    message: &ToSpawn,
    image: Option<OwnedFd>,
) -> io::Result<()> {
    let bytes = wire::encode(message).map_err(io::Error::other)?;
    let descriptors: Vec<_> = image.iter().map(AsFd::as_fd).collect();
    tokio::time::timeout(ANSWER, connection.send(&bytes, &descriptors))
        .await
        .map_err(|_| does_not_answer())?
}

/// How long `vmm-spawn` has said nothing.
pub(super) struct Silence {
    /// Until then it need not say anything.
    pub(super) until: Instant,
    /// Whether it was asked to say something.
    pub(super) asked: bool,
}

impl Default for Silence {
    fn default() -> Self {
        Self { until: Instant::now() + ANSWER, asked: false }
    }
}

/// It says nothing, or does not read.
pub(super) fn does_not_answer() -> io::Error {
    let message = format!("it does not answer within {} seconds", ANSWER.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, message)
}

/// The next message.
pub(super) async fn next(connection: &PacketSocket) -> io::Result<FromSpawn> {
    match connection.receive().await? {
        Some((bytes, _)) => wire::decode(&bytes).map_err(io::Error::other),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
    }
}
