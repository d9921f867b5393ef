//! A daemon in a directory of its own, clients, and readers of rings.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::cmsg_space;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, pread};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recvmsg,
    sendmsg, socket_with,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vmm_proto::id::MachineId;
use vmm_proto::message::spawn::{FromSpawn, Role, Start, ToSpawn};
use vmm_proto::message::{Exit, VERSION, wire};
use vmm_proto::ring;
use vmm_spawn::birth::Born;
use vmm_testkit::{PATIENCE, until};

/// Takes its image for a shell script to run once it has seen to its arguments. There is no PATH.
/// It needs the host's files, which machines see only where they are told to.
const FAKE_TENDER: &str = r#"#!/bin/bash
[ "$1 $3 $5 $7" = "run --mem --status --new-session" ] || exit 99
image=${2#@} memory=$4 status=${6#@}
shift 7
case $1 in --kvm=@*) kvm=${1#--kvm=@}; eval "exec $kvm<&-"; shift;; esac
nets=
while case $1 in --net*) ;; *) false;; esac; do nets="$nets $1"; shift; done
[ "$1" = -- ] || exit 99
shift
say() { echo "$@" >&$status; }
. /proc/self/fd/$image
"#;

/// Names another place of the program under test.
pub(crate) const PROGRAM: &str = "VMM_SPAWN_PROGRAM";

/// The program under test.
pub(crate) fn program() -> PathBuf {
    std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_vmm-spawn").into()).into()
}

fn fake_tender(dir: &TempDir) -> PathBuf {
    let tender = dir.path().join("tender");
    // Not by this process: what it writes could be open in a child that another thread starts, and
    // what is open for writing cannot be run.
    let mut writer = Command::new("/bin/sh");
    writer.args(["-c", "printf %s \"$2\" >\"$1\" && chmod 755 \"$1\"", "sh"]).arg(&tender);
    assert!(writer.arg(FAKE_TENDER).status().unwrap().success());
    tender
}

/// What that needs.
pub(crate) const ALL_FILES: [&str; 2] = ["--machine-root", "/"];

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) dir: TempDir,
    pub(crate) child: Child,
    tender: PathBuf,
    options: Vec<String>,
}

fn spawn(dir: &TempDir, mut command: Command, tender: &Path, options: &[String]) -> Child {
    let log = OpenOptions::new().append(true).create(true).open(dir.path().join("log")).unwrap();
    command
        .args(["--dir".as_ref(), dir.path().join("run").as_os_str()])
        .args(["--tender".as_ref(), tender.as_os_str()])
        .args(options)
        .arg("-v")
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap()
}

fn words(options: &[&str]) -> Vec<String> {
    options.iter().map(|&option| option.to_owned()).collect()
}

impl Daemon {
    /// With the tender that takes scripts for images.
    pub(crate) fn start() -> Self {
        Self::start_from("exec \"$@\"")
    }

    /// The same, started by a shell that does as it is told.
    pub(crate) fn start_from(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tender = fake_tender(&dir);
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", script, "sh"]).arg(program());
        Self::start_in(dir, shell, &tender, &ALL_FILES)
    }

    /// The same with more options.
    pub(crate) fn start_for(options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tender = fake_tender(&dir);
        let options = [&ALL_FILES[..], options].concat();
        Self::start_in(dir, Command::new(program()), &tender, &options)
    }

    /// In a directory where something is prepared.
    pub(crate) fn start_at(dir: TempDir) -> Self {
        let tender = fake_tender(&dir);
        Self::start_in(dir, Command::new(program()), &tender, &ALL_FILES)
    }

    /// With a tender that is there already.
    pub(crate) fn start_with(tender: &Path) -> Self {
        Self::start_with_options(tender, &[])
    }

    /// The same with more options.
    pub(crate) fn start_with_options(tender: &Path, options: &[&str]) -> Self {
        let program = Command::new(program());
        Self::start_in(tempfile::tempdir().unwrap(), program, tender, options)
    }

