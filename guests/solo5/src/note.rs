//! What a unikernel file tells a tender about itself.

use core::mem::size_of;

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

/// The devices that a unikernel wants.
#[repr(C, align(8))]
pub struct ManifestNote {
    header: Header,
    /// Counted as description, so that the manifest begins at a multiple of 8.
    padding: u32,
    version: u32,
    count: u32,
    reserved_first: ManifestEntry,
}

#[repr(C, align(8))]
struct ManifestEntry {
    name: [u8; 68],
    kind: u32,
    properties: [u64; 2],
    host: u64,
    attached: u8,
    padding: [u8; 7],
}

const RESERVED_FIRST: u32 = 0x4000_0000;

/// A manifest with nothing but its reserved first entry.
pub const NO_DEVICES: ManifestNote = ManifestNote {
    header: Header::new(*b"MFT1", size_of::<ManifestNote>() - size_of::<Header>()),
    padding: 0,
    version: 1,
    count: 1,
    reserved_first: ManifestEntry {
        name: [0; 68],
        kind: RESERVED_FIRST,
        properties: [0; 2],
        host: 0,
        attached: 0,
        padding: [0; 7],
    },
};
