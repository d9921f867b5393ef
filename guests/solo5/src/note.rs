//! What a unikernel file tells a tender about itself.

use core::mem::size_of;

use crate::device::Declared;

/// Contents of `PT_INTERP`: a file that does not exist, so that no kernel runs the unikernel as
/// an ordinary program.
pub type Interpreter = [u8; 24];

/// See [`Interpreter`].
pub const INTERPRETER: Interpreter = *b"/nonexistent/solo5/\0\0\0\0\0";

#[cfg(solo5_hvt)]
const TARGET: u32 = 1;
#[cfg(solo5_spt)]
const TARGET: u32 = 2;

const ABI_VERSION: u32 = 2;

#[repr(C)]
struct Header {
    name_size: u32,
    description_size: u32,
    kind: u32,
    name: [u8; 8],
}

impl Header {
    const fn new(kind: [u8; 4], description_size: usize) -> Self {
        assert!(description_size < 0x1_0000);
        #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
        let description_size = description_size as u32;
        let kind = u32::from_le_bytes(kind);
        Self { name_size: 6, description_size, kind, name: *b"Solo5\0\0\0" }
    }
}

/// Target and version of the ABI.
#[repr(C, align(4))]
pub struct AbiNote {
    header: Header,
    target: u32,
    version: u32,
    reserved: [u32; 2],
}

/// The note of this build's target.
pub const ABI: AbiNote = AbiNote {
    header: Header::new(*b"ABI1", 16),
    target: TARGET,
    version: ABI_VERSION,
    reserved: [0; 2],
};

/// The devices that a unikernel wants, in `N` entries: the first is reserved.
#[repr(C, align(8))]
pub struct ManifestNote<const N: usize> {
    header: Header,
    /// Counted as description, so that the manifest begins at a multiple of 8.
    padding: u32,
    manifest: ManifestHeader,
    entries: [ManifestEntry; N],
}

/// What stands before the entries.
#[repr(C, align(8))]
pub(crate) struct ManifestHeader {
    version: u32,
    pub(crate) count: u32,
}

/// A device: as it is declared, and in memory with what is attached to it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(crate) struct ManifestEntry {
    pub(crate) name: [u8; 68],
    pub(crate) kind: u32,
    pub(crate) properties: [u8; 16],
    pub(crate) host_fd: i32,
    host_padding: u32,
    pub(crate) attached: u8,
    padding: [u8; 7],
}

pub(crate) const KIND_BLOCK: u32 = 1;
pub(crate) const KIND_NET: u32 = 2;
const KIND_RESERVED_FIRST: u32 = 0x4000_0000;

impl ManifestEntry {
    const fn new(kind: u32, text: &str) -> Self {
        let mut name = [0; 68];
        let text = text.as_bytes();
        let mut at = 0;
        while at < text.len() {
            assert!(text[at].is_ascii_alphanumeric(), "device names are letters and digits");
            assert!(at < 67, "device names have at most 67 characters");
            name[at] = text[at];
            at += 1;
        }
        Self {
            name,
            kind,
            properties: [0; 16],
            host_fd: 0,
            host_padding: 0,
            attached: 0,
            padding: [0; 7],
        }
    }
}

impl<const N: usize> ManifestNote<N> {
    /// The manifest with `devices`, of which there are `N - 1`.
    pub const fn new(devices: &[Declared]) -> Self {
        assert!(N == devices.len() + 1 && N <= 64, "at most 63 devices");
        let mut entries = [ManifestEntry::new(KIND_RESERVED_FIRST, ""); N];
        let mut at = 0;
        while at < devices.len() {
            entries[at + 1] = match devices[at] {
                Declared::Net(name) => ManifestEntry::new(KIND_NET, name),
                Declared::Block(name) => ManifestEntry::new(KIND_BLOCK, name),
            };
            at += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 64")]
        let count = N as u32;
        Self {
            header: Header::new(*b"MFT1", size_of::<Self>() - size_of::<Header>()),
            padding: 0,
            manifest: ManifestHeader { version: 1, count },
            entries,
        }
    }
}