    fn start_in(dir: TempDir, command: Command, tender: &Path, options: &[&str]) -> Self {
        // Machines have users of their own.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        let (tender, options) = (tender.to_owned(), words(options));
        let child = spawn(&dir, command, &tender, &options);
        let daemon = Self { dir, child, tender, options };
        daemon.listens(1);
        daemon
    }

    fn listens(&self, times: usize) {
        until("the daemon listens", || {
            (self.log().matches("listening on").count() >= times).then_some(())
        });
    }

    /// Another one in the same directory, that dies at a failpoint if one is named. The one before
    /// has ended, or is killed.
    pub(crate) fn again(&mut self, failpoint: Option<&str>) {
        if self.child.try_wait().unwrap().is_none() {
            self.kill();
        }
        let times = self.log().matches("listening on").count();
        let mut program = Command::new(program());
        if let Some(failpoint) = failpoint {
            program.env("VMM_SPAWN_DIE_AT", failpoint);
        }
        self.child = spawn(&self.dir, program, &self.tender, &self.options);
        if failpoint.is_none() {
            self.listens(times + 1);
        }
    }

    /// The same, with other options from now on.
    pub(crate) fn again_with(&mut self, options: &[&str]) {
        self.options.extend(words(options));
        self.again(None);
    }

    /// The directory of a machine.
    pub(crate) fn place(&self, id: MachineId) -> PathBuf {
        self.dir.path().join("run/spawn").join(id.to_string())
    }

    /// The processes of all machines that are kept in the directory, and still are who they were.
    pub(crate) fn machines(&self) -> Vec<Born> {
        let Ok(places) = fs::read_dir(self.dir.path().join("run/spawn")) else { return Vec::new() };
        let files = places.flatten().filter_map(|place| fs::read_dir(place.path()).ok()).flatten();
        files
            .flatten()
            .filter(|file| file.file_name().to_string_lossy().starts_with("birth-"))
            .filter_map(|file| Born::parse(&fs::read_to_string(file.path()).ok()?))
            .filter(|born| matches!(Born::of(born.pid), Ok(Some(same)) if same == *born))
            .collect()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("run/spawn.sock")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    pub(crate) fn logs(&self, text: &str) {
        until(text, || self.log().contains(text).then_some(()));
    }

    pub(crate) fn supervisor(&self) -> Client {
        let mut client = Client::connect(&self.socket());
        client.hello(Role::Supervisor);
        client
    }

    pub(crate) fn console(&self) -> Client {
        let mut client = Client::connect(&self.socket());
        client.hello(Role::Console);
        client
    }

    /// A connection in a role, unless the daemon is gone.
    pub(crate) fn try_join(&self, role: Role) -> Option<Client> {
        let mut client = Client::try_connect(&self.socket())?;
        if !client.try_send(&ToSpawn::Hello { version: VERSION, role }, &[]) {
            return None;
        }
        match client.try_receive()?.0 {
            FromSpawn::Welcome { known, .. } => client.known = known,
            other => panic!("{other:?}"),
        }
        Some(client)
    }

    /// What it holds: open descriptors and children, dead ones included.
    pub(crate) fn census(&self) -> (usize, usize) {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        let children =
            fs::read_to_string(proc.join(format!("task/{}/children", self.child.id()))).unwrap();
        (fs::read_dir(proc.join("fd")).unwrap().count(), children.split_whitespace().count())
    }

    pub(crate) fn comes_back_to(&self, census: (usize, usize)) {
        until(&format!("the census is {census:?} again"), || {
            (self.census() == census).then_some(())
        });
    }

    /// A file to be taken for an image.
    pub(crate) fn image(&self, name: &str, script: &str) -> File {
        let path = self.dir.path().join(name);
        fs::write(&path, script).unwrap();
        File::open(path).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Kills it, as a crash would; when this returns, it is gone.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    pub(crate) fn ended(&mut self) -> ExitStatus {
        until("the daemon ends", || self.child.try_wait().unwrap())
    }
}

impl Daemon {
    /// Of machines that ran on, as nobody comes who would remove them.
    fn remove_cgroups(&self) {
        let homes = fs::read_to_string(self.dir.path().join("run/cgroups")).unwrap_or_default();
        let removed = |home: &Path| {
            let machines = fs::read_dir(home).into_iter().flatten().flatten();
            for machine in machines.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())) {
                fs::remove_dir(machine.path()).unwrap_or_default();
            }
            fs::remove_dir(home).is_ok() || !home.exists()
        };
        let end = Instant::now() + PATIENCE;
        while !homes.lines().all(|home| removed(Path::new(home))) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            self.signal(Signal::TERM);
            let status = self.ended();
            if !std::thread::panicking() {
                assert!(status.success(), "{status}\n{}", self.log());
            }
        }
        // Machines run on; not these.
        for machine in self.machines() {
            kill_process(machine.pid, Signal::KILL).unwrap_or_default();
        }
        self.remove_cgroups();
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// The program under test.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new(program());
    command.arg("--dir").arg(dir).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// One side of a connection.
pub(crate) struct Client {
    pub(crate) socket: OwnedFd,
    /// What came while something else was waited for.
    pub(crate) jail: Vec<String>,
    pub(crate) bridges: Vec<String>,
    pub(crate) known: u32,
}

/// A message and what came beside it.
pub(crate) type Incoming = (FromSpawn, Vec<OwnedFd>);

impl Client {
    pub(crate) fn connect(path: &Path) -> Self {
        Self::try_connect(path).unwrap()
    }

