//! What passes the interfaces of a place: frames with the mark of the guest `liar` are counted.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

const MARK: &[u8] = b"vmm-says:";
/// The type of a packet that this host sends.
const OUTGOING: u8 = 4;

/// Whether an interface took a frame off the wire or put it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// It came in.
    Heard,
    /// It went out: at a machine's interface, the guest got it.
    Told,
}

type Counts = BTreeMap<(u32, Direction, String), usize>;

/// A listener on all interfaces of a place.
#[derive(Debug)]
pub struct Wire {
    counts: Arc<Mutex<Counts>>,
    done: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Wire {
    /// Listens where this thread is.
    pub fn listen() -> Self {
        let all = SockProtocol::EthAll;
        let flags = SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, all).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20)).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50)).unwrap();
        let (counts, done) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (counting, until) = (Arc::clone(&counts), Arc::clone(&done));
        let listening = std::thread::spawn(move || count(&socket, &counting, &until));
        Self { counts, done, listening: Some(listening) }
    }

    /// How often each mark has passed an interface.
    pub fn marks(&self, interface: &str, direction: Direction) -> BTreeMap<String, usize> {
        let index = if_nametoindex(interface).unwrap();
        let counts = self.counts.lock().unwrap();
        let here = counts.iter().filter(|((at, to, _), _)| (*at, *to) == (index, direction));
        here.map(|((_, _, mark), count)| (mark.clone(), *count)).collect()
    }

    /// Forgets what it has counted.
    pub fn clear(&self) {
        self.counts.lock().unwrap().clear();
    }
}

fn count(socket: &OwnedFd, counts: &Mutex<Counts>, done: &AtomicBool) {
    let mut room = [0; 2048];
    while !done.load(Ordering::Relaxed) {
        let (len, from) = match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut room) {
            Ok((len, Some(from))) => (len, from),
            Ok((_, None)) => panic!("a packet without an address"),
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => panic!("the wire cannot be listened to: {error}"),
        };
        let Some(mark) = mark(&room[..len]) else { continue };
        let direction = if from.pkttype() == OUTGOING { Direction::Told } else { Direction::Heard };
        let interface = u32::try_from(from.ifindex()).unwrap();
        *counts.lock().unwrap().entry((interface, direction, mark)).or_default() += 1;
    }
}

/// The name in `vmm-says:NAME;`.
fn mark(frame: &[u8]) -> Option<String> {
    let start = frame.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let name = &frame[start..];
    let name = &name[..name.iter().position(|byte| *byte == b';')?];
    Some(String::from_utf8_lossy(name).into_owned())
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.listening.take().map(JoinHandle::join) {
            eprintln!("the wire was not listened to until the end");
        }
    }
}
