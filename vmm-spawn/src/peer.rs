//! One connection: who it is, and what it may say when.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::UCred;
use vmm_proto::id::MachineId;
use vmm_proto::message::VERSION;
use vmm_proto::message::spawn::{HostNetwork, Role, Start, ToSpawn};
use vmm_proto::message::wire::{self, WireError};

use crate::access::Access;
use crate::outbox::Outbox;
use crate::packet::{Descriptors, Packet};

/// How long a peer may take to say who it is.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// What a peer has said, and was allowed to say.
#[derive(Debug)]
pub enum Request {
    /// It is now the one in this role.
    Joined(Role),
    /// The supervisor wants something.
    Order(Order),
}

/// What a packet means.
#[derive(Debug)]
pub enum Said {
    /// There is something to do.
    Request(Request),
    /// The supervisor wants to know whether somebody is there.
    Ping,
}

/// What the supervisor wants.
#[derive(Debug)]
pub enum Order {
    /// Start a machine with the image that should be the one descriptor here.
    Start(Start, Descriptors),
    /// End a run of a machine: at once, or by asking.
    Stop(MachineId, u64, bool),
    /// The end of a run need not be kept.
    EndSeen(MachineId, u64),
    /// Drop a machine.
    Forget(MachineId),
    /// These are all host networks, and this is the number of that.
    HostNetworks(u64, Vec<HostNetwork>),
}

/// Why a connection is ended.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// it sent something that cannot be read
    #[error("it sent something that cannot be read: {0}")]
    Malformed(#[from] WireError),
    /// it sent a packet that is too long
    #[error("it sent a packet of more than {} bytes", vmm_proto::message::spawn::MAX_PACKET)]
    TooLong,
    /// it speaks another version
    #[error("it speaks version {0} and this is version {VERSION}: update both")]
    Version(u16),
    /// it did not begin with a hello
    #[error("it did not begin with a hello")]
    HelloExpected,
    /// it said hello twice
    #[error("it said hello twice")]
    HelloAgain,
    /// it did not say hello in time
    #[error("it did not say hello within {} s", HELLO_TIMEOUT.as_secs())]
    Late,
    /// its user may not be in this role
    #[error(
        "user {0} may not be the {1:?} here (--supervisor-user and --console-user say who may)"
    )]
    Foreign(u32, Role),
    /// what it asked for is the supervisor's to ask
    #[error("it asked as the console for what only the supervisor may ask for")]
    WrongRole,
    /// descriptors came where none belong
    #[error("it sent descriptors where none belong")]
    UnexpectedDescriptors,
    /// it does not read what it is sent
    #[error("it does not read: {} packets wait for it", crate::outbox::LIMIT)]
    DoesNotRead,
}

/// Where a peer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has to say who it is by then.
    Unknown(Instant),
    /// It has said so.
    Joined(Role),
}

/// A connection.
#[derive(Debug)]
pub struct Peer {
    socket: OwnedFd,
    /// Where it stands.
    pub standing: Standing,
    /// What waits to be sent.
    pub outbox: Outbox,
    /// Whether the poller was asked to say when there is room to send.
    pub wants_room: bool,
    /// Its process, for messages to people.
    pub pid: i32,
    uid: u32,
}

impl Peer {
    /// One that was just accepted.
    pub fn new(socket: OwnedFd, who: UCred, now: Instant) -> Self {
        Self {
            socket,
            standing: Standing::Unknown(now + HELLO_TIMEOUT),
            outbox: Outbox::new(),
            wants_room: false,
            pid: who.pid.as_raw_nonzero().get(),
            uid: who.uid.as_raw(),
        }
    }

    /// Who it is, for messages to people.
    pub fn name(&self) -> &'static str {
        match self.standing {
            Standing::Unknown(_) => "a peer that has not said who it is",
            Standing::Joined(Role::Supervisor) => "the supervisor",
            Standing::Joined(Role::Console) => "the console",
        }
    }

    /// Sends what there is room for now.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self) -> Result<(), Errno> {
        self.outbox.flush(&self.socket)
    }

    /// What a packet means, from this peer, now.
    ///
    /// # Errors
    /// It is not allowed, or nonsense: the connection is to be ended.
    pub fn understand(&mut self, packet: Packet, access: &Access) -> Result<Said, Violation> {
        let Packet { bytes, descriptors } = packet;
        let message = wire::decode(&bytes)?;
        if !descriptors.none() && !matches!(message, ToSpawn::Start(_)) {
            return Err(Violation::UnexpectedDescriptors);
        }
        match (self.standing, message) {
            (Standing::Unknown(_), ToSpawn::Hello { version: VERSION, role }) => {
                if !access.allows_as(role, self.uid) {
                    return Err(Violation::Foreign(self.uid, role));
                }
                self.standing = Standing::Joined(role);
                Ok(Said::Request(Request::Joined(role)))
            }
            (Standing::Unknown(_), ToSpawn::Hello { version, .. }) => {
                Err(Violation::Version(version))
            }
            (Standing::Unknown(_), _) => Err(Violation::HelloExpected),
            (Standing::Joined(_), ToSpawn::Hello { .. }) => Err(Violation::HelloAgain),
            (Standing::Joined(Role::Console), _) => Err(Violation::WrongRole),
            (Standing::Joined(Role::Supervisor), message) => order(message, descriptors),
        }
    }
}

fn order(message: ToSpawn, descriptors: Descriptors) -> Result<Said, Violation> {
    let order = match message {
        ToSpawn::Hello { .. } => return Err(Violation::HelloAgain),
        ToSpawn::Ping => return Ok(Said::Ping),
        ToSpawn::Start(start) => Order::Start(start, descriptors),
        ToSpawn::Stop { id, run, force } => Order::Stop(id, run, force),
        ToSpawn::EndSeen { id, run } => Order::EndSeen(id, run),
        ToSpawn::Forget { id } => Order::Forget(id),
        ToSpawn::HostNetworks { number, networks } => Order::HostNetworks(number, networks),
    };
    Ok(Said::Request(Request::Order(order)))
}

impl AsFd for Peer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
