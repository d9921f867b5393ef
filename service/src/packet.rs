//! Packets with descriptors beside them, on a sequenced-packet Unix socket: how the daemons talk
//! to `vmm-spawn`.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use vmm_proto::message::spawn::MAX_PACKET;

/// The most descriptors beside one packet.
const MAX_DESCRIPTORS: usize = 4;

/// A connected sequenced-packet socket.
#[derive(Debug)]
pub struct PacketSocket(AsyncFd<OwnedFd>);

impl PacketSocket {
    /// Connects to a listening socket.
    ///
    /// # Errors
    /// When nobody listens there, or the socket may not be used.
    pub fn connect(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(crate::readiness::watch(socket)?))
    }

    /// Sends one packet with at most four descriptors.
    ///
    /// # Errors
    /// When the peer has gone, or the packet is too large.
    pub async fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.0
            .async_io(Interest::WRITABLE, |socket| {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
                let mut beside = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty()
                    && !beside.push(SendAncillaryMessage::ScmRights(descriptors))
                {
                    return Err(io::Error::other("too many descriptors for one packet"));
                }
                let flags = SendFlags::NOSIGNAL;
                rustix::net::sendmsg(socket, &[IoSlice::new(bytes)], &mut beside, flags)?;
                Ok(())
            })
            .await
    }

    /// The next packet and its descriptors; `None` when the peer has closed. Waiting for it may be
    /// given up and taken up again.
    ///
    /// # Errors
    /// When the connection is broken, or a packet was larger than it may be.
    pub async fn receive(&self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let received = self.0.async_io(Interest::READABLE, receive_now).await?;
        Ok((!received.0.is_empty()).then_some(received))
    }
}

fn receive_now(socket: &OwnedFd) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; MAX_PACKET];
    let received = rustix::net::recvmsg(
        socket.as_fd(),
        &mut [IoSliceMut::new(&mut bytes)],
        &mut beside,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    let descriptors = beside
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::other("a packet was larger than the protocol allows"));
    }
    bytes.truncate(received.bytes);
    Ok((bytes, descriptors))
}