    fn try_connect(path: &Path) -> Option<Self> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .unwrap();
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).ok()?;
        Some(Self { socket, jail: Vec::new(), bridges: Vec::new(), known: 0 })
    }

    /// Sends, unless the other side is gone.
    pub(crate) fn try_send(&self, message: &ToSpawn, descriptors: &[BorrowedFd<'_>]) -> bool {
        self.send_bytes(&wire::encode(message).unwrap(), descriptors).is_ok()
    }

    /// The next message, unless the other side is gone.
    pub(crate) fn try_receive(&mut self) -> Option<Incoming> {
        self.receive()
    }

    pub(crate) fn hello(&mut self, role: Role) {
        self.send(&ToSpawn::Hello { version: VERSION, role });
        match self.next() {
            FromSpawn::Welcome { version: VERSION, jail, bridges, known } => {
                self.jail = jail;
                self.bridges = bridges;
                self.known = known;
            }
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn send(&self, message: &ToSpawn) {
        self.send_with(message, &[]);
    }

    pub(crate) fn send_with(&self, message: &ToSpawn, descriptors: &[BorrowedFd<'_>]) {
        self.send_bytes(&wire::encode(message).unwrap(), descriptors).unwrap();
    }

    pub(crate) fn send_bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(16))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        }
        let sent =
            sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?;
        assert_eq!(sent, bytes.len());
        Ok(())
    }

    /// The next message, or `None` at the end.
    pub(crate) fn receive(&mut self) -> Option<Incoming> {
        let mut fds = [PollFd::new(&self.socket, PollFlags::IN)];
        let timeout = Timespec { tv_sec: PATIENCE.as_secs().try_into().unwrap(), tv_nsec: 0 };
        assert_eq!(poll(&mut fds, Some(&timeout)), Ok(1), "no message within {PATIENCE:?}");
        self.receive_now().expect("there was something")
    }

    /// What is there now; `Err` when nothing is.
    pub(crate) fn receive_now(&mut self) -> Result<Option<Incoming>, Errno> {
        let mut bytes = vec![0; 1 << 16];
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(4))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let slices = &mut [IoSliceMut::new(&mut bytes)];
        let received = match recvmsg(&self.socket, slices, &mut control, flags) {
            Err(Errno::CONNRESET) => return Ok(None),
            received => received?,
        };
        if received.bytes == 0 {
            return Ok(None);
        }
        let fds = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        Ok(Some((wire::decode(&bytes[..received.bytes]).unwrap(), fds)))
    }

    /// The next message; without descriptors.
    pub(crate) fn next(&mut self) -> FromSpawn {
        let (message, fds) = self.receive().expect("the connection lives");
        assert!(fds.is_empty());
        message
    }

    pub(crate) fn is_closed(&mut self) {
        if let Some((message, _)) = self.receive() {
            panic!("not closed: {message:?}");
        }
    }

    /// The next message is a ring.
    pub(crate) fn ring(&mut self) -> (MachineId, Ring) {
        let (message, fds) = self.receive().expect("the connection lives");
        let FromSpawn::Ring { id } = message else { panic!("{message:?}") };
        (id, Ring::of(fds))
    }

    /// Starts a machine on CPU 0.
    pub(crate) fn start(&self, id: MachineId, image: impl AsFd, arguments: &[&str]) {
        self.send_with(&ToSpawn::Start(start(id, arguments)), &[image.as_fd()]);
    }

    /// Starts a machine, and it starts.
    pub(crate) fn run(&mut self, id: MachineId, image: impl AsFd, arguments: &[&str]) -> u32 {
        self.start(id, image, arguments);
        match self.next() {
            FromSpawn::Started { id: started, run, pid } if (started, run) == (id, run_of(id)) => {
                pid
            }
            other => panic!("{other:?}"),
        }
    }

    /// The next message says that this machine could not be started, and why.
    pub(crate) fn start_fails(&mut self, id: MachineId) -> String {
        match self.next() {
            FromSpawn::StartFailed { id: failed, reason, .. } if failed == id => reason,
            other => panic!("{other:?}"),
        }
    }

    /// The next message says that this machine has ended: how, and after how many bytes.
    pub(crate) fn exit(&mut self, id: MachineId) -> (Exit, u64) {
        match self.next() {
            FromSpawn::Exited { id: ended, exit, output_end, .. } if ended == id => {
                (exit, output_end)
            }
            other => panic!("{other:?}"),
        }
    }
}

