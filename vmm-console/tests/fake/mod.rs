//! A `vmm-spawn` that writes what it is told to, and readers.

#![allow(dead_code, unreachable_pub, reason = "each test binary takes what it needs of this")]

use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use rustix::pipe::PipeFlags;
use vmm_proto::id::MachineId;
use vmm_proto::message::console::{FromConsole, ToConsole};
use vmm_proto::message::spawn::{FromSpawn, Role, ToSpawn};
use vmm_proto::message::{ConsoleStart, Output, VERSION, wire};
use vmm_proto::ring::{CAPACITY, CLAIMED, FILE_SIZE, WRITTEN, encode_counter, pieces};
use vmm_testkit::{read, receive, until, write};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vmm-console");

pub fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

/// The daemon under test.
pub struct Daemon(pub vmm_testkit::Daemon);

impl Daemon {
    pub fn start() -> Self {
        Self(vmm_testkit::Daemon::start(Command::new(PROGRAM)))
    }

    /// With a `vmm-spawn` that it has found.
    pub fn with_spawn() -> (Self, Spawn) {
        let daemon = Self::start();
        let spawn = daemon.listen().accept();
        (daemon, spawn)
    }

    /// Kills it and starts another.
    pub fn replace(&mut self) {
        self.0.replace(Command::new(PROGRAM));
    }

    /// A `vmm-spawn` that waits for it.
    pub fn listen(&self) -> Listening {
        Listening::at(&self.0.socket("spawn"))
    }

    pub fn connect(&self) -> Attached {
        Attached { stream: self.0.connect("console"), position: 0 }
    }

    pub fn attach(&self, machine: MachineId, start: ConsoleStart, follow: bool) -> Attached {
        let mut attached = self.connect();
        attached.tell(&ToConsole::Attach { machine, start, follow });
        attached
    }
}

/// A reader.
pub struct Attached {
    pub stream: UnixStream,
    /// What comes next.
    position: u64,
}

impl Attached {
    pub fn tell(&mut self, message: &ToConsole) {
        write(&mut self.stream, 3, message).unwrap();
    }

    /// The next message but those that say where the attachment stands.
    pub fn next(&mut self) -> FromConsole {
        loop {
            match self.any() {
                FromConsole::At { .. } => {}
                other => return other,
            }
        }
    }

    pub fn any(&mut self) -> FromConsole {
        let (request, message) = receive(&mut self.stream);
        assert_eq!(request, 3);
        message
    }

    /// The next piece; checks that it is where the last one ended, from the second on.
    pub fn output(&mut self) -> Output {
        let FromConsole::Output(output) = self.next() else { panic!("not output") };
        let (position, bytes) = match &output {
            Output::Bytes { position, data, .. } => (*position, data.len().try_into().unwrap()),
            Output::Gap { position, bytes } => (*position, *bytes),
        };
        assert!(bytes > 0, "a piece of nothing");
        assert!(self.position == 0 || self.position == position, "out of order: {output:?}");
        self.position = position + bytes;
        output
    }

    /// So many bytes as they come, without gaps.
    pub fn bytes(&mut self, count: usize) -> String {
        let mut all = Vec::new();
        while all.len() < count {
            match self.output() {
                Output::Bytes { data, .. } => all.extend(data),
                gap @ Output::Gap { .. } => panic!("{gap:?}"),
            }
        }
        String::from_utf8(all).unwrap()
    }

    /// Everything to the end, without gaps, with the position where it began.
    pub fn rest(&mut self) -> (Option<u64>, String) {
        let mut begin = None;
        let mut all = Vec::new();
        loop {
            match self.next() {
                FromConsole::End => return (begin, String::from_utf8(all).unwrap()),
                FromConsole::Output(Output::Bytes { position, data, .. }) => {
                    begin.get_or_insert(position);
                    all.extend(data);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether the other side has closed.
    pub fn is_closed(&mut self) -> bool {
        loop {
            match read::<FromConsole>(&mut self.stream) {
                Ok(Some((_, FromConsole::At { .. }))) => {}
                Ok(next) => return next.is_none(),
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }
}

/// A `vmm-spawn` that waits for `vmm-console`.
pub struct Listening(OwnedFd);

impl Listening {
    fn at(path: &Path) -> Self {
        if path.exists() {
            std::fs::remove_file(path).unwrap();
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let kind = SocketType::SEQPACKET;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None).unwrap();
        rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        rustix::net::listen(&socket, 8).unwrap();
        Self(socket)
    }

    pub fn accept(&self) -> Spawn {
        self.accept_with(0)
    }

    /// A connection on which so many rings are announced.
    pub fn accept_with(&self, known: u32) -> Spawn {
        let socket = until("vmm-console connects to vmm-spawn", || {
            rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC).ok()
        });
        let mut bytes = vec![0; 1024];
        let mut beside = RecvAncillaryBuffer::default();
        let into = &mut [IoSliceMut::new(&mut bytes)];
        let got = rustix::net::recvmsg(&socket, into, &mut beside, RecvFlags::empty()).unwrap();
        let hello: ToSpawn = wire::decode(&bytes[..got.bytes]).unwrap();
        assert_eq!(hello, ToSpawn::Hello { version: VERSION, role: Role::Console });
        let spawn = Spawn(socket);
        spawn.send(
            &FromSpawn::Welcome { version: VERSION, jail: Vec::new(), bridges: Vec::new(), known },
            &[],
        );
        spawn
    }
}

/// A `vmm-spawn` with its connection to `vmm-console`.
pub struct Spawn(OwnedFd);

impl Spawn {
    fn send(&self, message: &FromSpawn, descriptors: &[&OwnedFd]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        assert!(beside.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let bytes = wire::encode(message).unwrap();
        let flags = SendFlags::NOSIGNAL;
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut beside, flags).unwrap();
    }

    pub fn send_ring(&self, id: MachineId, ring: &RingWriter) {
        let file = OwnedFd::from(ring.file.try_clone().unwrap());
        let [console, stage] = &ring.fifos;
        self.send(&FromSpawn::Ring { id }, &[&file, &ring.growth, console, stage]);
    }

    pub fn send_gone(&self, id: MachineId) {
        self.send(&FromSpawn::RingGone { id }, &[]);
    }

    /// A new machine's ring.
    pub fn machine(&self, id: MachineId) -> RingWriter {
        let ring = RingWriter::new();
        self.send_ring(id, &ring);
        ring
    }
}

/// The writing side of a ring.
pub struct RingWriter {
    file: File,
    growth: OwnedFd,
    /// What is only to be held: here, the reading ends of pipes.
    fifos: [OwnedFd; 2],
    /// Their writing ends: broken once nobody holds the others.
    held: [OwnedFd; 2],
    pub written: u64,
}

impl RingWriter {
    pub fn new() -> Self {
        let file = File::from(memfd_create("ring", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(FILE_SIZE).unwrap();
        let growth = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        let [(console, into_console), (stage, into_stage)] = [(); 2]
            .map(|()| rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).unwrap());
        let (fifos, held) = ([console, stage], [into_console, into_stage]);
        let ring = Self { file, growth, fifos, held, written: 0 };
        ring.store(CLAIMED, 0);
        ring.store(WRITTEN, 0);
        ring
    }

    fn store(&self, offset: u64, value: u64) {
        self.file.write_all_at(&encode_counter(value), offset).unwrap();
    }

    /// Closes what is to be held; what breaks once nobody holds it is left.
    pub fn let_go(self) -> [OwnedFd; 2] {
        self.held
    }

    /// What a new `vmm-spawn` has of it: the same ring, and another growth.
    pub fn taken_over(self) -> Self {
        let growth = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap();
        Self { growth, ..self }
    }

    pub fn write(&mut self, data: impl AsRef<[u8]>) {
        for data in data.as_ref().chunks(usize::try_from(CAPACITY).unwrap()) {
            let length = u64::try_from(data.len()).unwrap();
            self.store(CLAIMED, self.written + length);
            let [(first, split), (second, _)] = pieces(self.written, length);
            let (before, after) = data.split_at(usize::try_from(split).unwrap());
            self.file.write_all_at(before, first).unwrap();
            self.file.write_all_at(after, second).unwrap();
            self.written += length;
            self.store(WRITTEN, self.written);
            rustix::io::write(&self.growth, &1u64.to_ne_bytes()).unwrap();
        }
    }

    /// What it looks like when the writer was stopped while it stored how much is written.
    pub fn tear(&self) {
        self.file.write_all_at(&[0xee; 4], WRITTEN).unwrap();
        rustix::io::write(&self.growth, &1u64.to_ne_bytes()).unwrap();
    }

    pub fn untear(&self) {
        self.store(WRITTEN, self.written);
    }
}