thread_local! {
    /// The last start of each machine that this test asked for.
    static RUNS: RefCell<HashMap<MachineId, u64>> = RefCell::default();
}

/// The last start of a machine that was asked for.
pub(crate) fn run_of(id: MachineId) -> u64 {
    RUNS.with_borrow(|runs| runs.get(&id).copied().unwrap_or(0))
}

/// The next start of a machine.
pub(crate) fn start(id: MachineId, arguments: &[&str]) -> Start {
    let run = RUNS.with_borrow_mut(|runs| {
        let run = runs.entry(id).or_default();
        *run += 1;
        *run
    });
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    Start { id, run, memory_mib: 32, cpus: vec![0], arguments, networks: Vec::new() }
}

pub(crate) fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

/// A console ring, read as the console reads it.
pub(crate) struct Ring {
    pub(crate) file: OwnedFd,
    pub(crate) grown: OwnedFd,
    /// What keeps output that no daemon has taken yet.
    _held: [OwnedFd; 2],
}

impl Ring {
    /// From the descriptors beside its message.
    pub(crate) fn of(descriptors: Vec<OwnedFd>) -> Self {
        let [file, grown, console, stage] = descriptors.try_into().unwrap();
        Self { file, grown, _held: [console, stage] }
    }

    pub(crate) fn counter(&self, offset: u64) -> u64 {
        until("a whole counter", || {
            let mut bytes = [0; 16];
            assert_eq!(pread(&self.file, &mut bytes, offset), Ok(16));
            ring::decode_counter(bytes)
        })
    }

    pub(crate) fn written(&self) -> u64 {
        self.counter(ring::WRITTEN)
    }

    /// What there is from `position` on: how many bytes are gone, and those that are left.
    pub(crate) fn read_from(&self, position: u64) -> (u64, Vec<u8>) {
        let written = self.written();
        let from = position.max(ring::oldest(written));
        let mut data = Vec::new();
        for (offset, length) in ring::pieces(from, written - from) {
            let mut piece = vec![0; length.try_into().unwrap()];
            assert_eq!(pread(&self.file, &mut piece, offset), Ok(piece.len()));
            data.extend(piece);
        }
        let whole = from.max(ring::oldest(self.counter(ring::CLAIMED)));
        data.drain(..usize::try_from(whole - from).unwrap().min(data.len()));
        (whole - position, data)
    }

    pub(crate) fn text(&self) -> String {
        let (gap, data) = self.read_from(0);
        assert_eq!(gap, 0);
        String::from_utf8(data).unwrap()
    }
}
